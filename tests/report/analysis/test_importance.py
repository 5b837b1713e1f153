"""Importances equal those that Optuna computes from the same trials, and find the parameter that matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from sltune.report.analysis import importance
from sltune.report.analysis.importance import importances
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.series import series_of
from tests.report.plotting import search_records, write_search

SPACE = """
[sampling]
train_crop_ms = { low = 300, high = 3010, step = 30 }
train_crop = { choices = ["random", "start"] }
eval_crop_ms = { choices = ["train", 900], when = { "sampling.train_crop" = "random" } }
augment = { choices = [[], ["rotation(degrees=5)"]] }
[neuron]
decay = { low = 0.05, high = 0.95 }
v_threshold = { low = 0.1, high = 0.9, step = 0.4 }
[training]
learning_rate = { low = 1e-4, high = 1e-2, log = true }
"""
DISTRIBUTIONS = {
    "sampling.train_crop_ms": IntDistribution(300, 3000, step=30),
    "sampling.train_crop": CategoricalDistribution(["random", "start"]),
    "sampling.augment": CategoricalDistribution(["[]", '["rotation(degrees=5)"]']),
    "neuron.decay": FloatDistribution(0.05, 0.95),
    "neuron.v_threshold": FloatDistribution(0.1, 0.9, step=0.4),
    "training.learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
}

Point = tuple[dict[str, Any], float]


def points(count: int) -> list[Point]:
    """Return random values and an accuracy that follows the decay and hardly anything else."""
    random = np.random.default_rng(7)
    found = []
    for _ in range(count):
        values: dict[str, Any] = {
            "sampling.train_crop_ms": int(300 + 30 * random.integers(0, 91)),
            "sampling.train_crop": str(random.choice(["random", "start"])),
            "sampling.augment": [(), ("rotation(degrees=5)",)][random.integers(2)],
            "neuron.decay": float(random.uniform(0.05, 0.95)),
            "neuron.v_threshold": [0.1, 0.5, 0.9][random.integers(3)],
            "training.learning_rate": float(10 ** random.uniform(-4, -2)),
        }
        if values["sampling.train_crop"] == "random":
            values["sampling.eval_crop_ms"] = ["train", 900][random.integers(2)]
        found.append((values, float(0.3 + 0.5 * values["neuron.decay"] + 0.01 * random.random())))
    return found


def write(folder: Path, found: list[Point], space: str = SPACE) -> Path:
    records = [one for number, (values, y) in enumerate(found) for one in search_records(number, values, [y, y])]
    return write_search(folder, space, records)


def by_optuna(found: list[Point]) -> dict[str, float]:
    study = optuna.create_study(direction="maximize")
    for values, accuracy in found:
        parameters = {key: values[key] for key in DISTRIBUTIONS}
        parameters["sampling.augment"] = '["rotation(degrees=5)"]' if values["sampling.augment"] else "[]"
        trial = optuna.trial.create_trial(params=parameters, distributions=DISTRIBUTIONS, value=100 * accuracy)
        study.add_trial(trial)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def test_the_parameter_that_does_everything_has_nearly_all_of_the_importance(tmp_path: Path) -> None:
    found = points(40)
    shares = importances(series_of([load_runs([write(tmp_path / "run", found)])[0]])[0])
    assert next(iter(shares)) == "neuron.decay"
    assert shares["neuron.decay"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert shares == pytest.approx(by_optuna(found))


def test_a_conditional_and_a_constant_parameter_have_no_share(tmp_path: Path) -> None:
    found = [(values | {"training.learning_rate": 1e-3}, accuracy) for values, accuracy in points(12)]
    shares = importances(series_of([load_runs([write(tmp_path / "run", found)])[0]])[0])
    assert shares.keys() == DISTRIBUTIONS.keys() - {"training.learning_rate"}


def test_pruned_failed_and_diverged_configurations_do_not_count(tmp_path: Path) -> None:
    found = points(12)
    folder = write(tmp_path / "run", found)
    expected = importances(series_of([load_runs([folder])[0]])[0])
    others = [search_records(100 + number, values, [0.99, 0.99]) for number, (values, _) in enumerate(points(20)[12:])]
    for number, records in enumerate(others):
        records[1]["status"] = ["failed", "pruned", "diverged"][number % 3]
    everything = [one for number, (values, y) in enumerate(found) for one in search_records(number, values, [y, y])]
    everything += [one for records in others for one in records]
    assert importances(series_of([load_runs([write_search(tmp_path / "more", SPACE, everything)])[0]])[0]) == expected


def test_a_paused_configuration_counts_with_its_predicted_mean(tmp_path: Path) -> None:
    """The second fold is 20 points harder for all, so that raw means over what is there would mislead."""
    found, whole, paused = points(24), [], []
    for number, (values, accuracy) in enumerate(found):
        records = search_records(number, values, [accuracy, accuracy - 0.2])
        whole += records
        paused += records[: 2 if number % 2 else 1]
    shares = [
        importances(series_of([load_runs([write_search(tmp_path / name, SPACE, records)])[0]])[0])
        for name, records in (("whole", whole), ("paused", paused))
    ]
    assert shares[1] == pytest.approx(shares[0], abs=0.03)


def test_values_outside_the_space_do_not_count(tmp_path: Path) -> None:
    found = points(12)
    foreign = [(values | {"neuron.decay": 0.99}, 0.1) for values, _ in points(3)]
    inside = importances(series_of([load_runs([write(tmp_path / "inside", found)])[0]])[0])
    assert importances(series_of([load_runs([write(tmp_path / "both", [*found, *foreign])])[0]])[0]) == inside


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_configurations_explain_nothing(count: int, tmp_path: Path) -> None:
    assert importances(series_of([load_runs([write(tmp_path / "run", points(count))])[0]])[0]) == {}


def test_equal_accuracies_or_equal_values_explain_nothing(tmp_path: Path) -> None:
    found = points(6)
    flat = write(tmp_path / "flat", [(values, 0.5) for values, _ in found])
    same = write(tmp_path / "same", [(found[0][0], accuracy) for _, accuracy in found])
    assert [importances(series) for series in series_of(load_runs([flat, same]))] == [{}, {}]


@pytest.mark.parametrize("space", ["", "[neuron]\nno_such_setting = 1\n"])
def test_a_run_whose_space_searches_nothing_or_is_of_another_version_has_none(space: str, tmp_path: Path) -> None:
    assert importances(series_of([load_runs([write(tmp_path / "run", points(6), space)])[0]])[0]) == {}


def test_of_many_configurations_evenly_spaced_ones_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = points(13)
    monkeypatch.setattr(importance, "MAX_CONFIGURATIONS", 7)
    shares = importances(series_of([load_runs([write(tmp_path / "run", found)])[0]])[0])
    assert shares == pytest.approx(by_optuna(found[::2]))
