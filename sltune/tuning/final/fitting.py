"""Training on all signers, in this process: a network for each seed, with checkpoints to go on from after any kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from sltune.errors import DataError, NothingRan, UsageError
from sltune.events.dataset import open_dataset
from sltune.events.splits.parts import Split, everybody, select_sessions
from sltune.events.splits.split import with_sessions
from sltune.progress.display import Display
from sltune.runs.epochs import append_epochs, begin_epochs
from sltune.runs.places import CodeInfo, copy_code
from sltune.runs.record import DatasetInfo
from sltune.settings.space import Space
from sltune.system.files import read_plain, remove, write_whole
from sltune.system.locks import locked
from sltune.system.remote import AnyPath
from sltune.training.checkpoint import MAX_CHECKPOINT_BYTES
from sltune.training.fit import Diverged, EpochMetrics
from sltune.training.weights import weights_to_bytes
from sltune.tuning.final.model import FittedNetwork, ModelFolder, ModelInfo, read_model, write_model
from sltune.tuning.trial.job import Job, starting_weights
from sltune.tuning.trial.measures import OF_TRAINING, row_of
from sltune.tuning.trial.trainer import Trainer

MIN_SECONDS_BETWEEN_CHECKPOINTS = 60.0
"""A kill costs at most this much training, and writing costs little of it."""


class Fitting:
    """The training of a model.

    Args:
        space: of one configuration.
        validation: keep ``evaluation.val_fraction`` of the signers apart, to choose the epoch with the lowest loss; if
            not, the last epoch is taken.
        data: a dataset.

    Raises:
        UsageError: a network cannot be made, or the space searches something.
        DataError: the dataset or weights cannot be read.
    """

    def __init__(self, space: Space, validation: bool, data: AnyPath, device: torch.device, display: Display) -> None:
        self._dataset, self._code, self._device, self._display = open_dataset(data), space.code, device, display
        manifest = self._dataset.manifest
        configuration = with_sessions(space, self._dataset.samples.recordings()).configuration()
        self.info = ModelInfo(
            config=configuration,
            sensor=manifest.sensor,
            dataset=DatasetInfo.of(manifest),
            validation=validation,
            code=CodeInfo.of(self._code),
        )
        self._weights = starting_weights(configuration, 0)
        if note := self._job(configuration.evaluation.seeds[0]).network_and_note()[1]:
            display.say(note)

    def run(self, folder: ModelFolder) -> ModelInfo:
        """Train the networks of all seeds that are not ready yet, on all signers of the sessions.

        Raises:
            UsageError: the folder holds something else, or another process works on it.
            DataError: there are too few signers, or a file of an earlier call is broken.
            NothingRan: a training diverged.
        """
        _refuse_other(folder, self.info)
        with locked(folder.lock):
            if folder.model_json.exists():
                # Another process may have begun it just now.
                _refuse_other(folder, self.info)
                self.info = read_model(folder)
            else:
                write_model(folder, self.info)
            # Again, since an earlier call may have been killed right here.
            copy_code(self._code, folder.code, inside=folder.root)
            for seed in self.info.missing:
                started = time.monotonic()
                network = self._fit(seed, folder)
                self.info = self.info.model_copy(update={"networks": (*self.info.networks, network)})
                write_model(folder, self.info)
                remove(folder.checkpoint(seed), inside=folder.root)
                self._display.say(f"seed {seed}: {_words(network)}, in {time.monotonic() - started:.0f} s")
        return self.info

    def _fit(self, seed: int, folder: ModelFolder) -> FittedNetwork:
        split, validation = self._split(seed), self.info.validation
        trainer = self._trainer(seed, split, folder)
        try:
            with self._display.line() as show:
                self._train(trainer, seed, folder, show)
        except Diverged as error:
            raise NothingRan(f"seed {seed}: the training diverged: {error}") from error
        chosen, last = trainer.best if validation else trainer.last, trainer.last
        assert chosen is not None
        assert last is not None, "a space without epochs is refused"
        content = trainer.best_weights if validation else weights_to_bytes(trainer.network)
        write_whole(folder.weights(seed), content, inside=folder.root)
        evaluation = chosen.evaluation
        found = {"val_loss": evaluation.loss, "val_accuracy": evaluation.accuracy} if validation else {}
        splits = {"train": split.train, "val": split.val}
        return FittedNetwork(seed=seed, epoch=chosen.epoch, epochs=last.epoch, splits=splits, **found)

    def _train(self, trainer: Trainer, seed: int, folder: ModelFolder, show: Callable[[str], None]) -> None:
        saved, written, epochs = time.monotonic(), 0, self.info.config.training.epochs
        for epoch in trainer.epochs():
            row = _row(epoch, self.info.validation)
            # A process that was killed may have left rows of epochs after its checkpoint.
            write = append_epochs if 0 < written == epoch.epoch - 1 else begin_epochs
            write(folder.epochs_csv(seed), [row], folder.root)
            written = epoch.epoch
            text = f"seed {seed}  epoch {epoch.epoch}/{epochs}  {_epoch_words(epoch)}"
            self._display.log({"event": "epoch", "seed": seed, **row}, text)
            show(text)
            if time.monotonic() - saved >= MIN_SECONDS_BETWEEN_CHECKPOINTS:
                write_whole(folder.checkpoint(seed), trainer.checkpoint(), inside=folder.root)
                saved = time.monotonic()

    def _job(self, seed: int) -> Job:
        return self.info.job(seed, self._code, self._weights)

    def _split(self, seed: int) -> Split:
        evaluation = self.info.config.evaluation
        recordings = select_sessions(self._dataset.samples.recordings(), evaluation.sessions)
        fraction = evaluation.val_fraction if self.info.validation else None
        return everybody(recordings, evaluation.split_seed_for(seed), fraction)

    def _trainer(self, seed: int, split: Split, folder: ModelFolder) -> Trainer:
        """Return a trainer that goes on from the checkpoint, if there is one of this training."""
        trainer = Trainer(self._job(seed), self._dataset.samples, split, self._device)
        try:
            checkpoint = read_plain(folder.checkpoint(seed), MAX_CHECKPOINT_BYTES)
        except FileNotFoundError:
            return trainer
        except OSError as error:
            raise DataError(f"{folder.checkpoint(seed)}: cannot be read: {error.strerror}") from error
        if trainer.restore(checkpoint):
            return trainer
        return Trainer(self._job(seed), self._dataset.samples, split, self._device)


def _refuse_other(folder: ModelFolder, info: ModelInfo) -> None:
    """Raise a UsageError unless a folder is new, or holds what an earlier call of the same kind has left."""
    if folder.model_json.exists():
        there = read_model(folder)
        if differing := there.differences(info):
            text = f"holds another model, of which these differ: {', '.join(differing)}"
            raise UsageError(f"{folder.root}: {text}; choose another --out")
    # A call that was killed before it wrote anything may have left its lock.
    elif folder.root.is_dir() and any(not file.name.startswith(".") for file in folder.root.iterdir()):
        raise UsageError(f"{folder.root}: is not empty and no model; choose another --out")


def _row(epoch: EpochMetrics, validation: bool) -> dict[str, float]:
    row = row_of(epoch, selects_on_test=False)
    return row if validation else {name: row[name] for name in ("epoch", *OF_TRAINING) if name in row}


def _epoch_words(epoch: EpochMetrics) -> str:
    accuracy = epoch.evaluation.accuracy
    judged = f"train loss {epoch.train_loss:.4g}" if math.isnan(accuracy) else f"val accuracy {100 * accuracy:.1f} %"
    return f"{judged}  {epoch.samples_per_second:,.0f} samples/s"


def _words(network: FittedNetwork) -> str:
    if network.val_accuracy is None:
        return f"the last of {network.epochs} epochs, without validation"
    found = f"validation accuracy {100 * network.val_accuracy:.2f} %"
    return f"epoch {network.epoch} of {network.epochs}, {found} on {len(network.splits['val'])} recordings"
