"""One configuration: the settings of sampling, neuron, network, training and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, model_validator

from sltune.settings.types import (
    AboveZeroToOne,
    AtLeastOne,
    Augmentations,
    BelowOne,
    BetweenZeroAndOne,
    CropLength,
    Crops,
    Downsample,
    Folds,
    Milliseconds,
    NotNegative,
    Positive,
    PositiveOrZero,
    SeedOrMinusOne,
    Seeds,
    Sessions,
    Settings,
    Text,
    TomlTable,
    TrueOrFalse,
    Value,
    ZeroToOne,
)
from sltune.wording import as_toml


class Sampling(TomlTable):
    """How a sample becomes frames. A crop has as many whole time bins as fit into its length."""

    time_bin_ms: Milliseconds = 30
    train_crop: Literal["start", "random", "whole", "random-predecessor"] = "random"
    train_crop_ms: Milliseconds = 510
    eval_crop_ms: CropLength = 4350
    eval_crops: Crops = 1
    binning: Literal["binary", "count", "normalized"] = "binary"
    downsample: Downsample = 1
    augment: Augmentations = ()

    @property
    def train_bins(self) -> int | None:
        """Time bins of a training crop; None for whole samples."""
        return None if self.train_crop == "whole" else self.train_crop_ms // self.time_bin_ms

    @property
    def eval_bins(self) -> int | None:
        """Time bins of an evaluation crop; None for as many as the longest sample of the split needs."""
        if self.eval_crop_ms == "train":
            return self.train_bins
        return None if self.eval_crop_ms == "whole" else self.eval_crop_ms // self.time_bin_ms


class Neuron(TomlTable):
    """The LIF neuron and its surrogate gradient, which replaces the derivative of the spike."""

    # Spikes reset the potential to 0: with a threshold of 0 or less a neuron would fire without any input.
    v_threshold: Positive = 0.3
    # With more than 1 the potential would grow by itself.
    decay: ZeroToOne = 0.3
    surrogate: Literal["rectangular", "polynomial", "sigmoid", "gaussian"] = "rectangular"
    surrogate_width: Positive = 0.5


class Network(TomlTable):
    """The architecture and its initial weights."""

    name: Literal["slanimals", "nmnist-mlp", "nmnist-mlp2", "nmnist-cnn"] = "slanimals"
    norm: Literal["none", "tdbn"] = "none"
    # With 1 every activation would be dropped.
    dropout: BelowOne = 0.0
    init: Literal["torch", "stbp"] = "torch"
    weights: Text = ""

    def weights_for(self, fold: int) -> str:
        """Return the path of the initial weights of a fold, counted from 0; "" for none.

        In the setting, {fold} stands for the fold and {fold1} for fold + 1, as the predecessor counts.
        """
        return self.weights.replace("{fold}", str(fold)).replace("{fold1}", str(fold + 1))


class Training(TomlTable):
    """How the network learns."""

    # With 0 epochs the weights in network.weights are tested as they are.
    epochs: NotNegative = 400
    batch_size: AtLeastOne = 8
    eval_batch_size: AtLeastOne = 32
    loss: Literal["mse", "cross-entropy"] = "mse"
    optimizer: Literal["adam", "sgd", "adamw"] = "adam"
    learning_rate: Positive = 1e-3
    momentum: BelowOne = 0.9
    weight_decay: PositiveOrZero = 0.0
    schedule: Literal["constant", "step", "cosine"] = "constant"
    step_epochs: AtLeastOne = 25
    step_factor: AboveZeroToOne = 0.1
    shuffle: TrueOrFalse = False
    patience: NotNegative = 0
    precision: Literal["float32", "bfloat16"] = "float32"


class Evaluation(TomlTable):
    """The folds and seeds on which a configuration is trained and tested."""

    protocol: Literal["train-val-test", "train-test"] = "train-val-test"
    folds: Folds = 4
    val_fraction: BetweenZeroAndOne = 0.15
    seeds: Seeds = (0,)
    split_seed: SeedOrMinusOne = -1
    sessions: Sessions = ("S1", "S2", "S3", "S4")

    @property
    def validation_fraction(self) -> float | None:
        """The share of the training part that is held out for validation; None if the protocol has no validation."""
        return None if self.protocol == "train-test" else self.val_fraction

    def split_seed_for(self, seed: int) -> int:
        """Return the seed that draws the folds and the validation part for trials with this seed."""
        return seed if self.split_seed < 0 else self.split_seed


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


RULES = (
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
        ("training.patience", "evaluation.protocol"),
        lambda patience, protocol: patience == 0 or protocol != "train-test",
        "this protocol has no validation loss to wait for; set patience = 0",
    ),
)


def tables_of(settings: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Return settings by ``section.name`` as a table for each section."""
    tables: dict[str, dict[str, object]] = {}
    for key, value in settings.items():
        section, name = key.split(".", 1)
        tables.setdefault(section, {})[name] = value
    return tables


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
        if problems := [problem for rule in RULES if (problem := rule.problem(settings))]:
            raise ValueError("; ".join(problems))
        return self

    def settings(self) -> dict[str, Value]:
        """Return every setting by its key ``section.name``."""
        return {f"{section}.{name}": value for section, table in self for name, value in table}

    @classmethod
    def of(cls, settings: Settings) -> Configuration:
        """Return the configuration with these settings and defaults elsewhere."""
        return cls.model_validate(tables_of(settings))


SECTIONS = {section: cast(type[TomlTable], field.annotation) for section, field in Configuration.model_fields.items()}
DEFAULTS: Settings = Configuration().settings()
"""Every setting with its default."""
