"""Progress as a console shows it, of campaigns without Ray."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from sltune.progress import display
from sltune.progress.board import render
from sltune.progress.display import Display, Progress
from sltune.runs.folder import RunFolder
from sltune.runs.plan import trials_of
from sltune.runs.record import TrialKey
from sltune.tuning.campaign.campaign import Campaign, evaluation_campaign
from sltune.tuning.cluster.resources import Request
from sltune.tuning.execution import callbacks
from sltune.tuning.execution import liveness as watch
from sltune.tuning.execution.callbacks import Callbacks
from sltune.tuning.trial.checkpoints import Checkpoints
from sltune.tuning.trial.report import Report
from tests.small import quick
from tests.trials import DATASET, epoch
from tests.tuning.searches import done, search, space

GPU = Request(gpus_per_trial=0.25, hang_minutes=0)


def evaluation(root: Path) -> Campaign:
    root.mkdir(exist_ok=True)
    configuration = quick()
    return evaluation_campaign(RunFolder(root), configuration, DATASET, trials_of(configuration))


def progress_of(campaign: Campaign, mode: str, console: Console, per_trial: str = "0.25 GPU a trial") -> Progress:
    earlier = {config_id: candidate.records.values() for config_id, candidate in campaign.candidates.items()}
    return Progress(Display(console, mode), campaign.plan, earlier, per_trial)


def board_of(progress: Progress) -> str:
    return render(progress.board(23), 80, 23).plain


def finish(progress: Progress, campaign: Campaign, key: TrialKey, finished: Report) -> None:
    progress.finish(campaign.finish(key, finished), campaign.candidates[key.config_id].states())


def console() -> Console:
    return Console(file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None)


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "time", SimpleNamespace(monotonic=lambda: 0.0))


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def go_through(progress: Progress, campaign: Campaign) -> None:
    """Begin two trials; the first ends, the second is lost and starts again."""
    first, second = campaign.next_trial(), campaign.next_trial()
    assert first is not None
    assert second is not None
    progress.start(first.key, 2)
    progress.start(second.key, 2)
    row = {**epoch(1, 0.5), "val_loss": 1.0}
    campaign.add_epochs(first.key, [row])
    progress.epochs(first.key, [row])
    progress.again(second.key, "its worker was lost: started again")
    progress.start(second.key, 2)
    finish(progress, campaign, first.key, done(0.75, test_accuracy=0.625))


@pytest.mark.usefixtures("no_time_passes")
def test_the_board_follows_the_trials(tmp_path: Path) -> None:
    campaign = evaluation(tmp_path / "run")
    progress = progress_of(campaign, "live", console())
    go_through(progress, campaign)
    lines = board_of(progress).split("\n")
    assert lines[:4] == [
        "run",
        "      fold 0         fold 1         fold 2         fold 3           val % test %",
        "c0000 ✓ 75.0 %       ▸ running      · waiting      · waiting         75.0   62.5",
        "✓ 1 done   ▸ 1 running   · 2 waiting",
    ]
    # One epoch of 2 s is known; 2 + 2 + 2 epochs are left, one at a time.
    assert lines[4] == "0:00:00 elapsed · about 0:00:12 left · 0.25 GPU a trial"
    assert lines[5] == "c0000-f1-s0  its worker was lost: started again"


@pytest.mark.usefixtures("no_time_passes")
def test_what_ended_earlier_is_there_from_the_start(tmp_path: Path) -> None:
    campaign = evaluation(tmp_path / "run")
    campaign.finish(TrialKey("c0000", 0, 2), done(0.75))
    resumed = progress_of(evaluation(tmp_path / "run"), "live", console(), "1 CPU a trial")
    lines = board_of(resumed).split("\n")
    assert lines[2].split() == [
        "c0000",
        "·",
        "waiting",
        "·",
        "waiting",
        "✓",
        "75.0",
        "%",
        "·",
        "waiting",
        "75.0",
        "50.0",
    ]
    assert lines[4] == "0:00:00 elapsed · 1 CPU a trial"


def test_a_live_display_leaves_the_last_state_on_the_screen(tmp_path: Path) -> None:
    campaign, screen = evaluation(tmp_path / "run"), console()
    progress = progress_of(campaign, "live", screen)
    with progress.on_screen():
        go_through(progress, campaign)
    assert "✓ 1 done   ▸ 1 running   · 2 waiting" in text_of(screen)


def test_lines_are_plain_and_long_ones_stay_whole(tmp_path: Path) -> None:
    campaign, screen = evaluation(tmp_path / "run"), console()
    progress = progress_of(campaign, "lines", screen)
    with progress.on_screen():
        go_through(progress, campaign)
        key = TrialKey("c0000", 0, 2)
        error = "ValueError: [bold]" + "x" * 90 + " :x: is too long"
        finish(progress, campaign, key, Report("failed", error))
    assert text_of(screen).splitlines() == [
        "c0000-f0-s0  started",
        "c0000-f1-s0  started",
        "c0000-f0-s0  epoch 1/2  val accuracy 50.0 %  100 samples/s",
        "c0000-f1-s0  its worker was lost: started again",
        "c0000-f1-s0  started",
        "c0000-f0-s0  done  test accuracy 62.5 %",
        f"c0000-f2-s0  failed: {error}",
    ]


def test_every_line_for_machines_parses(tmp_path: Path) -> None:
    campaign, screen = evaluation(tmp_path / "run"), console()
    Display(screen, "json").say("3 of 4 [red] :x:\nand more")
    progress = progress_of(campaign, "json", screen)
    with progress.on_screen():
        go_through(progress, campaign)
    told = [json.loads(line) for line in text_of(screen).splitlines()]
    assert told[0] == {"event": "message", "text": "3 of 4 [red] :x:\nand more"}
    assert [line["event"] for line in told[1:]] == ["start", "start", "epoch", "again", "start", "finish"]


@pytest.mark.parametrize("mode", ["live", "lines", "json", "quiet"])
def test_how_to_go_on_is_said_in_every_mode_as_a_run_begins(mode: str) -> None:
    screen = Console(file=io.StringIO(), width=40)
    command = "sltune resume 'results/[red]:x: " + "x" * 40 + "'"
    Display(screen, mode).announce("results/[red]", command)
    if mode == "json":
        assert json.loads(text_of(screen)) == {"event": "run", "folder": "results/[red]", "resume": command}
    else:
        # Whole, so that it can be pasted.
        assert text_of(screen) == f"to go on after any interruption: {command}\n"


def test_quiet_is_quiet(tmp_path: Path) -> None:
    campaign, screen = evaluation(tmp_path / "run"), console()
    progress = progress_of(campaign, "quiet", screen)
    with progress.on_screen():
        go_through(progress, campaign)
    assert text_of(screen) == ""


@pytest.mark.parametrize("mode", ["live", "lines", "json"])
def test_a_search_never_shows_a_test_accuracy(tmp_path: Path, mode: str) -> None:
    campaign, screen = search(tmp_path / "run", space("trials = 6")), console()
    progress = progress_of(campaign, mode, screen)
    with progress.on_screen():
        for _ in range(8):
            trial = campaign.next_trial()
            assert trial is not None
            progress.start(trial.key, 2)
            finish(progress, campaign, trial.key, done(0.625, test_accuracy=0.4375))
    shown = text_of(screen) + board_of(progress)
    assert ("0.625" if mode == "json" else "62.5") in shown
    assert "43.8" not in shown
    assert "0.4375" not in shown


def test_what_a_search_gives_up_is_shown_as_pruned(tmp_path: Path) -> None:
    campaign = search(tmp_path / "run", space("trials = 6\nstrategy = 'prune'"))
    progress = progress_of(campaign, "live", console())
    # Four that are good on all folds, then one that falls behind on its first.
    for number in range(17):
        trial = campaign.next_trial()
        assert trial is not None
        progress.start(trial.key, 2)
        campaign.add_epochs(trial.key, [{**epoch(1), "val_loss": 1.0}])
        bad = trial.key.config_id == "c0004"
        finish(progress, campaign, trial.key, done(0.1 if bad else 0.5 + number / 100))
    board = board_of(progress)
    assert "– pruned" in board
    assert "configurations begun" in board
    counts = progress._state.board(20).counts
    assert counts["pruned"] == sum(record.status == "pruned" for record in campaign.records) > 0
    assert progress._state.best == campaign.plan.criteria.best(campaign.results)


@pytest.mark.parametrize("mode", ["live", "lines", "json", "quiet"])
def test_what_is_waited_for_is_shown_until_a_trial_starts(tmp_path: Path, mode: str) -> None:
    campaign, shown = evaluation(tmp_path / "run"), Console(file=io.StringIO(), width=80)
    progress = progress_of(campaign, mode, shown)
    progress.waits("4 trials wait for 1 CPUs")
    said = {"lines": "4 trials wait for 1 CPUs\n", "json": '{"event": "waiting", "text": "4 trials wait for 1 CPUs"}\n'}
    assert text_of(shown) == said.get(mode, "")
    assert "4 trials wait for 1 CPUs" in board_of(progress)
    trial = campaign.next_trial()
    assert trial is not None
    progress.start(trial.key, 2)
    assert "wait for" not in board_of(progress)


def test_while_others_have_the_whole_cluster_it_is_said_what_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, shown = evaluation(tmp_path / "run"), Console(file=io.StringIO(), width=80)
    monkeypatch.setattr(callbacks, "free", lambda: "0 of 4 CPUs and 2 of 2 GPUs are free")
    monkeypatch.setattr(watch, "SECONDS_BETWEEN_WORDS", 0.0)
    at = Callbacks(campaign, GPU, Nodes(["a"]), Checkpoints(5), progress_of(campaign, "lines", shown))
    at.on_step_end(0, [])
    assert text_of(shown) == ""
    config = at.next_trial()
    assert isinstance(config, dict)
    assert json.loads(config[callbacks.WHERE]) == {"ray.io/node-id": "in(a)"}
    at.on_step_end(1, [])
    expected = "1 trials wait for 1 CPUs and 0.25 GPUs each; 0 of 4 CPUs and 2 of 2 GPUs are free\n"
    assert text_of(shown) == expected


class Nodes:
    """Nodes of one GPU each, which may become more."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def usable(self) -> list[Any]:
        return [{"Resources": {"CPU": 4.0, "GPU": 1.0}} for _ in self._names]

    def selector(self) -> dict[str, str]:
        return {"ray.io/node-id": f"in({','.join(self._names)})"}


