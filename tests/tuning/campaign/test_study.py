"""The study proposes the same after any restart, and its journal outlives torn writes and stale locks."""

from __future__ import annotations

import os
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from sltune.errors import DataError, UsageError
from sltune.settings.space import parse_space
from sltune.settings.types import Value
from sltune.system.places import Database
from sltune.tuning.campaign.storage import open_storage
from sltune.tuning.campaign.study import SearchStudy, Verdict
from tests.tuning.searches import space

SAMPLERS = ["tpe", "random", "cmaes", "gp"]


def study(root: Path, search: str = "", domains: str = "", first: str = "") -> SearchStudy:
    made = space(f"{search}\n{first}", domains=domains)
    assert made.search is not None
    return SearchStudy(open_storage(root / "study.journal"), "x", made, made.search, new=True)


def verdict(values: dict[str, Value]) -> Verdict:
    accuracy = 0.7 - (float(values["neuron.decay"]) - 0.3) ** 2  # type: ignore[arg-type]
    return Verdict(TrialState.COMPLETE, {0: accuracy, 1: accuracy}, [accuracy])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_that_is_opened_anew_for_every_ask_proposes_what_one_that_is_not_does(
    tmp_path: Path, sampler: str
) -> None:
    found: list[list[dict[str, Value]]] = []
    for restarts in (False, True):
        root = tmp_path / str(restarts)
        asking = study(root, f'sampler = "{sampler}"')
        proposals = []
        for number in range(16):
            if restarts:
                asking = study(root, f'sampler = "{sampler}"')
            proposal = asking.ask()
            assert proposal is not None
            assert proposal.number == number
            proposals.append(dict(proposal.values))
            if restarts and number % 2:
                # Killed between ask and tell: the orphan is adopted with the values that it drew.
                asking = study(root, f'sampler = "{sampler}"')
                (adopted,) = asking.adopt()
                assert adopted == proposal
            asking.tell(proposal.number, verdict(proposals[-1]))
        found.append(proposals)
    assert found[0] == found[1]
    assert len({str(values) for values in found[0]}) == 16


def test_an_ask_that_was_cut_short_is_adopted_and_draws_what_is_missing(tmp_path: Path) -> None:
    whole = study(tmp_path / "a").ask()
    assert whole is not None
    study(tmp_path / "b").ask()
    journal = tmp_path / "b" / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    # The last line is the last value that was drawn; what follows of it was being written.
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:9])
    (adopted,) = study(tmp_path / "b").adopt()
    assert adopted == whole


def test_another_seed_proposes_something_else(tmp_path: Path) -> None:
    first, second = study(tmp_path / "a").ask(), study(tmp_path / "b", "seed = 1").ask()
    assert first is not None
    assert second is not None
    assert first.values != second.values


def test_a_torn_line_is_cut_off_and_a_stale_lock_is_not_waited_for(tmp_path: Path) -> None:
    asking = study(tmp_path)
    proposal = asking.ask()
    assert proposal is not None
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"worker')
    os.symlink(journal, f"{journal}.lock")
    # Optuna would wait for 30 s.
    began = time.monotonic()
    again = study(tmp_path)
    assert [proposal] == list(again.adopt())
    again.tell(proposal.number, verdict(dict(proposal.values)))
    assert time.monotonic() - began < 30
    assert journal.read_bytes().startswith(whole + b"{")
    assert [state for _, state in study(tmp_path).finished()] == [TrialState.COMPLETE]


def test_a_journal_is_changed_in_its_own_place_alone(tmp_path: Path) -> None:
    """A stranger's journal may be a link, and a copy of a run may share its files with it."""
    study(tmp_path).ask()
    journal, mine = tmp_path / "study.journal", tmp_path / "mine"
    os.link(journal, mine)
    before = mine.read_bytes()
    study(tmp_path).ask()
    assert mine.read_bytes() == before
    journal.unlink()
    journal.symlink_to(mine)
    with pytest.raises(UsageError, match=r"study\.journal: is a link"):
        study(tmp_path)
    assert mine.read_bytes() == before


