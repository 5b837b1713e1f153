"""One configuration: the settings of sampling, neuron, network, training and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ConfigDict, model_validator

from sltune.extensions.code import is_reference
from sltune.extensions.kinds import OPTIONS_OF
from sltune.settings.sections import DRAWN, Evaluation, Network, Neuron, Sampling, Training
from sltune.settings.types import Settings, TomlTable, Value
from sltune.wording import as_toml, suggestion


@dataclass(frozen=True)
class Rule:
    """A condition on several settings; ``holds`` takes their values in the order of ``keys``."""

    keys: tuple[str, ...]
    holds: Callable[..., bool]
    reason: str

    def problem(self, settings: Settings) -> str | None:
        """Say how the settings break the rule; None if they keep it, or one of them is missing."""
        if not all(key in settings for key in self.keys) or self.holds(*(settings[key] for key in self.keys)):
            return None
        return f"{', '.join(f'{key} = {as_toml(settings[key])}' for key in self.keys)}: {self.reason}"


NAME = "network.name"
OPTIONS = "network.options"
OF_BUILT_IN_NETWORKS = (
    "neuron.v_threshold",
    "neuron.decay",
    "neuron.surrogate",
    "neuron.surrogate_width",
    "network.norm",
    "network.dropout",
    "network.init",
)
"""Settings that the networks of sltune read, and nobody else's."""

RULES = (
    *(
        Rule(
            (key, "network.name"),
            lambda value, name, key=key: not is_reference(name) or value == DEFAULTS[key],
            f"has no effect on a network of yours; leave it out, or make it an argument of yours: [{OPTIONS}]",
        )
        for key in OF_BUILT_IN_NETWORKS
    ),
    Rule(
        ("sampling.train_crop_ms", "sampling.time_bin_ms", "sampling.train_crop"),
        lambda crop_ms, bin_ms, crop: crop == "whole" or crop_ms >= bin_ms,
        "a crop must be at least one time bin long",
    ),
    Rule(
        ("sampling.eval_crop_ms", "sampling.time_bin_ms"),
        lambda crop_ms, bin_ms: crop_ms in ("whole", "train") or crop_ms >= bin_ms,
        "a crop must be at least one time bin long",
    ),
    Rule(
        ("sampling.eval_crop_ms", "sampling.train_crop"),
        lambda crop_ms, crop: crop_ms != "train" or crop != "whole",
        'training takes whole samples; say eval_crop_ms = "whole" to evaluate on them',
    ),
    Rule(
        ("sampling.eval_crops", "sampling.eval_crop_ms"),
        lambda crops, crop_ms: crops == 1 or crop_ms != "whole",
        "several crops of a whole sample would be the same; set eval_crops = 1",
    ),
    Rule(
        ("sampling.bins", "sampling.train_crop", "sampling.eval_crop_ms"),
        lambda bins, crop, crop_ms: bins == 0 or (crop == "whole" and crop_ms == "whole"),
        'bins divide whole samples; set train_crop = "whole" and eval_crop_ms = "whole"',
    ),
    Rule(
        ("sampling.bins", "sampling.time_bin_ms"),
        lambda bins, bin_ms: bins == 0 or bin_ms == DEFAULTS["sampling.time_bin_ms"],
        "the number of bins alone says how long they are; leave time_bin_ms out",
    ),
    Rule(
        ("sampling.size", "sampling.downsample"),
        lambda size, downsample: not size or downsample == 1,
        "size alone says how large frames are; set downsample = 1",
    ),
    Rule(
        ("network.norm", "network.name"),
        lambda norm, name: norm == "none" or name not in OPTIONS_OF,
        'its convolutions are always normalised; leave norm = "none"',
    ),
    Rule(
        ("network.init", "network.name"),
        lambda init, name: init == "torch" or name not in OPTIONS_OF,
        'there are no full connections between neurons; leave init = "torch"',
    ),
    Rule(
        ("network.init", "network.weights"),
        lambda init, weights: init != "data" or not weights,
        'weights that are given are not scaled; leave init = "torch"',
    ),
    Rule(
        ("network.norm", "network.name"),
        lambda norm, name: norm == "none" or name not in ("nmnist-mlp", "nmnist-mlp2"),
        'tdBN normalises convolutions and this network has none; set norm = "none"',
    ),
    Rule(
        ("training.epochs", "network.weights"),
        lambda epochs, weights: epochs > 0 or weights != "",
        "without training there must be weights to test; name their file in network.weights, or train at least 1 epoch",
    ),
    Rule(
        ("training.warmup_epochs", "training.epochs"),
        lambda warmup, epochs: warmup == 0 or warmup < epochs,
        "the learning rate must have risen before the last epoch",
    ),
    Rule(
        ("training.average_epochs", "training.epochs"),
        lambda averaged, epochs: averaged <= epochs,
        "there are fewer epochs than weights should be averaged over",
    ),
    Rule(
        ("evaluation.folds", "evaluation.split"),
        lambda folds, split: folds > 1 or split not in DRAWN,
        "a cross-validation takes at least 2 folds",
    ),
    Rule(
        ("evaluation.split_lists", "evaluation.split"),
        lambda lists, split: bool(lists) == (split == "list"),
        'lists go with split = "list", which needs them: name their folder in split_lists',
    ),
    Rule(
        ("training.patience", "evaluation.protocol"),
        lambda patience, protocol: patience == 0 or protocol != "train-test",
        "this protocol has no validation loss to wait for; set patience = 0",
    ),
)


