"""Folds that are drawn, or of one subject each: every recording is tested in exactly one of them."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence

from sltune.errors import DataError
from sltune.events.samples import RecordingInfo
from sltune.events.splits.parts import Fold, by_subject


def plain_folds(recordings: Sequence[RecordingInfo], folds: int, seed: int) -> list[Fold]:
    """Return folds that are drawn as the predecessor draws them, but over signers instead of recordings.

    These are those of scikit-learn's ``KFold(shuffle=True, random_state=seed)`` over the list in file order. With
    ``train_test_split(random_state=seed + 1)`` for validation, whose order is kept, the result is the predecessor's if
    each signer has one recording, as in SL-Animals-DVS.

    Raises:
        DataError: there are too few subjects for so many folds.
    """
    from sklearn.model_selection import KFold

    subjects = _enough_subjects(recordings, folds)
    return list(_folds(recordings, (test for _, test in KFold(folds, shuffle=True, random_state=seed).split(subjects))))


def stratified_folds(recordings: Sequence[RecordingInfo], folds: int, seed: int) -> list[Fold]:
    """Return folds with about the same share of every class, as far as subjects, who stay whole, allow.

    These are those of scikit-learn's ``StratifiedGroupKFold(shuffle=True, random_state=seed)`` over the classes of all
    samples, grouped by subject.

    Raises:
        DataError: there are too few subjects, or samples of every class, for so many folds.
    """
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold

    subjects = _enough_subjects(recordings, folds)
    number = {subject: place for place, subject in enumerate(subjects)}
    samples = [(label, number[recording.subject]) for recording in recordings for label in recording.labels]
    labels, groups = np.array(samples).T
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    try:
        with warnings.catch_warnings():
            # A class with few samples cannot be in every fold; the others still are.
            warnings.simplefilter("ignore", UserWarning)
            tested = [sorted(set(groups[test].tolist())) for _, test in splitter.split(labels, labels, groups)]
    except ValueError as error:
        most = int(np.bincount(labels).max())
        raise DataError(f"{folds} stratified folds need a class of {folds} samples; the largest has {most}") from error
    if not all(tested):
        raise DataError(f"{folds} stratified folds of {len(subjects)} subjects leave a fold empty; take fewer folds")
    return list(_folds(recordings, tested))


def one_subject_folds(recordings: Sequence[RecordingInfo]) -> list[Fold]:
    """Return a fold for each subject, who alone is tested in it, in file order.

    Raises:
        DataError: there is one subject only.
    """
    return list(_folds(recordings, ([place] for place in range(len(_enough_subjects(recordings, 2))))))


def _enough_subjects(recordings: Sequence[RecordingInfo], folds: int) -> list[str]:
    subjects = list(by_subject(recordings))
    if len(subjects) < folds:
        raise DataError(f"{folds} folds need at least {folds} subjects, but the dataset has {len(subjects)}")
    return subjects


def _folds(recordings: Sequence[RecordingInfo], tested: Iterator[Sequence[int]] | list[list[int]]) -> Iterator[Fold]:
    """Give the fold for each list of the places of tested subjects."""
    people = list(by_subject(recordings).values())
    for places in tested:
        is_tested = set(map(int, places))
        training = [one for place, own in enumerate(people) if place not in is_tested for one in own]
        yield Fold(training, [one for place in places for one in people[place]])


def min_nested_signers(folds: int, val_fraction: float) -> int:
    """Return how many signers there must be, so that those outside of each test part can be split into folds anew."""
    # About 1 / (1 - val_fraction), which is not exact in floats: one must be left beside the validation part.
    guess = max(1, int(1 / (1 - val_fraction)) - 1)
    in_training = next(count for count in itertools.count(guess) if math.ceil(val_fraction * count) < count)
    outside = max(folds, _with_test_part(in_training, folds))
    return _with_test_part(outside, folds)


def _with_test_part(others: int, folds: int) -> int:
    """Return of how many signers the largest test part, ceil(n / folds), leaves at least so many others."""
    return -(-others * folds // (folds - 1))
