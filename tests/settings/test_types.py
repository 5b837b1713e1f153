from __future__ import annotations

import pytest

from sltune.settings.sections import Evaluation, Sampling, Training
from sltune.settings.types import TomlTable, checked

OPTIMIZERS = (
    'one of "adam", "sgd", "adamw", or an optimizer of yours, "file.py:Name", "folder/:Name" or "package.module:Name"'
)


@pytest.mark.parametrize(
    ("model", "name", "value", "message"),
    [
        (Training, "optimizer", "adamm", f'must be {OPTIMIZERS}; did you mean "adam"?'),
        (Training, "optimizer", "SGD", f'must be {OPTIMIZERS}; did you mean "sgd"?'),
        (Training, "optimizer", "lion", f"must be {OPTIMIZERS}"),
        (Training, "epochs", 2.5, "must be a whole number from 0 to 1000000000"),
        (Sampling, "downsample", 3, "must be one of 1, 2, 4"),
        (Sampling, "size", "64", 'must be a text WIDTHxHEIGHT such as "64x64", or "" for the sensor\'s'),
        (
            Sampling,
            "eval_crop_ms",
            "hole",
            'must be a whole number from 1 to 4294967, "whole" or "train"; did you mean "whole"?',
        ),
        (Sampling, "augment", "flip", 'must be a list of different augmentations such as ["rotation(degrees=5)"]'),
        (Evaluation, "sessions", ["S1", 2], 'must be "all" or a list of different names of sessions'),
        (Evaluation, "sessions", "al", 'must be "all" or a list of different names of sessions; did you mean "all"?'),
    ],
)
def test_an_error_says_what_is_allowed(model: type[TomlTable], name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        checked(model, name, value)
    assert str(caught.value).endswith(message)
