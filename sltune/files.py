"""Files that appear whole or not at all, whatever kills the writer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sltune.errors import UsageError


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on leaving, it takes the file's name at once, or vanishes on an error.

    Raises:
        UsageError: the file cannot be written (a full disk, no permission); says why.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror or error}") from error


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a text or bytes as ``whole_file`` does.

    Raises:
        UsageError: the file cannot be written.
    """
    with whole_file(file) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