def test_a_journal_that_is_broken_in_the_middle_is_refused_by_name(tmp_path: Path) -> None:
    study(tmp_path).ask()
    journal = tmp_path / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], b"garbage\n", *lines[1:]]))
    with pytest.raises(DataError, match=r"study\.journal: is broken"):
        study(tmp_path)


def test_configurations_to_try_first_come_first_and_missing_values_are_drawn(tmp_path: Path) -> None:
    first = "[[search.first]]\nneuron.decay = 0.25\n[[search.first]]\nneuron.decay = 0.5\nneuron.v_threshold = 0.4"
    asking = study(tmp_path, first=first)
    proposals = [asking.ask() for _ in range(3)]
    values = [dict(proposal.values) for proposal in proposals if proposal]
    assert values[0]["neuron.decay"] == 0.25
    assert 0.1 <= float(values[0]["neuron.v_threshold"]) <= 0.9  # type: ignore[arg-type]
    assert values[1] == {"neuron.decay": 0.5, "neuron.v_threshold": 0.4}
    assert values[2]["neuron.decay"] not in (0.25, 0.5)


def test_a_grid_ends_when_every_point_was_proposed_also_after_a_restart(tmp_path: Path) -> None:
    made = parse_space(
        """
        [training]
        momentum = { choices = [0.5, 0.9] }
        batch_size = { low = 4, high = 8, step = 4 }
        [search]
        sampler = "grid"
        [[search.first]]
        training = { momentum = 0.9, batch_size = 4 }
        """,
        "x.toml",
    )
    assert made.search is not None
    asked = []
    while True:
        asking = SearchStudy(open_storage(tmp_path / "study.journal"), "x", made, made.search, new=True)
        list(asking.adopt())
        if (proposal := asking.ask()) is None:
            break
        asked.append((proposal.values["training.momentum"], proposal.values["training.batch_size"]))
    assert asked == [(0.9, 4), (0.5, 4), (0.5, 8), (0.9, 8)]
    assert asking.exhausted


def test_a_verdict_is_told_once_even_if_the_process_died_while_it_was_told(tmp_path: Path) -> None:
    asking = study(tmp_path, "constraints = { max_synaptic_ops = 10 }")
    proposal = asking.ask()
    assert proposal is not None
    trial = asking._open[proposal.number]
    trial.report(0.5, 0)
    trial.set_constraint("max_synaptic_ops", 3.0)

    again = study(tmp_path, "constraints = { max_synaptic_ops = 10 }")
    list(again.adopt())
    again.tell(0, Verdict(TrialState.COMPLETE, {0: 0.5, 1: 0.6}, [0.55], {"max_synaptic_ops": 3.0}))
    (told,) = study(tmp_path).trials.values()
    assert told.intermediate_values == {0: 0.5, 1: 0.6}
    assert told.constraints == {"max_synaptic_ops": 3.0}
    assert told.values == [0.55]


def test_a_pruned_verdict_keeps_its_folds_and_a_failed_one_has_no_value(tmp_path: Path) -> None:
    asking = study(tmp_path)
    for state in (TrialState.PRUNED, TrialState.FAIL):
        proposal = asking.ask()
        assert proposal is not None
        asking.tell(proposal.number, Verdict(state, {0: 0.25}))
    pruned, failed = study(tmp_path).trials.values()
    assert (pruned.state, pruned.intermediate_values) == (TrialState.PRUNED, {0: 0.25})
    assert (failed.state, failed.values) == (TrialState.FAIL, None)


def test_a_study_can_live_in_a_database(tmp_path: Path) -> None:
    made = space()
    assert made.search is not None
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    database = Database(url)
    proposal = SearchStudy(open_storage(tmp_path / "j", database), "x", made, made.search, new=True).ask()
    assert list(SearchStudy(open_storage(tmp_path / "j", database), "x", made, made.search, new=True).adopt()) == [
        proposal
    ]
    assert [study.study_name for study in optuna.get_all_study_summaries(url)] == ["x"]
    with pytest.raises(UsageError, match="--study-storage nonsense: cannot be opened: it is no URL"):
        open_storage(tmp_path / "j", Database("nonsense"))


def test_a_full_disk_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = study(tmp_path)
    proposal = asking.ask()
    assert proposal is not None

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("optuna.storages.journal.JournalFileBackend.append_logs", full)
    for write in (asking.ask, lambda: asking.tell(0, verdict(dict(proposal.values)))):
        with pytest.raises(UsageError, match="the study cannot be written: No space left on device"):
            write()


