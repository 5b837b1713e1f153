"""Planted mistakes are found, each with its layer, and nothing is found in networks that are right."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sltune.errors import DataError
from sltune.snn.network import NetworkOptions
from sltune.snn.neurons.lif import LIFParameters
from sltune.training.checks import check, costs
from sltune.training.checks.check import check_network
from sltune.training.checks.findings import Finding
from sltune.training.checks.probe import Probe, moving_blobs
from tests.networks import NETWORKS
from tests.training import planted_networks as planted

CLASSES = 4


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take little time where the costs of a network are not the question."""
    monkeypatch.setattr(costs, "STEPS", (2, 4, 8))
    monkeypatch.setattr(costs, "REPEATS", 1)


@pytest.fixture
def _without_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "check_costs", lambda probe: iter(()))


def probe_of(make: Callable[..., nn.Module], side: int = 10, **options: Any) -> Probe:
    shape = (2, side, side)
    frames, others = moving_blobs((4, 6, *shape)).split(3, dim=1)
    return Probe(lambda seed: make(frame_shape=shape, classes=CLASSES, **options), CLASSES, frames, others)


def found(make: Callable[..., nn.Module], side: int = 10, **options: Any) -> list[Finding]:
    return check_network(probe_of(make, side, **options), moving_blobs((9, 6, 2, side, side), seed=1))


def of_severity(findings: list[Finding], *severities: str) -> list[tuple[str, str]]:
    return [(one.mistake.name, one.layer) for one in findings if one.mistake.severity in severities]


BROKEN = [
    (planted.LeaksState, "LEAK", "lif1", "it keeps potential"),
    pytest.param(planted.LeaksBetweenSizes, "LEAK", "lif2", "it keeps potential", marks=pytest.mark.slow),
    pytest.param(planted.LeaksGraph, "LEAK", "", "it keeps last", marks=pytest.mark.slow),
    (planted.DependsOnBatch, "BATCH", "norm", "when the other 2 samples are replaced"),
    pytest.param(planted.NormInTraining, "STILL_TRAINING", "norm", "after eval()", marks=pytest.mark.slow),
    pytest.param(planted.NormWithoutStatistics, "BATCH", "norm", "replaced", marks=pytest.mark.slow),
    pytest.param(planted.StateOfWrongShape, "BATCH", "lif2", "replaced", marks=pytest.mark.slow),
    (planted.UnusedLayer, "NO_GRADIENT", "fc9", "fc9.weight, fc9.bias: the module is not called"),
    (planted.DetachedSpikes, "NO_GRADIENT", "conv", "conv.weight, conv.bias: it is cut before fc1"),
    (planted.NoSurrogate, "CUT_GRADIENT", "lif2", "conv.weight, conv.bias, fc1.weight, … and 1 more get none"),
    pytest.param(planted.ZeroGradient, "NO_GRADIENT", "conv", "exactly 0", marks=pytest.mark.slow),
    (planted.BatchFirst, "OUTPUT", "", "(3, 4, 4), which has the batch before time"),
    (planted.ReturnsMore, "OUTPUT", "", "2 values instead of one tensor: (3, 4), (4, 3, 4)"),
    pytest.param(planted.WholeNumbers, "OUTPUT", "", "torch.int64", marks=pytest.mark.slow),
    (planted.NotFinite, "NOT_FINITE", "share", "12 of 12 values"),
    (planted.FixedBatch, "FAILS", "", "1 samples of 4 time steps: "),
    pytest.param(planted.FixedSteps, "FAILS", "over_time", "3 samples of 6 time steps: ", marks=pytest.mark.slow),
    (planted.NumpyWeights, "UNSEEDED", "fc2", "fc2.weight differ: it draws from numpy.random, which"),
    pytest.param(
        planted.PythonWeights,
        "UNSEEDED",
        "fc2",
        "fc2.bias differ: it draws from Python's random, which",
        marks=pytest.mark.slow,
    ),
    pytest.param(planted.OwnGenerator, "UNSEEDED", "", "a generator of its own", marks=pytest.mark.slow),
    pytest.param(planted.SeedsItself, "SEED_FIXED", "", "the constructor seeds torch", marks=pytest.mark.slow),
    (planted.DropoutInEvaluation, "RANDOM_EVALUATION", "drop", "two evaluations"),
    pytest.param(planted.StaysInTraining, "STILL_TRAINING", "dropout", "after eval()", marks=pytest.mark.slow),
    pytest.param(planted.LazyBuffer, "STATE_DICT", "", "trace is only there after a batch", marks=pytest.mark.slow),
    pytest.param(
        planted.BufferOfBatch,
        "STATE_DICT",
        "",
        "trace has shape (3, 4) after a batch, and (1, 4) before",
        marks=pytest.mark.slow,
    ),
    (planted.NotSaved, "NOT_SAVED", "adapts", "it keeps mean"),
    pytest.param(planted.PlainMask, "NOT_SAVED", "", "it keeps mask", marks=pytest.mark.slow),
    pytest.param(planted.ChangesInput, "INPUT_CHANGED", "", "not what they were", marks=pytest.mark.slow),
    (planted.ChangesInputInModule, "INPUT_CHANGED", "scale", "not what they were"),
    (planted.OneOnMeta, "DEVICE", "", "elsewhere: meta, but most are cpu"),
    (planted.NoClasses, "CONSTRUCTOR", "", "unexpected keyword argument 'classes'"),
    (planted.FailsInForward, "FAILS", "", "planted_networks.py, in between: RuntimeError"),
    pytest.param(planted.FailsInBackward, "FAILS", "", "modified by an inplace operation", marks=pytest.mark.slow),
    (planted.ForgetsOneState, "STRETCHES", "lif2", "differ by up to 1"),
    (planted.PlainList, "UNREGISTERED", "", "its attribute layers holds 4 of them"),
    (planted.LazyLayer, "LAZY", "fc1", "fc1.weight, fc1.bias"),
]
WARNINGS = [
    pytest.param(planted.NormOnlyInTraining, "BATCH_IN_TRAINING", "norm", "replaced", marks=pytest.mark.slow),
    (planted.NeverFires, "NEVER_FIRES", "lif2", "all its values are 0"),
    pytest.param(planted.AlwaysFires, "ALWAYS_FIRES", "lif1", "all its values are 1", marks=pytest.mark.slow),
    pytest.param(planted.AlwaysTheSame, "SEED_UNUSED", "", "no parameter is drawn at random", marks=pytest.mark.slow),
    pytest.param(
        planted.OneDouble,
        "DTYPE",
        "fc2",
        "fc2.weight, fc2.bias: torch.float64, but most are torch.float32",
        marks=pytest.mark.slow,
    ),
    pytest.param(planted.PlainMask, "PLAIN_TENSOR", "", "its attribute mask", marks=pytest.mark.slow),
]


