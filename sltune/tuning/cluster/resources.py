"""What a trial takes of a node, what the nodes have, and how many trials fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sltune.errors import UsageError
from sltune.tuning.cluster.nodes import Node
from sltune.tuning.trial.checkpoints import MINUTES, Checkpoints

AUTO_SHARERS = 4
"""Trials that share a GPU unless the user says otherwise."""
MAX_SHARERS = 100
"""Trials that can share a GPU: Ray takes smaller shares for none."""


@dataclass(frozen=True)
class Share:
    """What one trial gets of a node: CPUs, and GPUs as 1/k or a whole number."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    gpus_per_trial: None means auto. checkpoints: their place, None for the run folder. hang_minutes: after so long
    without an epoch a trial is started again; 0 waits for ever. details: whether trained networks are looked at.
    """

    device: str = "auto"
    address: str | None = None
    cpus_per_trial: float = 1
    gpus_per_trial: float | None = None
    max_concurrent: int | None = None
    checkpoints: str | None = None
    checkpoint_minutes: float = MINUTES
    hang_minutes: float = 60.0
    details: bool = False

    def checkpoints_of(self, run: str) -> Checkpoints:
        """Return where and how often the trials of a run save their state."""
        place = self.checkpoints
        # Workers have other working folders, and a run may go on from another.
        absolute = str(Path(place).absolute()) if place is not None and "://" not in place else place
        return Checkpoints(self.checkpoint_minutes, absolute, run)


def share_for(request: Request, trials: int, there: Sequence[Node]) -> Share:
    """Return what each trial gets, checked against the nodes: a request that never fits would wait for ever.

    Raises:
        UsageError: no node could run such a trial; says what there is.
    """
    nodes = [node["Resources"] for node in there]
    gpus = request.gpus_per_trial
    if gpus is None:
        gpus = 0.0 if request.device == "cpu" else _automatic_share(sum(node.get("GPU", 0) for node in nodes), trials)
    share = Share(request.cpus_per_trial, check_fraction(gpus))
    if request.device == "cuda" and not share.gpus:
        raise UsageError("--device cuda: no node has a GPU, or --gpus-per-trial is 0")
    if not any(node.get("CPU", 0) >= share.cpus and node.get("GPU", 0) >= share.gpus for node in nodes):
        have = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        wanted = f"{share.cpus:g} CPUs and {share.gpus:g} GPUs"
        raise UsageError(f"a trial asks for {wanted}, and no node has them; the nodes have {have}")
    return share


def check_fraction(gpus: float) -> float:
    """Return the share of GPUs if Ray can place it: 0, 1/k or a whole number.

    Raises:
        UsageError: it is none of these; 0.6 and 0.4 on nodes of two GPUs hang Ray.
    """
    if math.isfinite(gpus) and gpus >= 0:
        if gpus == round(gpus):
            return gpus
        # 0.33 and 0.3333 mean a third.
        sharers = round(1 / gpus) if gpus >= 1 / MAX_SHARERS else 1
        if abs(gpus * sharers - 1) < 0.02:
            return 1 / sharers
    raise UsageError(f"--gpus-per-trial must be 0, 1/k (1, 0.5, 0.25, …) or a whole number, but got {gpus:g}")


def slots(share: Share, request: Request, nodes: Sequence[Node]) -> int:
    """Return how many trials can run at once."""
    free = 0
    for node in nodes:
        has = node["Resources"]
        fits = [has.get("CPU", 0) / share.cpus] if share.cpus else []
        fits += [has.get("GPU", 0) / share.gpus] if share.gpus else []
        free += int(min(fits) + 1e-6) if fits else 1
    return max(1, min(free, request.max_concurrent or free))


def _automatic_share(gpus: float, trials: int) -> float:
    """Give each trial a whole GPU while there are enough, then pack up to four on one."""
    if not gpus:
        return 0.0
    return 1 / min(AUTO_SHARERS, max(1, math.ceil(trials / gpus)))
