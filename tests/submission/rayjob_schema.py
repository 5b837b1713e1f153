"""The part of KubeRay's and Kubernetes' schemas that a manifest of ours may use, written by hand; all else is refused.

From the API references of KubeRay 1.6 (ray.io/v1: RayJob, RayClusterSpec, HeadGroupSpec, WorkerGroupSpec, AuthOptions)
and of Kubernetes 1.30 (ConfigMap, PodSpec, Container, Volume).
"""

from __future__ import annotations

from typing import Any

NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
AMOUNTS = {
    "type": "object",
    "additionalProperties": {"type": "string", "pattern": r"^\d+(\.\d+)?([KMGTPE]i?|k|m)?$"},
}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


PATH = {"type": "string", "pattern": "^/"}
WHOLE = {"type": "integer", "minimum": 0}
TEXT = {"type": "string", "minLength": 1}
METADATA = closed(["name"], name={**NAME, "maxLength": 47}, namespace=NAME)
MOUNT = closed(["name", "mountPath"], name=NAME, mountPath=PATH, readOnly={"type": "boolean"})
VOLUME = {
    **closed(
        ["name"],
        name=NAME,
        persistentVolumeClaim=closed(["claimName"], claimName=NAME),
        configMap=closed(["name"], name=NAME),
        emptyDir=closed([], medium={"enum": ["", "Memory"]}),
    ),
    "minProperties": 2,
    "maxProperties": 2,
}
CONTAINER = closed(
    ["name", "image"],
    name=NAME,
    image=TEXT,
    resources=closed([], requests=AMOUNTS, limits=AMOUNTS),
    volumeMounts={"type": "array", "items": MOUNT},
)
RIGHTS = closed([], runAsNonRoot={"type": "boolean"}, runAsUser=WHOLE, runAsGroup=WHOLE, fsGroup=WHOLE)
POD = closed(
    ["spec"],
    spec=closed(
        ["containers"],
        securityContext=RIGHTS,
        containers={"type": "array", "items": CONTAINER, "minItems": 1},
        volumes={"type": "array", "items": VOLUME},
    ),
)
START = {"type": "object", "additionalProperties": {"type": "string"}}
WORKERS = closed(
    ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
    groupName=NAME,
    replicas=WHOLE,
    minReplicas=WHOLE,
    maxReplicas=WHOLE,
    rayStartParams=START,
    template=POD,
)
CLUSTER = closed(
    ["headGroupSpec"],
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    authOptions=closed(["mode"], mode={"enum": ["disabled", "token"]}),
    headGroupSpec=closed(["rayStartParams", "template"], rayStartParams=START, template=POD),
    workerGroupSpecs={"type": "array", "items": WORKERS},
)
RAY_JOB = closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=METADATA,
    spec=closed(
        ["entrypoint", "rayClusterSpec"],
        entrypoint=TEXT,
        backoffLimit=WHOLE,
        shutdownAfterJobFinishes={"type": "boolean"},
        rayClusterSpec=CLUSTER,
    ),
)
CONFIG_MAP = closed(
    ["apiVersion", "kind", "metadata", "data"],
    apiVersion={"const": "v1"},
    kind={"const": "ConfigMap"},
    metadata=METADATA,
    data={"type": "object", "additionalProperties": {"type": "string"}},
)
