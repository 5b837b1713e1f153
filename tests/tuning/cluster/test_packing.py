"""How many trials share a device, against every number tried on curves of speed and memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sltune.tuning.cluster.packing import HEADROOM, Pace, Packing, pack
from sltune.tuning.cluster.resources import Request, cpu_candidates, gpu_candidates

GB = 10**9


def device(
    speeds: list[float], each_gb: float, total_gb: float = 80, others_gb: float = 0
) -> tuple[dict[int, Pace], list[int]]:
    """Return the pace of each number of trials, and an empty list of what is measured."""
    used = [int((others_gb + each_gb * number) * GB) for number in range(1, len(speeds) + 1)]
    paces = {
        number: Pace(speed, bytes_, int(total_gb * GB), int(each_gb * GB) - GB // 2)
        for number, (speed, bytes_) in enumerate(zip(speeds, used, strict=True), start=1)
    }
    return paces, []


def packed(paces: dict[int, Pace], measured: list[int]) -> Packing:
    def measure(number: int) -> Pace:
        measured.append(number)
        return paces[number]

    packing = pack(measure, sorted(paces))
    assert packing is not None
    return packing


@pytest.mark.parametrize(
    ("speeds", "best", "tried"),
    [
        # The device is full with one.
        ([100, 99, 98, 97, 96, 95, 94, 93], 1, {1, 2}),
        # Each brings as much as the first.
        ([100, 200, 300, 400, 500, 600, 700, 800], 8, {1, 2, 4, 8, 6, 7}),
        # Full with four: more bring nothing, and take memory.
        ([100, 190, 270, 330, 331, 332, 333, 334], 4, {1, 2, 4, 8, 6, 7}),
        # A peak between what is doubled.
        ([100, 180, 240, 290, 330, 300, 250, 200], 5, {1, 2, 4, 8, 3, 6, 5, 7}),
    ],
)
def test_the_fastest_number_is_found_and_of_equals_the_smallest(
    speeds: list[float], best: int, tried: set[int]
) -> None:
    paces, measured = device(speeds, each_gb=2)
    assert packed(paces, measured).sharers == best
    assert set(measured) == tried
    assert len(measured) == len(set(measured))


def test_no_number_is_tried_that_would_not_fit() -> None:
    # 11 GB each of 80 with a tenth to spare: six fit, and seven would take 77.
    paces, measured = device([100.0 * number for number in range(1, 9)], each_gb=11)
    assert packed(paces, measured).sharers == 6
    assert max(measured) == 6


def test_memory_of_others_on_the_device_counts() -> None:
    # 40 + 4 k GB of 80: eight would fill 72, which is the most that leaves a tenth.
    paces, measured = device([100.0 * number for number in range(1, 9)], each_gb=4, total_gb=80, others_gb=43)
    assert packed(paces, measured).sharers <= 7
    assert all(paces[number].used_bytes <= (1 - HEADROOM) * 80 * GB for number in measured)


def test_a_number_whose_trials_fail_is_taken_for_too_many() -> None:
    paces, measured = device([100, 190, 270, 340, 400, 450, 490, 520], each_gb=1)

    def measure(number: int) -> Pace | None:
        measured.append(number)
        return None if number >= 4 else paces[number]

    packing = pack(measure, sorted(paces))
    assert packing is not None
    assert packing.sharers == 3
    assert set(measured) == {1, 2, 4, 3}


def test_without_any_measurement_nothing_is_decided() -> None:
    assert pack(lambda number: None, [1, 2, 4]) is None


curves = st.tuples(
    st.floats(10, 1000),
    st.lists(st.floats(0, 1), min_size=7, max_size=7).map(lambda gains: sorted(gains, reverse=True)),
    st.floats(-0.3, 0),
)


@given(curves, st.floats(0.5, 40), st.floats(0, 20))
def test_the_choice_is_within_five_per_cent_of_the_best_that_fits(
    curve: tuple[float, list[float], float], each_gb: float, others_gb: float
) -> None:
    """Speed that rises ever more slowly and may fall at last, as that of a device that fills up."""
    alone, gains, falls = curve
    speeds = [alone]
    for gain in gains:
        speeds.append(max(1.0, speeds[-1] + alone * (gain + falls)))
    paces, measured = device(speeds, each_gb, 80, others_gb)
    packing = packed(paces, measured)
    limit = (1 - HEADROOM) * 80 * GB
    fitting = {number: pace for number, pace in paces.items() if pace.used_bytes <= limit}
    # One trial is tried whether it fits or not.
    assert all(number in fitting for number in measured if number > 1)
    assert packing.sharers in fitting or packing.sharers == 1
    if others_gb == 0 and fitting:
        best = max(pace.samples_per_second for pace in fitting.values())
        assert paces[packing.sharers].samples_per_second >= 0.95 * best


def test_a_trial_that_needs_more_memory_than_what_was_measured_lets_fewer_share() -> None:
    # 8 × 2 GB: each has 1.5 GB of tensors and half a GB beside.
    paces, measured = device([100.0 * number for number in range(1, 9)], each_gb=2)
    packing = packed(paces, measured)
    assert packing.for_peak(int(1.5 * GB)).sharers == 8
    # 72 GB hold five of 14 GB, with half a GB beside each.
    assert packing.for_peak(int(13.5 * GB)).sharers == 5
    # Never more again than once was found to fit.
    assert packing.for_peak(int(13.5 * GB)).for_peak(GB).sharers == 5
    assert packing.for_peak(100 * GB).sharers == 1
    assert packing.halved().sharers == 4


def test_gpus_are_shared_by_no_more_trials_than_there_are_or_than_have_cpus() -> None:
    nodes = [{"Resources": {"CPU": 16.0, "GPU": 2.0}}, {"Resources": {"CPU": 64.0}}]
    assert gpu_candidates(Request(), 100, nodes) == list(range(1, 9))
    assert gpu_candidates(Request(), 5, nodes) == [1, 2, 3]
    assert gpu_candidates(Request(cpus_per_trial=3), 100, nodes) == [1, 2]
    assert gpu_candidates(Request(), 100, nodes[1:]) == [1]


def test_cores_are_shared_by_numbers_that_give_each_trial_other_cores() -> None:
    # Sixteen cores in threes make five trials, in sixes two.
    assert cpu_candidates(16, 1000, 1) == [1, 2, 3, 4, 5, 8, 16]
    assert cpu_candidates(16, 4, 1) == [1, 2, 3, 4]
    assert cpu_candidates(16, 4, 2) == [1, 2]
    assert cpu_candidates(1, 4, 1) == [1]
