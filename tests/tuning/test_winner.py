"""The best by validation among what keeps the constraints wins, and everything that names the best names it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from sltune.errors import UsageError
from sltune.progress.state import RunState
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.series import series_of
from sltune.report.plots.search_history import best_so_far
from sltune.report.tables.configurations import configurations_grid
from sltune.runs.commands import confirmation
from sltune.runs.folder import RunFolder
from sltune.runs.info import DatasetPlace, RunInfo, read_info, write_info
from sltune.runs.record import TrialKey
from sltune.runs.results import Result
from sltune.settings.configuration import Configuration
from sltune.settings.space import load_space
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.reuse import configuration_of
from sltune.tuning.trial.report import Report
from sltune.tuning.winner import summary, write_best
from tests.tuning.searches import DATASET, done, run, search, space, trials

# Validation accuracy and synaptic operations of c0000, c0001, …; the second is best but costs most.
OUTCOMES = [(0.5, 100.0), (0.9, 900.0), (0.7, 300.0), (0.7, 200.0), (0.6, 400.0), (0.9, 900.0)]

INFO = RunInfo(name="x", kind="tune", dataset=DatasetPlace(**DATASET.model_dump()), steps=((0, 0), (0, 1)))


def confirming(campaign: Campaign, data: str) -> str:
    folder = campaign.folder
    return confirmation(folder.best_toml, data, folder.root.name, {seed for seed, _ in campaign.steps})


def searched(root: Path, settings: str) -> Campaign:
    campaign = search(root, space(f"trials = 6\nfold_pruner = 'none'\n{settings}", folds=2), InMemoryStorage())

    def train(_: Configuration, key: TrialKey) -> Report:
        return done(*OUTCOMES[int(key.config_id[1:])])

    run(campaign, train)
    return campaign


def best_of(campaign: Campaign) -> Result:
    best = campaign.plan.criteria.best(campaign.results)
    assert best is not None
    return best


def test_the_best_by_validation_wins_and_the_first_of_equals(tmp_path: Path) -> None:
    assert best_of(searched(tmp_path, "")).config_id == "c0001"


def test_what_breaks_a_constraint_cannot_win(tmp_path: Path) -> None:
    assert best_of(searched(tmp_path, "constraints = { max_synaptic_ops = 250 }")).config_id == "c0003"
    impossible = searched(tmp_path / "x", "constraints = { max_synaptic_ops = 50 }")
    assert impossible.plan.criteria.best(impossible.results) is None


def test_a_configuration_without_all_its_trials_cannot_win(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trials = 2\nfold_pruner = 'none'", folds=2))
    run(campaign, lambda _, key: Report("failed", "x") if key.name == "c0001-f1-s0" else done(0.5 + key.seed))
    assert [(one.config_id, one.state) for one in campaign.results] == [("c0000", "complete"), ("c0001", "failed")]


def test_board_and_report_and_summary_name_the_best_that_is_written(tmp_path: Path) -> None:
    made = space("trials = 2\naggregate = 'mean-std'", folds=2)
    campaign = search(tmp_path, made, InMemoryStorage())
    run(campaign, lambda _, key: done([[0.9, 0.5], [0.69, 0.69]][int(key.config_id[1:])][key.fold]))
    write_info(campaign.folder, INFO)
    campaign.folder.space_toml.write_text(made.to_toml())
    state = RunState(campaign.plan)
    for record in campaign.records:
        state.end(record)
    (series,) = series_of(load_runs([tmp_path]))
    assert series.shown is not None
    assert state.best is not None
    assert campaign.progress().endswith("best c0001 with validation 69.0 %")
    assert {best_of(campaign).config_id, state.best.config_id, series.shown.config_id} == {"c0001"}
    assert best_so_far(series) == ([0, 1], [pytest.approx(70), pytest.approx(69)])


def test_a_configuration_that_diverged_is_called_so_by_summary_and_report(tmp_path: Path) -> None:
    made = space("trials = 2\nfold_pruner = 'none'", folds=2)
    campaign = search(tmp_path, made, InMemoryStorage())
    run(campaign, lambda _, key: Report("diverged", "x") if key.name == "c0001-f1-s0" else done(0.5))
    write_info(campaign.folder, INFO)
    campaign.folder.space_toml.write_text(made.to_toml())
    assert next(summary(campaign)).startswith("2 configurations: 1 complete, 1 diverged;")
    (series,) = series_of(load_runs([tmp_path]))
    grid = configurations_grid(series)
    assert grid is not None
    assert [line[:2] for line in grid.rows] == [("c0000", "best"), ("c0001", "diverged")]
    # Optuna has no such state; its samplers learn from what was pruned.
    assert [trial.state for trial in trials(campaign)] == [TrialState.COMPLETE, TrialState.PRUNED]


def test_the_confirmation_has_seeds_that_were_never_used(tmp_path: Path) -> None:
    campaign = search(tmp_path / "a run", space("trials = 1", folds=2, seeds="[0, 2]"), InMemoryStorage())
    run(campaign)
    words = shlex.split(confirming(campaign, "my data"))
    assert words[:2] == ["sltune", "evaluate"]
    assert words[2:] == [
        str(tmp_path / "a run" / "best.toml"),
        "--data",
        "my data",
        "--set",
        "evaluation.seeds=[1, 3, 4]",
        "--run",
        "a run-confirmed",
    ]


def test_the_best_and_any_other_configuration_can_be_taken_from_a_run(tmp_path: Path) -> None:
    campaign = searched(tmp_path, "")
    write_info(campaign.folder, INFO)
    campaign.folder.space_toml.write_text(space("trials = 6").to_toml())
    with pytest.raises(UsageError, match="its search has no best configuration yet; name one"):
        configuration_of(RunFolder(tmp_path))
    write_best(campaign, best_of(campaign))
    assert read_info(campaign.folder).best == "c0001"
    assert load_space(campaign.folder.best_toml) == configuration_of(RunFolder(tmp_path))
    for trial in ("c0004", "c0004-f1-s0"):
        chosen = configuration_of(RunFolder(tmp_path), trial).configuration()
        assert chosen == campaign.candidates["c0004"].configuration
    with pytest.raises(UsageError, match="has no record of c0099"):
        configuration_of(RunFolder(tmp_path), "c0099")


def test_fresh_seeds_beside_the_largest_seed(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trials = 1", folds=2, seeds=f"[{2**32 - 2}]"), InMemoryStorage())
    assert "evaluation.seeds=[0, 1, 2]" in confirming(campaign, "data")


def test_the_best_by_mean_less_deviations_says_its_mean(tmp_path: Path) -> None:
    made = space("trials = 1\naggregate = 'mean-std'\nstd_weight = 2.0", folds=2)
    campaign = search(tmp_path, made, InMemoryStorage())
    write_info(campaign.folder, INFO)
    run(campaign, lambda _, key: done([0.5, 0.9][key.fold]))
    write_best(campaign, best_of(campaign))
    assert "validation accuracy 70.00 %" in campaign.folder.best_toml.read_text()


def test_where_weights_lie_on_this_machine_is_not_in_best_toml_and_confirming_finds_them(tmp_path: Path) -> None:
    domains = f"[network]\nweights = '{tmp_path}/w.pt'"
    campaign = search(tmp_path, space("trials = 1", folds=2, domains=domains), InMemoryStorage())
    run(campaign)
    write_info(campaign.folder, INFO)
    write_best(campaign, best_of(campaign))
    assert str(tmp_path) not in campaign.folder.best_toml.read_text()
    assert load_space(campaign.folder.best_toml).settings["network.weights"] == "w.pt"
    assert configuration_of(campaign.folder).settings["network.weights"] == f"{tmp_path}/w.pt"
    command = confirmation(campaign.folder.best_toml, "data", "x", {0}, f"{tmp_path}/w.pt")
    assert f"network.weights={tmp_path}/w.pt" in shlex.split(command)


@pytest.mark.parametrize("budget", ["trainings = 240", "trials = 50"])
def test_hours_that_end_a_search_early_are_set_against_the_budget_that_it_has(tmp_path: Path, budget: str) -> None:
    campaign = search(tmp_path, space(f"{budget}\nmax_device_hours = 8\nsampler = 'random'"))
    run(campaign)
    said = list(summary(campaign, campaign.strategy.spent))[-1]
    assert said.startswith(f"ended before search.{budget}, as search.max_device_hours = 8 is spent; raise it in ")
