"""A campaign hands out each trial once, and its records are all it needs to go on."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from sltune.errors import DataError, UsageError
from sltune.progress.tensorboard import ScalarLog
from sltune.runs.folder import RunFolder
from sltune.runs.info import DatasetPlace, RunInfo, read_info, write_info
from sltune.runs.plan import trials_of
from sltune.runs.record import DatasetInfo, TrialKey
from sltune.system.locks import locked
from sltune.tuning.campaign.campaign import Campaign, evaluation_campaign
from sltune.tuning.trial.report import Report
from tests.small import quick

DATASET = DatasetInfo(name="two sides", synthetic=True, fingerprint="f", classes=("left", "right"))


def finished(status: str = "done", accuracy: float = 0.5) -> Report:
    metrics = {"test_accuracy": accuracy} if status == "done" else {}
    error = "" if status == "done" else "broke"
    return Report(status, error, metrics=metrics, weights=b"w", timings={"started": 0.0, "ended": 1.0})  # type: ignore[arg-type]


def campaign(root: Path, retry_failed: bool = False) -> Campaign:
    configuration = quick(evaluation__seeds=[0, 5], evaluation__folds=2)
    return evaluation_campaign(RunFolder(root), configuration, DATASET, trials_of(configuration), retry_failed)


def hand_out(campaign: Campaign) -> list[str]:
    names = []
    while (trial := campaign.next_trial()) is not None:
        names.append(trial.key.name)
    return names


def test_all_folds_of_a_seed_come_before_the_next_seed(tmp_path: Path) -> None:
    assert hand_out(campaign(tmp_path)) == ["c0000-f0-s0", "c0000-f1-s0", "c0000-f0-s5", "c0000-f1-s5"]


def test_a_new_campaign_over_the_same_folder_hands_out_only_what_has_no_record(tmp_path: Path) -> None:
    first = campaign(tmp_path)
    trial = first.next_trial()
    assert trial is not None
    first.finish(trial.key, finished())

    again = campaign(tmp_path)

    assert list(again.candidates["c0000"].states().values()).count("waiting") == 3
    assert hand_out(again) == ["c0000-f1-s0", "c0000-f0-s5", "c0000-f1-s5"]


def test_failed_trials_are_handed_out_again_only_on_request_and_keep_both_records(tmp_path: Path) -> None:
    first = campaign(tmp_path)
    key = TrialKey("c0000", 0, 0)
    first.finish(key, finished("failed"))
    assert key.name not in hand_out(campaign(tmp_path))

    again = campaign(tmp_path, retry_failed=True)
    assert key.name in hand_out(again)
    again.finish(key, finished(accuracy=0.75))

    folder = RunFolder(tmp_path).trial(key).path
    assert {file.name for file in folder.glob("record*")} == {"record.json", "record.1.json"}
    assert [record.metrics.test_accuracy for record in RunFolder(tmp_path).records()] == [0.75]


def test_records_of_another_configuration_are_never_mixed_in(tmp_path: Path) -> None:
    campaign(tmp_path).finish(TrialKey("c0000", 0, 0), finished())
    other = quick(evaluation__seeds=[0, 5], evaluation__folds=2, neuron__decay=0.5)
    with pytest.raises(DataError, match=r"space\.toml: is not the configuration of the record of c0000-f0-s0"):
        evaluation_campaign(RunFolder(tmp_path), other, DATASET, trials_of(other))


def test_a_result_that_comes_twice_leaves_the_first_record(tmp_path: Path) -> None:
    first = campaign(tmp_path)
    key = TrialKey("c0000", 0, 1)
    first.finish(key, finished(accuracy=0.25))
    first.finish(key, finished(accuracy=1.0))
    assert [record.metrics.test_accuracy for record in RunFolder(tmp_path).records()] == [0.25]


def test_a_trial_that_starts_anew_starts_its_epochs_anew(tmp_path: Path) -> None:
    one = campaign(tmp_path)
    key = TrialKey("c0000", 0, 0)
    for epoch in (1, 2, 1):
        one.add_epochs(key, [{"epoch": epoch, "train_loss": 0.5}])
    assert RunFolder(tmp_path).trial(key).epochs_csv.read_text() == "epoch,train_loss\n1,0.5\n"


@pytest.mark.parametrize("place", ["trials", "trials/c0000-f0-s0"])
def test_a_trial_whose_folder_is_a_link_is_not_written(tmp_path: Path, place: str) -> None:
    """Not even files are removed there: a run of a stranger may name any folder of whoever goes on with it."""
    run, mine = tmp_path / "run", tmp_path / "mine"
    files = [mine / name for name in ("error.txt", "checkpoint.pt", "epochs.csv")]
    (run / place).parent.mkdir(parents=True)
    mine.mkdir()
    for file in files:
        file.write_text("kept")
    (run / place).symlink_to(mine)
    one, key = campaign(run), TrialKey("c0000", 0, 0)
    with pytest.raises(UsageError, match="is a link, through which nothing is written"):
        one.add_epochs(key, [{"epoch": 1, "train_loss": 0.5}])
    with pytest.raises(UsageError, match="is a link, through which nothing is written"):
        one.finish(key, finished())
    with pytest.raises(UsageError, match="is a link, through which nothing is written"):
        ScalarLog(RunFolder(run)).epochs(key, [{"epoch": 1, "train_loss": 0.5}])
    assert sorted(mine.iterdir()) == sorted(files)
    assert [file.read_text() for file in files] == ["kept"] * 3


def test_epochs_csv_is_never_written_through_a_link(tmp_path: Path) -> None:
    one, key = campaign(tmp_path), TrialKey("c0000", 0, 0)
    file, mine = RunFolder(tmp_path).trial(key).epochs_csv, tmp_path / "mine"
    mine.write_text("epoch,train_loss\n1,0.5\n")
    file.parent.mkdir(parents=True)
    file.symlink_to(mine)
    one.add_epochs(key, [{"epoch": 1, "train_loss": 0.25}])
    one.add_epochs(key, [{"epoch": 2, "train_loss": 0.125}])
    assert mine.read_text() == "epoch,train_loss\n1,0.5\n"
    assert file.read_text() == "epoch,train_loss\n1,0.25\n2,0.125\n"


def test_run_json_names_the_trials_it_plans(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    planned = trials_of(quick(evaluation__seeds=[3], evaluation__folds=3))
    dataset = DatasetPlace(name="hills", synthetic=True, fingerprint="f", classes=("a", "b"))
    write_info(folder, RunInfo(name="x", kind="evaluate", dataset=dataset, trials=[key.name for key in planned]))
    assert read_info(folder).planned(folder) == [TrialKey("c0000", 3, fold) for fold in range(3)]


def _hold(root: Path, ready: multiprocessing.synchronize.Event, release: multiprocessing.synchronize.Event) -> None:
    with locked(RunFolder(root).lock):
        ready.set()
        release.wait(30)


def test_a_second_process_cannot_take_a_run_and_a_dead_one_holds_none(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready, release))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(UsageError, match=f"in use by process {holder.pid}"), locked(RunFolder(tmp_path).lock):
        pass
    holder.kill()
    holder.join()
    with locked(RunFolder(tmp_path).lock):
        pass
