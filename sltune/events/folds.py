"""Split recordings into training, validation and test parts, so that no signer is in two of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from sltune.errors import DataError
from sltune.events.samples import RecordingInfo


@dataclass(frozen=True)
class Split:
    """The recordings of each part, in reading order; val is empty in train/test splits."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def select_sessions(recordings: Sequence[RecordingInfo], sessions: Sequence[str]) -> list[RecordingInfo]:
    """Return the recordings of the given sessions, and those without a session.

    Raises:
        DataError: there are none.
    """
    kept = [recording for recording in recordings if not recording.session or recording.session in sessions]
    if not kept:
        there = ", ".join(sorted({recording.session for recording in recordings})) or "none"
        raise DataError(f"no recording of the sessions {', '.join(sessions)}; the dataset has: {there}")
    return kept


def outside_test_part(recordings: Sequence[RecordingInfo], fold: int, folds: int, seed: int) -> list[RecordingInfo]:
    """Return the recordings of all signers who are not in the test part of a fold: what may be looked at before it.

    Raises:
        DataError: there are too few signers for so many folds.
    """
    tested = set(split_recordings(recordings, fold, folds, seed, None).test)
    return [recording for recording in recordings if recording.name not in tested]


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


def split_recordings(
    recordings: Sequence[RecordingInfo], fold: int, folds: int, seed: int, val_fraction: float | None
) -> Split:
    """Return the parts of one fold, drawn as the predecessor does, but over signers instead of recordings.

    It takes scikit-learn's ``KFold(shuffle=True, random_state=seed)`` over the list in file order and then, for
    validation, ``train_test_split(random_state=seed + 1)``, and keeps the order that this returns. If each signer has
    one recording, as in SL-Animals-DVS, the result is the same as the predecessor's.

    Args:
        fold: counted from 0.
        val_fraction: fraction of the training part; None for a train/test split.

    Raises:
        DataError: there are too few signers for so many folds, or for a validation part.
    """
    # scikit-learn takes a second to import, and workers, which are given their parts, do not need it.
    from sklearn.model_selection import KFold

    of = _by_subject(recordings)
    subjects = list(of)
    if len(subjects) < folds:
        raise DataError(f"{folds} folds need at least {folds} signers, but the dataset has {len(subjects)}")
    train_at, test_at = list(KFold(folds, shuffle=True, random_state=seed).split(subjects))[fold]
    train, val, test = [subjects[i] for i in train_at], list[str](), [subjects[i] for i in test_at]
    if val_fraction is not None:
        train, val = _split_off(train, val_fraction, seed)
    return Split(*(tuple(name for subject in part for name in of[subject]) for part in (train, val, test)))


def everybody(recordings: Sequence[RecordingInfo], seed: int, val_fraction: float | None) -> Split:
    """Return the parts of a training on all signers, of whom nobody is tested.

    Args:
        val_fraction: fraction that chooses the epoch; None for nobody.

    Raises:
        DataError: there are too few signers for a validation part.
    """
    of = _by_subject(recordings)
    train, val = (list(of), []) if val_fraction is None else _split_off(list(of), val_fraction, seed)
    return Split(*(tuple(name for subject in part for name in of[subject]) for part in (train, val, [])))


def _by_subject(recordings: Sequence[RecordingInfo]) -> dict[str, list[str]]:
    of: dict[str, list[str]] = {}
    for recording in recordings:
        of.setdefault(recording.subject, []).append(recording.name)
    return of


def _split_off(subjects: list[str], val_fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Return the subjects of the training and of the validation part; raises as split_recordings does."""
    from sklearn.model_selection import train_test_split

    try:
        train, val = train_test_split(subjects, test_size=val_fraction, random_state=seed + 1)
    except ValueError as error:
        text = f"{len(subjects)} signers cannot be split into training and {val_fraction:g} of them for validation"
        raise DataError(f"{text}; lower evaluation.val_fraction, or use more data") from error
    return train, val
