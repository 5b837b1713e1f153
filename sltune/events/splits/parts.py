"""The parts of a split, and how a validation part is drawn from its training part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from sltune.errors import DataError
from sltune.events.samples import RecordingInfo
from sltune.wording import excerpt

SHARED = "no subject may be in two parts; if the split is by sample on purpose, import the data with --group-by sample"


@dataclass(frozen=True)
class Split:
    """The recordings of each part, in reading order; val is empty in train/test splits.

    validation: how the validation part came about: drawn by "subject" or, where none are known, by "recording" or
    "sample", or "given" by the split; "" where there is none.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    validation: str = field(default="", compare=False)


@dataclass(frozen=True)
class Fold:
    """One fold as its split gives it, in reading order.

    training: all that is not tested, with the recordings of val. val: the validation part that the split itself gives;
    None where it has to be drawn.
    """

    training: Sequence[RecordingInfo]
    test: Sequence[RecordingInfo]
    val: Sequence[RecordingInfo] | None = None

    def parted(self, val_fraction: float | None, seed: int) -> Split:
        """Return the parts of the fold.

        Args:
            val_fraction: the fraction of the training part's subjects that validates, if the split does not say who
                does; None for no validation part.

        Raises:
            DataError: there are too few subjects for a validation part.
        """
        if val_fraction is None:
            return Split(_names(self.training), (), _names(self.test))
        if self.val is not None:
            given = _names(self.val)
            left = set(_names(self.training)).difference(given)
            train = tuple(name for name in _names(self.training) if name in left)
            return Split(train, given, _names(self.test), "given")
        of = by_subject(self.training)
        train, val = (
            tuple(one.name for subject in part for one in of[subject]) for part in _drawn(list(of), val_fraction, seed)
        )
        return Split(train, val, _names(self.test), _drawn_by(self.training))


def by_subject(recordings: Iterable[RecordingInfo]) -> dict[str, list[RecordingInfo]]:
    """Return the recordings of each subject; subjects and recordings in their order."""
    of: dict[str, list[RecordingInfo]] = {}
    for recording in recordings:
        of.setdefault(recording.subject, []).append(recording)
    return of


def shared_subject(
    one: Iterable[RecordingInfo], other: Iterable[RecordingInfo]
) -> tuple[RecordingInfo, RecordingInfo] | None:
    """Return a recording of each of two parts that are of the same subject; None where there are none."""
    of = by_subject(one)
    return next(((of[recording.subject][0], recording) for recording in other if recording.subject in of), None)


def select_sessions(recordings: Sequence[RecordingInfo], sessions: Sequence[str]) -> list[RecordingInfo]:
    """Return the recordings of the given sessions, or of "all", and those without a session.

    Raises:
        DataError: there are none.
    """
    if sessions == "all":
        return list(recordings)
    kept = [recording for recording in recordings if not recording.session or recording.session in sessions]
    if not kept:
        refuse_sessions(sessions, recordings)
    return kept


def sessions_of(recordings: Iterable[RecordingInfo]) -> tuple[str, ...]:
    """Return the sessions that there are, by their names."""
    return tuple(sorted({recording.session for recording in recordings} - {""}))


def refuse_sessions(sessions: Iterable[str], recordings: Iterable[RecordingInfo]) -> NoReturn:
    """Raise the DataError that there are no such sessions."""
    there = excerpt(", ".join(sessions_of(recordings))) or "none"
    raise DataError(f"no recording of the sessions {', '.join(sessions)}; the dataset has: {there}")


def everybody(recordings: Sequence[RecordingInfo], seed: int, val_fraction: float | None) -> Split:
    """Return the parts of a training on all subjects, of whom nobody is tested.

    Args:
        val_fraction: fraction that chooses the epoch; None for nobody.

    Raises:
        DataError: there are too few subjects for a validation part.
    """
    in_order = [one for own in by_subject(recordings).values() for one in own]
    return Fold(in_order, []).parted(val_fraction, seed)


def _names(recordings: Iterable[RecordingInfo]) -> tuple[str, ...]:
    return tuple(recording.name for recording in recordings)


def _drawn_by(recordings: Sequence[RecordingInfo]) -> str:
    """Say what keeps together that is drawn by subject: without subjects, each recording or sample is its own."""
    # A large file is several recordings, the first of which has the name of all.
    for subject, own in by_subject(recordings).items():
        if all(subject not in (one.name, *one.sample_ids) for one in own):
            return "subject"
    return "recording" if any(len(one.sample_ids) > 1 for one in recordings) else "sample"


def _drawn(subjects: list[str], val_fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Return the subjects of the training and of the validation part, drawn as the predecessor draws them."""
    # scikit-learn takes a second to import, and workers, which are given their parts, do not need it.
    from sklearn.model_selection import train_test_split

    try:
        train, val = train_test_split(subjects, test_size=val_fraction, random_state=seed + 1)
    except ValueError as error:
        text = f"{len(subjects)} subjects cannot be split into training and {val_fraction:g} of them for validation"
        raise DataError(f"{text}; lower evaluation.val_fraction, or use more data") from error
    return train, val
