from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from sltune.settings.configuration import DEFAULTS, Configuration
from sltune.settings.sections import Evaluation, Network, Sampling, Training

BY_DESIGN: dict[str, dict[str, Any]] = {
    "sampling": {
        "time_bin_ms": 30,
        "train_crop": "random",
        "train_crop_ms": 510,
        "eval_crop_ms": 4350,
        "eval_crops": 1,
        "binning": "binary",
        "downsample": 1,
        "augment": [],
    },
    "neuron": {"v_threshold": 0.3, "decay": 0.3, "surrogate": "rectangular", "surrogate_width": 0.5},
    "network": {
        "name": "slanimals",
        "norm": "none",
        "dropout": 0.0,
        "init": "torch",
        "weights": "",
    },
    "training": {
        "epochs": 400,
        "batch_size": 8,
        "eval_batch_size": 32,
        "loss": "mse",
        "optimizer": "adam",
        "learning_rate": 0.001,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "schedule": "constant",
        "step_epochs": 25,
        "step_factor": 0.1,
        "shuffle": False,
        "patience": 0,
        "precision": "float32",
    },
    "evaluation": {
        "protocol": "train-val-test",
        "folds": 4,
        "val_fraction": 0.15,
        "seeds": [0],
        "split_seed": -1,
        "sessions": "all",
    },
}

