"""A search without Ray: what it hands out, gives up and tells, also when it is killed at any write."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.storages.journal import JournalFileBackend

from sltune.errors import DataError
from sltune.runs.folder import RunFolder, read_record
from sltune.runs.record import Record, TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.space import Space, parse_space
from sltune.settings.types import Cost, Limit
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.campaign.search import _least_begun
from sltune.tuning.campaign.strategy import Candidate
from sltune.tuning.trial.report import Report
from tests.tuning.searches import Killed, done, hills, run, run_through_kills, search, space, told, trials


def records(root: Path) -> dict[str, tuple[str, dict[str, Any], str]]:
    return {r.key.name: (r.status, r.metrics, r.error) for r in RunFolder(root).records()}


def by_configuration(root: Path) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in RunFolder(root).records():
        found.setdefault(record.config_id, []).append(record)
    return found


def test_one_trial_at_a_time_finishes_a_configuration_before_the_next_is_asked_for(tmp_path: Path) -> None:
    names = run(search(tmp_path, space("trials = 2\nfold_pruner = 'none'", folds=2, seeds="[0, 7]")))
    steps = ["f0-s0", "f1-s0", "f0-s7", "f1-s7"]
    assert names == [f"{config}-{step}" for config in ("c0000", "c0001") for step in steps]


def test_free_places_go_to_further_configurations_and_then_to_further_folds(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trials = 3\nstrategy = 'full'", folds=2))
    out = [campaign.next_trial() for _ in range(7)]
    assert [trial.key.name if trial else None for trial in out] == [
        *("c0000-f0-s0", "c0001-f0-s0", "c0002-f0-s0", "c0000-f1-s0", "c0001-f1-s0", "c0002-f1-s0"),
        None,
    ]
    assert not campaign.finished


@pytest.mark.parametrize("pruner", ["median", "paired-t", "none"])
def test_every_trial_has_one_record_and_the_study_agrees_with_them(tmp_path: Path, pruner: str) -> None:
    made = space(f"trials = 24\nfold_pruner = '{pruner}'\nsampler = 'random'", folds=5)
    campaign = search(tmp_path, made)
    names = run(campaign, slots=4)
    assert len(set(names)) == len(names)
    found = by_configuration(tmp_path)
    assert sorted(found) == [f"c{number:04d}" for number in range(24)]
    for trial, (config_id, own) in zip(trials(campaign), sorted(found.items()), strict=True):
        assert [record.fold for record in own] == [0, 1, 2, 3, 4]
        statuses = {record.status for record in own}
        assert trial.state.name == ("COMPLETE" if statuses == {"done"} else "PRUNED"), config_id
        assert trial.intermediate_values == {r.fold: r.metrics.val_accuracy for r in own if r.status == "done"}
    states = Counter(trial.state.name for trial in trials(campaign))
    assert (states["PRUNED"] == 0) == (pruner == "none")
    assert states["COMPLETE"] >= 2


def test_the_objective_is_the_mean_of_the_validation_records_to_the_last_digit(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trials = 12\nfold_pruner = 'none'", folds=5))
    run(campaign, slots=3)
    for trial, own in zip(trials(campaign), by_configuration(tmp_path).values(), strict=True):
        # In exact arithmetic, rounded once at the end.
        exact = sum(Fraction(record.metrics.val_accuracy) for record in own) / 5
        assert trial.value == float(exact)


def test_mean_std_takes_standard_deviations_off_the_mean(tmp_path: Path) -> None:
    made = space("trials = 1\naggregate = 'mean-std'\nstd_weight = 2.0", folds=2)
    campaign = search(tmp_path, made)
    run(campaign, lambda _, key: done([0.5, 0.7][key.fold]))
    # Mean 0.6, standard deviation (ddof 1) 0.1·√2.
    assert trials(campaign)[0].value == pytest.approx(0.6 - 2 * 0.1 * 2**0.5)


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.sampled_from(["tpe", "random"]), st.integers(1, 3))
def test_test_metrics_cannot_influence_any_proposal(
    tmp_path_factory: pytest.TempPathFactory, accuracies: list[float], sampler: str, slots: int
) -> None:
    def with_test(configuration: Configuration, key: TrialKey) -> Report:
        finished = hills(configuration, key)
        number = int(1e6 * configuration.neuron.decay) + key.fold
        test = {"test_accuracy": accuracies[number % len(accuracies)], "test_loss": float(number), "confusion": [[1]]}
        return dataclasses.replace(finished, metrics={**finished.metrics, **test})

    made = space(f"trials = 14\nsampler = '{sampler}'", folds=3)
    plain = search(tmp_path_factory.mktemp("plain"), made, InMemoryStorage())
    changed = search(tmp_path_factory.mktemp("changed"), made, InMemoryStorage())
    assert run(plain, hills, slots) == run(changed, with_test, slots)
    assert told(plain) == told(changed)


def _copied_at_writes(monkeypatch: pytest.MonkeyPatch, root: Path, writes: range, copies: Path) -> None:
    """Copy a run's folder to copies/WRITE as a process leaves it that dies at this write.

    It dies before it writes a file, or while it appends to the journal, every other time in the middle of a line.
    """
    count = iter(range(10**9))
    append, write_file = JournalFileBackend.append_logs, RunFolder.write

    def copied_write(self: RunFolder, file: Path, content: str | bytes) -> None:
        if (write := next(count)) in writes:
            shutil.copytree(root, copies / str(write), symlinks=True)
        write_file(self, file, content)

    def copied_append(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        if (write := next(count)) in writes:
            copy = shutil.copytree(root, copies / str(write), symlinks=True)
            if write % 2 == 0:
                with (copy / Path(self._file_path).name).open("ab") as journal:
                    journal.write(b'{"op_code":5,"wor')
        append(self, logs)

    monkeypatch.setattr(RunFolder, "write", copied_write)
    monkeypatch.setattr(JournalFileBackend, "append_logs", copied_append)


# Every third write of each search, from another one on, so that all kinds of writes are met; all of them are slow.
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("rules", "epochs", "first"),
    [
        ("fold_pruner = 'median'", 0, 0),
        ("epoch_pruner = 'median'\nfold_pruner = 'none'", 3, 1),
        ("epoch_pruner = 'halving'\nfold_pruner = 'paired-t'", 3, 2),
        ("trainings = 18\nfinalists = 2", 0, 1),
    ],
)
def test_a_search_killed_at_any_write_goes_on_to_the_study_and_the_records_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: str, epochs: int, first: int, step: int
) -> None:
    made = space(f"trials = 9\n{rules}", folds=3, domains="[training]\nepochs = 4")

    def train(configuration: Configuration, key: TrialKey) -> Report:
        if configuration.neuron.decay > 0.95:
            return Report("diverged", "the loss is nan")
        return hills(configuration, key)

    root, copies = tmp_path / "undisturbed", tmp_path / "killed"
    with monkeypatch.context() as patch:
        _copied_at_writes(patch, root, range(first % step, 1000, step), copies)
        undisturbed = search(root, made)
        run(undisturbed, train, epochs=epochs)
    expected, states = records(root), told(undisturbed)
    assert ("pruned" in {status for status, *_ in expected.values()}) == ("trainings" not in rules)
    assert any("learning curves" in error for *_, error in expected.values()) == bool(epochs)

    killed = sorted(copies.iterdir(), key=lambda copy: int(copy.name))
    assert 60 < int(killed[-1].name) < 900
    for copy in killed:
        resumed = search(copy, made)
        run(resumed, train, epochs=epochs)
        assert told(resumed) == states, f"killed at write {copy.name}"
        assert records(copy) == expected, f"killed at write {copy.name}"


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(["median", "paired-t", "none"]), st.integers(2, 6))
def test_with_several_trials_at_a_time_and_kills_in_between_records_are_whole_and_consistent(
    tmp_path_factory: pytest.TempPathFactory, seed: int, pruner: str, slots: int
) -> None:
    root = tmp_path_factory.mktemp("run")
    made = space(f"trials = 8\nfold_pruner = '{pruner}'\nsampler = 'random'", folds=3)
    finished: Counter[str] = Counter()

    def train(configuration: Configuration, key: TrialKey) -> Report:
        finished[key.name] += 1
        return hills(configuration, key)

    run_through_kills(root, made, train, slots, seed)
    found = by_configuration(root)
    assert sorted(found) == [f"c{number:04d}" for number in range(8)]
    assert all(len(own) == 3 for own in found.values())
    # No trial that was recorded is trained again.
    assert set(finished.values()) == {1}
    for trial in trials(search(root, made)):
        own = {record.fold: record for record in found[f"c{trial.number:04d}"]}
        complete = all(record.status == "done" for record in own.values())
        assert trial.state.name == ("COMPLETE" if complete else "PRUNED")


def failing(configuration: Configuration, key: TrialKey) -> Report:
    return Report("failed", "out of luck") if key.name == "c0001-f1-s0" else hills(configuration, key)


def test_a_configuration_of_which_a_trial_failed_is_told_as_failed_and_never_averaged(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trials = 3\nfold_pruner = 'none'", folds=3))
    names = run(campaign, failing)
    assert "c0001-f2-s0" not in names
    assert [trial.state.name for trial in trials(campaign)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials(campaign)[1].values is None
    own = by_configuration(tmp_path)["c0001"]
    assert [(r.status, r.error) for r in own] == [
        ("done", ""),
        ("failed", "out of luck"),
        ("pruned", "c0001-f1-s0 failed"),
    ]


def test_a_failed_configuration_can_be_tried_again_and_the_sampler_learns_of_it(tmp_path: Path) -> None:
    made = space("trials = 3\nfold_pruner = 'none'", folds=3)
    run(search(tmp_path, made), failing)
    assert run(search(tmp_path, made)) == []

    again = search(tmp_path, made, retry_failed=True)
    assert run(again) == ["c0001-f1-s0", "c0001-f2-s0"]
    copy = trials(again)[3]
    assert (copy.state.name, copy.user_attrs, copy.params) == (
        "COMPLETE",
        {"retry_of": "c0001"},
        trials(again)[1].params,
    )
    folder = RunFolder(tmp_path).trial(TrialKey("c0001", 0, 1))
    assert {file.name for file in folder.path.glob("record*")} == {"record.json", "record.1.json"}
    assert {record.status for record in by_configuration(tmp_path)["c0001"]} == {"done"}
    # Once is enough, and more configurations can follow.
    assert run(search(tmp_path, made, retry_failed=True)) == []
    assert made.search is not None
    more = dataclasses.replace(made, search=made.search.model_copy(update={"trials": 4}))
    assert {name[:5] for name in run(search(tmp_path, more))} == {"c0004"}


def test_a_retry_that_is_killed_can_be_tried_again(tmp_path: Path) -> None:
    made = space("trials = 3\nfold_pruner = 'none'", folds=3)
    run(search(tmp_path, made), failing)

    def die(configuration: Configuration, key: TrialKey) -> Report:
        if key.fold == 2:
            raise Killed
        return hills(configuration, key)

    with pytest.raises(Killed):
        run(search(tmp_path, made, retry_failed=True), die)
    assert run(search(tmp_path, made)) == []
    again = search(tmp_path, made, retry_failed=True)
    assert run(again) == ["c0001-f2-s0"]
    assert trials(again)[3].user_attrs == {"retry_of": "c0001"}


def test_a_configuration_that_diverged_is_pruned_after_what_it_has_reached(tmp_path: Path) -> None:
    def train(configuration: Configuration, key: TrialKey) -> Report:
        diverges = key.name == "c0000-f1-s0"
        return Report("diverged", "the loss of batch 3 is nan") if diverges else hills(configuration, key)

    campaign = search(tmp_path, space("trials = 1", folds=3))
    run(campaign, train)
    (trial,) = trials(campaign)
    assert trial.state.name == "PRUNED"
    assert list(trial.intermediate_values) == [0]
    assert [record.status for record in RunFolder(tmp_path).records()] == ["done", "diverged", "pruned"]


def test_trials_can_be_added_to_a_finished_search_and_are_those_of_a_longer_one(tmp_path: Path) -> None:
    run(search(tmp_path / "short", space("trials = 12\nstrategy = 'prune'")))
    grown = search(tmp_path / "short", space("trials = 20\nstrategy = 'prune'"))
    run(grown)
    whole = search(tmp_path / "long", space("trials = 20\nstrategy = 'prune'"))
    run(whole)
    assert told(grown) == told(whole)


def test_the_hours_of_a_trial_that_went_on_are_those_of_all_its_processes(tmp_path: Path) -> None:
    first = search(tmp_path / "run", space("trials = 1"))
    trial = first.next_trial()
    assert trial is not None
    first.add_epochs(trial.key, [{"epoch": 1, "seconds": 1800.0}])
    # Its process dies; the next one begins with the second epoch, and takes 900 s in all.
    second = search(tmp_path / "run", space("trials = 1"))
    again = second.next_trial()
    assert again is not None
    assert again.key == trial.key
    second.add_epochs(trial.key, [{"epoch": 2, "seconds": 600.0}])
    ended = Report("failed", "disk", timings={"started": 0.0, "ended": 900.0}, device={"num_cpus": 2})
    record = second.finish(trial.key, ended)
    assert record.seconds == 2400
    assert record.device_hours == pytest.approx(2400 / 3600 * 2)


def test_budgets_of_hours_end_the_asking_but_not_what_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every trial takes an hour of one CPU.
    campaign = search(tmp_path / "device", space("trials = 10\nmax_device_hours = 5\nfold_pruner = 'none'", folds=3))
    assert len(run(campaign)) == 6
    assert campaign.finished
    assert campaign.strategy.spent == "search.max_device_hours = 5"
    # What was used before counts after a restart.
    assert run(search(tmp_path / "device", space("trials = 10\nmax_device_hours = 5", folds=3))) == []

    clock = iter(range(0, 10**6, 600))
    monkeypatch.setattr("sltune.tuning.campaign.search.time.monotonic", lambda: float(next(clock)))
    timed = search(tmp_path / "wall", space("trials = 10\nmax_hours = 2\nfold_pruner = 'none'", folds=3))
    assert 0 < len(run(timed)) < 30
    assert timed.strategy.spent == "search.max_hours = 2"
    assert all(len(own) == 3 for own in by_configuration(tmp_path / "wall").values())


def test_constraints_and_a_second_objective_reach_the_study(tmp_path: Path) -> None:
    both = 'objectives = ["val_accuracy", "synaptic_ops"]\nconstraints = { max_synaptic_ops = 500 }'
    both += '\ntrials = 16\nstrategy = "full"'
    campaign = search(tmp_path, space(both, folds=2))
    run(campaign)
    for trial, own in zip(trials(campaign), by_configuration(tmp_path).values(), strict=True):
        operations = own[0].metrics.synaptic_ops
        assert trial.values == [pytest.approx(sum(r.metrics.val_accuracy for r in own) / 2), operations]
        assert trial.constraints == {"max_synaptic_ops": operations - 500}


@pytest.mark.parametrize("strategy", ["full", "promote"])
@pytest.mark.parametrize(("cost", "limit"), [*zip(get_args(Cost), get_args(Limit), strict=True)], ids=get_args(Cost))
def test_every_cost_is_an_objective_and_a_constraint(tmp_path: Path, cost: str, limit: str, strategy: str) -> None:
    objectives = f'objectives = ["val_accuracy", "{cost}"]\nconstraints = {{ {limit} = 0.5 }}'
    settings = f'{objectives}\ntrials = 4\ntrainings = 8\nsampler = "random"\nstrategy = "{strategy}"'
    campaign = search(tmp_path, space(settings, folds=2))

    def train(_: Configuration, key: TrialKey) -> Report:
        report, value = done(0.5), 0.25 * int(key.config_id[1:])
        return replace(report, metrics={**report.metrics, cost: {"fc1": value} if cost == "spikes" else value})

    run(campaign, train)
    best = campaign.plan.criteria.best(campaign.results)
    sign = -1 if limit.startswith("min") else 1
    for trial in trials(campaign):
        value = 0.25 * trial.number
        assert trial.values == [0.5, value]
        assert trial.constraints == {limit: sign * (value - 0.5)}
    assert best is not None
    assert best.config_id == ("c0002" if sign < 0 else "c0000")
    assert campaign.plan.criteria.cost_shown(campaign.results) == cost


def test_a_study_and_records_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    made = space("trials = 2")
    run(search(tmp_path, made))
    (tmp_path / "study.journal").unlink()
    with pytest.raises(DataError, match=r"has records of c0000, which the study does not know"):
        search(tmp_path, made)


def test_a_search_over_another_space_is_refused_once_its_records_disagree(tmp_path: Path) -> None:
    run(search(tmp_path, space("trials = 2")))
    changed: Space = space("trials = 2", domains="[training]\nepochs = 3")
    with pytest.raises(DataError, match=r"space\.toml: is not the configuration of the record of c0000-f0-s0"):
        search(tmp_path, changed)


def test_records_that_were_removed_are_trained_again_but_not_told_again(tmp_path: Path) -> None:
    made = space("trials = 2\nfold_pruner = 'none'")
    first = search(tmp_path, made)
    run(first)
    removed = RunFolder(tmp_path).trial(TrialKey("c0000", 0, 1)).path
    before = read_record(removed / "record.json")
    shutil.rmtree(removed)
    campaign = search(tmp_path, made)
    assert run(campaign) == ["c0000-f1-s0"]
    assert campaign.finished
    assert read_record(removed / "record.json").metrics == before.metrics
    assert told(campaign) == told(first)


def test_a_search_from_its_copy_in_the_run_folder_proposes_the_same_whatever_the_order_of_the_file() -> None:
    text = "[neuron]\ndecay = {{ {0} }}\nv_threshold = {{ {1} }}\n[search]\nsampler = '{2}'\ntrials = 5\n"
    for sampler in ("random", "tpe", "grid"):
        made = parse_space(text.format("choices = [0.1, 0.5, 0.9]", "choices = [0.2, 0.3, 0.4]", sampler), "hills.toml")
        copy = parse_space(made.to_toml(), "space.toml")
        assert list(copy.domains) == list(made.domains) == ["neuron.v_threshold", "neuron.decay"]


def test_a_grid_that_goes_on_from_its_copy_has_every_point_once(tmp_path: Path) -> None:
    text = """
        [neuron]
        decay = { choices = [0.1, 0.5, 0.9] }
        v_threshold = { choices = [0.2, 0.3, 0.4] }
        [search]
        sampler = "grid"
        fold_pruner = "none"
        trials = 5
    """
    made = parse_space(text, "hills.toml")
    run(search(tmp_path, made))
    copy = parse_space(made.to_toml(), "space.toml", ["search.trials=100"])
    campaign = search(tmp_path, copy)
    run(campaign)
    points = {tuple(sorted(trial.params.items())) for trial in trials(campaign)}
    assert (len(points), len(trials(campaign))) == (9, 9)


def test_a_record_without_what_a_search_needs_is_named(tmp_path: Path) -> None:
    run(search(tmp_path, space("trials = 1")))
    file = RunFolder(tmp_path).trial(TrialKey("c0000", 0, 1)).path / "record.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "metrics": {}}))
    with pytest.raises(DataError, match=r"c0000-f1-s0/record\.json: has no val_accuracy"):
        search(tmp_path, space("trials = 1"))


def test_optuna_finds_importances_in_a_search(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trials = 60\nsampler = 'random'\nfold_pruner = 'none'", folds=2))
    run(campaign)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    importances = optuna.importance.get_param_importances(campaign.strategy._study._study, evaluator=evaluator)
    assert importances["neuron.decay"] > importances["neuron.v_threshold"] > 0


def test_what_breaks_a_constraint_is_no_rival(tmp_path: Path) -> None:
    """Accuracy rises with cost, so that by accuracy alone everything that keeps the constraint would be given up."""

    def train(configuration: Configuration, key: TrialKey) -> Report:
        threshold = configuration.neuron.v_threshold
        return done(0.5 + 0.4 * threshold + 0.001 * key.fold, 1000 * threshold)

    made = space("trials = 40\nsampler = 'random'\nconstraints = { max_synaptic_ops = 350 }", folds=4)
    campaign = search(tmp_path, made)
    run(campaign, train)
    drawn = {name: one.configuration.neuron.v_threshold for name, one in campaign.candidates.items()}
    best = campaign.plan.criteria.best(campaign.results)
    assert best is not None
    assert drawn[best.config_id] == max(threshold for threshold in drawn.values() if threshold <= 0.35)


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_a_trial_that_goes_on_from_a_checkpoint_keeps_its_learning_curve(tmp_path: Path, pruner: str) -> None:
    made = space(f"trials = 6\nepoch_pruner = '{pruner}'\nfold_pruner = 'none'", domains="[training]\nepochs = 30")
    verdicts = []
    for restarts in (False, True):
        campaign = search(tmp_path / str(restarts), made)
        keys = [trial.key for trial in (campaign.next_trial() for _ in range(6)) if trial is not None]
        for place, key in enumerate(keys):
            for epoch in range(1, 6):
                row = {"epoch": epoch, "val_loss": 1 / epoch, "val_accuracy": 0.1 * place + 0.01 * epoch}
                campaign.add_epochs(key, [row])
        if restarts:
            campaign = search(tmp_path / str(restarts), made)
            assert [trial.key for trial in (campaign.next_trial() for _ in range(6)) if trial is not None] == keys
        # Epochs 6 to 9 of the third: above the others' past, below their present.
        rows = [{"epoch": epoch, "val_loss": 0.01 / epoch, "val_accuracy": 0.24} for epoch in range(6, 10)]
        verdicts.append([campaign.add_epochs(keys[2], [row])[1] for row in rows])
        text = RunFolder(tmp_path / str(restarts)).trial(keys[2]).epochs_csv.read_text()
        assert [line.partition(",")[0] for line in text.splitlines()] == ["epoch", *map(str, range(1, 10))]
    assert verdicts[0] == verdicts[1]


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_a_trial_is_never_given_up_at_its_own_last_epoch(tmp_path: Path, pruner: str) -> None:
    domains = "[training]\nepochs = { choices = [3, 27] }"
    campaign = search(tmp_path, space(f"trials = 30\nepoch_pruner = '{pruner}'\nsampler = 'random'", domains=domains))

    def train(configuration: Configuration, key: TrialKey) -> Report:
        return hills(configuration, key)

    names = []
    while not campaign.finished and (trial := campaign.next_trial()) is not None:
        finished, reason = train(trial.configuration, trial.key), ""
        for epoch in range(1, trial.configuration.training.epochs + 1):
            accuracy = finished.metrics["val_accuracy"] * (0.5 + epoch / 54)
            row = {"epoch": epoch, "val_loss": 1 / epoch, "val_accuracy": accuracy}
            _, reason = campaign.add_epochs(trial.key, [row])
            if reason:
                assert epoch < trial.configuration.training.epochs
                names.append(reason)
                break
        campaign.finish(trial.key, Report("pruned", reason) if reason else finished)
    assert names


def last_of_five_given_up_while_its_other_fold_runs(root: Path) -> tuple[Campaign, TrialKey]:
    """Four configurations have accuracies of 0.9; of the fifth, one fold ended with 0.1 while the other one runs."""
    campaign = search(root, space("trials = 5\nsampler = 'random'\nstrategy = 'prune'", folds=2), InMemoryStorage())
    while not campaign.finished and (trial := campaign.next_trial()) is not None:
        if trial.key.config_id != "c0004":
            campaign.finish(trial.key, done(0.9))
        elif trial.key.fold == 1:
            campaign.finish(TrialKey("c0004", 0, 0), done(0.1))
            return campaign, trial.key
    raise AssertionError


@pytest.mark.parametrize("size", [1, 4, 12])
def test_how_many_epochs_come_at_once_changes_neither_who_is_given_up_nor_when(tmp_path: Path, size: int) -> None:
    made = space("trials = 6\nepoch_pruner = 'median'\nfold_pruner = 'none'", domains="[training]\nepochs = 30")
    campaign = search(tmp_path, made)
    keys = [trial.key for trial in (campaign.next_trial() for _ in range(6)) if trial is not None]
    for place, key in enumerate(keys[:5]):
        rows = [{"epoch": epoch, "val_loss": 1.0, "val_accuracy": 0.1 * place} for epoch in range(1, 13)]
        assert campaign.add_epochs(key, rows)[1] == ""
    # The last one falls behind in its tenth epoch, and has trained on when that is noticed.
    rows = [{"epoch": epoch, "val_loss": 1.0, "val_accuracy": 0.9} for epoch in range(1, 10)]
    rows += [{"epoch": epoch, "val_loss": 0.5, "val_accuracy": 0.05} for epoch in range(10, 13)]
    seen, reason = list[float](), ""
    while not reason:
        kept, reason = campaign.add_epochs(keys[5], rows[len(seen) : len(seen) + size])
        seen += [row["epoch"] for row in kept]
    assert reason == f"median of learning curves, epoch 10 of {keys[5].name}"
    assert seen == [*range(1, 11)]
    text = RunFolder(tmp_path).trial(keys[5]).epochs_csv.read_text()
    assert [line.partition(",")[0] for line in text.splitlines()] == ["epoch", *map(str, seen)]


def epoch(number: int) -> dict[str, float]:
    return {"epoch": number, "val_loss": 1.0, "val_accuracy": 0.1}


def test_a_trial_under_way_ends_at_its_next_epoch_once_its_configuration_is_given_up(tmp_path: Path) -> None:
    campaign, key = last_of_five_given_up_while_its_other_fold_runs(tmp_path)
    assert trials(campaign)[4].state.name == "RUNNING"
    _, reason = campaign.add_epochs(key, [epoch(1)])
    assert reason == "median over folds, after 1 of 2 trials"
    campaign.finish(key, Report("pruned", reason))
    assert trials(campaign)[4].state.name == "PRUNED"
    assert campaign.finished


def test_a_result_that_is_there_before_its_configuration_is_told_completes_it(tmp_path: Path) -> None:
    campaign, key = last_of_five_given_up_while_its_other_fold_runs(tmp_path)
    epochs = campaign.candidates["c0004"].configuration.training.epochs
    # At its last epoch all is paid for.
    assert campaign.add_epochs(key, [epoch(epochs)])[1] == ""
    campaign.finish(key, done(0.3))
    told = trials(campaign)[4]
    assert (told.state.name, told.value) == ("COMPLETE", pytest.approx(0.2))
    complete = [one.config_id for one in campaign.results if one.state == "complete"]
    assert complete == [f"c{number:04d}" for number in range(5)]
    assert campaign.finished


def test_a_worker_lost_after_its_configuration_was_given_up_ends_it(tmp_path: Path) -> None:
    campaign, key = last_of_five_given_up_while_its_other_fold_runs(tmp_path)
    campaign.hand_back(key)
    assert campaign.finished
    assert trials(campaign)[4].state.name == "PRUNED"


def test_a_torn_row_of_epochs_is_left_aside(tmp_path: Path) -> None:
    made = space("trials = 2\nepoch_pruner = 'median'\nfold_pruner = 'none'", domains="[training]\nepochs = 9")
    campaign = search(tmp_path, made)
    trial = campaign.next_trial()
    assert trial is not None
    for epoch in (1, 2, 3):
        campaign.add_epochs(trial.key, [{"epoch": epoch, "val_loss": 0.123456 / epoch, "val_accuracy": 0.5}])
    file = RunFolder(tmp_path).trial(trial.key).epochs_csv
    whole = file.read_bytes()
    for cut in range(1, 12):
        file.write_bytes(whole[:-cut])
        again = search(tmp_path, made)
        handed = again.next_trial()
        assert handed is not None
        again.add_epochs(handed.key, [{"epoch": 3, "val_loss": 0.123456 / 3, "val_accuracy": 0.5}])
        assert file.read_bytes() == whole
    file.write_text("nonsense\n1\n")
    with pytest.raises(DataError, match=r"epochs\.csv: row 1 has no epoch"):
        search(tmp_path, made)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("low = 0.0, high = 1.0|low = 0.0, high = 0.9", "neuron.decay differs"),
        ("step = 0.1|step = 0.2", "neuron.v_threshold differs"),
        ("trials = 3|objectives = ['val_accuracy', 'synaptic_ops']", "the objectives differ"),
        ("decay = { low = 0.0, high = 1.0 }|decay = 0.5", "neuron.decay differs"),
    ],
)
def test_a_space_that_was_edited_is_refused_also_while_nothing_has_a_record(
    tmp_path: Path, change: str, what: str
) -> None:
    made = space("trials = 3")
    search(tmp_path, made).next_trial()
    text = """
        [neuron]
        decay = { low = 0.0, high = 1.0 }
        v_threshold = { low = 0.1, high = 0.9, step = 0.1 }
        [evaluation]
        folds = 4
        [search]
        trials = 3
    """
    search(tmp_path, parse_space(text, "hills.toml"))
    with pytest.raises(DataError, match=f"is not the space of the study: {what}"):
        search(tmp_path, parse_space(text.replace(*change.split("|")), "hills.toml"))


def test_trials_of_others_in_the_study_are_refused_by_number(tmp_path: Path) -> None:
    made = space("trials = 3")
    storage = InMemoryStorage()
    run(search(tmp_path, made, storage))
    optuna.load_study(study_name="hills", storage=storage).enqueue_trial({"neuron.decay": 0.5})
    with pytest.raises(DataError, match=r"trial 3: the attribute fixed_params = .* was not written by sltune"):
        search(tmp_path, made, storage)


def test_a_recorded_trial_that_is_handed_back_or_finished_twice_ends_the_campaign(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trials = 1", folds=2))
    first = campaign.next_trial()
    assert first is not None
    campaign.hand_back(first.key, alone=True)
    again = campaign.next_trial()
    assert again is not None
    assert (again.key, again.alone) == (first.key, True)
    campaign.finish(first.key, done(0.5))
    campaign.hand_back(first.key, alone=True)
    assert run(campaign) == ["c0000-f1-s0"]
    campaign.finish(first.key, done(0.9))
    assert campaign.finished
    assert campaign.next_trial() is None
    assert trials(campaign)[0].intermediate_values[0] == 0.5


def test_given_up_trials_leave_no_checkpoint(tmp_path: Path) -> None:
    campaign = search(tmp_path, space("trials = 1\nstrategy = 'full'", folds=2))
    first, second = campaign.next_trial(), campaign.next_trial()
    assert first is not None
    assert second is not None
    for key in (first.key, second.key):
        campaign.folder.trial(key).path.mkdir(parents=True)
        campaign.folder.trial(key).checkpoint.write_bytes(b"x")
    campaign.hand_back(second.key)
    campaign.finish(first.key, Report("diverged", "the loss is nan"))
    assert campaign.finished
    assert not list(campaign.folder.trials.glob("*/checkpoint.pt"))


def test_of_configurations_with_as_many_trials_the_one_that_was_asked_for_first_goes_on() -> None:
    candidates = [Candidate(config_id, Configuration(), [(0, 0)]) for config_id in ("c10000", "c9999")]
    chosen = _least_begun(candidates)
    assert chosen is not None
    assert chosen.config_id == "c9999"
