"""Configurations of a search that stay silent are given up, whatever its strategy, and the reason is written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from sltune.settings.configuration import Configuration
from sltune.tuning.campaign.campaign import Campaign
from tests.tuning import searches

STRATEGIES = {
    "promote": 'trainings = 24\nsampler = "random"',
    "promote-lag": 'trainings = 24\nsampler = "random"\nlag = 3',
    "prune": 'strategy = "prune"\ntrials = 10\nsampler = "random"',
    "full": 'strategy = "full"\ntrials = 12\nsampler = "random"',
}


def is_silent(configuration: Configuration) -> bool:
    return configuration.neuron.v_threshold > 0.6


def health(configuration: Configuration) -> dict[str, float]:
    """Metrics of an epoch: nothing has a gradient, for the tenth time, or all is well."""
    if is_silent(configuration):
        return {"top_class_share": 1.0, "epochs_without_gradient": 10, "firing_rate_fc2": 0.0}
    return {"top_class_share": 0.5, "epochs_without_gradient": 0, "firing_rate_fc2": 0.1}


def check(campaign: Campaign) -> None:
    """Make sure that silent configurations have one trial that was pruned for it, and others none."""
    silent = [one for one in campaign.candidates.values() if is_silent(one.configuration)]
    assert len(silent) >= 2
    assert len(silent) < len(campaign.candidates)
    for candidate in campaign.candidates.values():
        records = list(candidate.records.values())
        reasons = [record.error for record in records if record.error.startswith("silent: no weight had a gradient")]
        if is_silent(candidate.configuration):
            assert {record.status for record in records} == {"pruned"}
            assert reasons
            assert sum(record.was_trained for record in records) == 1
        else:
            assert not reasons
    best = campaign.plan.criteria.best(campaign.results)
    assert best is not None
    assert not is_silent(campaign.candidates[best.config_id].configuration)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_silent_configuration_is_given_up_with_that_reason(tmp_path: Path, name: str) -> None:
    space = searches.space(STRATEGIES[name])
    campaign = searches.search(tmp_path / "run", space)
    searches.run(campaign, slots=2, epochs=searches.EPOCHS, health=health)
    check(campaign)


@pytest.mark.parametrize("name", ["promote", "promote-lag"])
def test_a_search_that_is_killed_again_and_again_gives_up_the_same_ones(tmp_path: Path, name: str) -> None:
    space = searches.space(STRATEGIES[name])
    campaign = searches.run_through_kills(tmp_path / "killed", space, health=health)
    check(campaign)
    undisturbed = searches.search(tmp_path / "run", space)
    searches.run(undisturbed, epochs=searches.EPOCHS, health=health)
    assert searches.told(campaign) == searches.told(undisturbed)


def test_with_a_lag_the_number_of_trials_at_once_changes_nothing(tmp_path: Path) -> None:
    space = searches.space(STRATEGIES["promote-lag"])
    campaigns = [searches.search(tmp_path / f"run{slots}", space) for slots in (1, 3)]
    for slots, campaign in zip((1, 3), campaigns, strict=True):
        searches.run(campaign, slots=slots, seed=slots, epochs=searches.EPOCHS, health=health)
    assert searches.told(campaigns[0]) == searches.told(campaigns[1])


def test_a_search_that_is_given_more_trainings_leaves_silent_ones_as_they_are(tmp_path: Path) -> None:
    first = searches.search(tmp_path / "run", searches.space(STRATEGIES["promote"]))
    searches.run(first, epochs=searches.EPOCHS, health=health)
    silent = {name for name, one in first.candidates.items() if is_silent(one.configuration)}
    grown = searches.search(tmp_path / "run", searches.space(STRATEGIES["promote"].replace("= 24", "= 32")))
    trained = searches.run(grown, epochs=searches.EPOCHS, health=health)
    assert trained
    assert not silent & {name.partition("-")[0] for name in trained}
    check(grown)