ALLOWED: list[tuple[str, str, list[Any], list[Any]]] = [
    ("sampling", "time_bin_ms", [1, 510], [0, -1, 2.0, True, "30"]),
    ("sampling", "bins", [], [-1, 16.0, "16"]),
    ("sampling", "train_crop", ["start", "random", "whole", "random-predecessor"], ["middle", "", 0]),
    ("sampling", "train_crop_ms", [30, 10_000], [0, 510.0]),
    ("sampling", "eval_crop_ms", [30, "whole", "train"], [0, -1, 4350.0, "all", True]),
    ("sampling", "eval_crops", [1, 5], [0, 1001, 1.5]),
    ("sampling", "binning", ["binary", "count", "normalized"], ["sum", "OR"]),
    ("sampling", "downsample", [1, 2, 4], [0, 3, 8, 1.0, True]),
    ("sampling", "size", ["64x64", "346x260", "1x99999"], ["64", "64X64", "64x0", "064x64", "1x100000", 64]),
    (
        "sampling",
        "augment",
        [[], ["rotation(degrees=5)"], ["time_jitter(std_us=2000)", "event_drop(probability=0.1)"]],
        [["flip"], "rotation(degrees=5)", ["rotation(degrees=5)", "rotation(degrees=6)"], [5]],
    ),
    ("neuron", "v_threshold", [1, 0.01, 1e-37, 1e38], [0, 5e-324, 1e308, -0.3, math.nan, math.inf, True]),
    ("neuron", "decay", [0, 0.5, 1], [-0.01, 1.01, math.nan, "0.3"]),
    (
        "neuron",
        "surrogate",
        ["rectangular", "polynomial", "sigmoid", "gaussian", "s.py:box"],
        ["box", "gaussian()"],
    ),
    ("neuron", "surrogate_width", [0.5, 20], [0.0, 1e-320, -1, math.inf]),
    (
        "network",
        "name",
        ["slanimals", "nmnist-mlp", "nmnist-mlp2", "nmnist-cnn", "n.py:A", "n/:A", "p.q:A"],
        ["resnet", "n.py", "a b:C", ":C"],
    ),
    ("network", "norm", ["none", "tdbn"], ["batch"]),
    ("network", "dropout", [0, 0.99], [1, -0.1]),
    ("network", "init", ["torch", "stbp"], ["xavier"]),
    ("network", "weights", ["", "w/{fold}.pt"], [0, False]),
    ("network", "weights_skip", [["fc2", "net.0"]], ["fc2", [1], ["fc2", "fc2"]]),
    ("training", "epochs", [1, 10**9], [-1, 10**9 + 1, 1.0, True]),
    ("training", "batch_size", [1], [0, 10**12]),
    ("training", "eval_batch_size", [1], [0]),
    ("training", "mix", ["cutmix", "eventmix"], ["mixup", True]),
    ("training", "mix_probability", [0, 1], [1.1, -0.1]),
    (
        "training",
        "loss",
        ["mse", "cross-entropy", "tet", "l.py:Focal(gamma=2)"],
        ["mae", "l.py:Focal(gamma"],
    ),
    ("training", "label_smoothing", [0.1, 0.99], [1, -0.1, math.nan]),
    ("training", "optimizer", ["adam", "sgd", "adamw", "torch.optim:RAdam"], ["ADAM", "adamm", "o.py.Lion"]),
    ("training", "learning_rate", [1, 1e-9], [0, -1e-3, 1e300, math.inf]),
    ("training", "momentum", [0, 0.99], [1.0, -0.1]),
    ("training", "weight_decay", [0, 0.1], [-1e-9, 1e308, math.nan]),
    ("training", "schedule", ["constant", "step", "cosine", "s.py:warm"], ["linear"]),
    ("training", "step_epochs", [1], [0]),
    ("training", "step_factor", [1, 0.1], [0, 1.1]),
    ("training", "warmup_epochs", [1, 5], [-1, 2.0]),
    ("training", "clip_norm", [1, 0.5], [-1, math.inf]),
    ("training", "average_epochs", [1, 10], [-1, 1.5]),
    ("training", "shuffle", [True, False], [0, 1, "true"]),
    ("training", "patience", [0, 5], [-1]),
    ("training", "precision", ["float32", "bfloat16"], ["float16"]),
    ("training", "freeze", [["conv1"]], ["conv1", [True], ["a", "a"]]),
    ("evaluation", "protocol", ["train-val-test", "train-test"], ["test"]),
    ("evaluation", "split", ["stratified", "official", "leave-one-subject-out"], ["kfold", "", 4]),
    ("evaluation", "split_lists", [], [0, ["lists"]]),
    ("evaluation", "folds", [2, 10], [-1, 1001, 4.0]),
    ("evaluation", "val_fraction", [0.01, 0.99], [0, 1, -0.15]),
    (
        "evaluation",
        "seeds",
        [[0], [3, 1, 4294967294]],
        [[], [*range(1001)], [-1], [0, 0], [4294967295], [0.0], [True], 0],
    ),
    ("evaluation", "split_seed", [-1, 0, 4294967294], [-2, 4294967295]),
    ("evaluation", "sessions", ["all", ["S3"], ["at noon", "S1"]], [[], [""], [3], ["S1", "S1"], "S1"]),
    (
        "evaluation",
        "metrics",
        [["m.py:top3"], ["m.py:top(k=3)", "own.metrics:top"]],
        [["top3"], ["m.py"], ["m.py:top(3)"], ["m.py:top", "m.py:top"], "m.py:top"],
    ),
]


def test_defaults_are_those_of_the_design() -> None:
    assert Configuration().model_dump(mode="json") == BY_DESIGN


def test_every_setting_has_its_bounds_tested() -> None:
    assert [f"{section}.{name}" for section, name, _, _ in ALLOWED] == list(DEFAULTS)


@pytest.mark.parametrize(
    ("section", "name", "value"), [(s, n, value) for s, n, allowed, _ in ALLOWED for value in allowed]
)
def test_allowed_values_are_kept(section: str, name: str, value: object) -> None:
    configuration = Configuration.model_validate({section: {name: value}})
    assert configuration.model_dump(mode="json")[section][name] == value


