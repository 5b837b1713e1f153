"""The winner is chosen by validation among what keeps the constraints; the front has what nothing beats."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage

from sltune.errors import UsageError
from sltune.runs.commands import confirmation
from sltune.runs.folder import RunFolder
from sltune.runs.info import DatasetPlace, RunInfo, read_info, write_info
from sltune.runs.record import TrialKey
from sltune.runs.reuse import configuration_of
from sltune.settings.configuration import Configuration
from sltune.settings.space import load_space
from sltune.tuning.campaign.campaign import Finished
from sltune.tuning.campaign.search import SearchCampaign
from sltune.tuning.campaign.winner import complete, pareto_front, winner, write_best
from tests.tuning.searches import DATASET, done, run, search, space

# Validation accuracy and synaptic operations of c0000, c0001, …; the second is best but costs most.
OUTCOMES = [(0.5, 100.0), (0.9, 900.0), (0.7, 300.0), (0.7, 200.0), (0.6, 400.0), (0.9, 900.0)]

INFO = RunInfo(name="x", kind="tune", dataset=DatasetPlace(**DATASET.model_dump()), steps=((0, 0), (0, 1)))


def confirming(campaign: SearchCampaign, data: str) -> str:
    folder = campaign.folder
    return confirmation(folder.best_toml, data, folder.root.name, {seed for seed, _ in campaign.steps})


def searched(root: Path, settings: str) -> SearchCampaign:
    campaign = search(root, space(f"trials = 6\nfold_pruner = 'none'\n{settings}", folds=2), InMemoryStorage())

    def train(_: Configuration, key: TrialKey) -> Finished:
        return done(*OUTCOMES[int(key.config_id[1:])])

    run(campaign, train)
    return campaign


def test_the_best_by_validation_wins_and_the_first_of_equals(tmp_path: Path) -> None:
    campaign = searched(tmp_path, "")
    best = winner(complete(campaign), campaign.search.objectives)
    assert best is not None
    assert best.candidate.config_id == "c0001"


def test_what_breaks_a_constraint_cannot_win(tmp_path: Path) -> None:
    campaign = searched(tmp_path, "constraints = { max_synaptic_ops = 250 }")
    best = winner(complete(campaign), campaign.search.objectives)
    assert best is not None
    assert best.candidate.config_id == "c0003"
    impossible = searched(tmp_path / "x", "constraints = { max_synaptic_ops = 50 }")
    assert winner(complete(impossible), impossible.search.objectives) is None


def test_the_front_has_every_configuration_that_none_beats_in_both(tmp_path: Path) -> None:
    campaign = searched(tmp_path, 'objectives = ["val_accuracy", "synaptic_ops"]')
    front = pareto_front(complete(campaign), campaign.search.objectives)
    # c0002 and c0004 are beaten by c0003; equals do not beat each other.
    assert [one.candidate.config_id for one in front] == ["c0000", "c0001", "c0003", "c0005"]


def test_a_configuration_without_all_its_trials_is_no_candidate(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trials = 2\nfold_pruner = 'none'", folds=2))
    run(campaign, lambda _, key: Finished("failed", "x") if key.name == "c0001-f1-s0" else done(0.5 + key.seed))
    assert [one.candidate.config_id for one in complete(campaign)] == ["c0000"]


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
    best = winner(complete(campaign), campaign.search.objectives)
    assert best is not None
    write_best(campaign, best)
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
    best = winner(complete(campaign), campaign.search.objectives)
    assert best is not None
    write_best(campaign, best)
    assert "validation accuracy 70.00 %" in campaign.folder.best_toml.read_text()


def test_where_weights_lie_on_this_machine_is_not_in_best_toml_and_confirming_finds_them(tmp_path: Path) -> None:
    domains = f"[network]\nweights = '{tmp_path}/w.pt'"
    campaign = search(tmp_path, space("trials = 1", folds=2, domains=domains), InMemoryStorage())
    run(campaign)
    write_info(campaign.folder, INFO)
    write_best(campaign, complete(campaign)[0])
    assert str(tmp_path) not in campaign.folder.best_toml.read_text()
    assert load_space(campaign.folder.best_toml).settings["network.weights"] == "w.pt"
    assert configuration_of(campaign.folder).settings["network.weights"] == f"{tmp_path}/w.pt"
    command = confirmation(campaign.folder.best_toml, "data", "x", {0}, f"{tmp_path}/w.pt")
    assert f"network.weights={tmp_path}/w.pt" in shlex.split(command)
