"""Runs a campaign's trials on Ray Tune, which places them, keeps actors warm and restarts dead ones, and no more."""

from __future__ import annotations

import errno
import gc
import json
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune.error import TuneError

from sltune.errors import SltuneError, UsageError
from sltune.events.manifest import Manifest
from sltune.events.samples import Samples
from sltune.events.splits.split import left_out, lists_of, split_of
from sltune.extensions.code import Code
from sltune.progress.display import Progress
from sltune.runs.folder import RunFolder
from sltune.runs.info import resume_command
from sltune.runs.plan import steps_of
from sltune.runs.results import Criteria
from sltune.settings.configuration import Configuration
from sltune.settings.space import Space
from sltune.system.remote import AnyPath
from sltune.system.supervisor import note_scratch
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.cluster.errors import in_our_words
from sltune.tuning.cluster.nodes import Nodes
from sltune.tuning.cluster.objects import share_dataset
from sltune.tuning.cluster.packing import Packing
from sltune.tuning.cluster.resources import Request, share_for
from sltune.tuning.cluster.signals import answering
from sltune.tuning.execution.adapters import CampaignScheduler, CampaignSearcher, NoReporter, quiet_tune
from sltune.tuning.execution.callbacks import GPUS, WHERE, Callbacks
from sltune.tuning.execution.probing import described, measure_packing
from sltune.tuning.execution.worker import SharedData, TrialWorker
from sltune.tuning.trial.job import MAX_PROBES, made_networks

MAX_PENDING = 1024
"""Actors that Tune may start at once: as many as it likes, since the campaign decides how many trials run."""
MAX_FRESH_STARTS = 100
"""How often Tune may break down in a run, each time over a node that died at a bad moment."""


class Trained(Protocol):
    """What is trained.

    outer_fold: that of a nested search whose test signers no trial may see; None for no such.
    """

    space: Space
    outer_fold: int | None

    @property
    def at_once(self) -> int:
        """How many trials may run at the same time, at most."""