@pytest.mark.parametrize(
    ("section", "name", "value"), [(s, n, value) for s, n, _, refused in ALLOWED for value in refused]
)
def test_values_out_of_bounds_or_of_another_type_are_refused(section: str, name: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Configuration.model_validate({section: {name: value}})
    assert {error["loc"][:2] for error in caught.value.errors()} == {(section, name)}


@pytest.mark.parametrize("tables", [{"training": {"epoch": 1}}, {"sampler": {}}])
def test_unknown_keys_are_refused(tables: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Configuration.model_validate(tables)


def test_whole_numbers_become_floats_where_floats_are_expected() -> None:
    learning_rate = Training(learning_rate=1).learning_rate
    assert (learning_rate, type(learning_rate)) == (1.0, float)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Configuration().training.epochs = 3


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        (
            {"sampling": {"train_crop_ms": 20, "time_bin_ms": 30}},
            "sampling.train_crop_ms = 20, sampling.time_bin_ms = 30",
        ),
        (
            {"sampling": {"eval_crop_ms": 20, "time_bin_ms": 30}},
            "sampling.eval_crop_ms = 20, sampling.time_bin_ms = 30",
        ),
        (
            {"sampling": {"train_crop": "whole", "eval_crop_ms": "train"}},
            'sampling.eval_crop_ms = "train", sampling.train_crop = "whole"',
        ),
        (
            {"sampling": {"eval_crops": 3, "eval_crop_ms": "whole"}},
            'sampling.eval_crops = 3, sampling.eval_crop_ms = "whole"',
        ),
        ({"network": {"norm": "tdbn", "name": "nmnist-mlp"}}, 'network.norm = "tdbn", network.name = "nmnist-mlp"'),
        (
            {"training": {"patience": 5}, "evaluation": {"protocol": "train-test"}},
            'training.patience = 5, evaluation.protocol = "train-test"',
        ),
    ],
)
def test_values_that_do_not_go_together_are_named(tables: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Configuration.model_validate(tables)
    assert named in str(caught.value)


def test_whole_samples_do_not_need_a_crop_of_one_time_bin() -> None:
    assert Configuration(sampling=Sampling(train_crop="whole", train_crop_ms=10)).sampling.train_bins is None


@pytest.mark.parametrize(
    ("sampling", "train_bins", "eval_bins"),
    [
        (Sampling(), 17, 145),
        (Sampling(train_crop_ms=539, eval_crop_ms="train"), 17, 17),
        (Sampling(train_crop="whole", eval_crop_ms="whole"), None, None),
    ],
)
def test_crops_have_as_many_bins_as_fit_wholly(
    sampling: Sampling, train_bins: int | None, eval_bins: int | None
) -> None:
    assert (sampling.train_bins, sampling.eval_bins) == (train_bins, eval_bins)


def test_there_is_no_validation_part_when_the_protocol_has_none() -> None:
    assert Evaluation(val_fraction=0.2).validation_fraction == 0.2
    assert Evaluation(val_fraction=0.2, protocol="train-test").validation_fraction is None


def test_a_split_seed_keeps_the_splits_while_seeds_vary() -> None:
    assert [Evaluation().split_seed_for(seed) for seed in (0, 7)] == [0, 7]
    assert [Evaluation(split_seed=5).split_seed_for(seed) for seed in (0, 7)] == [5, 5]


def test_the_fold_is_filled_into_the_path_of_the_weights() -> None:
    assert Network(weights="runs/f{fold}/best{fold}.pt").weights_for(2) == "runs/f2/best2.pt"
    assert Network(weights="weights/model_weights_fold{fold1}.pt").weights_for(0) == "weights/model_weights_fold1.pt"
    assert Network().weights_for(2) == ""


def test_a_configuration_is_the_same_after_json() -> None:
    configuration = Configuration.of({"evaluation.seeds": (3, 4), "training.learning_rate": 0.1})
    assert Configuration.model_validate_json(configuration.model_dump_json()) == configuration
    assert Configuration.of(configuration.settings()) == configuration


def test_a_number_of_bins_goes_with_whole_samples_alone() -> None:
    whole = {"bins": 16, "train_crop": "whole", "eval_crop_ms": "whole"}
    sampling = Configuration.model_validate({"sampling": whole}).sampling
    assert (sampling.train_bins, sampling.eval_bins) == (16, 16)
    for change in ({"train_crop": "random"}, {"eval_crop_ms": 4350}, {"time_bin_ms": 20}):
        with pytest.raises(ValidationError, match="bins"):
            Configuration.model_validate({"sampling": {**whole, **change}})
