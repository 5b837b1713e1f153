"""Measures on Ray how fast trials are that share a GPU or a node's cores, before the run begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
import torch
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.tuning.cluster.nodes import NODE_ID, Node
from sltune.tuning.cluster.packing import Pace, Packing, pack
from sltune.tuning.cluster.resources import MAX_MEASURED, Request, cpu_candidates, gpu_candidates
from sltune.tuning.execution.worker import SharedData, torch_device
from sltune.tuning.trial.pace import Measured, TrialPace

MEASURE_S = 3.0
"""How long each number of trials is measured: tens of batches, of most networks."""
PLACE_S = 30.0
"""How long to wait for a whole GPU, or node: on a cluster, others may hold them."""
NO_LIMIT = 1 << 62
"""Bytes of a node that does not say how much memory it has."""
READY_S = 180.0
"""How long trials may take to start, to compile, and for a first batch."""


class _Prober:
    """A process that trains beside others."""

    def __init__(self, shared: SharedData, configuration: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._shared = shared
        self._configuration = Configuration.model_validate_json(configuration)

    def prepare(self) -> None:
        """Make a trial and train a first batch."""
        seed, fold = next(iter(self._shared.splits))
        job = self._shared.job(TrialKey("c0000", fold, seed), self._configuration)
        samples = self._shared.events.samples()
        device = torch_device(self._shared.request.device)
        self._pace = TrialPace(job, samples, self._shared.splits[seed, fold], device)

    def measure(self, seconds: float) -> Measured:
        return self._pace.measure(seconds)


class _Probe:
    """Trials on one GPU, or on the cores of one node, as many beside each other as are asked for.

    Args:
        node: where they run.
        cores: that trials on a CPU share; 0 where they share a GPU.
    """

    def __init__(
        self, shared: SharedData, configuration: Configuration, group: PlacementGroup, node: Node, cores: int
    ) -> None:
        self._shared, self._configuration = shared, configuration.model_dump_json()
        self._group, self._node, self._cores = group, node, cores
        self._probers: dict[Any, int] = {}

    def measure(self, number: int) -> Pace | None:
        """Return what so many trials reach; None where one of them failed, for lack of memory for example."""
        try:
            self._have(number, self._cores // number if self._cores else max(1, int(self._shared.request.cpus)))
            waits = [prober.measure.remote(MEASURE_S) for prober in self._probers]
            found: list[Measured] = ray.get(waits, timeout=READY_S)
        except RayError:
            return None
        used = [each.used_bytes for each in found]
        speed = sum(each.samples / each.seconds for each in found)
        if self._cores:
            return Pace(speed, sum(used), int(self._node["Resources"].get("memory", NO_LIMIT)))
        return Pace(speed, max(used), found[0].total_bytes, max(each.peak_bytes for each in found))

    def close(self) -> None:
        """End all processes."""
        self._end(list(self._probers))

    def _have(self, number: int, threads: int) -> None:
        """Have so many trials that have trained a batch, each with so many threads."""
        self._end([prober for prober, has in self._probers.items() if has != threads])
        self._end(list(self._probers)[number:])
        here = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=0)
        gpus = 0 if self._cores else 1 / MAX_MEASURED
        kind: Any = ray.remote(num_cpus=0, num_gpus=gpus, max_restarts=0, scheduling_strategy=here)(_Prober)
        fresh = [kind.remote(self._shared, self._configuration, threads) for _ in range(number - len(self._probers))]
        self._probers |= dict.fromkeys(fresh, threads)
        ray.get([prober.prepare.remote() for prober in fresh], timeout=READY_S)

    def _end(self, probers: Sequence[Any]) -> None:
        for prober in probers:
            del self._probers[prober]
            ray.kill(prober)


def measure_packing(
    shared: SharedData, asked: Request, configuration: Configuration, trials: int, nodes: Sequence[Node]
) -> tuple[Request, Packing] | None:
    """Return a request in which what the user left open is decided by measuring; None where it need or can not be.

    Args:
        shared: with a request of which all is decided.
        asked: the user's request; what it leaves open is measured.
        configuration: what is trained, such as the first configuration of a search.
        trials: how many may run at once.
    """
    request = shared.request
    if (asked.gpus_per_trial if request.gpus else asked.cpus_per_trial) is not None:
        return None
    node = max(nodes, key=lambda node: (node["Resources"].get("GPU", 0), node["Resources"].get("CPU", 0)))
    cores = 0 if request.gpus else int(node["Resources"].get("CPU", 0))
    counts = cpu_candidates(cores, trials, len(nodes)) if cores else gpu_candidates(request, trials, nodes)
    if counts[-1] == 1:
        return None
    bundle = {"CPU": float(cores)} if cores else {"GPU": 1.0, "CPU": counts[-1] * request.cpus}
    with _held(bundle, node) as group:
        if group is None:
            return None
        probe = _Probe(shared, configuration, group, node, cores)
        try:
            packing = pack(probe.measure, counts)
        finally:
            probe.close()
    if packing is None:
        return None
    sharers = packing.sharers
    share = {"cpus_per_trial": cores // sharers} if cores else {"gpus_per_trial": 1 / sharers}
    return replace(request, **share), packing


@contextmanager
def _held(bundle: dict[str, float], node: Node) -> Iterator[PlacementGroup | None]:
    """Hold a part of a node; gives None where others have it."""
    group = placement_group([bundle], bundle_label_selector=[{NODE_ID: node["NodeID"]}])
    try:
        yield group if group.wait(timeout_seconds=PLACE_S) else None
    finally:
        remove_placement_group(group)


def described(packing: Packing, request: Request) -> str:
    """Say what was measured, and what follows."""
    share = f"{request.gpus:.3g} GPUs" if request.gpus else f"{request.cpus:g} CPUs"
    found = ", ".join(f"{number}: {pace.samples_per_second:.3g}" for number, pace in sorted(packing.paces.items()))
    pace = packing.paces[packing.sharers]
    memory = f", {pace.used_bytes / 1e9:.2g} of {pace.total_bytes / 1e9:.3g} GB of memory"
    return f"each trial gets {share}; trials beside each other and their samples/s in total: {found}{memory}"
