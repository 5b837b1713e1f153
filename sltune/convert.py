"""The settings file of ronichester/SL-animals-DVS-stbp, network.yaml, as a space file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Literal

import yaml
from pydantic import BeforeValidator

from sltune.errors import ConfigError
from sltune.schema import (
    AtLeastOne,
    BelowOne,
    Positive,
    Section,
    SeedNumber,
    Switch,
    Text,
    Value,
    ZeroToOne,
    checked,
    show,
    suggestion,
)


def _number(value: object) -> object:
    # YAML 1.1 takes 1e-3 for a string, as it has no point.
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value


class Simulation(Section):
    """Each table defaults to what the predecessor's own file says."""

    steps: AtLeastOne = 50
    dt: AtLeastOne = 30
    a1: Annotated[Positive, BeforeValidator(_number)] = 0.5
    Vth: Annotated[Positive, BeforeValidator(_number)] = 0.3
    tau: Annotated[ZeroToOne, BeforeValidator(_number)] = 0.3


class Training(Section):
    """As Simulation."""

    cuda: Switch = True
    seed: SeedNumber = 0
    batch: AtLeastOne = 8
    tst_batch: AtLeastOne = 32
    epochs: AtLeastOne = 400
    optimizer: Literal["ADAM", "SGD"] = "ADAM"
    lr: Annotated[Positive, BeforeValidator(_number)] = 1e-3
    momentum: Annotated[BelowOne, BeforeValidator(_number)] = 0.9
    load_model: Switch = False
    bin_mode: Literal["OR", "SUM", "SUM_NORM"] = "OR"
    random_crop: Switch = False


class Path(Section):
    """As Simulation."""

    data: Text = "../data/"
    file_list: Text = "../data/filelist.txt"
    weights: Text = "weights/"
    logs: Text = "logs/"
    out: Text = "output/"


class Testing(Section):
    """As Simulation."""

    steps: AtLeastOne = 145


SECTIONS: Mapping[str, type[Section]] = {
    "Simulation": Simulation,
    "Training": Training,
    "Path": Path,
    "Testing": Testing,
}
KEYS = {f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields}
BINNING = {"OR": "binary", "SUM": "count", "SUM_NORM": "normalized"}
ELSEWHERE = {
    "Training.cuda": "choose the device by --device",
    "Path.data": "import the dataset and name it by --data",
    "Path.weights": "weights go to the run folder, see --results",
    "Path.logs": "TensorBoard files go to the run folder, see --results",
    "Path.out": "reports go to the run folder, see --results",
}
COMMENTS: Mapping[tuple[str, Value], str] = {
    ("sampling.train_crop", "random-predecessor"): 'never draws the last possible start; "random" does',
    ("sampling.eval_crop_ms", "train"): "as in training",
    ("training.shuffle", False): "the predecessor keeps the order of the recordings",
    ("evaluation.protocol", "train-val-test"): '"train-test" for what train_test_only.py does',
}


@dataclass(frozen=True)
class _NetworkYaml:
    """The tables, defaults included, and what the file itself says, by section.key."""

    simulation: Simulation
    training: Training
    path: Path
    testing: Testing
    given: Mapping[str, object]


def convert_network_yaml(text: str, source: str) -> tuple[str, list[str]]:
    """Return the text of a space file that means the same, and what could not be carried over, an item each.

    What the text leaves out is as in the predecessor's own file.

    Args:
        source: the name of the file, for errors and the first line of the space file.

    Raises:
        ConfigError: the text is no network.yaml, or some values mean nothing; names all of them.
    """
    problems: list[str] = []
    given = dict(_items(_load(text, source), problems))
    values: dict[str, dict[str, Value]] = {section: {} for section in SECTIONS}
    for key, value in given.items():
        if key in KEYS:
            section, name = key.split(".")
            try:
                values[section][name] = checked(SECTIONS[section], name, value)
            except ValueError as error:
                problems.append(f"{key} = {show(value)}: {error}")
    if problems:
        raise ConfigError(source, problems)
    network = _NetworkYaml(
        Simulation.model_validate(values["Simulation"]),
        Training.model_validate(values["Training"]),
        Path.model_validate(values["Path"]),
        Testing.model_validate(values["Testing"]),
        given,
    )
    return _render(_settings(network), source), list(_not_carried_over(network))


