"""The strategy that pauses configurations and promotes the best: what runs next, and what the study learns."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from sltune.errors import DataError
from sltune.runs.folder import RunFolder
from sltune.runs.record import TrialKey
from sltune.runs.results import Criteria
from sltune.settings.configuration import Configuration
from sltune.tuning.campaign.study import SearchStudy, Verdict
from sltune.tuning.campaign.table import Table, fronts
from sltune.tuning.trial.report import Report
from tests.tuning.searches import (
    FOLD_EFFECTS,
    Trainer,
    campaign_of,
    done,
    hills,
    run,
    run_through_kills,
    search,
    space,
    told,
    trials,
)


def results_of(names: list[str]) -> Counter[str]:
    return Counter(name.partition("-")[0] for name in names)


def test_each_training_runs_once_within_the_budget_and_the_finalists_are_complete(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trainings = 60\nfinalists = 3"))
    names = run(campaign, slots=3)
    assert len(names) == len(set(names)) == 60
    assert sum(record.was_trained for record in campaign.records) == 60
    counts = results_of(names)
    assert len([count for count in counts.values() if count == 4]) >= 3
    assert len(counts) > 25
    # Folds come in their order.
    for name, count in counts.items():
        assert [key for key in names if key.startswith(f"{name}-")] == [f"{name}-f{fold}-s0" for fold in range(count)]


def test_a_promotion_never_waits_and_no_place_idles(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trainings = 40\nsampler = 'random'"))
    out = []
    while len(campaign.records) < 28:
        while len(out) < 5:
            trial = campaign.next_trial()
            assert trial is not None
            out.append((trial.key, trial.configuration))
        assert len({key.config_id for key, _ in out}) == 5, "one training of a configuration at a time"
        key, configuration = out.pop(random.Random(len(campaign.records)).randrange(5))
        campaign.finish(key, hills(configuration, key))


def easy_first_fold(configuration: Configuration, key: TrialKey) -> Report:
    return done(configuration.neuron.decay / 2 + FOLD_EFFECTS[key.fold])


def test_an_easy_fold_is_nobodys_merit(tmp_path: Path) -> None:
    """The first fold is 12 points easier than the mean. A configuration that was trained on it alone is no better."""
    made = space("trainings = 40\nsampler = 'random'", folds=4)
    campaign = search(tmp_path, made, InMemoryStorage())
    run(campaign, easy_first_fold)
    campaign.strategy._view = campaign.strategy._table.view(1000)
    standings = campaign.strategy._standings()
    offsets = np.mean(FOLD_EFFECTS[:4])
    for trial in trials(campaign):
        assert standings[trial.number].values == [pytest.approx(trial.params["neuron.decay"] / 2 + offsets, abs=0.012)]


def test_the_sampler_sees_paused_configurations_where_they_stand(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trainings = 40"))
    seen = []
    original = optuna.samplers.TPESampler.sample_relative

    def watching(self: object, study: optuna.Study, *arguments: object) -> object:
        found = study.get_trials(deepcopy=False)
        seen.append((Counter(trial.state.name for trial in found), [trial.values for trial in found]))
        return original(self, study, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna.samplers.TPESampler, "sample_relative", watching)
        run(campaign)
    for number, (states, values) in enumerate(seen):
        # All that were asked for before have a result, and only the one that is being asked for has none.
        assert states == Counter(COMPLETE=len(values) - 1, RUNNING=1) - Counter(), number
    changed = [[before[0] != after[0] for before, after in zip(a, b, strict=False) if before and after]
               for (_, a), (_, b) in pairwise(seen)]  # fmt: skip
    assert any(map(any, changed)), "what was seen before changes with later results"


def test_the_end_tells_optuna_that_paused_configurations_are_pruned_and_why(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trainings = 24"))
    counts = results_of(run(campaign))
    for trial in trials(campaign):
        count = counts[f"c{trial.number:04d}"]
        assert trial.state.name == ("COMPLETE" if count == 4 else "PRUNED")
        assert len(trial.intermediate_values) == count
        if count < 4:
            text = trial.user_attrs["paused"]
            assert text.startswith(f"paused after {count} of 4 trainings, predicted mean of all 0.")
        else:
            assert trial.user_attrs == {}
    assert Counter(result.state for result in campaign.results) == Counter(
        "complete" if count == 4 else "paused" for count in counts.values()
    )


def test_results_are_shown_in_the_study_as_they_come(tmp_path: Path) -> None:
    """A dashboard shows a paused configuration as one under way, with the results that it has."""
    campaign = search(tmp_path, space("trainings = 24"))
    for count in range(1, 10):
        trial = campaign.next_trial()
        assert trial is not None
        campaign.finish(trial.key, hills(trial.configuration, trial.key))
        shown = trials(campaign)
        assert sum(len(one.intermediate_values) for one in shown) == count
        assert {one.state.name for one in shown} <= {"RUNNING", "COMPLETE"}


def test_more_trainings_promote_what_was_paused_at_the_end_and_count_nothing_twice(tmp_path: Path) -> None:
    run(search(tmp_path, space("trainings = 24")))
    before = {result.config_id: len(result.observed) for result in search(tmp_path, space("trainings = 24")).results}
    # Nothing new is asked for, so that all trainings go to what was paused.
    grown = search(tmp_path, space("trainings = 40\ntrials = 1"))
    names = run(grown)
    assert len(names) == 16
    assert {before[name.partition("-")[0]] for name in names} <= {1, 2, 3}
    copies = [trial for trial in trials(grown) if "retry_of" in trial.user_attrs]
    again = {trial.user_attrs["retry_of"] for trial in copies}
    assert copies
    complete = {result.config_id for result in grown.results if result.state == "complete"}
    assert again == {name for name in complete if before.get(name, 4) < 4}
    grown.strategy._view = grown.strategy._table.view(1000)
    standing = grown.strategy._standings()
    assert len(standing) == len(grown.candidates)
    # Opened once more there is nothing to do.
    assert search(tmp_path, space("trainings = 40\ntrials = 1")).finished


def test_a_removed_record_is_trained_again_and_nothing_else(tmp_path: Path) -> None:
    made = space("trainings = 24")
    first = search(tmp_path, made)
    names = run(first)
    expected = {record.key: record.metrics for record in first.records}
    counts = results_of(names)
    complete = next(name for name, count in counts.items() if count == 4)
    paused = next(name for name, count in counts.items() if count == 1)
    for name in (f"{complete}-f1-s0", f"{paused}-f0-s0"):
        (tmp_path / "trials" / name / "record.json").unlink()
    again = search(tmp_path, made)
    assert sorted(run(again)) == sorted([f"{complete}-f1-s0", f"{paused}-f0-s0"])
    assert {record.key: record.metrics for record in again.records} == expected


def test_a_failed_configuration_gets_nothing_more_until_it_is_retried(tmp_path: Path) -> None:
    made = space("trainings = 24")

    def failing(configuration: Configuration, key: TrialKey) -> Report:
        return Report("failed", "out of luck") if key.name == "c0002-f0-s0" else hills(configuration, key)

    campaign = search(tmp_path, made)
    names = run(campaign, failing)
    assert results_of(names)["c0002"] == 1
    assert trials(campaign)[2].state.name == "FAIL"
    retried = search(tmp_path, made, retry_failed=True)
    assert run(retried) == ["c0002-f0-s0"]
    assert {result.config_id: result.state for result in retried.results}["c0002"] == "paused"


@pytest.mark.parametrize("budget", ["trials = 9", "trainings = 80\ntrials = 9"])
def test_without_further_configurations_the_rest_of_the_budget_goes_to_the_best(tmp_path: Path, budget: str) -> None:
    campaign = search(tmp_path, space(budget), InMemoryStorage())
    counts = results_of(run(campaign))
    assert len(counts) == 9
    complete = sum(count == 4 for count in counts.values())
    assert complete == 9 if "trainings" in budget else 3 <= complete < 9
    assert campaign.finished


def test_hours_that_are_spent_end_the_search_with_its_finalists_complete(tmp_path: Path) -> None:
    # Each training takes an hour on one CPU.
    campaign = search(tmp_path, space("trainings = 240\nmax_device_hours = 20"))
    counts = results_of(run(campaign))
    assert campaign.strategy.spent == "search.max_device_hours = 20"
    best = [result for result in campaign.results if result.state == "complete"]
    assert len(best) >= 3
    assert 20 <= sum(counts.values()) <= 20 + 3 * 3


def test_several_objectives_promote_by_fronts_and_limits_come_first(tmp_path: Path) -> None:
    both = 'objectives = ["val_accuracy", "synaptic_ops"]\ntrainings = 60\nsampler = "random"'
    campaign = search(tmp_path, space(both))
    counts = results_of(run(campaign))
    promoted = {name for name, count in counts.items() if count > 1}
    costs = {name: 1000 * candidate.configuration.neuron.v_threshold for name, candidate in campaign.candidates.items()}
    cheapest = min(costs, key=lambda name: costs[name])
    assert cheapest in promoted, "nothing dominates the cheapest one"
    assert all(len(trial.values) == 2 for trial in trials(campaign) if trial.values)

    limited = search(tmp_path / "limited", space("trainings = 60\nconstraints = { max_synaptic_ops = 350 }"))
    counts = results_of(run(limited))
    kept = {name for name, one in limited.candidates.items() if 1000 * one.configuration.neuron.v_threshold <= 350}
    complete = {name for name, count in counts.items() if count == 4}
    # Only at the start, while hardly any keeps the limit, may another one be among the best.
    assert len(complete & kept) >= 3
    assert all(int(name[1:]) < 10 for name in complete - kept)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25))
def test_fronts_are_those_of_peeling_dominated_points(points: list[tuple[int, int]]) -> None:
    gain, cost = np.array(points, dtype=float).T
    left, expected, front = set(range(len(points))), np.zeros(len(points), dtype=int), 0
    while left:
        best = {
            i for i in left
            if not any(gain[j] >= gain[i] and cost[j] <= cost[i] and points[j] != points[i] for j in left)
        }  # fmt: skip
        for i in best:
            expected[i] = front
        left, front = left - best, front + 1
    found = fronts(gain, cost)
    # Equal points do not dominate each other, and still stand one behind the other: only the first is on the front.
    first = {point: i for i, point in reversed(list(enumerate(points)))}
    assert all(found[i] == expected[i] for i in first.values() if len(first) == len(points))


@pytest.mark.parametrize("lag", [1, 3])
@settings(max_examples=4)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 5), kills=st.booleans())
def test_with_a_lag_places_delays_and_kills_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, lag: int, seed: int, slots: int, kills: bool
) -> None:
    made = space(f"trainings = 20\nlag = {lag}")
    alone = search(tmp_path_factory.mktemp("alone"), made)
    expected = sorted(run(alone))
    root = tmp_path_factory.mktemp("together")
    if kills:
        campaign = run_through_kills(root, made, slots=slots, seed=seed)
    else:
        campaign = search(root, made)
        run(campaign, slots=slots, seed=seed)
    assert told(campaign) == told(alone)
    assert sorted(record.key.name for record in RunFolder(root).records()) == expected
    assert campaign.strategy._study.decisions() == alone.strategy._study.decisions()


def test_with_several_seeds_a_configuration_goes_through_the_folds_of_the_first_before_the_next(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trainings = 40", folds=2, seeds="[3, 1]"))
    names = run(campaign)
    longest = max(results_of(names), key=results_of(names).__getitem__)
    own = [name.partition("-")[2] for name in names if name.startswith(f"{longest}-")]
    assert own == ["f0-s3", "f1-s3", "f0-s1", "f1-s1"]


def failing(name: str) -> Trainer:
    """Return a trainer with which one trial fails."""
    return lambda configuration, key: Report("failed", "out of luck") if key.name == name else hills(configuration, key)


def test_what_a_decision_knows_is_computed_once_for_all_configurations() -> None:
    table = Table(4)
    table.open("c0000", (0.5,))
    view = table.view(0)
    # With 10,000 configurations, all of which are asked about, twice would be 10,000 times.
    assert view.results is view.results
    assert view.mean_costs is view.mean_costs


def test_a_kill_between_ask_and_decision_leaves_no_gap_among_the_decisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = space("trainings = 12\nlag = 2")
    undisturbed = search(tmp_path / "undisturbed", made)
    run(undisturbed)
    campaign = search(tmp_path / "killed", made)
    for _ in range(2):
        trial = campaign.next_trial()
        assert trial is not None
        campaign.finish(trial.key, hills(trial.configuration, trial.key))

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SearchStudy, "decide", die)
        with pytest.raises(KeyboardInterrupt):
            campaign.next_trial()
    run(search(tmp_path / "killed", made))
    again = search(tmp_path / "killed", made)
    assert told(again) == told(undisturbed)
    assert again.strategy._study.decisions() == undisturbed.strategy._study.decisions()


@pytest.mark.parametrize("lag", [0, 1])
def test_a_kill_within_an_ask_changes_no_proposal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lag: int) -> None:
    made = space(f"trainings = 30\nlag = {lag}")
    undisturbed = search(tmp_path / "undisturbed", made)
    run(undisturbed)
    campaign = search(tmp_path / "killed", made)
    original = optuna.Trial.suggest_float

    def suggest(self: optuna.Trial, name: str, *arguments: object, **keywords: object) -> float:
        # TPE draws its first ten proposals at random.
        if self.number == 14 and name == "neuron.v_threshold":
            raise KeyboardInterrupt
        return original(self, name, *arguments, **keywords)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "suggest_float", suggest)
        with pytest.raises(KeyboardInterrupt):
            run(campaign)
    resumed = search(tmp_path / "killed", made)
    run(resumed)
    assert told(resumed) == told(undisturbed)


def test_a_promoted_configuration_is_told_once_however_often_the_search_goes_on(tmp_path: Path) -> None:
    run(search(tmp_path, space("trainings = 12\nfinalists = 1")))
    copies = []
    for _ in range(2):
        grown = search(tmp_path, space("trainings = 24\ntrials = 1"))
        run(grown)
        copies.append([trial.user_attrs["retry_of"] for trial in trials(grown) if "retry_of" in trial.user_attrs])
    assert copies[0] == copies[1]
    assert len(copies[0]) == len(set(copies[0])) > 0


def test_a_retried_configuration_that_paused_may_be_promoted_later(tmp_path: Path) -> None:
    made = space("trainings = 12\nsampler = 'random'")
    run(search(tmp_path, made), failing("c0002-f0-s0"))
    run(search(tmp_path, made, retry_failed=True))
    states = {record.key.name: record.status for record in RunFolder(tmp_path).records()}
    assert {name: state for name, state in states.items() if name.startswith("c0002")} == {"c0002-f0-s0": "done"}
    grown = search(tmp_path, space("trainings = 60\ntrials = 1\nsampler = 'random'"))
    run(grown)
    assert {result.state for result in grown.results} == {"complete"}


def test_a_configuration_that_fails_after_it_was_paused_can_be_retried(tmp_path: Path) -> None:
    run(search(tmp_path, space("trainings = 12\nfinalists = 1")))
    made = space("trainings = 20\ntrials = 1")
    root = RunFolder(tmp_path)
    first = search(tmp_path, made).next_trial()
    assert first is not None
    run(search(tmp_path, made), failing(first.key.name))
    assert [record.key for record in root.records() if record.status == "failed"] == [first.key]
    assert first.key.name in run(search(tmp_path, made, retry_failed=True))
    assert {record.status for record in root.records()} == {"done"}


@pytest.mark.parametrize("is_told", [True, False])
def test_without_the_record_of_its_failure_a_configuration_breaks_no_search(tmp_path: Path, is_told: bool) -> None:
    made = space("trainings = 12\nsampler = 'random'")
    campaign = search(tmp_path, made)
    longest = max(run(search(tmp_path / "other", made)), key=lambda name: name.partition("-")[2])
    name = f"{longest.partition('-')[0]}-f1-s0"
    if is_told:
        run(campaign, failing(name))
    else:
        with pytest.MonkeyPatch.context() as patch:
            # As a process leaves it that is killed before the study knows.
            patch.setattr(type(campaign.strategy), "conclude", lambda self, candidate: None)
            run(campaign, failing(name))
    (tmp_path / "trials" / name / "record.json").unlink()
    grown = search(tmp_path, space("trainings = 60\ntrials = 1\nsampler = 'random'"))
    run(grown)
    assert grown.finished
    assert {result.state for result in grown.results} <= {"complete", "pruned"}


@pytest.mark.parametrize("slots", [1, 3])
def test_with_a_lag_a_finalist_may_diverge_before_a_decision_may_know(tmp_path: Path, slots: int) -> None:
    def train(configuration: Configuration, key: TrialKey) -> Report:
        return Report("diverged", "the loss is nan") if key.fold == 2 else hills(configuration, key)

    made = space("trainings = 16\nlag = 3\nsampler = 'random'")
    campaign = search(tmp_path, made)
    names = run(campaign, train, slots)
    assert campaign.finished
    assert len(names) <= 16
    alone = search(tmp_path / "alone", made)
    run(alone, train)
    assert campaign.strategy._study.decisions() == alone.strategy._study.decisions()
    assert search(tmp_path, made).finished


def test_with_a_lag_earlier_runs_are_known_from_the_first_decision_on(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trainings = 12\nlag = 3"), InMemoryStorage())
    campaign.strategy._table.open("earlier/c0000", (0.5, 0.5))
    campaign.strategy._table.add("earlier/c0000", 0, 0.5, 0.0)
    campaign.next_trial()
    assert campaign.strategy._view.results[0] == 1


def test_who_was_lucky_among_poor_neighbours_is_not_taken_for_the_best() -> None:
    table, rng = Table(4), np.random.default_rng(0)
    for number, place in enumerate(np.linspace(0, 1, 40)):
        table.open(f"c{number:04d}", (place,))
        table.add(f"c{number:04d}", 0, 0.8 - (place - 0.3) ** 2 + 0.02 * rng.normal(), 0.0)
    table.add("c0036", 0, 0.85, 0.0)
    view = table.view(0)
    assert np.nanargmax(view.accuracy[:, 0]) == 36
    best = int(view.ranks(Criteria(), by_front=False).argmin())
    assert abs(best / 39 - 0.3) < 0.15


@pytest.mark.parametrize("seed", range(4))
def test_what_is_taken_up_near_the_end_is_complete_at_the_end(tmp_path: Path, seed: int) -> None:
    """Results may change who the finalists are, and there is nothing left for what is begun too late."""
    campaign = search(tmp_path, space(f"trainings = 30\nseed = {seed}", folds=5), InMemoryStorage())
    names = run(campaign, slots=seed % 2 + 1)
    counts = results_of(names)
    assert len([count for count in counts.values() if count == 5]) >= 3
    assert all(counts[name.partition("-")[0]] == 5 for name in names[-4:])


def test_mean_std_does_not_prefer_configurations_for_having_few_results() -> None:
    """All are equal in truth; half of them have one result, the others all four."""
    table, rng = Table(4), np.random.default_rng(0)
    for number in range(200):
        table.open(f"c{number:04d}", (rng.uniform(),))
        for step in range(1 if number % 2 else 4):
            table.add(f"c{number:04d}", step, 0.7 + FOLD_EFFECTS[step] + 0.05 * rng.normal(), 0.0)
    scores = table.view(0).scores(Criteria(std_weight=1.0))
    # Without the noise of what is missing, those with one result would stand 0.9 points higher.
    assert scores[::2].mean() == pytest.approx(scores[1::2].mean(), abs=0.004)


@pytest.mark.parametrize("name", ["nonsense", "c0000-f9-s0"])
def test_decisions_that_sltune_did_not_write_are_refused(tmp_path: Path, name: str) -> None:
    campaign = search(tmp_path, space("trainings = 12\nlag = 2"))
    campaign.next_trial()
    campaign.strategy._study.decide(1, name)
    with pytest.raises(DataError, match="restore it, or search in a new run"):
        search(tmp_path, space("trainings = 12\nlag = 2"))


def test_any_number_of_configurations_of_earlier_runs_are_compared_with(tmp_path: Path) -> None:
    made = space("trainings = 12")
    assert made.search is not None
    study = SearchStudy(InMemoryStorage(), "hills", made, made.search, new=True)
    for number in range(40):
        values = {"neuron.decay": number / 40, "neuron.v_threshold": 0.5}
        study.learn(f"earlier/c{number:04d}", values, Verdict(TrialState.COMPLETE, {0: 0.5, 1: 0.6}, [0.55]))
    again = SearchStudy(study._seen._storage, "hills", made, made.search)
    campaign = campaign_of(RunFolder(tmp_path), made, again)
    campaign.next_trial()
    assert campaign.strategy._view.results.tolist() == [2] * 40
