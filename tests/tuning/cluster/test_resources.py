"""Requests are checked before anything runs."""

from __future__ import annotations

import pytest

from sltune.errors import UsageError
from sltune.tuning.cluster.resources import Request, share_for, slots

NODES = [
    {"NodeManagerHostname": "a", "Resources": {"CPU": 8.0, "GPU": 2.0}},
    {"NodeManagerHostname": "b", "Resources": {"CPU": 2.0}},
]


@pytest.mark.parametrize("gpus", [0, 1, 2, 0.5, 0.25, 1 / 3, 1 / 7])
def test_whole_gpus_and_unit_fractions_are_taken(gpus: float) -> None:
    assert Request(gpus_per_trial=gpus).gpus == gpus


@pytest.mark.parametrize(("typed", "meant"), [(0.33, 1 / 3), (0.3333, 1 / 3), (0.166, 1 / 6), (0.01, 0.01)])
def test_a_fraction_typed_with_few_digits_is_taken_for_the_one_that_is_meant(typed: float, meant: float) -> None:
    assert Request(gpus_per_trial=typed).gpus == pytest.approx(meant, rel=1e-12)


@pytest.mark.parametrize("gpus", [0.6, 0.4, 1.5, -1, -0.5, 1e-9, 1e-320, float("nan"), float("inf")])
def test_fractions_that_ray_cannot_place_are_refused(gpus: float) -> None:
    with pytest.raises(UsageError, match="--gpus-per-trial must be 0, 1/k"):
        Request(gpus_per_trial=gpus)


@pytest.mark.parametrize(
    ("trials", "share"),
    [(1, 1.0), (2, 1.0), (3, 0.5), (4, 0.5), (6, 1 / 3), (8, 0.25), (100, 0.25)],
)
def test_auto_gives_whole_gpus_while_there_are_enough_and_then_packs_up_to_four(trials: int, share: float) -> None:
    assert share_for(Request(), trials, NODES) == Request(gpus_per_trial=share)


def test_a_trial_that_no_living_node_can_hold_is_refused_with_the_numbers() -> None:
    with pytest.raises(UsageError, match=r"asks for 9 CPUs and 0 GPUs.*8 CPUs and 2 GPUs; 2 CPUs and 0 GPUs"):
        share_for(Request(cpus_per_trial=9, gpus_per_trial=0), 4, NODES)
    with pytest.raises(UsageError, match="asks for 1 CPUs and 3 GPUs"):
        share_for(Request(gpus_per_trial=3), 4, NODES)


def test_device_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(UsageError, match="--device cuda: no node has a GPU"):
        share_for(Request(device="cuda"), 4, NODES[1:])
    with pytest.raises(UsageError, match=r"asks for 1 CPUs and 0\.5 GPUs, and no node has them"):
        share_for(Request(gpus_per_trial=0.5), 4, NODES[1:])


def test_slots_count_what_fits_on_each_node_and_obey_the_limit() -> None:
    # Two GPUs in halves on the first node; the second has no GPU.
    assert slots(Request(gpus_per_trial=0.5), NODES) == 4
    # Eight CPUs in threes, and two in threes.
    assert slots(Request(cpus_per_trial=3), NODES) == 2
    assert slots(Request(), NODES) == 10
    assert slots(Request(max_concurrent=3), NODES) == 3
