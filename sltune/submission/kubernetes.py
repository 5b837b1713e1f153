"""Manifests for Kubernetes: a RayJob of KubeRay, and the script that it runs."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sltune.errors import UsageError
from sltune.submission.commands import RunCommands
from sltune.submission.user_config import NAME, KubernetesTable
from sltune.wording import excerpt

RETRIES = 10
"""How often a new cluster goes on with the run after its head was lost."""
MAX_NAME = 40
"""KubeRay allows 47 characters, and the script's name is longer by a few."""
USER = 1000
"""The user of deploy/Dockerfile, by number, as Kubernetes wants it to see that it is not root."""
SCRIPTS = "/etc/sltune"
"""Where pods see the script."""
QUANTITY = re.compile(r"\d+(\.\d+)?([KMGTPE]i?|k|m)?", re.ASCII)
"""An amount as Kubernetes writes it: 500m, 64Gi."""
SCRIPT = """\
cd {working_folder}
start=({start})
resume=({resume})
# A lost head may hold the run's lock for some minutes more, until the file server has given it up.
for _ in {{1..10}}; do
    if [[ -e {folder}/run.json ]]; then "${{resume[@]}}"; else "${{start[@]}}"; fi
    code=$?
    ((code == 7)) || exit "$code"
    sleep 60
done
exit 7
"""


@dataclass(frozen=True)
class KubernetesRequest:
    """What a job asks of Kubernetes; None where the user's configuration file decides.

    nodes: pods that Ray runs on. gpus, cpus, mem: of each pod.

    Raises:
        UsageError: a value is not allowed.
    """

    nodes: int = 1
    gpus: str | None = None
    cpus: int | None = None
    mem: str | None = None
    image: str | None = None
    namespace: str | None = None
    claim: str | None = None
    mount: str | None = None

    def __post_init__(self) -> None:
        if self.gpus is not None and not (self.gpus.isascii() and self.gpus.isdigit()):
            raise UsageError(
                f"--gpus-per-node must be a whole number on Kubernetes, but got {excerpt(repr(self.gpus))}"
            )
        if self.mem is not None and not QUANTITY.fullmatch(self.mem):
            raise UsageError(f"--mem must be as in 64Gi, but got {excerpt(repr(self.mem))}")
        for option, name in (("--namespace", self.namespace), ("--claim", self.claim)):
            if name is not None and not re.fullmatch(NAME, name):
                raise UsageError(f"{option} must be a name of a-z, 0-9 and hyphens, but got {excerpt(repr(name))}")
        if self.mount is not None and not self.mount.startswith("/"):
            raise UsageError(f"--mount must begin with /, but got {excerpt(repr(self.mount))}")

    @property
    def resources(self) -> dict[str, str]:
        """What each pod has."""
        wanted = {"cpu": self.cpus, "memory": self.mem, "nvidia.com/gpu": self.gpus}
        return {name: str(amount) for name, amount in wanted.items() if amount is not None}


def manifest_of(commands: RunCommands, request: KubernetesRequest, table: KubernetesTable, working_folder: Path) -> str:
    """Return the manifest of a job as YAML: its script as a ConfigMap, and the RayJob.

    Raises:
        UsageError: image, claim or mount are not given, or what the job reads or writes does not lie on the volume.
    """
    image, claim, mount = (
        _required(name, getattr(request, name) or getattr(table, name)) for name in ("image", "claim", "mount")
    )
    for place in (working_folder, commands.folder, *commands.inputs):
        if not place.absolute().is_relative_to(mount):
            text = f"does not lie below {mount}, where the volume is seen here and in the pods"
            raise UsageError(f"{place}: {text}; put it there, or name another --mount")
    name = _name(commands.folder.name)
    metadata = {"name": name}
    namespace = request.namespace or table.namespace
    if namespace is not None:
        metadata["namespace"] = namespace
    script = SCRIPT.format(
        working_folder=shlex.quote(str(working_folder)),
        folder=shlex.quote(str(commands.folder)),
        start=shlex.join([*commands.start, "--address", "auto"]),
        resume=shlex.join([*commands.resume, "--address", "auto"]),
    )
    pod = _pod(name, image, claim, mount, request.resources)
    documents = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"job.sh": script}},
        {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "spec": _job(pod, request.nodes)},
    ]
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _job(pod: dict[str, Any], nodes: int) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "rayVersion": importlib.metadata.version("ray"),
        # Needs KubeRay 1.5.1; it draws a token for each cluster.
        "authOptions": {"mode": "token"},
        "headGroupSpec": {"rayStartParams": {}, "template": pod},
    }
    if nodes > 1:
        count = nodes - 1
        workers = {"groupName": "workers", "replicas": count, "minReplicas": count, "maxReplicas": count}
        cluster["workerGroupSpecs"] = [{**workers, "rayStartParams": {}, "template": pod}]
    return {
        # No blanks or quotes that one of the shells on the way might take apart.
        "entrypoint": f"bash {SCRIPTS}/job.sh",
        "backoffLimit": RETRIES,
        "shutdownAfterJobFinishes": True,
        "rayClusterSpec": cluster,
    }


def _pod(name: str, image: str, claim: str, mount: str, resources: dict[str, str]) -> dict[str, Any]:
    container = {
        "name": "ray",
        "image": image,
        "resources": {"requests": resources, "limits": resources} if resources else {},
        "volumeMounts": [
            {"name": "lab", "mountPath": mount},
            {"name": "script", "mountPath": SCRIPTS, "readOnly": True},
            {"name": "memory", "mountPath": "/dev/shm"},
        ],
    }
    volumes = [
        {"name": "lab", "persistentVolumeClaim": {"claimName": claim}},
        {"name": "script", "configMap": {"name": name}},
        # Ray's object store; containers have 64 MB otherwise. It counts as memory of the pod.
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    rights = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    return {"spec": {"securityContext": rights, "containers": [container], "volumes": volumes}}


def _required(name: str, value: str | None) -> str:
    if value is None:
        raise UsageError(f"--{name} is needed, or {name} in the table [kubernetes] of the configuration file")
    return value


def _name(run: str) -> str:
    """Return a name of Kubernetes' for that of a run."""
    name = re.sub(r"[^a-z0-9]+", "-", run.lower()).strip("-")[:MAX_NAME].rstrip("-")
    return f"sltune-{name}" if name else "sltune-run"


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Write what stands twice twice: not every reader knows references."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
