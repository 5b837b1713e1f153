"""Ray for real: fractions of emulated GPUs, the object store, dying workers, and what a user sees of them."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray.exceptions import ObjectLostError
from ray.tune.experiment import Trial
from rich.console import Console

from sltune.api.runs import open_run
from sltune.errors import NothingRan, SomeTrialsFailed, UsageError
from sltune.events.manifest import read_manifest
from sltune.events.samples import Samples
from sltune.progress.display import Display, Progress
from sltune.runs.epochs import EpochRow
from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info
from sltune.runs.record import Record, TrialKey
from sltune.settings.space import Space, parse_space
from sltune.tuning import preparation
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.cluster.objects import SharedEvents
from sltune.tuning.cluster.resources import Request
from sltune.tuning.evaluate import Evaluate
from sltune.tuning.execution import callbacks, executor
from sltune.tuning.execution import worker as trial
from sltune.tuning.execution.liveness import Watch
from sltune.tuning.execution.worker import SharedData
from sltune.tuning.preparation import resume, start
from sltune.tuning.trial.checkpoints import Checkpoints
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.report import Report
from tests.small import CLASSES, SENSOR, quick, table_of
from tests.tuning.clusters import ray_here, workers_below

pytestmark = pytest.mark.processes

QUIET = Display(Console(stderr=True), "quiet")

# One worker for all of a run's trials, as its start takes longer than they do.
ONE_AT_A_TIME = Request(device="cpu", max_concurrent=1)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Four logical CPUs and two GPUs that exist only in Ray's books."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"
    with ray_here(num_cpus=4, num_gpus=2, store_mib=600):
        yield


def space(**settings: object) -> Space:
    import tomlkit

    return parse_space(tomlkit.dumps(quick(**settings).model_dump(mode="json")), "test")


def records(folder: RunFolder) -> list[Record]:
    return folder.records()


def test_four_trials_on_halves_of_two_gpus_overlap_in_time(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()

    # Defined here, so that Ray sends the class itself to the workers and not its name.
    class Meets(trial.TrialWorker):
        """Trains once all four are there."""

        def _run(self) -> Iterator[Report]:
            (meeting / str(self._key.fold)).touch()
            end = time.monotonic() + 200
            while len(list(meeting.iterdir())) < 4 and time.monotonic() < end:
                time.sleep(0.02)
            yield from super()._run()

    monkeypatch.setattr(executor, "TrialWorker", Meets)
    folder = RunFolder(tmp_path / "run")
    start(Evaluate(space()), dataset, folder, Request(device="cpu", gpus_per_trial=0.5), QUIET)
    done = records(folder)
    assert [record.fold for record in done] == [0, 1, 2, 3]
    assert {record.device.num_gpus for record in done} == {0.5}
    gpus = sorted(gpu for record in done for gpu in record.device.gpu_ids)
    assert gpus == ["0", "0", "1", "1"]
    assert max(record.timings.started for record in done) < min(record.timings.ended for record in done)


def test_a_trial_whose_gpu_torch_cannot_see_fails_and_names_the_node(dataset: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(NothingRan, match=r"holds GPU .* on node .* but torch .* sees none"):
        start(Evaluate(space()), dataset, folder, Request(gpus_per_trial=0.5, max_concurrent=1), QUIET)
    assert {record.status for record in records(folder)} == {"failed"}


def test_the_dataset_may_go_away_once_it_is_in_the_object_store(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = executor.Executor.run

    def run_without_data(self: executor.Executor, campaign: Campaign, progress: Progress) -> None:
        shutil.rmtree(dataset)
        run(self, campaign, progress)

    monkeypatch.setattr(executor.Executor, "run", run_without_data)
    folder = RunFolder(tmp_path / "run")
    start(Evaluate(space()), dataset, folder, ONE_AT_A_TIME, QUIET)
    assert [record.status for record in records(folder)] == ["done"] * 4


def test_given_weights_are_tested_without_training_and_it_is_said_once_what_was_changed_of_them(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the predecessor leaves them: a file a fold, counted from 1, with other names."""
    for fold in range(4):
        made = Job(TrialKey("c0000", fold, fold), quick(), SENSOR, len(CLASSES)).network().state_dict()
        theirs = {name.replace(".", "_s.layer."): value for name, value in made.items()}
        torch.save({**theirs, "spike.ksi": torch.tensor([0.36])}, tmp_path / f"model_weights_fold{fold + 1}.pt")
    folder = RunFolder(tmp_path / "run")
    given = space(training__epochs=0, network__weights=str(tmp_path / "model_weights_fold{fold1}.pt"))
    start(Evaluate(given), dataset, folder, ONE_AT_A_TIME, Display(Console(file=sys.stdout), "lines"))
    found = records(folder)
    assert [record.status for record in found] == ["done"] * 4
    assert all(record.metrics.best_epoch is None and record.timings.epochs == 0 for record in found)
    assert all(record.metrics.test_accuracy is not None for record in found)
    first = folder.trial(found[0].key)
    assert not first.epochs_csv.exists()
    assert first.best_weights.exists()
    shown = capsys.readouterr().out
    assert shown.count('"fc1_s.layer.weight" is taken for fc1.weight, … and 3 more') == 1
    assert f"{tmp_path}/model_weights_fold1.pt: " in shown
    (file,) = first.path.glob("events.out.tfevents.*")
    assert b"final/test_accuracy" in file.read_bytes()
    assert b"loss/train" not in file.read_bytes()
    resume(Evaluate(given), folder, None, ONE_AT_A_TIME, QUIET)
    assert [record.timings for record in records(folder)] == [record.timings for record in found]


