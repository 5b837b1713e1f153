"""The settings file of ronichester/SL-animals-DVS-stbp, network.yaml, as a space file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Annotated, Literal, cast

import yaml
from pydantic import BaseModel, BeforeValidator

from sltune.errors import ConfigError
from sltune.settings.configuration import tables_of
from sltune.settings.space import parse_space
from sltune.settings.toml import toml_file
from sltune.settings.types import (
    AtLeastOne,
    BelowOne,
    Positive,
    SeedNumber,
    Text,
    TomlTable,
    TrueOrFalse,
    Value,
    ZeroToOne,
    checked,
)
from sltune.system.files import read_plain
from sltune.wording import as_toml, suggestion

MAX_YAML_BYTES = 1 << 16
"""The predecessor's own file has 2 kB."""
MAX_LIST_BYTES = 1 << 20
"""The predecessor's own list of all recordings has 1 kB."""
MAX_DEPTH = 4
"""A network.yaml nests sections, keys and values; one level more lets an error name the key of a wrong value."""

SESSIONS = {"imse": ("S1", 10), "dc": ("S2", 25), "indoor": ("S3", 17), "sunlight": ("S4", 7)}
"""By the end of a recording's name: its session, and how many recordings of it were published."""
OWN_LISTS = {"filelist.txt": ("S1", "S2", "S3", "S4"), "filelist_excludings3.txt": ("S1", "S2", "S4")}
"""The sessions in the lists that come with the predecessor, for a network.yaml that does not lie beside them."""


def _number(value: object) -> object:
    # YAML 1.1 takes 1e-3 for a string, as it has no point.
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value


class SimulationSection(TomlTable):
    steps: AtLeastOne = 50
    dt: AtLeastOne = 30
    a1: Annotated[Positive, BeforeValidator(_number)] = 0.5
    Vth: Annotated[Positive, BeforeValidator(_number)] = 0.3
    tau: Annotated[ZeroToOne, BeforeValidator(_number)] = 0.3


class TrainingSection(TomlTable):
    cuda: TrueOrFalse = True
    seed: SeedNumber = 0
    batch: AtLeastOne = 8
    tst_batch: AtLeastOne = 32
    epochs: AtLeastOne = 400
    optimizer: Literal["ADAM", "SGD"] = "ADAM"
    lr: Annotated[Positive, BeforeValidator(_number)] = 1e-3
    momentum: Annotated[BelowOne, BeforeValidator(_number)] = 0.9
    load_model: TrueOrFalse = False
    bin_mode: Literal["OR", "SUM", "SUM_NORM"] = "OR"
    random_crop: TrueOrFalse = False


class PathSection(TomlTable):
    data: Text = "../data/"
    file_list: Text = "../data/filelist.txt"
    weights: Text = "weights/"
    logs: Text = "logs/"
    out: Text = "output/"


class TestingSection(TomlTable):
    steps: AtLeastOne = 145


class NetworkYaml(BaseModel):
    """A network.yaml; the defaults are what the predecessor's own file says."""

    Simulation: SimulationSection = SimulationSection()
    Training: TrainingSection = TrainingSection()
    Path: PathSection = PathSection()
    Testing: TestingSection = TestingSection()


SECTIONS = {name: cast(type[TomlTable], field.annotation) for name, field in NetworkYaml.model_fields.items()}
KEYS = {f"{section}.{name}" for section, table in SECTIONS.items() for name in table.model_fields}
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


