"""Manifests for Kubernetes: their form, and what the script in them does with a run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sltune.errors import UsageError
from sltune.submission.commands import RunCommands
from sltune.submission.kubernetes import KubernetesRequest, manifest_of
from sltune.submission.user_config import KubernetesTable
from tests.submission.rayjob_schema import CONFIG_MAP, RAY_JOB

TABLE = KubernetesTable(image="lab/sltune:1", namespace="ana", claim="lab", mount="/lab")


def documents(
    request: KubernetesRequest, folder: Path = Path("/lab/r/My run"), inputs: tuple[Path, ...] = ()
) -> list[dict[str, Any]]:
    commands = RunCommands(folder, ("sltune", "tune", "a 'b'"), ("sltune", "resume", str(folder)), None, inputs)
    table = TABLE if folder.parts[1] == "lab" else TABLE.model_copy(update={"mount": str(folder.parent)})
    return list(yaml.safe_load_all(manifest_of(commands, request, table, folder.parent)))


@pytest.mark.parametrize(
    "request_", [KubernetesRequest(), KubernetesRequest(nodes=3, gpus="4", cpus=16, mem="64Gi", image="other")]
)
def test_a_manifest_has_the_form_of_a_ray_job_and_its_script(request_: KubernetesRequest) -> None:
    script, job = documents(request_)
    jsonschema.validate(script, CONFIG_MAP)
    jsonschema.validate(job, RAY_JOB)
    assert job["metadata"] == {"name": "sltune-my-run", "namespace": "ana"}


def test_each_node_is_a_pod_with_what_was_asked_for() -> None:
    _, job = documents(KubernetesRequest(nodes=3, gpus="4", cpus=16, mem="64Gi"))
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == 2
    for group in (cluster["headGroupSpec"], workers):
        (container,) = group["template"]["spec"]["containers"]
        wanted = {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": "4"}
        assert container["resources"] == {"requests": wanted, "limits": wanted}
    _, alone = documents(KubernetesRequest())
    assert "workerGroupSpecs" not in alone["spec"]["rayClusterSpec"]


def test_after_the_loss_of_the_head_a_new_cluster_resumes_the_run_on_the_volume(tmp_path: Path) -> None:
    folder, calls, bin_ = tmp_path / "a run", tmp_path / "calls", tmp_path / "bin"
    script, job = documents(KubernetesRequest(), folder)
    assert job["spec"]["backoffLimit"] > 0
    assert job["spec"]["entrypoint"] == "bash /etc/sltune/job.sh"
    bin_.mkdir()
    # Begins the run and dies with its head, as the first cluster does.
    (bin_ / "sltune").write_text(
        f'#!/bin/bash\nprintf "%s|" "$@" >>{calls}\nmkdir -p "{folder}"; touch "{folder}/run.json"\nexit 9'
    )
    (bin_ / "sltune").chmod(0o755)
    for _ in range(2):
        variables = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}"}
        result = subprocess.run(["bash", "-c", script["data"]["job.sh"]], env=variables, check=False)
        assert result.returncode == 9
    assert calls.read_text() == f"tune|a 'b'|--address|auto|resume|{folder}|--address|auto|"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gpus": "a100:4"}, "--gpus-per-node must be a whole number on Kubernetes, but got 'a100:4'"),
        ({"mem": "64 GB"}, "--mem must be as in 64Gi"),
        ({"claim": "My_claim"}, "--claim must be a name"),
        ({"mount": "lab"}, "--mount must begin with /"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        KubernetesRequest(**values)
    assert said in str(caught.value)


def test_what_pods_would_not_see_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^/home/ana/data: does not lie below /lab"):
        documents(KubernetesRequest(), inputs=(Path("/home/ana/data"),))
    commands = RunCommands(Path("/lab/r"), (), ())
    with pytest.raises(UsageError, match=r"--claim is needed, or claim in the table \[kubernetes\]"):
        manifest_of(commands, KubernetesRequest(image="x"), KubernetesTable(), Path("/lab"))
