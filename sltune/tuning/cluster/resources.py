"""What the user asks for, what a trial takes of a node, and how many trials the nodes can run at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sltune.errors import UsageError
from sltune.system.places import checked_place

if TYPE_CHECKING:
    # This module is imported with the command line, before anything needs Ray or torch.
    from sltune.tuning.cluster.nodes import Node
    from sltune.tuning.trial.checkpoints import Checkpoints

STORE_HEADROOM = 256 << 20
"""Bytes that lie in the object store beside the dataset: starting weights, and what workers return."""
AUTO_SHARERS = 4
"""Trials that share a GPU where the user does not say how many, and it cannot be measured."""
MAX_SHARERS = 100
"""Trials that can share a GPU: Ray takes smaller shares for none."""
MAX_MEASURED = 8
"""Trials beside each other that are measured: beyond, a process's own memory costs more than what it brings."""
MIN_CPUS = 0.01
"""CPUs of a trial: a hundred trials on one core help nobody, and Ray takes very small shares for none."""
MIN_VALUES = {"cpus_per_trial": MIN_CPUS, "max_concurrent": 1, "checkpoint_minutes": 0, "hang_minutes": 0}
"""What a request may ask for at least."""
DEVICES = ("auto", "cpu", "cuda")
KEPT_WEIGHTS = ("best", "all", "none")


@dataclass(frozen=True)
class Request:
    """What the user asks for, from the command line down to the workers.

    cpus_per_trial, gpus_per_trial: None until they are decided; of GPUs, a whole number or 1/k. checkpoints: where
    workers keep them, None for the run folder. checkpoint_minutes: the least time between two of a trial, which is the
    most that a dead worker costs. hang_minutes: the time without a finished epoch after which a trial is restarted; 0
    for no limit. details: whether trained networks are looked at. baselines: whether classifiers without a network are
    tested on its folds. keep_weights: whose weights stay in the run folder; None for what suits the run.

    Raises:
        UsageError: a value is not allowed, Ray cannot place such a share of a GPU, or the place of checkpoints holds a
            secret.
    """

    device: str = "auto"
    address: str | None = None
    cpus_per_trial: float | None = 1
    gpus_per_trial: float | None = None
    max_concurrent: int | None = None
    checkpoints: str | None = None
    checkpoint_minutes: float = 5.0
    hang_minutes: float = 60.0
    details: bool = False
    baselines: bool = True
    keep_weights: str | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise UsageError(f"--device must be one of {', '.join(DEVICES)}, but got {self.device!r}")
        if self.keep_weights not in (None, *KEPT_WEIGHTS):
            raise UsageError(f"--keep-weights must be one of {', '.join(KEPT_WEIGHTS)}, but got {self.keep_weights!r}")
        for name, least in MIN_VALUES.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise UsageError(f"--{name.replace('_', '-')} must be at least {least:g}, but got {value}")
        if self.gpus_per_trial is not None:
            object.__setattr__(self, "gpus_per_trial", checked_fraction(self.gpus_per_trial))
        if self.checkpoints is not None and "://" not in checked_place(self.checkpoints):
            # Workers have other working folders, and a run may go on from another.
            object.__setattr__(self, "checkpoints", str(Path(self.checkpoints).absolute()))

    def checkpoints_of(self, run: str) -> Checkpoints:
        """Return where and how often the trials of a run save their state."""
        from sltune.tuning.trial.checkpoints import Checkpoints

        return Checkpoints(self.checkpoint_minutes, self.checkpoints, run)

    @property
    def gpus(self) -> float:
        """GPUs of a trial, once they are decided."""
        return self.gpus_per_trial or 0.0

    @property
    def cpus(self) -> float:
        """CPUs of a trial, once they are decided."""
        return self.cpus_per_trial or 1.0


def share_for(request: Request, trials: int, there: Sequence[Node]) -> Request:
    """Return the request with the GPUs of a trial decided, and checked against the nodes.

    A request that fits no node would wait for ever.

    Raises:
        UsageError: no node could run such a trial; says what there is.
    """
    nodes = [node["Resources"] for node in there]
    if request.gpus_per_trial is None:
        there_are = 0.0 if request.device == "cpu" else sum(node.get("GPU", 0) for node in nodes)
        request = replace(request, gpus_per_trial=_automatic_share(there_are, trials))
    if request.cpus_per_trial is None:
        request = replace(request, cpus_per_trial=1 if request.gpus else _automatic_cpus(nodes, trials))
    cpus, gpus = request.cpus, request.gpus
    if request.device == "cuda" and not gpus:
        raise UsageError("--device cuda: no node has a GPU, or --gpus-per-trial is 0")
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        have = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        wanted = f"{cpus:g} CPUs and {gpus:g} GPUs"
        raise UsageError(f"a trial asks for {wanted}, and no node has them; the nodes have {have}")
    return request


def checked_fraction(gpus: float) -> float:
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


def slots(request: Request, nodes: Sequence[Node]) -> int:
    """Return how many trials can run at once."""
    cpus, gpus, free = request.cpus, request.gpus, 0
    for node in nodes:
        has = node["Resources"]
        fits = [has.get("CPU", 0) / cpus]
        fits += [has.get("GPU", 0) / gpus] if gpus else []
        free += int(min(fits) + 1e-6)
    return max(1, min(free, request.max_concurrent or free))


def _automatic_share(gpus: float, trials: int) -> float:
    """Give each trial a whole GPU while there are enough, then pack up to four on one."""
    if not gpus:
        return 0.0
    return 1 / min(AUTO_SHARERS, max(1, math.ceil(trials / gpus)))


def _automatic_cpus(nodes: Sequence[Mapping[str, float]], trials: int) -> int:
    """Share the cores of the smallest node evenly among its part of the trials."""
    cores = min((int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1), default=1)
    return cores // min(cores, max(1, math.ceil(trials / len(nodes))))


def gpu_candidates(request: Request, trials: int, nodes: Sequence[Node]) -> list[int]:
    """Return how many trials could share a GPU, by their number and the CPUs beside each GPU; only 1 where none could.

    Args:
        request: with what a trial takes of the CPUs.
    """
    with_gpus = [node["Resources"] for node in nodes if node["Resources"].get("GPU", 0) >= 1]
    if not with_gpus:
        return [1]
    by_cpus = min(node.get("CPU", 0) / node["GPU"] / request.cpus for node in with_gpus)
    by_trials = math.ceil(trials / sum(node["GPU"] for node in with_gpus))
    return list(range(1, max(1, min(MAX_MEASURED, by_trials, int(by_cpus))) + 1))


def cpu_candidates(cores: int, trials: int, nodes: int) -> list[int]:
    """Return how many trials could share the cores of a node, such that each number gives another number of cores."""
    most = min(cores, max(1, math.ceil(trials / nodes)))
    return sorted({cores // threads for threads in range(1, cores + 1) if cores // threads <= most})