PLACED = '"op_code":5,"worker_id":"w","trial_id":0,"param_name":"neuron.decay"'
DECAY = '"{\\"name\\": \\"FloatDistribution\\", \\"attributes\\": {\\"low\\": 0.0, \\"high\\": 1.0, \\"log\\": false}}"'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"op_code":11,"worker_id":"w"}', "op_code"),
        ('{"op_code":4,"worker_id":"w","study_id":0}', "datetime_start: Field required"),
        ('{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":"9999-12-31T23:59:59-12:00"}', "no local time"),
        (f'{{{PLACED},"param_value_internal":7.0,"distribution":{DECAY}}}', "7.0 is no value of neuron.decay"),
        (f'{{{PLACED},"param_value_internal":true,"distribution":{DECAY}}}', "param_value_internal = True"),
        (f'{{{PLACED},"param_value_internal":NaN,"distribution":{DECAY}}}', "NaN is not allowed in JSON"),
        (f'{{{PLACED},"param_value_internal":0.5,"distribution":"[]"}}', "is no distribution"),
        ('{"op_code":9,"worker_id":"w","trial_id":0,"system_attr":{}}', "must be one attribute"),
        (f'{{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{{"x":{"[" * 900}{"]" * 900}}}}}', "too deep"),
        ('{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"x":"\\ud800"}}', "surrogates not allowed"),
        ("[" * 100_000, "nested too deep"),
        ("", "not JSON"),
        ("3", "dictionary"),
    ],
)
def test_a_line_that_optuna_does_not_write_is_named_with_its_number(tmp_path: Path, line: str, reason: str) -> None:
    study(tmp_path).ask()
    journal = tmp_path / "study.journal"
    count = len(journal.read_bytes().splitlines())
    with journal.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=rf"study\.journal: is broken: line {count + 1}: .*{reason}"):
        study(tmp_path)


@pytest.mark.parametrize("kind", ["journal", "database"])
@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("fixed_params", {"neuron.decay": 7.0}, "fixed_params = .* was not written by sltune"),
        ("constraints:max_synaptic_ops", "x", "constraints:max_synaptic_ops = 'x' was not written"),
        ("cma:generation", "0", "cma:generation = '0' was not written"),
        ("tpe:relative_params:0", '{"neuron.decay": 7.0}', "value that is not in its domain"),
        ("tpe:relative_params:0", "[1]", "value that is not in its domain"),
        ("tpe:relative_params:0", "[" * 2000, "is no JSON: nested too deep"),
        ("gp:relative_params:0", '{"neuron', "gp:relative_params is no JSON"),
    ],
)
def test_attributes_that_samplers_would_act_on_are_checked(
    tmp_path: Path, kind: str, key: str, value: object, reason: str
) -> None:
    made = space()
    assert made.search is not None
    database = Database(f"sqlite:///{tmp_path}/study.db") if kind == "database" else None

    def opened() -> SearchStudy:
        assert made.search is not None
        return SearchStudy(open_storage(tmp_path / "study.journal", database), "x", made, made.search, new=True)

    before = opened()
    assert before.ask() is not None
    before._study._storage.set_trial_system_attr(before._study.get_trials()[0]._trial_id, key, value)  # type: ignore[arg-type]
    place = r"study\.journal" if kind == "journal" else "the study x"
    with pytest.raises(DataError, match=f"{place}: trial 0: .*{reason}"):
        opened()


def test_a_part_of_what_tpe_shares_does_not_stop_a_search(tmp_path: Path) -> None:
    """It is written in parts, between which a process may be killed."""
    before = study(tmp_path)
    proposal = before.ask()
    trial_id = before._study.get_trials()[0]._trial_id
    before._study._storage.set_trial_system_attr(trial_id, "tpe:relative_params:0", '{"neuron.dec')
    assert list(study(tmp_path).adopt()) == [proposal]


def test_a_named_pipe_in_place_of_the_journal_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "study.journal")
    with pytest.raises(UsageError, match=r"study\.journal: cannot be read or written: is a device, pipe or socket"):
        study(tmp_path)
