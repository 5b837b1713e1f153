"""Where trials under way keep what they need to go on: in the run folder, or at a place that all nodes reach."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sltune.errors import UsageError
from sltune.runs.record import TrialKey
from sltune.system.files import write_whole
from sltune.system.remote import AnyPath, RemotePath, opened_file, path_or_uri
from sltune.training.checkpoint import MAX_CHECKPOINT_BYTES


@dataclass(frozen=True)
class Checkpoints:
    """How often a trial saves its state, and where.

    minutes: the least time between two; 0 saves after every epoch. place: a folder or URI that workers write to
    themselves; None where the driver, which gets checkpoints through Ray, keeps them in the run folder. run: its name.
    """

    minutes: float
    place: str | None = None
    run: str = ""

    def is_due(self, seconds: float) -> bool:
        """Say whether a trial should save its state again, this many seconds after the last time."""
        return seconds >= 60 * self.minutes

    def write(self, key: TrialKey, data: bytes) -> None:
        """Write a checkpoint at the place, under its name at once where the file system can do that.

        Raises:
            UsageError: it cannot be written; of a folder, no link below it is followed.
        """
        root, file = self._target(key)
        try:
            if isinstance(root, Path) and isinstance(file, Path):
                root.mkdir(parents=True, exist_ok=True)
                write_whole(file, data, inside=root)
                return
            assert isinstance(file, RemotePath)
            system, path = file.opened()
            with file.explained():
                system.create_dir(path.rpartition("/")[0])
                with system.open_output_stream(f"{path}.part") as stream:
                    stream.write(data)
                system.move(f"{path}.part", path)
        except (OSError, UsageError, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"--checkpoints {self.place}: {file} cannot be written: {reason}") from error

    def read(self, key: TrialKey) -> bytes | None:
        """Return the checkpoint at the place; None where there is none.

        Raises:
            UsageError: it cannot be read.
        """
        file = self._target(key)[1]
        try:
            with opened_file(file, MAX_CHECKPOINT_BYTES) as handle:
                return handle.read(MAX_CHECKPOINT_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"--checkpoints {self.place}: {file} cannot be read: {reason}") from error

    def delete(self, key: TrialKey) -> None:
        """Drop the checkpoint at the place, if there is one, of a trial that has ended."""
        if self.place is not None:
            _delete(self._target(key)[1])

    def check(self) -> None:
        """Raise a UsageError if the place is none that can be written to from here."""
        if self.place is not None:
            probe = TrialKey("c0000", 0, 0)
            probed = Checkpoints(0, self.place, f"{self.run}/.probe")
            probed.write(probe, b"")
            _delete(probed._target(probe)[1], with_folder=True)

    def _target(self, key: TrialKey) -> tuple[AnyPath, AnyPath]:
        """Return the place, and the file in it."""
        assert self.place is not None
        root = path_or_uri(self.place, "--checkpoints")
        root = root.absolute() if isinstance(root, Path) else root
        return root, root / f"{self.run}/{key.name}.pt"


def _delete(file: AnyPath, with_folder: bool = False) -> None:
    """Delete a file, if it exists and can be deleted, and where asked its folder, if nothing else is in it."""
    with suppress(OSError, UsageError, pa.ArrowException):
        if isinstance(file, Path):
            file.unlink()
            if with_folder:
                file.parent.rmdir()
            return
        system, path = file.opened()
        system.delete_file(path)
        # Object stores have no folders to leave behind.
        if with_folder:
            system.delete_dir(path.rpartition("/")[0])
