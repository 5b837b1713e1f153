"""Where trials stand: counts, the best, what is worth showing, and how long the rest takes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

from sltune.progress.state import RunState, duration
from sltune.runs.plan import Plan, evaluation_plan, search_plan
from sltune.runs.record import TrialKey
from sltune.runs.results import Criteria
from sltune.settings.space import parse_space
from tests.small import quick
from tests.trials import epoch, record

FOLDS = ((0, 0), (0, 1), (0, 2), (0, 3))


def search(configurations: int = 10, **more: Any) -> RunState:
    return RunState(Plan("run", FOLDS, configurations, 20, at_most=True, shows_test=False, **more))


def evaluation() -> RunState:
    state = RunState(Plan("run", FOLDS, 1, 20))
    state.add("c0000")
    return state


def key(name: str) -> TrialKey:
    return TrialKey.parse(name)


def facts(state: RunState) -> list[str]:
    return [text for group in state.board(20).facts for text in group]


def best(state: RunState) -> tuple[str, float | None]:
    assert state.best is not None
    return state.best.config_id, state.best.val_accuracy


def test_every_trial_is_counted_once_whatever_becomes_of_it() -> None:
    state = evaluation()
    assert state.board(20).counts["waiting"] == 4
    state.begin(key("c0000-f0-s0"), 20)
    state.begin(key("c0000-f1-s0"), 20)
    state.advance(key("c0000-f0-s0"), epoch(1))
    state.end(record("c0000-f0-s0", 0.75))
    state.end(record("c0000-f2-s0", status="failed"))
    state.wait(key("c0000-f1-s0"))
    state.prune(key("c0000-f3-s0"))
    assert {name: n for name, n in state.board(20).counts.items() if n} == {
        "done": 1, "waiting": 1, "failed": 1, "pruned": 1
    }  # fmt: skip
    assert (state.running, state.left) == ([], 1)


def test_means_are_of_what_is_done_and_the_best_has_all_of_its_trials() -> None:
    state = search()
    for fold, val in enumerate([0.5, 0.6, 0.7, 0.8]):
        state.end(record(f"c0000-f{fold}-s0", val))
    # Ahead, but not yet on all folds.
    for fold in range(3):
        state.end(record(f"c0001-f{fold}-s0", 0.9))
    board = state.board(20)
    assert {line.config_id: line.mean for line in board.lines} == {
        "c0000": pytest.approx(0.65), "c0001": pytest.approx(0.9)
    }  # fmt: skip
    assert board.best == "c0000"
    assert "best mean so far 65.0 %, c0000" in facts(state)
    state.end(record("c0001-f3-s0", 0.9))
    assert "best mean so far 90.0 %, c0001" in facts(state)
    # A fold that failed leaves no mean to compare.
    for fold in range(3):
        state.end(record(f"c0002-f{fold}-s0", 1.0))
    state.end(record("c0002-f3-s0", status="failed"))
    assert best(state) == ("c0001", pytest.approx(0.9))


def test_what_cannot_be_shown_to_keep_the_limit_is_not_the_best() -> None:
    state = search(criteria=Criteria(limits={"max_synaptic_ops": 2.0}))
    for config_id, val, ops in [("c0000", 0.6, [1, 1, 1, 5]), ("c0001", 0.9, [1, 1, 1, 6]), ("c0002", 0.8, [None] * 4)]:
        for fold in range(4):
            metrics = {"val_accuracy": val, "synaptic_ops": ops[fold]}
            state.end(record(f"{config_id}-f{fold}-s0", metrics=metrics))
    assert best(state) == ("c0000", pytest.approx(0.6))


def test_the_best_by_mean_less_deviations_is_shown_with_its_mean() -> None:
    state = search(criteria=Criteria(std_weight=1.0))
    for config_id, accuracies in [("c0000", [0.9, 0.5, 0.9, 0.5]), ("c0001", [0.69] * 4)]:
        for fold, val in enumerate(accuracies):
            state.end(record(f"{config_id}-f{fold}-s0", val))
    assert state.board(20).best == "c0001"
    assert "best so far by mean − 1 std: mean 69.0 %, c0001" in facts(state)


def test_of_equals_the_first_that_was_asked_for_is_the_best() -> None:
    state = search()
    for config_id in ("c0001", "c0000"):
        for fold in range(4):
            state.end(record(f"{config_id}-f{fold}-s0", 0.5))
    assert best(state) == ("c0000", pytest.approx(0.5))


def test_no_test_accuracy_of_a_search_reaches_a_board() -> None:
    searched, evaluated = search(), evaluation()
    for state in (searched, evaluated):
        state.end(record("c0000-f0-s0", 0.8))
    assert [cell.test for line in searched.board(20).lines for cell in line.cells] == [None] * 4
    assert not searched.board(20).shows_test
    (line,) = evaluated.board(20).lines
    assert (line.mean, line.test_mean) == (pytest.approx(0.8), pytest.approx(0.7))


def test_a_protocol_without_validation_shows_the_test_part_once() -> None:
    state = RunState(evaluation_plan("run", quick(evaluation__protocol="train-test"), FOLDS))
    state.end(record("c0000-f0-s0", metrics={"val_accuracy": None, "test_accuracy": 0.6}))
    state.begin(key("c0000-f1-s0"), 2)
    row = epoch(1)
    state.advance(key("c0000-f1-s0"), {**row, "test_accuracy": row.pop("val_accuracy")})
    board = state.board(20)
    assert (board.part, board.shows_test) == ("test", False)
    assert [cell.accuracy for cell in board.lines[0].cells] == [0.6, 0.5, None, None]


def test_the_running_ones_come_first_then_the_best_then_the_latest() -> None:
    state = search()
    for config_id in range(6):
        state.add(f"c{config_id:04d}")
    for fold in range(4):
        state.end(record(f"c0001-f{fold}-s0", 0.9))
    for config_id in (4, 3, 2):
        state.end(record(f"c{config_id:04d}-f0-s0", 0.5))
    state.begin(key("c0000-f0-s0"), 20)
    shown = [line.config_id for line in state.board(20).lines]
    assert shown == ["c0000", "c0001", "c0002", "c0003", "c0004", "c0005"]
    board = state.board(3)
    assert ([line.config_id for line in board.lines], board.begun) == (["c0000", "c0001", "c0002"], 6)


def test_time_left_is_the_measured_epoch_times_what_is_left_over_what_runs() -> None:
    state = evaluation()
    assert state.seconds_left() is None
    state.begin(key("c0000-f0-s0"), 20)
    state.begin(key("c0000-f1-s0"), 20)
    assert state.seconds_left() is None
    state.advance(key("c0000-f0-s0"), epoch(1, seconds=2.0))
    state.advance(key("c0000-f1-s0"), epoch(1, seconds=4.0))
    # 3 s an epoch; 19 + 19 + 2 · 20 epochs are left, two at a time.
    assert state.seconds_left() == pytest.approx(3 * 78 / 2)
    assert list(state.times(61)) == ["0:01:01 elapsed", "about 0:01:57 left"]
    for fold in (0, 2, 3):
        state.end(record(f"c0000-f{fold}-s0", 0.5))
    # The last one alone.
    assert state.seconds_left() == pytest.approx(3 * 19)


def test_the_last_trials_are_waited_for_though_places_are_empty() -> None:
    state = evaluation()
    for fold in (0, 1):
        state.end(record(f"c0000-f{fold}-s0", 0.5))
    state.begin(key("c0000-f2-s0"), 20)
    state.begin(key("c0000-f3-s0"), 20)
    state.advance(key("c0000-f2-s0"), epoch(19, seconds=1.0))
    # 1 and 20 epochs, side by side: as long as the longer one.
    assert state.seconds_left() == pytest.approx(20.0)


def test_of_a_search_the_rest_is_an_upper_bound_with_all_that_may_still_be_asked() -> None:
    state = search(3, max_hours=2.5, max_device_hours=8.0)
    state.begin(key("c0000-f0-s0"), 20)
    state.advance(key("c0000-f0-s0"), epoch(10, seconds=1.0))
    timings, device = {"started": 0.0, "ended": 7200.0}, {"num_gpus": 0.5, "num_cpus": 2.0}
    state.end(record("c0000-f1-s0", 0.5, timings=timings, device=device))
    # 10 epochs of this trial, 20 of each of 2 + 2 · 4 others.
    assert list(state.times(0)) == [
        "0:00:00 elapsed of 2.5 h", "at most about 0:03:30 left", "1.0 of 8 device hours"
    ]  # fmt: skip


def test_speed_and_memory_are_of_the_trials_that_run() -> None:
    state = evaluation()
    for fold, memory in enumerate([1, 2, 4]):
        state.begin(key(f"c0000-f{fold}-s0"), 20)
        state.advance(key(f"c0000-f{fold}-s0"), epoch(1, device_memory_bytes=memory * 2.0**30))
    assert facts(state) == ["300 samples/s", "7.0 GiB of device memory, 4.0 at most in a trial"]
    state.end(record("c0000-f2-s0", 0.5))
    assert facts(state) == ["200 samples/s", "3.0 GiB of device memory, 2.0 at most in a trial"]
    state.leave(key("c0000-f0-s0"))
    state.wait(key("c0000-f1-s0"))
    assert facts(state) == []
    assert state.board(20).lines[0].cells[0].state == "unfinished"


def test_plans_say_what_a_run_shall_do() -> None:
    assert evaluation_plan("run", quick(training__epochs=7, training__patience=2), FOLDS) == Plan(
        "run", FOLDS, 1, 7, at_most=True
    )
    text = "[training]\nepochs = { low = 5, high = 30 }\n[search]\ntrials = 9\nmax_hours = 1.5\n"
    space = parse_space(text + "constraints = { max_synaptic_ops = 1e6 }", "x.toml")
    assert search_plan("run", space, space.required_search(), FOLDS) == Plan(
        "run",
        FOLDS,
        9,
        30,
        same_epochs=False,
        at_most=True,
        shows_test=False,
        promotes=True,
        criteria=Criteria(limits={"max_synaptic_ops": 1e6}),
        max_hours=1.5,
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (4e5, "111:06:40")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def _lines_run(work: Callable[[], object]) -> int:
    """Count the lines of Python that a call runs."""
    count = 0

    def trace(frame: object, event: str, argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    # What other tests have left behind may run lines of its own when it is collected.
    gc.disable()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def test_a_board_costs_the_same_however_many_trials_there_are() -> None:
    costs = []
    for configurations in (100, 2000):
        state = search(configurations)
        for number in range(configurations - 1):
            for fold in range(4):
                state.end(record(f"c{number:04d}-f{fold}-s0", 0.5))
        state.begin(key(f"c{configurations - 1:04d}-f0-s0"), 20)
        state.advance(key(f"c{configurations - 1:04d}-f0-s0"), epoch(1))
        costs.append(_lines_run(lambda state=state: (state.board(24), list(state.times(1)))))  # type: ignore[misc]
    assert costs[0] == costs[1]


def test_warnings_of_a_trial_come_once_and_leave_the_board_when_it_recovers() -> None:
    state, silent = evaluation(), {"firing_rate_fc1": 0.1, "firing_rate_fc2": 0.0}
    trial = key("c0000-f0-s0")
    state.begin(trial, 20)
    assert state.advance(trial, epoch(1, **silent)) == []
    (said,) = state.advance(trial, epoch(2, **silent))
    assert said.words().startswith("c0000-f0-s0  warning: fc2 never fired in epoch 2; usually helps: network.init")
    assert said.event()["finding"] == "silent-layers"
    assert state.advance(trial, epoch(3, **silent)) == []
    assert "c0000-f0-s0: fc2 never fired in epoch 3" in facts(state)
    assert state.advance(trial, epoch(4, firing_rate_fc2=0.1)) == []
    assert not any("never fired" in fact for fact in facts(state))


def test_a_result_that_guessing_reaches_is_said_at_the_end_but_not_within_a_search() -> None:
    metrics = {"test_accuracy": 0.5, "val_accuracy": 0.5, "synaptic_ops": 1.0, "confusion": [[5, 5], [5, 5]]}
    guessed = record("c0000-f1-s0", metrics=metrics)
    (said,) = evaluation().end(guessed)
    assert "10 of 20 test samples are right, and guessing gets at least as many right in 59% of all tries" in said.text
    assert search().end(guessed) == []
