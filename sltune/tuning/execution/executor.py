"""Ray Tune as the executor of a campaign, and no more: it places trials, keeps actors warm, restarts dead ones."""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import signal
import tempfile
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.exceptions import RayError
from ray.tune.error import TuneError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sltune.errors import SltuneError, UsageError
from sltune.progress.display import Progress
from sltune.progress.tensorboard import quiet_writers
from sltune.runs.folder import RunFolder
from sltune.runs.info import resume_command
from sltune.system.supervisor import note_scratch
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.cluster.errors import in_our_words
from sltune.tuning.cluster.signals import answering
from sltune.tuning.execution.callbacks import WHERE, Desk, Placement
from sltune.tuning.execution.worker import REPORT, SharedData, TrialWorker

# How many actors Tune may start at once; how many trials run, the campaign's searcher decides.
MOST_PENDING = 1024
# How often Tune may break down in a run, each time over a node that died at a bad moment.
MOST_FRESH_STARTS = 100


def execute(campaign: Campaign, shared: SharedData, placement: Placement, progress: Progress) -> None:
    """Run every trial that the campaign hands out; returns when all are over or the user interrupts.

    Raises:
        UsageError: the run folder cannot be written any more, or Ray failed.
    """
    _quieten_tune()
    with in_our_words(f"go on with: {resume_command(campaign.folder)}"):
        _execute(campaign, shared, placement, progress)


def _execute(campaign: Campaign, shared: SharedData, placement: Placement, progress: Progress) -> None:
    for left in range(MOST_FRESH_STARTS, -1, -1):
        desk = Desk(campaign, shared, placement, progress)
        try:
            _run(desk)
            return
        except TuneError as error:
            if not isinstance(desk.error, (SltuneError, OSError)):
                # A bug keeps its trace.
                raise desk.error or error from None
            raise UsageError(_how_to_go_on(desk.error, campaign.folder)) from None
        except RuntimeError as error:
            # A node took a result with it that the driver had not fetched yet, for which Tune has no answer.
            if not (isinstance(error.__cause__, RayError) and left):
                raise
        campaign.hand_back_all()
        # The old workers end with the last reference to them.
        gc.collect()


def _how_to_go_on(error: Exception, folder: RunFolder) -> str:
    """Say what kept a run from writing, and what to do about it."""
    reason = error if isinstance(error, OSError) else error.__cause__
    if isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT):
        step = "make room, then"
    else:
        step = "go on with" if folder.run_json.exists() else "put the run's folder back, then"
    return f"{error}; {step}: {resume_command(folder)}"


def _run(desk: Desk) -> None:
    # Tune keeps a state of its own, which we never read: it may vanish with the run.
    with tempfile.TemporaryDirectory(prefix="sltune-tune-") as scratch, quiet_writers():
        note_scratch(scratch)
        # Tune would leave handlers of its own behind, of which that of Ctrl-C swallows the first.
        kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
        try:
            with answering(kept):
                _tuner(desk, scratch).fit()
        finally:
            desk.close()


def _tuner(desk: Desk, scratch: str) -> tune.Tuner:
    share = desk.placement.share

    def resources(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        # Alone on its GPU is who holds all of it.
        bundle = {"CPU": share.cpus, "GPU": 1.0 if config["alone"] else share.gpus}
        return tune.PlacementGroupFactory([bundle], bundle_label_selector=[json.loads(config[WHERE])])

    return tune.Tuner(
        tune.with_resources(tune.with_parameters(TrialWorker, shared=desk.shared), resources),
        tune_config=tune.TuneConfig(
            search_alg=_CampaignSearcher(desk),
            scheduler=_CampaignScheduler(desk),
            num_samples=-1,
            max_concurrent_trials=MOST_PENDING,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            storage_path=scratch,
            name="run",
            verbose=0,
            callbacks=[desk],
            # What is tried again, the desk decides: Tune would give up a trial whose warm worker died before it began.
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


class _CampaignSearcher(Searcher):
    """Gives Tune the campaign's next trial."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        return self._desk.next_trial()  # type: ignore[return-value]

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the desk has passed on what came of the trial."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the campaign's records are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a run goes on from its records."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _CampaignScheduler(FIFOScheduler):
    """Ends trials that the campaign does not want any more."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._desk = desk

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._desk.watch(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        stops = self._desk.epoch(trial, result[REPORT])
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _quieten_tune() -> None:
    """Keep Tune from printing, from writing logs for every trial, and from saving a state that nobody reads."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1000000"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    logging.getLogger("ray").setLevel(logging.CRITICAL)