def convert_network_yaml(text: str, source: str, folder: Path | None = None) -> tuple[str, list[str], list[str]]:
    """Return the text of a space file that means the same, what could not be carried over, and what was filled in.

    What the text leaves out is as in the predecessor's own file.

    Args:
        source: the name of the file, for errors and the first line of the space file.
        folder: where the file lies, from which its file_list is looked for; None if that is not known.

    Raises:
        ConfigError: the text is no network.yaml, some values are not allowed, or its list of recordings is not that of
            whole sessions; names every problem.
    """
    problems: list[str] = []
    given = dict(_items(_load(text, source), problems))
    values: dict[str, object] = {}
    for key in filter(KEYS.__contains__, given):
        section, name = key.split(".")
        try:
            values[key] = checked(SECTIONS[section], name, given[key])
        except ValueError as error:
            problems.append(f"{key} = {as_toml(given[key])}: {error}")
    network = NetworkYaml.model_validate(tables_of(values))
    sessions: Sequence[str] = ()
    try:
        sessions = _sessions_of(network.Path.file_list, folder)
    except ValueError as error:
        problems.append(f"Path.file_list = {as_toml(network.Path.file_list)}: {error}")
    if problems:
        raise ConfigError(source, problems)
    settings = _settings(network, sessions)
    comments = {key: COMMENTS[key, value] for key, value in settings.items() if (key, value) in COMMENTS}
    space = f"# Converted from {as_toml(PurePath(source).name)}.\n\n{toml_file(tables_of(settings), comments)}"
    # Values that are allowed one by one may make a crop that is not.
    parse_space(space, source)
    return space, list(_not_carried_over(network, given)), list(_filled_in(network, given))


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
    """Raise a ValueError for aliases and deep nesting, with which a few bytes of YAML can become gigabytes."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {line} has an alias (*{event.anchor}); write the value itself")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"line {line} is nested more than {MAX_DEPTH} deep")


def _sessions_of(file_list: str, folder: Path | None) -> Sequence[str]:
    """Return the sessions whose recordings a list names, in the order of an import.

    Raises:
        ValueError: the list is not one of whole sessions in that order, so folds would differ; says what to do.
    """
    text, reason = None, "its folder is not known"
    if folder is not None:
        try:
            text = read_plain(folder / file_list, MAX_LIST_BYTES).decode()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "is not a text file"
    if text is None:
        if own := OWN_LISTS.get(PurePath(file_list).name.lower()):
            return own
        raise ValueError(f"cannot be read ({reason}), and the recordings that it lists decide the folds")
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
    """Give the values in the file by ``section.key``; add sections that are not tables to ``problems``."""
    for section, table in document.items():
        if isinstance(table, dict):
            yield from ((f"{section}.{name}", value) for name, value in table.items())
        elif section not in SECTIONS:
            yield str(section), table
        elif table is not None:
            problems.append(f"{section} = {as_toml(table)}: must be a section with keys")


def _settings(network: NetworkYaml, sessions: Sequence[str]) -> dict[str, Value]:
    simulation, training = network.Simulation, network.Training
    return {
        "sampling.time_bin_ms": simulation.dt,
        "sampling.train_crop": "random-predecessor" if training.random_crop else "start",
        "sampling.train_crop_ms": simulation.steps * simulation.dt,
        "sampling.eval_crop_ms": network.Testing.steps * simulation.dt if training.random_crop else "train",
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
        "evaluation.sessions": tuple(sessions),
    }


def _not_carried_over(network: NetworkYaml, given: Mapping[str, object]) -> Iterator[str]:
    for key, value in given.items():
        item = f"{key} = {as_toml(value)}"
        if key not in KEYS:
            section, _, name = key.partition(".")
            known = SECTIONS[section].model_fields if section in SECTIONS else SECTIONS
            hint = suggestion(name if section in SECTIONS else section, known)
            kind = "keys" if section in SECTIONS else "sections"
            yield f"{item}: unknown key{hint}; known {kind}: {', '.join(known)}"
        elif key in ELSEWHERE:
            yield f"{item}: {ELSEWHERE[key]}"
    if network.Training.load_model:
        yield (
            "Training.load_model = true: name the weights in network.weights, "
            f"such as {as_toml(network.Path.weights + 'model_weights_fold{fold1}.pt')}"
        )
    if "Testing.steps" in given and not network.Training.random_crop:
        yield f"Testing.steps = {network.Testing.steps}: counts only where random_crop is true, and it is false"


def _filled_in(network: NetworkYaml, given: Mapping[str, object]) -> Iterator[str]:
    """Give the missing keys that matter, with the values of the predecessor's own file."""
    for section, table in network:
        for name, value in table:
            key = f"{section}.{name}"
            counts = key not in ELSEWHERE and (key != "Testing.steps" or network.Training.random_crop)
            if counts and key not in given:
                yield f"{key} = {as_toml(value)}"