def is_added(key: str) -> bool:
    """Say whether a setting came later, so that it is written only where it does not have its default."""
    section, name = key.split(".", 1)
    return name in SECTIONS[section].ADDED


def is_option(key: str) -> bool:
    """Say whether a key is that of an option of the network, such as ``network.options.width``."""
    return key.startswith(f"{OPTIONS}.") and key.isascii() and key.removeprefix(f"{OPTIONS}.").isidentifier()


def in_order(keys: Iterable[str]) -> list[str]:
    """Return keys of settings in the order of DEFAULTS; options of the network follow, by their names."""
    found = set(keys)
    return [key for key in DEFAULTS if key in found] + sorted(filter(is_option, found))


def tables_of(settings: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Return settings by ``section.name`` as a table for each section, with options of the network as one within it."""
    tables: dict[str, dict[str, object]] = {}
    options: dict[str, object] = {}
    for key, value in settings.items():
        section, name = key.split(".", 1)
        if is_option(key):
            options[key.removeprefix(f"{OPTIONS}.")] = value
        else:
            tables.setdefault(section, {})[name] = value
    if options:
        tables.setdefault("network", {})["options"] = options
    return tables


def options_problems(keys: Mapping[str, object]) -> list[str]:
    """Say which options a network of sltune would be given that it does not take.

    Args:
        keys: settings, or domains beside ``network.name``.
    """
    name = keys.get("network.name")
    if not isinstance(name, str) or is_reference(name):
        return []
    own = [f"{OPTIONS}.{option}" for option in OPTIONS_OF.get(name, ())]
    takes = f"no option but {', '.join(own)}" if own else "no options"
    reason = f'{as_toml(name)} takes {takes}; they are for networks of yours: when = {{ "network.name" = … }}'
    return [f"{key}: {reason}" for key in keys if is_option(key) and key not in own]


class Configuration(BaseModel):
    """All settings of a training, with defaults.

    Raises:
        pydantic.ValidationError: a value is not allowed, or several break one of the RULES.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    sampling: Sampling = Sampling()
    neuron: Neuron = Neuron()
    network: Network = Network()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _obey_rules(self) -> Configuration:
        settings = self.settings()
        problems = [problem for rule in RULES if (problem := rule.problem(settings))]
        if problems := [*problems, *options_problems(settings)]:
            raise ValueError("; ".join(problems))
        return self

    def settings(self) -> dict[str, Value]:
        """Return every setting by its key ``section.name``."""
        settings = {f"{section}.{name}": value for section, table in self for name, value in table}
        options: Mapping[str, Value] = settings.pop(OPTIONS)
        return settings | {f"{OPTIONS}.{name}": value for name, value in options.items()}

    @classmethod
    def of(cls, settings: Settings) -> Configuration:
        """Return the configuration with these settings and defaults elsewhere."""
        return cls.model_validate(tables_of(settings))


SECTIONS = {section: cast(type[TomlTable], field.annotation) for section, field in Configuration.model_fields.items()}
DEFAULTS: Settings = Configuration().settings()
"""Every setting with its default."""
NAMES = {key.split(".")[1]: key for key in DEFAULTS}


def nearest_key(name: str, section: str = "") -> str:
    """Return a hint at the key that was meant: this name in another section, or a similar name, best in its section."""
    if name in NAMES:
        return f"; did you mean {as_toml(NAMES[name])}?"
    own = [key.split(".")[1] for key in DEFAULTS if key.startswith(f"{section}.")]
    return suggestion(name, own) or suggestion(name, NAMES)
