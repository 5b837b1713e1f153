"""Which weights a run keeps as it goes on, and after kills: those of the best and the front, and of who may be."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from sltune.errors import DataError
from sltune.runs.folder import RunFolder
from sltune.runs.info import RunInfo, write_info
from sltune.runs.record import TrialKey
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.execution import weights
from sltune.tuning.execution.weights import KeptWeights
from sltune.tuning.trial.report import Report
from sltune.tuning.trial.trained import kept_weights
from tests.tuning import searches

EVERYTHING = 'trials = 24\nsampler = "random"\nfold_pruner = "none"'


def with_weights(root: Path) -> set[str]:
    return {file.parent.name for file in RunFolder(root).trials.glob("*/best.pt")}


def leading(campaign: Campaign) -> set[str]:
    """Return the best complete configuration and those that no other beats in accuracy and operations, pair by pair."""
    whole = {
        name: (
            sum(record.metrics.val_accuracy or 0.0 for record in one.records.values()) / len(one.steps),
            sum(record.metrics.synaptic_ops or 0.0 for record in one.records.values()) / len(one.steps),
        )
        for name, one in campaign.candidates.items()
        if len(one.records) == len(one.steps) and all(record.status == "done" for record in one.records.values())
    }
    beaten = set[str]()
    for one, other in combinations(whole, 2):
        for high, low in ((one, other), (other, one)):
            (gain, cost), (less, more) = whole[high], whole[low]
            if gain >= less and cost <= more and (gain, cost) != (less, more):
                beaten.add(low)
    return set(whole) - beaten


def expected(campaign: Campaign) -> set[str]:
    """Return the trials whose weights must be there, as nothing is paused for good."""
    kept = leading(campaign) | {
        name for name, one in campaign.candidates.items() if one.result.state == "paused" and not one.over
    }
    return {key.name for name in kept for key, one in campaign.candidates[name].records.items() if one.status == "done"}


def trained(campaign: Campaign, key: TrialKey) -> Report:
    configuration = campaign.candidates[key.config_id].configuration
    report = searches.hills(configuration, key)
    return replace(report, metrics={**report.metrics, "synaptic_ops": 1e6 * abs(configuration.neuron.decay - 0.6)})


@pytest.mark.parametrize("pruner", ["none", "median"])
@pytest.mark.parametrize("kill_share", [0.0, 0.2])
def test_a_search_keeps_the_best_and_the_front_at_any_moment_and_after_any_kill(
    tmp_path: Path, pruner: str, kill_share: float
) -> None:
    """A kill comes between a record and the deletion that follows from it."""
    rng, space = random.Random(0), searches.space(EVERYTHING.replace('"none"', f'"{pruner}"'))
    campaign = searches.search(tmp_path, space)
    keeper = KeptWeights(campaign, "best")
    most = 0
    while not campaign.finished:
        handed = [trial for trial in (campaign.next_trial() for _ in range(2)) if trial is not None]
        for trial in handed:
            campaign.finish(trial.key, trained(campaign, trial.key))
            if rng.random() < kill_share:
                break
            keeper.update(campaign.candidates[trial.key.config_id])
            assert with_weights(tmp_path) == expected(campaign)
        else:
            most = max(most, len(with_weights(tmp_path)))
            continue
        campaign = searches.search(tmp_path, space)
        keeper = KeptWeights(campaign, "best")
        keeper.catch_up()
        assert with_weights(tmp_path) == expected(campaign)
    assert {TrialKey.parse(name).config_id for name in with_weights(tmp_path)} == leading(campaign)
    assert 4 * len(leading(campaign)) < 24 * 4 / 3
    assert most < 24 * 4 / 2


def test_of_many_paused_configurations_only_the_most_promising_keep_their_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "TRIALS_BETWEEN_LOOKS", 1)
    monkeypatch.setattr(weights, "MIN_PAUSED", 3)
    space = searches.space('strategy = "promote"\ntrials = 40\ntrainings = 48\nsampler = "random"')
    campaign = searches.search(tmp_path, space)
    keeper = KeptWeights(campaign, "best")
    while (trial := campaign.next_trial()) is not None:
        campaign.finish(trial.key, searches.hills(trial.configuration, trial.key))
        keeper.update(campaign.candidates[trial.key.config_id])
        # A quarter of those that have begun, those that are complete, and the one that ends.
        paused = {TrialKey.parse(name).config_id for name in with_weights(tmp_path)} - leading(campaign)
        assert len(paused) <= max(3, round(len(campaign.candidates) / 4))
    scores = {
        name: record.metrics.val_accuracy or 0.0
        for name, one in campaign.candidates.items()
        if len(one.records) == 1
        for record in one.records.values()
    }
    kept = {TrialKey.parse(name).config_id for name in with_weights(tmp_path)}
    best_paused = max(scores, key=lambda name: scores[name])
    assert best_paused in kept
    assert leading(campaign) <= kept
    # At the end of a search, at most so many as MIN_PAUSED says.
    assert len(kept - leading(campaign)) == 3


@pytest.mark.parametrize(("keep", "share"), [("all", 1.0), ("none", 0.0)])
def test_all_or_none_are_kept_on_request_also_of_a_run_that_began_otherwise(
    tmp_path: Path, keep: str, share: float
) -> None:
    campaign = searches.search(tmp_path, searches.space(EVERYTHING.replace("24", "3")))
    searches.run(campaign)
    keeper = KeptWeights(campaign, keep)
    keeper.catch_up()
    assert len(with_weights(tmp_path)) == share * 12


def test_a_configuration_with_a_failed_trial_keeps_its_weights_as_it_may_be_tried_again(tmp_path: Path) -> None:
    campaign = searches.search(tmp_path, searches.space(EVERYTHING.replace("24", "3")))
    while (trial := campaign.next_trial()) is not None:
        failed = trial.key.name == "c0001-f1-s0"
        report = Report("failed", "broke") if failed else searches.hills(trial.configuration, trial.key)
        campaign.finish(trial.key, report)
    KeptWeights(campaign, "best").catch_up()
    assert "c0001-f0-s0" in with_weights(tmp_path)


@pytest.mark.parametrize(("keep", "whose"), [("best", "the best configuration and the Pareto front"), ("none", "no")])
def test_who_asks_for_weights_that_were_not_kept_learns_how_to_get_them(tmp_path: Path, keep: str, whose: str) -> None:
    campaign = searches.search(tmp_path / "run", searches.space(EVERYTHING.replace("24", "1")))
    searches.run(campaign)
    folder, (record, *_) = campaign.folder, campaign.records
    dataset = {"name": "hills", "synthetic": True, "fingerprint": "f", "classes": ["a", "b"]}
    values = {"name": "run", "kind": "evaluate", "dataset": dataset, "trials": [], "keep_weights": keep}
    write_info(folder, RunInfo.model_validate(values))
    assert kept_weights(folder, record).read_bytes() == b"w"
    folder.remove(folder.trial(record.key).best_weights)
    again = f"sltune evaluate --from {folder.root}/c0000 --data DATA"
    with pytest.raises(DataError, match=rf"best\.pt: is not there, as the run keeps the weights of {whose}.*{again}"):
        kept_weights(folder, record)
