"""Imports users' files from memory, within a limited time, and names the user's line where one fails."""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FrameType, ModuleType

from sltune.errors import CodeError
from sltune.wording import shortened

MAX_IMPORT_SECONDS = 60
"""An import of a large library takes half of this on a busy machine."""
MAX_MESSAGE_LENGTH = 2000
"""The text of a user's exception may hold a whole tensor."""


@dataclass(frozen=True)
class Files:
    """The text of files by their paths, and the folder where they were found."""

    texts: Mapping[str, str]
    origin: str

    def filename(self, path: str) -> str:
        """Return what traces call a file."""
        return str(Path(self.origin) / path) if self.origin else path

    def path_of(self, module: str) -> str:
        """Return the path of a module's file; "" for a folder without a file of its own."""
        place = "/".join(module.split(".")[1:])
        return next((path for path in (f"{place}.py", f"{place}/__init__.py") if path in self.texts), "")

    def has(self, module: str) -> bool:
        """Say whether there is such a module, or a folder in which one lies."""
        place = "/".join(module.split(".")[1:])
        return not place or bool(self.path_of(module)) or any(path.startswith(f"{place}/") for path in self.texts)


def import_module(name: str) -> ModuleType:
    """Import a module, of users' files by the name of their package, once in a process.

    Raises:
        CodeError: it cannot be imported, or not in time; its cause is the error that the user's code has raised.
    """
    try:
        with limited(MAX_IMPORT_SECONDS):
            return importlib.import_module(name)
    except TooLong as error:
        forget(name)
        raise CodeError(f"its import {error}") from None
    except BaseException as error:
        forget(name)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise CodeError(f"cannot be imported: {describe_error(error)}") from error


def register(package: str, files: Files) -> None:
    """Let files be imported as modules of a package of this name, which must begin with that of no other package."""
    _FINDER.files.setdefault(package, files)
    _FINDER.filenames.update(map(files.filename, files.texts))


def describe_error(error: BaseException) -> str:
    """Return an error with the last line of a user's that led to it."""
    try:
        text = shortened(str(error), MAX_MESSAGE_LENGTH)
    except Exception:
        text = "its message cannot be shown"
    return f"{_where(error)}{type(error).__name__}: {text}"


def users_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the calls that led to an error, of the user's code only."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if not is_library(frame.filename)]


def is_library(file: str) -> bool:
    """Say whether code is torch's, sltune's or Python's own."""
    stdlib = sysconfig.get_path("stdlib") + os.sep
    # Some distributions have installed packages below the standard library.
    is_pythons = file.startswith(stdlib) and "site-packages" not in file
    return is_pythons or file.startswith((*_libraries(), "<frozen"))


@cache
def _libraries() -> list[str]:
    # Torch is found without being imported, which takes seconds.
    torch = importlib.util.find_spec("torch")
    folders = [Path(__file__).parents[1], *([Path(torch.origin).parent] if torch and torch.origin else [])]
    return [f"{folder}{os.sep}" for folder in folders]


def _where(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"line {error.lineno} of {error.filename}: "
    frames = users_frames(error)
    # A library such as snnTorch is not the user's either, but where nothing else is, it may be what they have named.
    own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    return f"line {own[-1].lineno} of {own[-1].filename}, in {own[-1].name}: " if own else ""


def forget(name: str) -> None:
    """Forget the modules of a user's files, by the name of one or of their package; the next import runs them anew.

    A part of a failed import would be taken for the whole, and what a trial leaves in a module for what was there.
    """
    package = name.partition(".")[0]
    if package in _FINDER.files:
        for known in [known for known in sys.modules if known.partition(".")[0] == package]:
            del sys.modules[known]


class TooLong(BaseException):
    """A user's code takes too long. No Exception, which the code itself may catch."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End what takes too long, as an endless loop does; only the main thread can be interrupted.

    Raises:
        TooLong: says at which of the user's lines it was.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code.co_filename not in _FINDER.filenames:
            frame = frame.f_back
        where = f"at line {frame.f_lineno} of {frame.f_code.co_filename}" if frame else "in another module"
        raise TooLong(f"has not ended after {seconds:g} s; it is {where}")

    earlier = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


class _Loader(importlib.abc.InspectLoader):
    """Makes modules of the text of users' files; traces and ``inspect`` find their lines here."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def is_package(self, fullname: str) -> bool:
        return self._files.path_of(fullname).endswith("/__init__.py") or not self._files.path_of(fullname)

    def get_source(self, fullname: str) -> str:
        # Editors on Windows put a mark before the text, which is no code.
        return self._files.texts.get(self._files.path_of(fullname), "").removeprefix("\ufeff")

    def get_filename(self, fullname: str) -> str:
        return self._files.filename(self._files.path_of(fullname))

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.get_source(fullname), self.get_filename(fullname), "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules of users' files by the name of their package."""

    def __init__(self) -> None:
        self.files: dict[str, Files] = {}
        self.filenames: set[str] = set()

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        files = self.files.get(fullname.partition(".")[0])
        if files is None or not files.has(fullname):
            return None
        loader = _Loader(files)
        spec = importlib.util.spec_from_loader(fullname, loader, origin=loader.get_filename(fullname))
        if spec is not None:
            spec.has_location = True
        return spec


_FINDER = _Finder()
sys.meta_path.append(_FINDER)
