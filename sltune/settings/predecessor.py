"""The settings file of ronichester/SL-animals-DVS-stbp, network.yaml, as a space file."""

from __future__ import annotations

import pathlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Literal

import yaml
from pydantic import BeforeValidator

from sltune.errors import ConfigError
from sltune.settings.space import parse_space
from sltune.settings.types import (
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
)
from sltune.system.files import read_plain
from sltune.wording import as_toml, suggestion

MAX_YAML_BYTES = 1 << 16
"""The predecessor's own file has 2 kB."""
MAX_LIST_BYTES = 1 << 20
DEEPEST = 4
"""Sections, keys and values, and a list too many."""

SESSIONS = {"imse": ("S1", 10), "dc": ("S2", 25), "indoor": ("S3", 17), "sunlight": ("S4", 7)}
"""Session and number of its recordings in the published set, by the end of their names."""
OWN_LISTS = {"filelist.txt": ("S1", "S2", "S3", "S4"), "filelist_excludings3.txt": ("S1", "S2", "S4")}
"""The sessions of the predecessor's own lists, for where these do not lie beside network.yaml."""


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
    sessions: Sequence[str]


def convert_network_yaml(
    text: str, source: str, folder: pathlib.Path | None = None
) -> tuple[str, list[str], list[str]]:
    """Return the text of a space file that means the same, what could not be carried over, and what was filled in.

    What the text leaves out is as in the predecessor's own file.

    Args:
        source: the name of the file, for errors and the first line of the space file.
        folder: where it lies, from which its file_list is looked for; None for nowhere.

    Raises:
        ConfigError: the text is no network.yaml, some values mean nothing, or its list of recordings cannot be had from
            whole sessions; names all of them.
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
                problems.append(f"{key} = {as_toml(value)}: {error}")
    sessions: Sequence[str] = ()
    path = Path.model_validate(values["Path"])
    try:
        sessions = _sessions_of(path.file_list, folder)
    except ValueError as error:
        problems.append(f"Path.file_list = {as_toml(path.file_list)}: {error}")
    if problems:
        raise ConfigError(source, problems)
    network = _NetworkYaml(
        Simulation.model_validate(values["Simulation"]),
        Training.model_validate(values["Training"]),
        path,
        Testing.model_validate(values["Testing"]),
        given,
        sessions,
    )
    space = _render(_settings(network), source)
    # Values that are allowed each may make a crop that is not.
    parse_space(space, source)
    return space, list(_not_carried_over(network)), list(_filled_in(network))


def _load(text: str, source: str) -> Mapping[object, object]:
    sections = ", ".join(SECTIONS)
    try:
        _refuse_expansion(text)
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(source, [f"is not YAML: {' '.join(str(error).split())}"]) from error
    if document is None:
        raise ConfigError(source, [f"is empty; a network.yaml has some of the sections {sections}"])
    if not isinstance(document, dict) or not document.keys() & SECTIONS.keys():
        raise ConfigError(source, [f"has none of the sections of a network.yaml: {sections}"])
    return document


def _refuse_expansion(text: str) -> None:
    """Raise a ValueError where a few bytes could stand for values without end."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {line} has an alias (*{event.anchor}); write the value itself")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"line {line} is nested more than {DEEPEST} deep")


def _sessions_of(file_list: str, folder: pathlib.Path | None) -> Sequence[str]:
    """Return the sessions of which a list names every recording, in the order in which an import has them.

    Raises:
        ValueError: it is another list, from which the predecessor would draw other folds; says what to do.
    """
    try:
        text = read_plain((folder or pathlib.Path()) / file_list, MAX_LIST_BYTES).decode() if folder else None
    except (OSError, ValueError) as error:
        text, reason = None, getattr(error, "strerror", None) or "is no text"
    else:
        reason = "its folder is not known"
    own = OWN_LISTS.get(PurePath(file_list).name.lower())
    if text is None and own is None:
        raise ValueError(f"cannot be read ({reason}), and the recordings that it lists decide the folds")
    if text is None:
        assert own is not None
        return own
    names = text.split()
    ends = Counter(name.partition("_")[2] for name in names if re.fullmatch(r"user\d\d_[a-z]+", name))
    is_whole = bool(names) and all(end in SESSIONS and ends[end] == SESSIONS[end][1] for end in ends)
    if is_whole and sum(ends.values()) == len(names) and names == sorted(set(names)):
        return sorted(SESSIONS[end][0] for end in ends)
    raise ValueError(
        f"lists {len(names)} recordings that are not all those of some sessions by name, and folds would differ; "
        "import a folder of these recordings alone, and name filelist.txt here instead"
    )


def _items(document: Mapping[object, object], problems: list[str]) -> Iterator[tuple[str, object]]:
    """Give what the file says by section.key; a section that is none goes to problems."""
    for section, table in document.items():
        if isinstance(table, dict):
            yield from ((f"{section}.{name}", value) for name, value in table.items())
        elif section not in SECTIONS:
            yield str(section), table
        elif table is not None:
            problems.append(f"{section} = {as_toml(table)}: must be a section with keys")


def _settings(network: _NetworkYaml) -> dict[str, Value]:
    simulation, training = network.simulation, network.training
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
        "evaluation.sessions": tuple(network.sessions),
    }


def _not_carried_over(network: _NetworkYaml) -> Iterator[str]:
    for key, value in network.given.items():
        item = f"{key} = {as_toml(value)}"
        if key not in KEYS:
            section, _, name = key.partition(".")
            known = SECTIONS[section].model_fields if section in SECTIONS else SECTIONS
            hint = suggestion(name if section in SECTIONS else section, known)
            kind = "keys" if section in SECTIONS else "sections"
            yield f"{item}: unknown key{hint}; known {kind}: {', '.join(known)}"
        elif key in ELSEWHERE:
            yield f"{item}: {ELSEWHERE[key]}"
    if network.training.load_model:
        yield (
            "Training.load_model = true: name the weights in network.weights, "
            f"such as {as_toml(network.path.weights + 'model_weights_fold{fold1}.pt')}"
        )
    if "Testing.steps" in network.given and not network.training.random_crop:
        yield f"Testing.steps = {network.testing.steps}: counts only where random_crop is true, and it is false"


def _filled_in(network: _NetworkYaml) -> Iterator[str]:
    """Give the keys that count and that the file lacks, with the values of the predecessor's own file."""
    for section, table in zip(
        SECTIONS, (network.simulation, network.training, network.path, network.testing), strict=True
    ):
        for name, value in table:
            key = f"{section}.{name}"
            counts = key not in ELSEWHERE and (key != "Testing.steps" or network.training.random_crop)
            if counts and key not in network.given:
                yield f"{key} = {as_toml(value)}"


def _render(settings: Mapping[str, Value], source: str) -> str:
    lines = [f"# Converted from {as_toml(PurePath(source).name)}."]
    for key, value in settings.items():
        section, name = key.split(".")
        if f"[{section}]" not in lines:
            lines += ["", f"[{section}]"]
        comment = f"  # {COMMENTS[key, value]}" if (key, value) in COMMENTS else ""
        lines.append(f"{name} = {as_toml(value)}{comment}")
    return "\n".join(lines) + "\n"
