"""Splits against scikit-learn's as the predecessor calls it, and the law that no signer is in two parts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sltune.errors import DataError
from sltune.events.samples import RecordingInfo
from sltune.events.splits.folds import min_nested_signers
from sltune.events.splits.parts import Split, select_sessions
from sltune.events.splits.split import split_of
from sltune.runs.plan import steps_of
from sltune.settings.configuration import Configuration
from tests import reference_impl as reference

SUFFIXES = {"S1": "imse", "S2": "dc", "S3": "indoor", "S4": "sunlight"}
USERS = {
    "S1": range(25, 35),
    "S2": range(35, 60),
    "S3": [user for user in range(18) if user != 4],
    "S4": range(18, 25),
}
ALL = tuple(USERS)
REDUCED = ("S1", "S2", "S4")


def recordings_of(sessions: Sequence[str], most: int = 59) -> list[RecordingInfo]:
    """Return the dataset's recordings in file order, at most so many of each session."""
    recordings = [
        RecordingInfo(f"user{user:02d}_{SUFFIXES[session]}", f"user{user:02d}", session)
        for session in sessions
        for user in list(USERS[session])[:most]
    ]
    return sorted(recordings, key=lambda recording: recording.name)


def split_with(
    recordings: Sequence[RecordingInfo], fold: int, folds: int, seed: int, val_fraction: float | None
) -> Split:
    """Return the parts of a trial; val_fraction: None for train-test."""
    settings = {"evaluation.folds": folds, "evaluation.protocol": "train-test"}
    if val_fraction is not None:
        settings |= {"evaluation.val_fraction": val_fraction, "evaluation.protocol": "train-val-test"}
    return split_of(Configuration.of(settings), recordings, fold, seed)


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize("val_fraction", [0.15, None], ids=["train-val-test", "train-test"])
@pytest.mark.parametrize("sessions", [ALL, REDUCED], ids=["full", "reduced"])
@pytest.mark.parametrize("most", [59, 3], ids=["dataset", "small"])
def test_folds_are_scikit_learns_in_the_same_order(
    seed: int, val_fraction: float | None, sessions: tuple[str, ...], most: int
) -> None:
    recordings = select_sessions(recordings_of(ALL, most), sessions)
    names = [recording.name for recording in recordings]
    expected = reference.predecessor_folds(names, seed, validation=val_fraction is not None)
    mine = [split_with(recordings, fold, 4, seed, val_fraction) for fold in range(4)]
    assert mine == [Split(fold.train, fold.val, fold.test) for fold in expected]


@pytest.mark.parametrize(
    ("sessions", "val_fraction", "sizes"),
    [
        (ALL, 0.15, [(37, 7, 15), (37, 7, 15), (37, 7, 15), (38, 7, 14)]),
        (REDUCED, 0.15, [(26, 5, 11), (26, 5, 11), (27, 5, 10), (27, 5, 10)]),
        (ALL, None, [(44, 0, 15), (44, 0, 15), (44, 0, 15), (45, 0, 14)]),
        (REDUCED, None, [(31, 0, 11), (31, 0, 11), (32, 0, 10), (32, 0, 10)]),
    ],
)
def test_parts_have_the_sizes_that_follow_from_59_and_42_recordings(
    sessions: tuple[str, ...], val_fraction: float | None, sizes: list[tuple[int, int, int]]
) -> None:
    recordings = select_sessions(recordings_of(ALL), sessions)
    splits = [split_with(recordings, fold, 4, 0, val_fraction) for fold in range(4)]
    assert [(len(split.train), len(split.val), len(split.test)) for split in splits] == sizes


@st.composite
def datasets(draw: st.DrawFn) -> list[RecordingInfo]:
    """Draw recordings in file order; some signers have several, in one session or in different ones."""
    several = draw(st.lists(st.lists(st.sampled_from(ALL), min_size=1, max_size=3), min_size=6, max_size=16))
    recordings = [
        RecordingInfo(f"user{user:02d}_{SUFFIXES[session]}_{number}", f"user{user:02d}", session)
        for user, sessions in enumerate(several)
        for number, session in enumerate(sessions)
    ]
    return draw(st.permutations(recordings))


