"""What a space file may say about augmentations, and that a trial trains with it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sltune.errors import ConfigError
from sltune.events.augmentations.augmentation import Augmentation
from sltune.events.manifest import read_manifest
from sltune.events.samples import Samples
from sltune.events.splits.split import split_of
from sltune.events.store import read_table
from sltune.extensions.code import NO_CODE, is_reference
from sltune.extensions.kinds import KINDS, built_in, checked_name, named
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.domains import ChoiceDomain
from sltune.settings.space import load_space, parse_space
from sltune.training.batches import BatchSource
from sltune.training.streams import numpy_stream
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.trainer import Trainer
from tests.small import CLASSES, SENSOR, quick

AUGMENTATIONS = {name: built_in(KINDS["sampling.augment"], name) for name in KINDS["sampling.augment"].built_in}
ALL = (
    "event_drop(probability=0.1)",
    "time_jitter(std_us=2000)",
    "spatial_shift(pixels=4)",
    "polarity_flip(probability=0.5)",
    "time_scale(fraction=0.1)",
    "rotation(degrees=5)",
)


@pytest.mark.parametrize(
    ("text", "name", "amount"),
    [
        ("event_drop(probability=0.1)", "event_drop", 0.1),
        ("event_drop(probability=0)", "event_drop", 0),
        ("time_jitter(std_us=1e3)", "time_jitter", 1000),
        ("time_jitter(std_us=1000000)", "time_jitter", 1_000_000),
        ("spatial_shift(pixels=4)", "spatial_shift", 4),
        ("spatial_shift(pixels=1000)", "spatial_shift", 1000),
        ("polarity_flip(probability=1)", "polarity_flip", 1),
        ("time_scale(fraction=0.999)", "time_scale", 0.999),
        ("rotation(degrees=180)", "rotation", 180),
        ("  rotation ( degrees\t= .5 ) ", "rotation", 0.5),
    ],
)
def test_a_text_is_a_name_and_its_number(text: str, name: str, amount: float) -> None:
    made: Any = named(KINDS["sampling.augment"], checked_name("sampling.augment", text), NO_CODE)
    (parameter,) = fields(made)
    assert (type(made), getattr(made, parameter.name)) == (AUGMENTATIONS[name], amount)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("event_drop", ["1", "-0.1", "1e400"]),
        ("time_jitter", ["-1", "1000001", "inf"]),
        ("spatial_shift", ["-1", "1001", "4.0", "4.5"]),
        ("polarity_flip", ["1.01", "-1", "true"]),
        ("time_scale", ["0", "1", "-0.5"]),
        ("rotation", ["-5", "180.1", "five", "", "5°", "5,6", "1_0", "٣"]),
    ],
)
def test_a_number_out_of_range_is_refused_with_what_is_allowed(name: str, refused: list[str]) -> None:
    (parameter,) = fields(AUGMENTATIONS[name])
    for number in [*refused, "nan"]:
        with pytest.raises(
            ValueError, match=re.escape(f"must be {name}({parameter.name}=N) with N {parameter.metadata['allowed']}")
        ):
            checked_name("sampling.augment", f"{name}({parameter.name}={number})")


def test_the_number_that_is_refused_is_named() -> None:
    with pytest.raises(ValueError, match=r"^400 is not allowed, must be rotation\(degrees=N\)"):
        checked_name("sampling.augment", "rotation(degrees=400)")


@pytest.mark.parametrize(
    "text",
    [
        "rotation",
        "rotation()",
        "rotation(5)",
        "rotation(angle=5)",
        "rotation(degrees)",
        "rotation(degrees=5",
        "rotation(degrees=5))",
        "rotation(degrees=5, pixels=3)",
        "rotation(degrees=5)(degrees=5)",
        "rotation(degrees==5)",
    ],
)
def test_a_known_name_with_another_parameter_is_told_its_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be rotation\(degrees=N\) with N a number from 0 to 180"):
        checked_name("sampling.augment", text)


@pytest.mark.parametrize("text", ["flip", "", "(", "(degrees=5)", "rot ation(degrees=5)", "{name}(degrees=5)"])
def test_an_unknown_name_is_told_all_that_are_known(text: str) -> None:
    with pytest.raises(ValueError, match=f"unknown augmentation .*, known are {', '.join(AUGMENTATIONS)}"):
        checked_name("sampling.augment", text)


def test_an_augmentation_cannot_be_made_with_what_no_text_may_say() -> None:
    for number in (0, 1, True, "0.5"):
        with pytest.raises(ValueError, match=f"{number} is not allowed"):
            AUGMENTATIONS["time_scale"](fraction=number)


@given(st.text(max_size=30) | st.from_regex(r"[a-z_]{0,12}\([a-z_]{0,12}=[-+0-9.e_]{0,9}\)", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        checked_name("sampling.augment", text)
    except ValueError:
        return
    assert is_reference(text) or isinstance(named(KINDS["sampling.augment"], text, NO_CODE), Augmentation)


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_space(text, "x.toml")
    return caught.value.problems


def test_all_problems_of_a_list_are_told_beside_those_of_other_settings() -> None:
    text = '[sampling]\naugment = ["Rotaton(degrees=5)", "event_drop(probability=1)"]\n[training]\nepochs = -1'
    assert problems_of(text) == (
        'sampling.augment = ["Rotaton(degrees=5)", "event_drop(probability=1)"]: '
        'must be a list of different augmentations such as ["rotation(degrees=5)"]; '
        "\"Rotaton(degrees=5)\": unknown augmentation 'Rotaton', known are event_drop, time_jitter, polarity_flip, "
        "time_scale, time_drop, hot_pixels, nda, spatial_shift, rotation, horizontal_flip, zoom, shear, elastic, "
        "area_drop; "
        'did you mean "rotation"?; '
        '"event_drop(probability=1)": 1 is not allowed, must be event_drop(probability=N) with N a number ≥ 0 and < 1: '
        "the probability with which each event is dropped",
        "training.epochs = -1: must be a whole number from 0 to 1000000000",
    )


def test_the_same_name_twice_is_refused() -> None:
    (problem,) = problems_of(
        '[sampling]\naugment = ["rotation(degrees=5)", "spatial_shift(pixels=1)", "rotation(degrees=6)"]'
    )
    assert problem.endswith("; rotation occurs twice")


def test_a_choice_that_is_not_allowed_is_told_with_its_key() -> None:
    (problem,) = problems_of('[sampling]\naugment = { choices = [[], ["rotation(degrees=400)"]] }')
    assert problem.startswith('sampling.augment.choices: ["rotation(degrees=400)"] must be a list of different')
    assert '"rotation(degrees=400)": 400 is not allowed' in problem


def test_augmentations_are_searched_among_lists(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        '[sampling]\naugment = { choices = [[], ["rotation(degrees=5)"]] }\n'
        '[search]\n[[search.first]]\nsampling.augment = ["rotation(degrees=5)"]\n'
    )
    space = load_space(file)
    assert space.domains == {"sampling.augment": ChoiceDomain(choices=((), ("rotation(degrees=5)",)))}
    assert space.first == ({"sampling.augment": ("rotation(degrees=5)",)},)
    assert parse_space(space.to_toml(), "x.toml") == space
    assert space.configuration({"sampling.augment": ()}).sampling.augment == ()


def test_augmentations_stay_the_same_by_override_toml_and_json() -> None:
    listed = ", ".join(f'"{text}"' for text in ALL)
    space = parse_space("", "x.toml", [f"sampling.augment=[{listed}]"])
    configuration = space.configuration()
    assert configuration.sampling.augment == ALL
    assert parse_space(space.to_toml(), "x.toml").configuration() == configuration
    assert Configuration.model_validate_json(configuration.model_dump_json()) == configuration
    assert Configuration.of(configuration.settings()) == configuration


def test_the_documented_table_is_that_of_the_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (a [^|]*) \|", text, re.MULTILINE)
    parameters = [(name, field) for name, known in AUGMENTATIONS.items() for field in fields(known)]
    assert rows == [(name, parameter.name, parameter.metadata["allowed"]) for name, parameter in parameters]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("sltune.extensions.kinds", {"numpy", "pydantic"}),
        ("sltune.settings.space", {"numpy", "torch", "pyarrow", "optuna"}),
        ("sltune.events.augmentations.augmenter", {"torch", "pydantic", "pyarrow"}),
        ("sltune.events.augmentations.built_in", {"torch", "pydantic", "pyarrow"}),
    ],
)
def test_modules_come_without_what_their_users_may_lack(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print({absent} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def trainer(dataset: Path, augment: tuple[str, ...], seed: int = 0) -> Trainer:
    samples = Samples([read_table(dataset / file.file) for file in read_manifest(dataset).files])
    configuration = quick(sampling__augment=augment, sampling__train_crop="random", sampling__train_crop_ms=100)
    job = Job(TrialKey("c0000", seed, 0), configuration, SENSOR, len(CLASSES))
    return Trainer(job, samples, split_of(configuration, samples.recordings(), 0, 0), torch.device("cpu"))


def training_frames(trial: Trainer, epoch: int) -> torch.Tensor:
    return torch.cat([view.clone() for batch in trial.train_batches(epoch) for view in batch.views], dim=1)


def evaluation_frames(part: BatchSource) -> torch.Tensor:
    return torch.cat([view.clone() for batch in part.evaluation(8) for view in batch.views], dim=1)


def test_a_trial_trains_on_augmented_crops_that_depend_on_seed_and_epoch_alone(dataset: Path) -> None:
    trial = trainer(dataset, ALL)
    first, second = training_frames(trial, 1), training_frames(trial, 2)
    assert torch.equal(training_frames(trial, 1), first)
    assert torch.equal(training_frames(trainer(dataset, ALL), 2), second)
    assert not torch.equal(first, second)
    assert not torch.equal(training_frames(trainer(dataset, ALL, seed=1), 1), first)
    assert not torch.equal(training_frames(trainer(dataset, ()), 1), first)


def test_a_trial_evaluates_on_crops_as_they_are(dataset: Path) -> None:
    plain, augmented = trainer(dataset, ()), trainer(dataset, ALL)
    for part in ("val", "test"):
        assert torch.equal(evaluation_frames(getattr(augmented, part)), evaluation_frames(getattr(plain, part)))


def test_augmentations_leave_crops_where_they_are_without(dataset: Path) -> None:
    """Nothing is dropped, moved or flipped, so frames are equal only if all crops begin where they do without."""
    nothing = ("event_drop(probability=0)", "polarity_flip(probability=0)", "spatial_shift(pixels=0)")
    trial = trainer(dataset, ())
    plain = training_frames(trial, 3)
    crops = trial.train.training(8, "random", numpy_stream(0, 0, "crop", 3), None)
    assert torch.equal(plain, torch.cat([view.clone() for batch in crops for view in batch.views], dim=1))
    assert torch.equal(training_frames(trainer(dataset, nothing), 3), plain)
