"""Where Tune's events meet the campaign and the progress display, trial by trial."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from sltune.progress.display import Progress
from sltune.progress.mean_curves import update_mean_curves
from sltune.progress.tensorboard import ScalarLog
from sltune.runs.record import TrialKey
from sltune.system.files import read_plain
from sltune.training.checkpoint import MAX_CHECKPOINT_BYTES
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.cluster.joining import free
from sltune.tuning.cluster.nodes import Nodes
from sltune.tuning.cluster.packing import Packing
from sltune.tuning.cluster.resources import Request, slots
from sltune.tuning.execution.liveness import (
    MAX_LOSSES,
    SECONDS_BETWEEN_LOOKS,
    START_PATIENCE_S,
    Losses,
    Waits,
    Watch,
    worker_of,
)
from sltune.tuning.execution.weights import KeptWeights
from sltune.tuning.execution.worker import JOB, REPORT, TrialWorker
from sltune.tuning.trial.checkpoints import Checkpoints
from sltune.tuning.trial.report import Report

WHERE = "where"
"""Key of a trial's Tune configuration; the value is, in JSON, the labels of the nodes where it may run."""
GPUS = "gpus"
"""Key of a trial's Tune configuration; the value is what it gets of GPUs."""


class Callbacks(tune.Callback):
    """Where Tune's events meet the campaign and the progress display.

    error: what kept it from writing, which Tune hides in a text.

    Args:
        packing: by which the request was decided; trials that need more memory than what was measured make it smaller.
    """

    def __init__(
        self,
        campaign: Campaign,
        request: Request,
        nodes: Nodes,
        checkpoints: Checkpoints,
        progress: Progress,
        packing: Packing | None = None,
    ) -> None:
        self.campaign = campaign
        self.error: Exception | None = None
        self._request, self._nodes, self._checkpoints = request, nodes, checkpoints
        self._progress, self._packing = progress, packing
        self._scalars = ScalarLog(campaign.folder)
        self._weights = KeptWeights(campaign, request.keep_weights or "all")
        with self._noting_errors():
            self._weights.catch_up()
        self._controller: Any = None
        self._watch = Watch(60 * request.hang_minutes, lambda trial: worker_of(self._controller, trial))
        self._losses: dict[TrialKey, Losses] = {}
        self._waits = Waits()
        self._awaited: set[TrialKey] = set()
        self._notes: set[str] = set()
        self._slots, self._looked = slots(request, nodes.usable()), time.monotonic()
        self._where = json.dumps(nodes.selector())

    def next_trial(self) -> dict[str, Any] | str | None:
        """Return the Tune configuration of another trial, None for later, or that there are no more."""
        if self.campaign.finished:
            return str(Searcher.FINISHED)
        if self._awaited:
            # Further trials would take the parts of a GPU that one needs whole.
            return None
        self._look()
        if self.campaign.running >= self._slots:
            return None
        with self._noting_errors():
            trial = self.campaign.next_trial()
        if trial is None:
            # Asking may have been what found a grid, or the hours, to be spent.
            return str(Searcher.FINISHED) if self.campaign.finished else None
        if trial.alone:
            self._awaited.add(trial.key)
        self._waits.begin(trial.key)
        described = TrialWorker.describe(trial.key, trial.configuration, trial.alone)
        # A trial that holds a whole GPU has no other trial beside it.
        gpus = 1.0 if trial.alone else self._request.gpus
        return {**described, WHERE: json.dumps(self._nodes.selector()), GPUS: gpus}

    def epochs(self, trial: Trial, report: Report, checkpoint: bytes | None) -> bool:
        """Pass on the epochs of a report; return whether the trial ends with the last of those that count."""
        key = _key(trial)
        self._note(report)
        with self._noting_errors():
            # The rows first: an epoch that is done again after a kill replaces its row, but one left out stays so.
            rows, reason = self.campaign.add_epochs(key, report.rows)
            if checkpoint is not None and not reason:
                folder = self.campaign.folder
                folder.write(folder.trial(key).checkpoint, checkpoint)
            if rows:
                self._losses[key].reach(int(rows[-1]["epoch"]))
                peak = int(max(row.get("device_memory_bytes") or 0 for row in rows))
                if self._packing and self._request.gpus:
                    self._share(self._packing.for_peak(peak), f"a trial takes {peak / 1e9:.2g} GB of a GPU")
                self._scalars.epochs(key, rows)
                self._progress.epochs(key, rows)
            if reason:
                # Without the result, where the trial had ended already when this was decided.
                ended = Report("pruned", reason, timings=report.timings, device=report.device)
                self._finish(key, replace(ended, versions=report.versions))
        return bool(reason)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Give a trial that was begun earlier its checkpoint; it arrives before Tune asks for the first epoch."""
        key = _key(trial)
        self._losses.setdefault(key, Losses()).start()
        self._awaited.discard(key)
        self._waits.place(key)
        file = self.campaign.folder.trial(key).checkpoint
        with self._noting_errors():
            checkpoint = _checkpoint(file) if self._checkpoints.place is None else None
            if checkpoint is not None:
                worker: Any = trial.temporary_state.ray_actor
                worker.go_on_from.remote(checkpoint)
        self._progress.start(key, self.campaign.candidates[key.config_id].configuration_of(key).training.epochs)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._watch.seen(trial)
        # Taken out, since Tune would keep the weights of every trial in memory.
        report, _ = result.pop(REPORT)
        # A trial may end within its last epochs, as it would have if each had come alone.
        if report.status == "running" or self.epochs(trial, report, None):
            return
        key = _key(trial)
        self._note(report)
        if report.lacked_memory and 0 < trial.config[GPUS] < 1:
            if self._packing:
                self._share(self._packing.halved(), "a trial lacked memory beside others")
            with self._noting_errors():
                self.campaign.hand_back(key, alone=True)
            self._progress.again(key, "out of memory: tried again with a GPU to itself")
            return
        with self._noting_errors():
            self._finish(key, report)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._watch.forget(trial)
        self._waits.end(_key(trial))
        # Tune keeps every trial to the end of the run; statistics of results that nobody asks for need not stay, too.
        trial.run_metadata.metric_analysis.clear()
        trial.run_metadata.metric_n_steps.clear()

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Start a trial again whose process or node has died, but not for ever."""
        self._watch.forget(trial)
        key = _key(trial)
        self._awaited.discard(key)
        self._waits.end(key)
        losses = self._losses.setdefault(key, Losses())
        if losses.lose():
            self._progress.again(key, "its worker was lost: started again")
        if not losses.too_many:
            with self._noting_errors():
                self.campaign.hand_back(key, alone=trial.config["alone"])
            return
        trace = Path(trial.error_file) if trial.error_file else None
        last = trace.read_text(encoding="utf-8", errors="replace") if trace and trace.exists() else "no trace"
        error = f"lost {MAX_LOSSES} workers in a row, or none started for {START_PATIENCE_S:g} s; at last:\n{last}"
        with self._noting_errors():
            self._finish(key, Report("failed", error))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Replace workers that hang, which Ray never notices; say what is waited for while nothing else happens."""
        for trial, worker in self._watch.silent():
            self._losses.setdefault(_key(trial), Losses()).start()
            ray.kill(worker)
        self._look()
        if self._where != (where := json.dumps(self._nodes.selector())):
            self._where = where
            for trial in self._watch.waiting():
                if trial.config[WHERE] != where:
                    self._place_anew(trial)
        if self._waits.is_due():
            self._progress.waits(f"{self._waits.words(self._request)}; {free()}")

    def _share(self, packing: Packing, reason: str) -> None:
        """Let fewer trials share a GPU from now on, if a packing says so; those that run keep their share."""
        assert self._packing is not None
        fewer, self._packing = packing.sharers < self._packing.sharers, packing
        if fewer:
            self._request = replace(self._request, gpus_per_trial=1 / packing.sharers)
            self._slots = slots(self._request, self._nodes.usable())
            self._progress.say(f"{reason}: further ones get {self._request.gpus:.3g} GPUs each")

    def _look(self) -> None:
        """See which nodes there are, once a second."""
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
            self._slots, self._looked = slots(self._request, self._nodes.usable()), time.monotonic()

    def _place_anew(self, trial: Trial) -> None:
        """Take back a trial that waits for a place, now that it may have one elsewhere.

        It names the nodes that were there when it was handed out, which may be dead or full for good.
        """
        key = _key(trial)
        self._controller.stop_trial(trial)
        self._awaited.discard(key)
        with self._noting_errors():
            self.campaign.hand_back(key, alone=trial.config["alone"])

    def watch(self, controller: Any, trial: Trial) -> None:
        """Expect signs of life of one of a Tune controller's trials from now on."""
        self._controller = controller
        self._watch.add(trial)

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = error
            raise

    def _note(self, report: Report) -> None:
        """Say what a trial notes of its node, once for each node."""
        host = report.device.get("host", "")
        if report.note and (note := f"{host}: {report.note}") not in self._notes:
            self._notes.add(note)
            self._progress.say(note)

    def _finish(self, key: TrialKey, report: Report) -> None:
        self._losses.pop(key, None)
        record = self.campaign.finish(key, report)
        candidate = self.campaign.candidates[key.config_id]
        for other in candidate.records if candidate.over else [key]:
            self._checkpoints.delete(other)
        self._weights.update(candidate)
        self._scalars.finish(record, report.details)
        update_mean_curves(self.campaign.folder, candidate.config_id, candidate.records.values(), candidate.is_over)
        self._progress.finish(record, candidate.states())

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks; ours holds open files and needs no copy.
        return {}


def _key(trial: Trial) -> TrialKey:
    return TrialWorker.key_of(trial.config[JOB])


def _checkpoint(file: Path) -> bytes | None:
    """Return the content of a checkpoint's file; None where there is none, or something that is no such file."""
    with suppress(OSError):
        return read_plain(file, MAX_CHECKPOINT_BYTES)
    return None