def _load(text: str, source: str) -> Mapping[object, object]:
    sections = ", ".join(SECTIONS)
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(source, [f"is not YAML: {' '.join(str(error).split())}"]) from error
    if document is None:
        raise ConfigError(source, [f"is empty; a network.yaml has some of the sections {sections}"])
    if not isinstance(document, dict) or not document.keys() & SECTIONS.keys():
        raise ConfigError(source, [f"has none of the sections of a network.yaml: {sections}"])
    return document


def _items(document: Mapping[object, object], problems: list[str]) -> Iterator[tuple[str, object]]:
    """Give what the file says by section.key; a section that is none goes to problems."""
    for section, table in document.items():
        if isinstance(table, dict):
            yield from ((f"{section}.{name}", value) for name, value in table.items())
        elif section not in SECTIONS:
            yield str(section), table
        elif table is not None:
            problems.append(f"{section} = {show(table)}: must be a section with keys")


def _settings(network: _NetworkYaml) -> dict[str, Value]:
    simulation, training = network.simulation, network.training
    without_s3 = "excludings3" in PurePath(network.path.file_list).name.lower()
    return {
        "sampling.time_bin_ms": simulation.dt,
        "sampling.train_crop": "random-predecessor" if training.random_crop else "start",
        "sampling.train_crop_ms": simulation.steps * simulation.dt,
        "sampling.eval_crop_ms": network.testing.steps * simulation.dt if training.random_crop else "train",
        "sampling.binning": BINNING[training.bin_mode],
        "neuron.v_threshold": simulation.Vth,
        "neuron.decay": simulation.tau,
        "neuron.surrogate_width": simulation.a1,
        "training.epochs": training.epochs,
        "training.batch_size": training.batch,
        "training.eval_batch_size": training.tst_batch,
        "training.optimizer": training.optimizer.lower(),
        "training.learning_rate": training.lr,
        "training.momentum": training.momentum,
        "training.shuffle": False,
        "evaluation.protocol": "train-val-test",
        "evaluation.folds": 4,
        "evaluation.seeds": (training.seed,),
        "evaluation.sessions": ("S1", "S2", "S4") if without_s3 else ("S1", "S2", "S3", "S4"),
    }


def _not_carried_over(network: _NetworkYaml) -> Iterator[str]:
    for key, value in network.given.items():
        item = f"{key} = {show(value)}"
        if key not in KEYS:
            section, _, name = key.partition(".")
            hint = (
                suggestion(name, SECTIONS[section].model_fields)
                if section in SECTIONS
                else suggestion(section, SECTIONS)
            )
            yield f"{item}: unknown key{hint}"
        elif key in ELSEWHERE:
            yield f"{item}: {ELSEWHERE[key]}"
    if network.training.load_model:
        yield (
            "Training.load_model = true: name weights that sltune saved in network.weights, "
            "with {fold} for the number of the fold, counted from 0"
        )
    if "Testing.steps" in network.given and not network.training.random_crop:
        yield f"Testing.steps = {network.testing.steps}: counts only where random_crop is true, and it is false"
    name = PurePath(network.path.file_list).name
    if name.lower() not in ("filelist.txt", "filelist_excludings3.txt"):
        yield f"Path.file_list = {show(network.path.file_list)}: choose recordings by evaluation.sessions"


def _render(settings: Mapping[str, Value], source: str) -> str:
    lines = [f"# Converted from {show(PurePath(source).name)}."]
    for key, value in settings.items():
        section, name = key.split(".")
        if f"[{section}]" not in lines:
            lines += ["", f"[{section}]"]
        comment = f"  # {COMMENTS[key, value]}" if (key, value) in COMMENTS else ""
        lines.append(f"{name} = {show(value)}{comment}")
    return "\n".join(lines) + "\n"
