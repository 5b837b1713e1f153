"""Following a run from its folder alone, while others write to it."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from sltune.cli.main import main
from sltune.errors import DataError
from sltune.progress import follow as following
from sltune.progress import watch as watching
from sltune.progress.display import Display
from sltune.progress.follow import Follower
from sltune.progress.watch import watch
from sltune.runs.epochs import append_epochs, begin_epochs
from sltune.runs.folder import RunFolder
from sltune.runs.record import TrialKey
from sltune.settings.space import Space, parse_space
from sltune.system.locks import locked
from tests.small import quick
from tests.trials import epoch
from tests.tuning.clusters import sltune
from tests.written_runs import make_record, trial_name, write_run

NAMES = [f"c0000-f{fold}-s0" for fold in range(4)]
SEARCH = "[evaluation]\nfolds = 2\n[neuron]\ndecay = { low = 0.0, high = 1.0 }\n[search]\ntrials = 3\n"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """An evaluation on four folds that has just begun."""
    folder = RunFolder(write_run(tmp_path / "run", [], NAMES))
    folder.space_toml.write_text(Space.of(quick(training__epochs=20)).to_toml())
    return folder


@pytest.fixture
def search(tmp_path: Path) -> RunFolder:
    """A search for three configurations on two folds that has just begun."""
    folder = RunFolder(write_run(tmp_path / "crops", [], kind="tune", steps=[[0, 0], [0, 1]]))
    folder.space_toml.write_text(parse_space(SEARCH, "x").to_toml())
    return folder


@pytest.fixture
def hold() -> Iterator[Callable[[RunFolder], Callable[[], None]]]:
    """Take a run as its driver would; what is returned lets it go."""
    with ExitStack() as stack:

        def take(folder: RunFolder) -> Callable[[], None]:
            inner = stack.enter_context(ExitStack())
            inner.enter_context(locked(folder.lock))
            return inner.close

        yield take


def begin(folder: RunFolder, name: str, number: int = 1, **more: float) -> None:
    """Write epochs.csv as the driver does that starts a trial, or goes on with it."""
    begin_epochs(folder.trial(TrialKey.parse(name)).epochs_csv, [{**epoch(number), **more}])


def go_on(folder: RunFolder, name: str, number: int) -> None:
    append_epochs(folder.trial(TrialKey.parse(name)).epochs_csv, [epoch(number)])


def end(folder: RunFolder, fold: int, file: str = "record.json", **facts: Any) -> None:
    record = make_record(fold, **facts)
    trial = folder.trials / trial_name(record)
    trial.mkdir(parents=True, exist_ok=True)
    (trial / file).write_text(json.dumps(record))


def told(follower: Follower) -> list[str]:
    return [message.words() for message in follower.look()]


def states(follower: Follower) -> list[str]:
    return [cell.state for line in follower.state.board(20).lines for cell in line.cells]


def test_what_others_write_is_told_once(run: RunFolder, hold: Callable[[RunFolder], Callable[[], None]]) -> None:
    let_go = hold(run)
    follower = Follower(run)
    assert (told(follower), states(follower)) == ([], ["waiting"] * 4)
    begin(run, NAMES[1])
    assert told(follower) == [f"{NAMES[1]}  epoch 1/20  val accuracy 50.0 %  100 samples/s"]
    assert told(follower) == []
    # Several between two looks.
    go_on(run, NAMES[1], 2)
    go_on(run, NAMES[1], 3)
    assert [line.split("  ")[1] for line in told(follower)] == ["epoch 2/20", "epoch 3/20"]
    assert states(follower) == ["waiting", "running", "waiting", "waiting"]
    end(run, 1, test=0.75)
    end(run, 2, status="failed", error="ValueError: x")
    assert sorted(told(follower)) == [f"{NAMES[1]}  done  test accuracy 75.0 %", f"{NAMES[2]}  failed: ValueError: x"]
    assert states(follower) == ["waiting", "done", "failed", "waiting"]
    assert not follower.over
    let_go()
    assert told(follower) == []


def test_the_last_epochs_of_a_trial_that_has_ended_since_are_told_before_its_end(
    run: RunFolder, hold: Callable[[RunFolder], Callable[[], None]]
) -> None:
    hold(run)
    begin(run, NAMES[0])
    follower = Follower(run)
    go_on(run, NAMES[0], 2)
    end(run, 0, test=0.75)
    # This one has begun and ended between two looks.
    begin(run, NAMES[1])
    end(run, 1, test=0.5)
    assert [line.split("  ")[:2] for line in sorted(told(follower))] == [
        [NAMES[0], "done"],
        [NAMES[0], "epoch 2/20"],
        [NAMES[1], "done"],
        [NAMES[1], "epoch 1/20"],
    ]
    assert told(follower) == []
    assert states(follower) == ["done", "done", "waiting", "waiting"]


def test_a_trial_runs_while_a_process_has_the_run_and_is_unfinished_after(
    run: RunFolder, hold: Callable[[RunFolder], Callable[[], None]]
) -> None:
    let_go = hold(run)
    begin(run, NAMES[0])
    follower = Follower(run)
    assert states(follower)[0] == "running"
    let_go()
    assert told(follower) == [f"{NAMES[0]}  unfinished: no process has the run"]
    assert (told(follower), states(follower)[0]) == ([], "unfinished")
    assert next(follower.facts())[0] == "no process has the run"
    hold(run)
    assert (told(follower), states(follower)[0]) == ([], "running")
    assert follower.state.cell(TrialKey.parse(NAMES[0])).epoch == 1


def test_a_trial_that_begins_anew_is_followed_from_its_first_epoch(
    run: RunFolder, hold: Callable[[RunFolder], Callable[[], None]]
) -> None:
    hold(run)
    begin(run, NAMES[0])
    go_on(run, NAMES[0], 2)
    follower = Follower(run)
    begin(run, NAMES[0])
    assert [line.split("  ")[1] for line in told(follower)] == ["epoch 1/20"]


def test_a_failed_trial_that_is_trained_again_is_seen(
    run: RunFolder, hold: Callable[[RunFolder], Callable[[], None]]
) -> None:
    for fold in (0, 1, 3):
        end(run, fold, test=0.5)
    begin(run, NAMES[2])
    end(run, 2, status="failed")
    follower = Follower(run)
    assert follower.over
    let_go = hold(run)
    assert not follower.over
    begin(run, NAMES[2], val_loss=0.5)
    assert [line.split("  ")[1] for line in told(follower)] == ["epoch 1/20"]
    assert states(follower)[2] == "running"
    end(run, 2, "record.1.json", test=1.0)
    assert told(follower) == [f"{NAMES[2]}  done  test accuracy 100.0 %"]
    let_go()
    assert (states(follower), follower.over) == (["done"] * 4, True)


def test_trials_of_seeds_that_are_added_are_followed(
    run: RunFolder, hold: Callable[[RunFolder], Callable[[], None]]
) -> None:
    for fold in range(4):
        write_run(run.root, [make_record(fold, 0.5)], NAMES)
    follower = Follower(run)
    assert follower.over
    hold(run)
    run.space_toml.write_text(Space.of(quick(training__epochs=20, evaluation__seeds=(0, 1))).to_toml())
    write_run(run.root, [], [*NAMES, *(name.replace("s0", "s1") for name in NAMES)])
    assert follower.look() == []
    assert follower.board(1).counts == {"done": 4, "waiting": 4}
    begin(run, "c0000-f2-s1")
    (told,) = follower.look()
    assert told.key == TrialKey.parse("c0000-f2-s1")


def test_only_what_has_changed_is_read(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, hold: Callable[[RunFolder], Callable[[], None]]
) -> None:
    hold(run)
    for fold in (0, 1):
        begin(run, NAMES[fold])
        end(run, fold, test=0.5)
    begin(run, NAMES[2])
    follower, read = Follower(run), list[str]()
    for name in ("read_record", "read_epochs"):
        plain = getattr(following, name)
        monkeypatch.setattr(
            following, name, lambda file, plain=plain: read.append(f"{file.parent.name}/{file.name}") or plain(file)
        )
    assert (told(follower), read) == ([], [])
    go_on(run, NAMES[2], 2)
    begin(run, NAMES[3])
    told(follower)
    assert sorted(read) == [f"{NAMES[2]}/epochs.csv", f"{NAMES[3]}/epochs.csv"]
    read.clear()
    end(run, 3, test=0.5)
    told(follower)
    assert read == [f"{NAMES[3]}/record.json"]


def test_folders_of_ended_trials_are_looked_at_a_few_at_a_time(
    search: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        for fold in range(2):
            end(search, fold, config_id=f"c{number:04d}", status="pruned" if number % 2 else "done", test=0.5)
    follower, looked = Follower(search), list[TrialKey]()
    look_at = follower._look_at
    monkeypatch.setattr(follower, "_look_at", lambda key: looked.append(key) or look_at(key))
    follower.look()
    follower.look()
    # 300 are pruned; all are looked at in turn, and none that is done.
    assert len(looked) == 400
    assert {follower.state.cell(key).state for key in looked} == {"pruned"}
    assert len(set(looked)) == 300


def test_a_run_of_another_machine_counts_as_alive_by_what_its_lock_names(run: RunFolder) -> None:
    run.lock.write_text("123 elsewhere")
    begin(run, NAMES[0])
    follower = Follower(run)
    assert states(follower)[0] == "running"
    (facts,) = follower.facts()
    assert facts[-1].startswith("begun on elsewhere, last written 0:00:")
    # It is not waited for when all is there.
    for fold in range(4):
        end(run, fold, test=0.5)
    follower.look()
    assert follower.over


def test_a_run_whose_driver_died_on_another_machine_is_left_unfinished(run: RunFolder) -> None:
    run.lock.write_text("123 elsewhere 1700000000")
    begin(run, NAMES[0])
    follower = Follower(run)
    assert states(follower)[0] == "running"
    os.utime(run.lock, (0, time.time() - 3600))
    assert [message.text for message in follower.look()] == ["unfinished: no process has the run"]
    assert states(follower)[0] == "unfinished"


def test_a_search_is_over_once_its_configurations_are_or_its_winner_is_known(
    search: RunFolder, hold: Callable[[RunFolder], Callable[[], None]]
) -> None:
    let_go = hold(search)
    begin(search, "c0000-f0-s0")
    follower = Follower(search)
    assert states(follower) == ["running", "paused"]
    end(search, 0, test=0.75)
    end(search, 1, test=0.25)
    assert told(follower) == [
        "c0000-f0-s0  done  validation accuracy 75.0 %", "c0000-f1-s0  done  validation accuracy 25.0 %"
    ]  # fmt: skip
    let_go()
    follower.look()
    assert not follower.over
    # It is interrupted with a winner so far.
    info = json.loads(search.run_json.read_text())
    search.run_json.write_text(json.dumps({**info, "best": "c0000"}))
    assert not follower.over
    # Ended early: a budget of hours, or a grid of fewer points.
    search.run_json.write_text(json.dumps({**info, "best": "c0000", "ended": True}))
    assert follower.over
    search.run_json.write_text(json.dumps(info))
    for config_id in ("c0001", "c0002"):
        for fold in range(2):
            end(search, fold, config_id=config_id, status="pruned")
    follower.look()
    assert follower.over


def scripted(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> None:
    """Let one thing happen between any two looks."""
    left = iter(steps)
    monkeypatch.setattr(watching.time, "sleep", lambda _: next(left)())


def screen(**more: Any) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=80, height=24, color_system=None, **more), text


@pytest.mark.parametrize("mode", ["live", "lines", "json"])
def test_a_search_is_watched_without_its_test_accuracies(
    search: RunFolder, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    def all_end() -> None:
        for config_id in ("c0000", "c0001", "c0002"):
            for fold in range(2):
                end(search, fold, config_id=config_id, val_accuracy=0.625, test_accuracy=0.4375)

    console, text = screen(force_terminal=mode == "live")
    scripted(monkeypatch, all_end)
    watch([search.root], Display(console, mode))
    assert ("0.625" if mode == "json" else "62.5") in text.getvalue()
    assert "0.4375" not in text.getvalue()
    assert "43.8" not in text.getvalue()


def test_lines_of_several_runs_name_the_run_and_end_with_a_count(
    run: RunFolder, search: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fold in range(4):
        end(run, fold, test=0.5)
    for config_id, status in [("c0000", "done"), ("c0001", "pruned"), ("c0002", "pruned")]:
        end(search, 0, config_id=config_id, status=status, test=0.5)
    end(search, 1, config_id="c0001", status="pruned")
    end(search, 1, config_id="c0002", status="pruned")
    steps = [lambda: begin(search, "c0000-f1-s0"), lambda: end(search, 1, test=0.5)]
    console, text = screen()
    scripted(monkeypatch, *steps)
    watch([run.root, search.root, run.root], Display(console, "lines"))
    assert text.getvalue().splitlines() == [
        "crops/c0000-f1-s0  epoch 1/400  val accuracy 50.0 %  100 samples/s",
        "crops/c0000-f1-s0  unfinished: no process has the run",
        "crops/c0000-f1-s0  done  validation accuracy 50.0 %",
        "run is over: 4 done",
        "crops is over: 2 done, 4 pruned",
    ]


def test_json_lines_parse_and_end_with_the_counts(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for fold in range(3):
        end(run, fold, test=0.5)
    console, text = screen()
    scripted(monkeypatch, lambda: end(run, 3, status="failed", error="[red]:x:\n" + "y" * 99))
    watch([run.root], Display(console, "json"))
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    assert lines == [
        {"trial": NAMES[3], "event": "finish", "status": "failed", "metrics": {}},
        {"event": "end", "run": "run", "trials": {"done": 3, "failed": 1}},
    ]


def test_the_board_on_a_terminal_shows_the_last_state(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for fold in range(3):
        end(run, fold, test=0.5)
    console, text = screen(force_terminal=True)
    scripted(monkeypatch, lambda: begin(run, NAMES[3]), lambda: end(run, 3, test=1.0))
    watch([run.root], Display(console, "live"))
    shown = text.getvalue()
    assert "‖ 1/20" in shown
    assert "c0000 ✓ 50.0 %       ✓ 50.0 %       ✓ 50.0 %       ✓ 100.0 %         62.5   62.5" in shown
    assert "✓ 4 done" in shown
    assert "the run is over" in shown


def test_watching_writes_nothing(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(run, NAMES[0])
    for fold in range(4):
        end(run, fold, test=0.5)
    files = {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in [run.root, *run.root.rglob("*")]}
    watch([run.root], Display(screen()[0], "lines"))
    assert files == {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in [run.root, *run.root.rglob("*")]}


@pytest.mark.parametrize(
    ("break_it", "text"),
    [
        (lambda run: run.run_json.unlink(), "is this a run folder"),
        (lambda run: end(run, 0, schema=99), "newer than this sltune reads"),
        (lambda run: end(run, 0, file="record.7.json", schema="x"), "has no 'schema'"),
        (lambda run: begin(run, NAMES[0], seconds=""), "epochs.csv: epoch 1 has no seconds"),
        (lambda run: begin(run, NAMES[0], samples_per_second="fast"), "row 1: samples_per_second = fast: is no"),
        (lambda run: (run.trials / NAMES[0]).mkdir(parents=True) or end(run, 1) or (run.trials / NAMES[1]).rename(
            run.trials / NAMES[0]), "is the record of c0000-f1-s0"),
    ],
)  # fmt: skip
def test_foreign_and_broken_files_are_named(run: RunFolder, break_it: Callable[[RunFolder], object], text: str) -> None:
    break_it(run)
    with pytest.raises(DataError, match=text):
        Follower(run)
    assert CliRunner().invoke(main, ["report", "--watch", str(run.root)]).exit_code == 3


@pytest.mark.parametrize("made", [False, True])
def test_a_run_that_is_about_to_begin_is_waited_for(
    made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins, and all of its trials end, while nobody looks."""
    root = tmp_path / "later"
    if made:
        root.mkdir()

    def meanwhile(seconds: float) -> None:
        folder = RunFolder(write_run(root, [], NAMES))
        folder.space_toml.write_text(Space.of(quick(training__epochs=20)).to_toml())
        for fold in range(4):
            end(folder, fold, test=0.5)

    monkeypatch.setattr(watching.time, "sleep", meanwhile)
    result = CliRunner().invoke(main, ["report", "--watch", str(root)])
    assert (result.exit_code, result.output) == (0, f"waiting for {root} to begin\nlater is over: 4 done\n")