class Executor:
    """Runs the trials of a run on the Ray that this process is connected to.

    When it is made, everything is checked that trials need, and the data are put into Ray's object store.

    request: with what each trial gets of a node. shared: what all trials read. recordings: their names. notes: what a
    user should know before anything is trained.

    Args:
        run: the name of the run.
        say: is told which nodes are left aside.

    Raises:
        UsageError: no node can run such trials, a network cannot be made, or checkpoints cannot be written.
        DataError: the dataset or weights cannot be read, or there are too few signers.
    """

    def __init__(
        self, kind: Trained, data: AnyPath, manifest: Manifest, request: Request, run: str, say: Callable[[str], None]
    ) -> None:
        space = kind.space
        checkpoints = request.checkpoints_of(run)
        checkpoints.check()
        steps = steps_of(space.evaluation)
        self._nodes = Nodes(say)
        there = self._nodes.first()
        self._asked, self._at_once = request, kind.at_once
        self.request = share_for(request, kind.at_once, there)
        self._packing: Packing | None = None
        if "gpu_joules" in Criteria.of(space.search).costs and not self.request.gpus:
            raise UsageError("[search]: judges by gpu_joules, and trials get no GPU")
        probes = list(islice(space.probes(), MAX_PROBES))
        self._first = probes[0]
        weights, self.notes = _put_weights(probes, manifest, space.code, Criteria.of(space.search).costs)
        events = share_dataset(data, manifest, there)
        recordings = events.samples().recordings()
        self.recordings = tuple(recording.name for recording in recordings)
        lists = lists_of(space)
        splits = {step: split_of(probes[0], recordings, step[1], step[0], kind.outer_fold, lists) for step in steps}
        self.notes = (*self.notes, *([events.note] if events.note else []), *left_out(probes[0], recordings, lists))
        sensor, classes = manifest.sensor, len(manifest.classes)
        self.shared = SharedData(
            events, weights, splits, sensor, classes, manifest.fingerprint, self.request, checkpoints, space.code
        )

    @property
    def samples(self) -> Samples:
        """The samples, as trials see them."""
        return self.shared.events.samples()

    def measure_packing(self, say: Callable[[str], None]) -> None:
        """Decide what a trial gets of a GPU or of a node's cores where the user leaves that open.

        Args:
            say: is told what was measured.
        """
        found = measure_packing(self.shared, self._asked, self._first, self._at_once, self._nodes.usable())
        if found is not None:
            self.request, self._packing = found
            self.shared = replace(self.shared, request=self.request)
            say(described(self._packing, self.request))

    def run(self, campaign: Campaign, progress: Progress) -> None:
        """Run every trial that a campaign hands out; returns when all are over or the user interrupts.

        Raises:
            UsageError: the run folder cannot be written any more, or Ray failed.
        """
        with quiet_tune(), in_our_words(f"go on with: {resume_command(campaign.folder)}"):
            for left in range(MAX_FRESH_STARTS, -1, -1):
                if self._run(self._callbacks(campaign, progress), left):
                    return
                campaign.hand_back_all()
                # The old workers end with the last reference to them.
                gc.collect()

    def _callbacks(self, campaign: Campaign, progress: Progress) -> Callbacks:
        return Callbacks(campaign, self.request, self._nodes, self.shared.checkpoints, progress, self._packing)

    def _run(self, callbacks: Callbacks, left: int) -> bool:
        """Run Tune; return False if it broke down and should be started again; left: how often it still may be."""
        try:
            self._fit(callbacks)
        except TuneError as error:
            if not isinstance(callbacks.error, (SltuneError, OSError)):
                # A bug keeps its trace.
                raise callbacks.error or error from None
            raise UsageError(_how_to_go_on(callbacks.error, callbacks.campaign.folder)) from None
        except RuntimeError as error:
            # A node took a result with it that the driver had not fetched yet, for which Tune has no answer.
            if not (isinstance(error.__cause__, RayError) and left):
                raise
            return False
        return True

    def _fit(self, callbacks: Callbacks) -> None:
        # Tune keeps a state of its own, which we never read: it may vanish with the run.
        with tempfile.TemporaryDirectory(prefix="sltune-tune-") as scratch:
            note_scratch(scratch)
            # Tune would leave handlers of its own behind, of which that of Ctrl-C swallows the first.
            kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
            with answering(kept):
                self._tuner(callbacks, scratch).fit()

    def _tuner(self, callbacks: Callbacks, scratch: str) -> tune.Tuner:
        # Ray sends the function to others, and with it all that it names.
        cpus = self.request.cpus

        def resources(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
            bundle = {"CPU": cpus, "GPU": config[GPUS]}
            return tune.PlacementGroupFactory([bundle], bundle_label_selector=[json.loads(config[WHERE])])

        return tune.Tuner(
            tune.with_resources(tune.with_parameters(TrialWorker, shared=self.shared), resources),
            tune_config=tune.TuneConfig(
                search_alg=CampaignSearcher(callbacks),
                scheduler=CampaignScheduler(callbacks),
                num_samples=-1,
                max_concurrent_trials=MAX_PENDING,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                name="run",
                verbose=0,
                progress_reporter=NoReporter(),
                callbacks=[callbacks],
                # The callbacks decide what is tried again: Tune would give up a trial whose warm worker died early.
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )


def _put_weights(
    probes: Sequence[Configuration], manifest: Manifest, code: Code, costs: Sequence[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Check that each network can be made, and put the weights that it starts from into the object store, by path.

    Also returns what to say of them: of files that differ only by fold, it is said once.
    """
    references, notes = {}, dict[str, str]()
    for configuration, fold, weights, note in made_networks(probes, manifest, code, costs):
        if weights is not None:
            references[configuration.network.weights_for(fold)] = ray.put(weights)
        if note:
            notes.setdefault(f"{configuration.network.weights} {configuration.neuron.surrogate}", note)
    return references, tuple(notes.values())


def _how_to_go_on(error: Exception, folder: RunFolder) -> str:
    """Say what kept a run from writing, and what to do about it."""
    reason = error if isinstance(error, OSError) else error.__cause__
    if isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT):
        step = "make room, then"
    else:
        step = "go on with" if folder.run_json.exists() else "put the run's folder back, then"
    return f"{error}; {step}: {resume_command(folder)}"