def test_a_run_leaves_what_the_layout_promises(dataset: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    start(Evaluate(space()), dataset, folder, ONE_AT_A_TIME, QUIET)
    # Or the first Ctrl-C after the last trial would be swallowed.
    assert {number: signal.getsignal(number) for number in before} == before
    assert read_info(folder).dataset.fingerprint == read_manifest(dataset).fingerprint
    for key in read_info(folder).planned(folder):
        trial = folder.trial(key)
        assert trial.epochs_csv.read_text().startswith("epoch,train_loss,val_loss,val_accuracy")
        assert len(trial.epochs_csv.read_text().splitlines()) == 1 + 2
        assert trial.best_weights.stat().st_size > 0
        assert len(list(trial.path.glob("events.out.tfevents.*"))) == 1
    train = (folder.splits / "seed0" / "trainlist1.txt").read_text().split()
    test = (folder.splits / "seed0" / "testlist1.txt").read_text().split()
    val = (folder.splits / "seed0" / "vallist1.txt").read_text().split()
    first = records(folder)[0]
    assert sorted([*first.splits["train"], *first.splits["val"]]) == train
    assert (first.splits["test"], first.splits["val"]) == (test, val)


def test_a_full_disk_stops_the_run_with_the_file_and_the_command_that_goes_on(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RunFolder.write

    def write_until_full(self: RunFolder, file: Path, content: str | bytes) -> None:
        if file.name == "best.pt":
            raise UsageError(f"{file}: cannot be written: No space left on device") from OSError(errno.ENOSPC, "full")
        write(self, file, content)

    monkeypatch.setattr(RunFolder, "write", write_until_full)
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(
        UsageError, match=rf"best\.pt: cannot be written: No space .*; make room, then: sltune resume {folder.root}"
    ):
        start(Evaluate(space()), dataset, folder, ONE_AT_A_TIME, QUIET)
    assert records(folder) == []

    monkeypatch.undo()
    resume(Evaluate(space()), folder, None, ONE_AT_A_TIME, QUIET)
    assert [record.status for record in records(folder)] == ["done"] * 4


def test_a_run_whose_folder_is_deleted_stops_and_says_so(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")

    class Deletes(Progress):
        def epochs(self, key: TrialKey, rows: Sequence[EpochRow]) -> None:
            folder.root.rename(tmp_path / "trash")

    monkeypatch.setattr(preparation, "Progress", Deletes)
    gone = rf"run: is gone; .*; put the run's folder back, then: sltune resume {folder.root}"
    with pytest.raises(UsageError, match=gone):
        start(Evaluate(space()), dataset, folder, ONE_AT_A_TIME, QUIET)
    assert not folder.root.exists()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Return what has the first worker that reports be sent a signal; gives a list that then holds its process."""
    others, victims = workers_below(os.getpid()), list[int]()

    def send(number: int) -> list[int]:
        class Sends(Progress):
            def epochs(self, key: TrialKey, rows: Sequence[EpochRow]) -> None:
                if not victims:
                    (worker,) = set(workers_below(os.getpid())).difference(others)
                    os.kill(worker, number)
                    victims.append(worker)
                super().epochs(key, rows)

        monkeypatch.setattr(preparation, "Progress", Sends)
        return victims

    return send


def test_a_worker_killed_in_the_middle_is_replaced_and_its_trial_recorded_once(
    dataset: Path, tmp_path: Path, sent: Callable[[int], list[int]]
) -> None:
    killed = sent(signal.SIGKILL)
    folder = RunFolder(tmp_path / "run")
    # With a checkpoint after every epoch, none waits for others to travel with it.
    request = replace(ONE_AT_A_TIME, checkpoint_minutes=0)
    start(Evaluate(space(training__epochs=40)), dataset, folder, request, QUIET)
    assert len(killed) == 1
    assert [(record.fold, record.status) for record in records(folder)] == [(fold, "done") for fold in range(4)]
    assert len(list(folder.trials.glob("*/record*.json"))) == 4
    assert not {record.device.pid for record in records(folder)}.intersection(killed)
    for key in read_info(folder).planned(folder):
        assert len(folder.trial(key).epochs_csv.read_text().splitlines()) == 1 + 40


def test_a_frozen_worker_is_replaced(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sent: Callable[[int], list[int]],
) -> None:
    """What is too long a silence is cut short once there is one, so that no slow start is taken for it."""
    silent, frozen, replaced = Watch.silent, sent(signal.SIGSTOP), list[object]()

    def impatient(watch: Watch) -> list[tuple[Trial, object]]:
        with monkeypatch.context() as patch:
            if frozen and not replaced:
                patch.setattr(watch, "_limit_s", 1.0)
            found = silent(watch)
        replaced.extend(found)
        return found

    monkeypatch.setattr(Watch, "silent", impatient)
    folder = RunFolder(tmp_path / "run")
    request = replace(ONE_AT_A_TIME, hang_minutes=60, checkpoint_minutes=0)
    shown = Display(Console(file=sys.stdout, width=200), "lines")
    start(Evaluate(space(evaluation__folds=2, training__epochs=30)), dataset, folder, request, shown)
    assert len(replaced) == 1
    assert capsys.readouterr().out.count("its worker was lost: started again") == 1
    assert [(record.fold, record.status) for record in records(folder)] == [(0, "done"), (1, "done")]
    assert not {record.device.pid for record in records(folder)}.intersection(frozen)


@pytest.mark.slow
def test_a_worker_that_hangs_in_its_first_set_up_is_replaced(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "hung"

    # Defined here, so that Ray sends the class itself to the workers and not its name.
    class HangsOnce(trial.TrialWorker):
        def setup(self, config: dict[str, Any], shared: SharedData | None = None) -> None:
            if not marker.exists():
                marker.touch()
                time.sleep(3600)
            super().setup(config, shared)

    monkeypatch.setattr(executor, "TrialWorker", HangsOnce)
    folder = RunFolder(tmp_path / "run")
    request = Request(device="cpu", gpus_per_trial=0, max_concurrent=1, hang_minutes=0.25)
    start(Evaluate(space(evaluation__folds=2)), dataset, folder, request, QUIET)
    assert marker.exists()
    assert [record.status for record in records(folder)] == ["done"] * 2


@ray.remote(num_cpus=1)
def _touch_all(references: list[object]) -> dict[str, object]:
    """Read every event through Samples and say what it cost in memory of this process."""
    Samples([table_of(10)]).events(0)
    before = _anonymous_bytes()
    samples = Samples(ray.get(references))
    total, writable = 0, False
    for index in range(len(samples)):
        address, time_us = samples.events(index)
        total += int(address[::64].sum(dtype=np.int64)) + int(time_us.max())
        writable |= bool(address.flags.writeable or time_us.flags.writeable)
    try:
        address[0] = 1
        refused = False
    except ValueError:
        refused = True
    return {"grown": _anonymous_bytes() - before, "writable": writable, "refused": refused, "events": total}


def _anonymous_bytes() -> int:
    """Return this process's memory that no other process could share."""
    with open("/proc/self/smaps_rollup") as rollup:
        fields = dict(line.split(":") for line in list(rollup)[1:])
    return int(fields["Anonymous"].split()[0]) * 1024


def test_a_worker_shares_the_events_and_cannot_write_them() -> None:
    table = table_of(40_000_000)
    reference = ray.put(table)
    seen = ray.get(_touch_all.remote([reference]))
    assert seen["refused"]
    assert not seen["writable"]
    assert seen["grown"] < 0.1 * table.nbytes


def test_trials_that_need_more_memory_than_there_is_fail_and_say_what_to_lower(dataset: Path, tmp_path: Path) -> None:
    """A crop of 71 minutes in bins of a millisecond: 70 TB of frames, which no machine gives."""
    folder = RunFolder(tmp_path / "run")
    settings = {"sampling__time_bin_ms": 1, "sampling__train_crop_ms": 4_294_967, "sampling__eval_crop_ms": 20}
    with pytest.raises(NothingRan, match=r"out of memory on cpu of .*training.batch_size = 8 crops of 4294967 time"):
        start(
            Evaluate(space(**settings)),
            dataset,
            folder,
            Request(device="cpu", cpus_per_trial=2, max_concurrent=1),
            QUIET,
        )
    for record in records(folder):
        assert record.status == "failed"
        assert "of which the trial has 2 CPUs: training.batch_size = 8" in record.error
        assert "Traceback" not in record.error


def test_out_of_memory_on_a_device_fails_one_trial_and_its_worker_goes_on_with_the_next() -> None:
    import sltune.tuning.execution.worker as trial_module

    worker = trial_module.TrialWorker.__new__(trial_module.TrialWorker)
    shared = SharedData(SharedEvents([]), {}, {}, (16, 16), 2, "f", Request(device="cpu"), Checkpoints(5))
    worker._shared, worker._started, worker._unsaved, worker._configuration = shared, 0.0, None, quick()
    worker._unsent = trial_module.UnsentRows()
    worker._held = lambda: {"CPU": 1, "GPU": 0.25}  # type: ignore[method-assign]

    def no_room() -> Iterator[Report]:
        yield from ()
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 5.25 GiB.")

    def enough() -> Iterator[Report]:
        yield Report("done", metrics={"test_accuracy": 1.0})

    worker._reports = no_room()
    failed = worker.step()[trial_module.REPORT][0]
    worker._reports = enough()
    done = worker.step()[trial_module.REPORT][0]
    assert (failed.status, failed.lacked_memory, done.status) == ("failed", True, "done")
    assert "of which the trial has 0.25 of a GPU: training.batch_size = 8 crops of 10 time steps" in failed.error
    assert "--gpus-per-trial" in failed.error


def test_a_trial_that_lacked_memory_on_a_shared_gpu_is_tried_once_more_with_a_gpu_to_itself(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Defined here, so that Ray sends the class itself to the workers and not its name.
    class LacksRoom(trial.TrialWorker):
        """Stands in for training: fold 0 needs more than half of a GPU, fold 1 more than there is."""

        def _run(self) -> Iterator[Report]:
            yield from ()
            if self._key.fold == 1 or (self._key.fold == 0 and self._held()["GPU"] < 1):
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            yield Report("done", metrics={"test_accuracy": 1.0, "val_accuracy": 1.0})

    monkeypatch.setattr(executor, "TrialWorker", LacksRoom)
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(SomeTrialsFailed, match="c0000-f1-s0: failed: out of memory"):
        start(Evaluate(space()), dataset, folder, Request(device="cpu", gpus_per_trial=0.5), QUIET)
    found = {record.fold: (record.status, record.device.num_gpus) for record in records(folder)}
    assert found == {0: ("done", 1.0), 1: ("failed", 1.0), 2: ("done", 0.5), 3: ("done", 0.5)}


def test_a_result_that_is_lost_with_its_node_costs_a_fresh_start_and_no_trial(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tune ends the whole experiment over it; the campaign goes on under another Tuner."""
    on_trial_start, lost = callbacks.Callbacks.on_trial_start, list[ObjectLostError]()

    def loses(at: Any, *arguments: Any, **more: Any) -> None:
        on_trial_start(at, *arguments, **more)
        # Once under each of two Tuners, which have callbacks of their own.
        if not hasattr(at, "has_lost") and len(lost) < 2:
            at.has_lost = True
            lost.append(ObjectLostError("0" * 56, None, "made by a node that died"))
            raise RuntimeError("Caught unexpected exception") from lost[-1]

    monkeypatch.setattr(callbacks.Callbacks, "on_trial_start", loses)
    folder = RunFolder(tmp_path / "run")
    start(Evaluate(space(training__epochs=4)), dataset, folder, ONE_AT_A_TIME, QUIET)
    assert len(lost) == 2
    assert [(record.fold, record.status) for record in records(folder)] == [(fold, "done") for fold in range(4)]
    for key in read_info(folder).planned(folder):
        assert len(folder.trial(key).epochs_csv.read_text().splitlines()) == 1 + 4


def test_a_network_of_the_users_is_trained_from_the_text_of_its_file(dataset: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "nets.py").write_text(
        "from torch import nn\n\n"
        "class Plain(nn.Module):\n"
        "    def __init__(self, frame_shape, classes, gain=1.0):\n"
        "        super().__init__()\n"
        "        height, width = frame_shape[1:]\n"
        "        self.gain, self.out = gain, nn.Linear(2 * height * width, classes)\n\n"
        "    def forward(self, frames):\n"
        "        assert frames.dim() == 5, 'of no shape'\n"
        "        return self.out(self.gain * frames.flatten(2))\n"
    )
    values = quick(training__epochs=8).model_dump(mode="json")
    values["network"] = {"name": "nets.py:Plain", "options": {"gain": 0.5}}
    values["neuron"] = {}
    import tomlkit

    own = parse_space(tomlkit.dumps(values), "test", folder=home)
    folder = RunFolder(tmp_path / "run")
    assert own.code.digest
    shutil.rmtree(home)
    start(Evaluate(own), dataset, folder, ONE_AT_A_TIME, QUIET)
    assert {record.versions["code"] for record in records(folder)} == {own.code.digest}
    assert {record.settings["network.options.gain"] for record in records(folder)} == {0.5}
    assert (folder.code / "nets.py").read_text() == own.code.files["nets.py"]
    assert open_run(folder.root).network("c0000-f0-s0").gain == 0.5
    assert max(record.metrics.number("test_accuracy") or 0.0 for record in records(folder)) > 0.9


def test_an_error_in_a_users_network_fails_the_trial_with_their_line(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n\n"
        "class Broken(nn.Module):\n"
        "    def __init__(self, frame_shape, classes):\n"
        "        super().__init__()\n"
        "        self.out = nn.Linear(3, classes)\n\n"
        "    def forward(self, frames):\n"
        "        return self.out(frames.flatten(2))  # of another size\n"
    )
    values = quick(training__epochs=1).model_dump(mode="json")
    values["network"], values["neuron"] = {"name": "nets.py:Broken"}, {}
    import tomlkit

    folder = RunFolder(tmp_path / "run")
    with pytest.raises(NothingRan, match=r"failed: line 9 of \S*nets\.py, in forward: RuntimeError: mat1") as caught:
        start(
            Evaluate(parse_space(tomlkit.dumps(values), "test", folder=tmp_path)),
            dataset,
            folder,
            ONE_AT_A_TIME,
            QUIET,
        )
    assert "if your code must be changed, begin a new run" in str(caught.value)
    text = folder.trial(TrialKey("c0000", 0, 0)).error_txt.read_text()
    assert f'File "{tmp_path}/nets.py", line 9, in forward' in text
    assert "# of another size" in text
