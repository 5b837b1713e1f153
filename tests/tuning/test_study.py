"""The study proposes the same after any restart, and its journal outlives torn writes and stale locks."""

from __future__ import annotations

import os
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from sltune.errors import DataError, UsageError
from sltune.schema import Value
from sltune.space import parse_space
from sltune.tuning.study import SearchStudy, Verdict, open_storage
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
    began = time.monotonic()
    again = study(tmp_path)
    assert [proposal] == list(again.adopt())
    again.tell(proposal.number, verdict(dict(proposal.values)))
    assert time.monotonic() - began < 10
    assert journal.read_bytes().startswith(whole + b"{")
    assert [state for _, state in study(tmp_path).told()] == [TrialState.COMPLETE]


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
    proposal = SearchStudy(open_storage(tmp_path / "j", url), "x", made, made.search, new=True).ask()
    assert list(SearchStudy(open_storage(tmp_path / "j", url), "x", made, made.search, new=True).adopt()) == [proposal]
    assert [study.study_name for study in optuna.get_all_study_summaries(url)] == ["x"]
    with pytest.raises(UsageError, match="--study-storage nonsense: cannot be opened"):
        open_storage(tmp_path / "j", "nonsense")


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