@given(
    recordings=datasets(),
    sessions=st.sampled_from([ALL, REDUCED, ("S1", "S3"), ("S2",)]),
    folds=st.integers(2, 6),
    seed=st.integers(0, 2**31),
    val_fraction=st.sampled_from([None, 0.05, 0.15, 0.4]),
)
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_no_signer_is_in_two_parts(
    recordings: list[RecordingInfo], sessions: tuple[str, ...], folds: int, seed: int, val_fraction: float | None
) -> None:
    kept = [recording for recording in recordings if recording.session in sessions]
    subject = {recording.name: recording.subject for recording in kept}
    # With fewer, nobody may be left to train on.
    assume(len(set(subject.values())) >= max(folds, 4))
    tested: list[str] = []
    for fold in range(folds):
        split = split_with(select_sessions(recordings, sessions), fold, folds, seed, val_fraction)
        parts = [{subject[name] for name in part} for part in (split.train, split.val, split.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)), "a signer is in two parts"
        assert sorted([*split.train, *split.val, *split.test]) == sorted(subject), "each recording is in one part"
        assert split.train
        assert split.test
        assert bool(split.val) == (val_fraction is not None)
        tested += split.test
    assert sorted(tested) == sorted(subject), "each recording is tested in one fold"


def test_a_validation_part_that_leaves_nobody_to_train_on_is_refused_with_the_numbers() -> None:
    signers = [RecordingInfo(f"user{i:02d}_dc", f"user{i:02d}", "S2") for i in range(8)]
    with pytest.raises(DataError, match=r"6 subjects cannot be split into training and 0\.9 of them for validation"):
        split_with(signers, fold=0, folds=4, seed=0, val_fraction=0.9)


@given(
    recordings=datasets(),
    folds=st.integers(2, 5),
    seeds=st.lists(st.integers(0, 1000), min_size=2, max_size=2, unique=True),
    split_seed=st.integers(-1, 1000),
    val_fraction=st.sampled_from([0.05, 0.15, 0.4, 0.6]),
    place=st.integers(0, 59),
)
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], max_examples=40)
def test_no_trial_of_a_nested_search_sees_a_test_signer_of_its_outer_fold(
    recordings: list[RecordingInfo], folds: int, seeds: list[int], split_seed: int, val_fraction: float, place: int
) -> None:
    subject = {recording.name: recording.subject for recording in recordings}
    assume(len(set(subject.values())) >= min_nested_signers(folds, val_fraction))
    # Without a common split_seed, a nested search has one seed only.
    evaluation = {
        "evaluation.folds": folds,
        "evaluation.split_seed": split_seed,
        "evaluation.val_fraction": val_fraction,
        "evaluation.seeds": tuple(seeds if split_seed >= 0 else seeds[:1]),
    }
    configuration = Configuration.of(evaluation)
    outer_fold = place % folds
    outer = [split_of(configuration, recordings, outer_fold, seed) for seed in configuration.evaluation.seeds]
    tested = {subject[name] for split in outer for name in split.test}
    for seed, fold in steps_of(configuration.evaluation):
        split = split_of(configuration, recordings, fold, seed, outer_fold)
        parts = [{subject[name] for name in part} for part in (split.train, split.val, split.test)]
        assert all(parts)
        assert not tested & set.union(*parts)
        assert tested | set.union(*parts) == set(subject.values()), "all others have their part"
        assert sum(map(len, parts)) == len(set.union(*parts)), "a signer is in two parts"


@pytest.mark.parametrize("val_fraction", [0.01, 0.15, 0.5, 0.8])
@pytest.mark.parametrize("folds", [2, 3, 4, 7])
def test_the_least_number_of_signers_of_a_nested_search_is_just_enough(folds: int, val_fraction: float) -> None:
    configuration = Configuration.of({"evaluation.folds": folds, "evaluation.val_fraction": val_fraction})

    def is_enough(signers: int) -> bool:
        recordings = [RecordingInfo(f"user{number:02d}", f"user{number:02d}", "S1") for number in range(signers)]
        try:
            for outer_fold, fold in itertools.product(range(folds), repeat=2):
                split_of(configuration, recordings, fold, 0, outer_fold)
        except DataError:
            return False
        return True

    needed = min_nested_signers(folds, val_fraction)
    assert [is_enough(needed - 1), is_enough(needed)] == [False, True]
