"""Random numbers: whether a seed makes a network and its output what they are, and evaluation needs none."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sltune.training.checks.findings import Finding, Mistake, listed
from sltune.training.checks.probe import Probe
from sltune.training.checks.recording import Generators, first_difference, record, seed_all
from sltune.training.checks.structure import layer_of


def check_seeds(probe: Probe) -> Iterator[Finding]:
    """Build two networks with one seed, and a third with another, and compare their parameters."""
    first, seed = probe.fresh(1), torch.initial_seed()
    seed_all(1, others_seed=1)
    generators = Generators()
    again, used = probe.build(1), generators.used()
    other, other_seed = probe.fresh(2), torch.initial_seed()
    names = [name for name, value in first.state_dict().items() if not _equal(value, again.state_dict().get(name))]
    if names:
        yield Finding(Mistake.UNSEEDED, layer_of(names[0]), f"{listed(names)} differ: {drawn_from(used)}")
    elif first.state_dict() and all(
        _equal(value, other.state_dict().get(name)) for name, value in first.state_dict().items()
    ):
        reseeded = seed == other_seed
        measured = "the constructor seeds torch" if reseeded else "no parameter is drawn at random"
        yield Finding(Mistake.SEED_FIXED if reseeded else Mistake.SEED_UNUSED, "", measured)


def check_reproducible(probe: Probe) -> Iterator[Finding]:
    """Run a batch through two fresh networks with one seed of torch's, in both modes, and evaluate with another."""
    for train in (False, True):
        first = record(probe.fresh().train(train), probe.frames)
        # No trial seeds the generators of numpy and Python.
        second = record(probe.fresh().train(train), probe.frames, others_seed=1)
        if (layer := first_difference(first, second, probe.batch)) is not None:
            measured = f"two runs with one seed of torch's differ: {drawn_from(second.generators)}"
            yield Finding(Mistake.UNSEEDED, layer, measured)
            return
        if not train:
            third = record(probe.fresh().train(train), probe.frames, seed=1)
            if (layer := first_difference(first, third, probe.batch)) is not None:
                yield Finding(
                    Mistake.RANDOM_EVALUATION, layer, "two evaluations of a batch differ, by torch's seed alone"
                )


def drawn_from(generators: set[str]) -> str:
    """Say where random numbers came from that ignore the seed."""
    if generators:
        return f"it draws from {' and '.join(sorted(generators))}, which no trial seeds"
    return "it draws from a generator of its own, or depends on the time"


def _equal(one: object, two: object) -> bool:
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return one.shape == two.shape and one.dtype == two.dtype and torch.equal(one, two)
    return type(one) is type(two)
