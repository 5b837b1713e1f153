"""The tables of a space file, with their settings and defaults."""

from __future__ import annotations

from pathlib import PurePath
from typing import ClassVar, Literal

from pydantic import Field

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
    FrameSize,
    Layers,
    LossName,
    MetricNames,
    Milliseconds,
    NetworkName,
    NotNegative,
    OptimizerName,
    Options,
    Positive,
    PositiveOrZero,
    ScheduleName,
    SeedOrMinusOne,
    Seeds,
    Sessions,
    Surrogate,
    Text,
    TomlTable,
    TrueOrFalse,
    ZeroToOne,
    parse_size,
)

SplitKind = Literal["folds", "stratified", "official", "leave-one-subject-out", "list"]
DRAWN = ("folds", "stratified")
"""Splits of which the number of folds can be chosen."""


def split_name(split: str, lists: str) -> str:
    """Return what a split is called: lists by the name of their folder."""
    return f"list {PurePath(lists).name or lists}" if split == "list" else split


class Sampling(TomlTable):
    """How a sample becomes frames. A crop has as many whole time bins as fit into its length."""

    ADDED: ClassVar = ("bins", "size")
    time_bin_ms: Milliseconds = 30
    # So many bins of equal length over the whole of every sample; 0 for bins of time_bin_ms.
    bins: NotNegative = 0
    train_crop: Literal["start", "random", "whole", "random-predecessor"] = "random"
    train_crop_ms: Milliseconds = 510
    eval_crop_ms: CropLength = 4350
    eval_crops: Crops = 1
    binning: Literal["binary", "count", "normalized", "relative"] = "binary"
    downsample: Downsample = 1
    # Width x height of the frames, whatever the sensor is, so that cameras of different size can share a network.
    size: FrameSize = ""
    augment: Augmentations = ()

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """(height, width) of the frames; None for those of the sensor, merged as downsample says."""
        return parse_size(self.size) if self.size else None

    @property
    def train_bins(self) -> int | None:
        """Time bins of a training crop; None for whole samples with bins of time_bin_ms."""
        if self.bins:
            return self.bins
        return None if self.train_crop == "whole" else self.train_crop_ms // self.time_bin_ms

    @property
    def eval_bins(self) -> int | None:
        """Time bins of an evaluation crop; None for as many as the longest sample of the split needs."""
        if self.bins or self.eval_crop_ms == "train":
            return self.train_bins
        return None if self.eval_crop_ms == "whole" else self.eval_crop_ms // self.time_bin_ms


class Neuron(TomlTable):
    """The LIF neuron and its surrogate gradient, which replaces the derivative of the spike."""

    # Spikes reset the potential to 0: with a threshold of 0 or less a neuron would fire without any input.
    v_threshold: Positive = 0.3
    # With more than 1 the potential would grow by itself.
    decay: ZeroToOne = 0.3
    surrogate: Surrogate = "rectangular"
    surrogate_width: Positive = 0.5


class Network(TomlTable):
    """The architecture and its initial weights."""

    ADDED: ClassVar = ("weights_skip", "options")
    # One that is built in, or a class of the user's, such as "nets.py:Tiny".
    name: NetworkName = "slanimals"
    norm: Literal["none", "tdbn"] = "none"
    # With 1 every activation would be dropped.
    dropout: BelowOne = 0.0
    init: Literal["torch", "stbp", "data"] = "torch"
    weights: Text = ""
    # Layers that keep their fresh weights, as the weights are of a network for something else.
    weights_skip: Layers = ()
    # Keyword arguments of a network of the user's.
    options: Options = Field(default_factory=dict)

    def weights_for(self, fold: int) -> str:
        """Return the path of the initial weights of a fold, counted from 0; "" for none.

        In the setting, {fold} stands for the fold and {fold1} for fold + 1, as the predecessor counts.
        """
        return self.weights.replace("{fold}", str(fold)).replace("{fold1}", str(fold + 1))


class Training(TomlTable):
    """How the network learns."""

    ADDED: ClassVar = (
        *("mix", "mix_probability", "label_smoothing", "warmup_epochs", "clip_norm", "average_epochs", "freeze"),
    )
    # With 0 epochs the weights in network.weights are tested as they are.
    epochs: NotNegative = 400
    batch_size: AtLeastOne = 8
    eval_batch_size: AtLeastOne = 32
    # Samples of a batch are mixed with each other, and their labels alike.
    mix: Literal["none", "cutmix", "eventmix"] = "none"
    # Of a batch to be mixed.
    mix_probability: ZeroToOne = 0.5
    loss: LossName = "mse"
    # The share of each label that is spread over all classes.
    label_smoothing: BelowOne = 0.0
    optimizer: OptimizerName = "adam"
    learning_rate: Positive = 1e-3
    momentum: BelowOne = 0.9
    weight_decay: PositiveOrZero = 0.0
    schedule: ScheduleName = "constant"
    step_epochs: AtLeastOne = 25
    step_factor: AboveZeroToOne = 0.1
    # The learning rate rises in even steps before the schedule begins.
    warmup_epochs: NotNegative = 0
    # Gradients whose norm over all weights is larger are scaled down to it; 0 leaves them as they are.
    clip_norm: PositiveOrZero = 0.0
    # From so many epochs before the end on, the mean of the weights since then is evaluated and kept.
    average_epochs: NotNegative = 0
    shuffle: TrueOrFalse = False
    patience: NotNegative = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    # Layers that keep the weights that they start from.
    freeze: Layers = ()


class Evaluation(TomlTable):
    """The folds and seeds on which a configuration is trained and tested.

    split: which recordings train, validate and test. split_lists: the folder of the lists of split "list", or the name
    of lists that come with sltune. folds: 0 stands for as many as the split has.
    """

    ADDED: ClassVar = ("metrics", "split", "split_lists")
    protocol: Literal["train-val-test", "train-test"] = "train-val-test"
    split: SplitKind = "folds"
    split_lists: Text = ""
    folds: Folds = 4
    val_fraction: BetweenZeroAndOne = 0.15
    seeds: Seeds = (0,)
    split_seed: SeedOrMinusOne = -1
    # When a run begins, "all" becomes those of its dataset.
    sessions: Sessions = "all"
    # Functions of the user's that measure more of each trial's test part.
    metrics: MetricNames = ()

    @property
    def split_name(self) -> str:
        """What tables call the split: lists by the name of their folder."""
        return split_name(self.split, self.split_lists)

    @property
    def draws_folds(self) -> bool:
        """Whether the number of folds can be chosen; other splits have as many as there are parts or subjects."""
        return self.split in DRAWN

    @property
    def validation_fraction(self) -> float | None:
        """The share of the training part that is held out for validation; None if the protocol has no validation."""
        return None if self.protocol == "train-test" else self.val_fraction

    def split_seed_for(self, seed: int) -> int:
        """Return the seed that draws the folds and the validation part for trials with this seed."""
        return seed if self.split_seed < 0 else self.split_seed