def test_names_that_are_no_trials_are_passed_over(run: RunFolder) -> None:
    (run.trials / "notes").mkdir(parents=True)
    (run.trials / "c0000-f9-s9").mkdir()
    assert states(Follower(run)) == ["waiting"] * 4


def test_formats_of_tables_are_refused(run: RunFolder) -> None:
    result = CliRunner().invoke(main, ["report", "--watch", "--format", "csv", str(run.root)])
    assert result.exit_code == 2
    assert "--format csv: is for tables" in result.output


def test_ctrl_c_ends_it_with_130_and_no_trace(run: RunFolder, hold: Callable[[RunFolder], Callable[[], None]]) -> None:
    hold(run)
    begin(run, NAMES[0])
    process = sltune("report", "--watch", run.root)
    assert process.stdout is not None
    number = 1
    # What happens before it looks, it does not tell.
    while process.poll() is None and not select.select([process.stdout], [], [], 0.2)[0]:
        number += 1
        go_on(run, NAMES[0], number)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (130, "sltune: interrupted\n")


def test_it_works_without_torch_ray_and_optuna(run: RunFolder) -> None:
    for fold in range(4):
        end(run, fold, test=0.5)
    code = (
        "import sys\n"
        "for name in ('torch', 'ray', 'optuna', 'matplotlib', 'pandas'): sys.modules[name] = None\n"
        "from sltune.cli.main import main\n"
        "main(['report', '--watch', sys.argv[1]])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run.root)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "run is over: 4 done\n", "")
