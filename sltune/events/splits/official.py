"""The parts that a dataset is published with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from sltune.errors import DataError
from sltune.events.samples import RecordingInfo
from sltune.events.splits.parts import SHARED, Fold, shared_subject

OFFICIAL = 'evaluation.split = "official"'


def official_fold(recordings: Sequence[RecordingInfo]) -> Fold:
    """Return the one fold of the official parts, in file order; recordings that are in none are in no part.

    Raises:
        DataError: there is no training or no test part, or a subject is in two parts.
    """
    train, val, test = ([one for one in recordings if one.split == part] for part in ("train", "val", "test"))
    for name, part in (("train", train), ("test", test)):
        if not part:
            hint = 'import it again with all of its parts, or use another split, such as "folds"'
            raise DataError(f"{OFFICIAL}: no recording of the dataset is in its {name} part; {hint}")
    parts = {"train": train, "val": val, "test": test}
    for first, second in itertools.combinations(parts, 2):
        if shared := shared_subject(parts[first], parts[second]):
            names = " and ".join(dict.fromkeys(recording.name for recording in shared))
            text = f"{shared[0].subject} is in the {first} and in the {second} part ({names})"
            raise DataError(f"{OFFICIAL}: subject {text}; {SHARED}")
    training = [one for one in recordings if one.split in ("train", "val")]
    return Fold(training, test, val or None)
