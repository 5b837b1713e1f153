"""Where trials under way keep what they need to go on: in the run folder, or at a place that all nodes reach."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from sltune.errors import UsageError
from sltune.runs.record import TrialKey
from sltune.system.files import read_plain, write_whole
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
        system, root, path = self._target(key)
        try:
            if isinstance(system, fs.LocalFileSystem):
                Path(root).mkdir(parents=True, exist_ok=True)
                write_whole(Path(path), data, inside=Path(root))
                return
            system.create_dir(path.rpartition("/")[0])
            with system.open_output_stream(f"{path}.part") as stream:
                stream.write(data)
            system.move(f"{path}.part", path)
        except (OSError, UsageError, pa.ArrowException) as error:
            raise UsageError(f"--checkpoints {self.place}: {path} cannot be written: {error}") from error

    def read(self, key: TrialKey) -> bytes | None:
        """Return the checkpoint at the place; None where there is none.

        Raises:
            UsageError: it cannot be read.
        """
        system, _, path = self._target(key)
        try:
            if isinstance(system, fs.LocalFileSystem):
                return read_plain(Path(path), MAX_CHECKPOINT_BYTES)
            with system.open_input_stream(path) as stream:
                data: bytes = stream.read()
                return data
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"--checkpoints {self.place}: {path} cannot be read: {reason}") from error

    def delete(self, key: TrialKey) -> None:
        """Drop the checkpoint at the place, if there is one, of a trial that has ended."""
        if self.place is not None:
            system, _, path = self._target(key)
            with suppress(OSError, pa.ArrowException):
                system.delete_file(path)

    def check(self) -> None:
        """Raise a UsageError if the place is none that can be written to from here."""
        if self.place is not None:
            probe = TrialKey("c0000", 0, 0)
            probed = Checkpoints(0, self.place, f"{self.run}/.probe")
            probed.write(probe, b"")
            probed.delete(probe)
            system, _, path = probed._target(probe)
            # Object stores have no folders to leave behind.
            with suppress(OSError, pa.ArrowException):
                system.delete_dir(path.rpartition("/")[0])

    def _target(self, key: TrialKey) -> tuple[fs.FileSystem, str, str]:
        """Return the file system, the place in it and the file there."""
        assert self.place is not None
        try:
            if "://" in self.place:
                system, root = fs.FileSystem.from_uri(self.place)
            else:
                system, root = fs.LocalFileSystem(), str(Path(self.place).absolute())
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"--checkpoints {self.place}: is no folder or URI that Arrow opens: {error}") from error
        return system, root, f"{root.rstrip('/')}/{self.run}/{key.name}.pt"