class Waiting:
    """As much of Tune's trial as is asked for while it has no worker."""

    temporary_state = SimpleNamespace(ray_actor=None)

    def __init__(self, config: object) -> None:
        self.config = config


def test_a_trial_that_waits_for_a_node_that_died_is_placed_anew_once_there_is_another(tmp_path: Path) -> None:
    campaign, shown = evaluation(tmp_path / "run"), Console(file=io.StringIO(), width=80)
    nodes = ["a"]
    at = Callbacks(campaign, GPU, Nodes(nodes), Checkpoints(5), progress_of(campaign, "lines", shown))
    config = at.next_trial()
    waits: Any = Waiting(config)
    stopped: list[Any] = []
    actors = SimpleNamespace(_live_actors_to_ray_actors_resources={})
    controller = SimpleNamespace(_trial_to_actor={}, _actor_manager=actors, stop_trial=stopped.append)
    at.watch(controller, waits)
    at.on_step_end(0, [])
    assert (stopped, campaign.running) == ([], 1)
    nodes.append("b")
    at.on_step_end(1, [])
    assert (stopped, campaign.running) == ([waits], 0)
    again = at.next_trial()
    assert isinstance(config, dict)
    assert again == {**config, callbacks.WHERE: '{"ray.io/node-id": "in(a,b)"}'}


def test_boards_below_one_another_share_the_lines_of_a_terminal() -> None:
    assert display.shared([5], 23) == [5]
    assert display.shared([23], 23) == [23]
    assert display.shared([23, 5], 23) == [18, 5]
    assert display.shared([23, 23, 4], 24) == [10, 10, 4]
    # A board has its least, also where that scrolls.
    assert display.shared([23] * 4, 23) == [8, 8, 8, 8]