@pytest.mark.usefixtures("_without_costs")
@pytest.mark.parametrize(
    ("make", "name", "layer", "measured"), BROKEN, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_mistake_is_found_with_its_layer_and_nothing_else_is_broken(
    make: type[nn.Module], name: str, layer: str, measured: str
) -> None:
    findings = found(make)
    assert of_severity(findings, "broken") == [(name, layer)]
    assert measured in next(one.measured for one in findings if one.mistake.name == name)


@pytest.mark.usefixtures("_without_costs")
@pytest.mark.parametrize(
    ("make", "name", "layer", "measured"), WARNINGS, ids=lambda value: getattr(value, "__name__", "")
)
def test_what_may_be_meant_is_a_warning(make: type[nn.Module], name: str, layer: str, measured: str) -> None:
    findings = found(make)
    assert (name, layer) in of_severity(findings, "warning")
    assert measured in next(one.measured for one in findings if one.mistake.name == name)


@pytest.mark.slow
@pytest.mark.usefixtures("_short")
def test_each_layer_without_a_surrogate_is_named() -> None:
    cut = [("CUT_GRADIENT", layer) for layer in ("lif1", "lif2", "lif3")]
    assert of_severity(found(planted.NoSurrogateAtAll), "broken") == cut


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize(
    "make",
    [
        planted.Kept,
        planted.Normalised,
        *(
            pytest.param(make, marks=pytest.mark.slow)
            for make in (planted.Functional, planted.InStretches, planted.WithReset, planted.Recurrent)
        ),
    ],
)
def test_nothing_is_found_in_networks_that_are_right(make: type[nn.Module]) -> None:
    assert of_severity(found(make), "broken", "warning") == []


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("slanimals", "tdbn"),
        ("nmnist-mlp2", "none"),
        *(pytest.param(name, norm, marks=pytest.mark.slow) for name in NETWORKS for norm in ("none", "tdbn")),
    ],
)
def test_nothing_is_found_in_the_networks_that_are_built_in(name: str, norm: str) -> None:
    options = NetworkOptions(LIFParameters(), norm, dropout=0.2)
    assert of_severity(found(NETWORKS[name], side=16, options=options), "broken", "warning") == []


@pytest.mark.parametrize(
    ("make", "name"), [(planted.Concatenates, "GROWTH"), (planted.Indexes, "GROWTH"), (planted.Functional, "COST")]
)
def test_costs_that_grow_faster_than_time_are_told_from_linear_ones(make: type[nn.Module], name: str) -> None:
    (finding,) = costs.check_costs(probe_of(make))
    assert finding.mistake.name == name
    assert ("linear would be 4 times" in finding.measured) == (name == "GROWTH")


@pytest.mark.usefixtures("_without_costs")
def test_the_check_leaves_the_process_as_it_was() -> None:
    def state() -> tuple[Any, ...]:
        numpys = np.random.get_state()  # noqa: NPY002
        torchs = torch.get_rng_state().tolist()
        return random.getstate(), repr(numpys), torchs, torch.get_num_threads(), torch.is_grad_enabled()

    class Disturbs(planted.SeedsItself):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            torch.set_grad_enabled(True)
            random.seed(5)
            np.random.seed(5)  # noqa: NPY002
            return super().forward(frames)

    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        before = state()
        found(Disturbs)
        assert state() == before
    finally:
        torch.set_num_threads(threads)


@pytest.mark.usefixtures("_without_costs")
def test_an_error_of_sltune_is_handed_on() -> None:
    def refuse(**_: object) -> nn.Module:
        raise DataError("weights.pt: cannot be read")

    with pytest.raises(DataError, match="cannot be read"):
        found(refuse)
