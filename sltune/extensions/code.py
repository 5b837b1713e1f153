"""What ``file.py:Name``, ``folder/:Name`` and ``package.module:Name`` in a space file stand for.

Files are read once, where a run begins. From then on their text is all that counts: it is copied into the run folder,
travels to workers that cannot read the user's folder, and is imported from memory under a name of its own, so that two
versions of a file can live in one process.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from sltune.errors import CodeError
from sltune.extensions.calls import name_of
from sltune.extensions.importing import Files, describe_error, forget, import_module, register
from sltune.system.files import read_plain
from sltune.wording import first_of, suggestion

FORMS = '"file.py:Name", "folder/:Name" or "package.module:Name"'
REFERENCE = r"^[^\s:]+:[A-Za-z_][A-Za-z0-9_]*$"

MAX_FILE_BYTES = 1 << 20
"""No file of source code that a person has written is larger."""
MAX_FILES = 1000
"""A folder with more files is a checkout or an environment, named by mistake."""
MAX_SHOWN_NAMES = 10


@dataclass(frozen=True)
class Reference:
    """Where code is, and what to take from it."""

    place: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        place, _, name = text.rpartition(":")
        return cls(place, name)

    @property
    def is_file(self) -> bool:
        return self.place.endswith(".py")

    @property
    def is_folder(self) -> bool:
        return self.place.endswith("/")

    @property
    def is_installed(self) -> bool:
        return not self.is_file and not self.is_folder

    @property
    def parts(self) -> list[str]:
        """The path of a file or folder, as names of modules."""
        return self.place.removesuffix(".py").removesuffix("/").split("/")


def is_reference(text: str) -> bool:
    """Say whether a name, with or without parameters, is that of a user's code rather than of something built in."""
    return ":" in name_of(text)


@dataclass(frozen=True)
class Code:
    """The code that a run uses.

    files: the text of each file, by its path as the space file writes it. modules: the digests of installed modules.
    origin: the folder where the files were found.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    origin: str = field(default="", compare=False)

    @cached_property
    def digest(self) -> str:
        """What tells this code from any other; "" where there is none."""
        if not self.files and not self.modules:
            return ""
        text = json.dumps([dict(self.files), dict(self.modules)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def _package(self) -> str:
        """The package as which files are imported."""
        return f"sltune_code_{self.digest[:16]}"

    def differing(self, other: Code) -> list[str]:
        """Return the names of files and modules that are in both, and differ."""
        mine, theirs = {**self.files, **self.modules}, {**other.files, **other.modules}
        return [name for name in mine if theirs.get(name, mine[name]) != mine[name]]

    def forget(self) -> None:
        """Run files anew when they are loaded next, so that a trial finds nothing that the one before has left there.

        Installed modules stay as they are.
        """
        forget(self._package)

    def load(self, text: str) -> Any:
        """Return what a reference stands for; imported once in a process, or once after ``forget``.

        Raises:
            CodeError: the code cannot be imported, or has no such name.
        """
        reference = Reference.parse(text)
        module_name = reference.place
        if not reference.is_installed:
            register(self._package, Files(self.files, self.origin))
            module_name = ".".join([self._package, *reference.parts])
        elif (wanted := self.modules.get(reference.place)) not in (None, _digest_of(text, reference.place)):
            hint = f"install here what the run began with, of which the digest is {str(wanted)[:12]}…"
            raise CodeError(f"{text}: {reference.place} is another version than where the run began; {hint}")
        try:
            module = import_module(module_name)
        except CodeError as error:
            raise CodeError(f"{text}: {error}{_hint(reference, error.__cause__)}") from error.__cause__
        try:
            return getattr(module, reference.name)
        except AttributeError as error:
            own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
            there = f"; it has {', '.join(first_of(own, MAX_SHOWN_NAMES))}" if own else "; it defines nothing"
            raise CodeError(
                f"{text}: {reference.place} has no {reference.name}{suggestion(reference.name, own) or there}"
            ) from error
        except Exception as error:
            raise CodeError(f"{text}: {reference.name} cannot be had: {describe_error(error)}") from error


NO_CODE = Code()


def collect(references: Iterable[str], folders: Sequence[Path]) -> Code:
    """Read the code that references name, as it is now.

    Args:
        folders: where files are looked for, in this order.

    Raises:
        CodeError: there is no such file or module, or it cannot be read; says where it was looked for.
    """
    files: dict[str, str] = {}
    modules: dict[str, str] = {}
    homes: dict[Path, str] = {}
    for text in dict.fromkeys(references):
        reference = Reference.parse(text)
        if reference.is_installed:
            modules[reference.place] = _digest_of(text, reference.place)
            continue
        home = _home(text, reference, folders)
        homes.setdefault(home, text)
        files |= _read(home, reference, text)
    if len(homes) > 1:
        where = " and ".join(f"{text} in {home}" for home, text in homes.items())
        mend = "put all of it into one, and a copy of the space file beside it"
        raise CodeError(f"the code of one space must lie in one folder, but there is {where}; {mend}")
    if twice := next((path for path in files if f"{path.removesuffix('.py')}/__init__.py" in files), None):
        raise CodeError(f"{twice} and {twice.removesuffix('.py')}/ are one module to Python; give one another name")
    return Code(dict(sorted(files.items())), dict(sorted(modules.items())), *map(str, homes))


def read_copy(folder: Path, modules: Mapping[str, str], origin: str) -> Code:
    """Return the code that was copied into a run folder.

    Raises:
        CodeError: a file cannot be read.
    """
    return Code(_read_tree(folder, folder, str(folder)), dict(modules), origin)


def _home(text: str, reference: Reference, folders: Sequence[Path]) -> Path:
    """Return the folder in which a file or folder lies."""
    if any(not re.fullmatch(r"[\w-]+", part) for part in reference.parts):
        hint = "its path must be relative to the space file, of letters, digits, _ and -"
        raise CodeError(f"{text}: {reference.place} is not beside or below the space file; {hint}")
    for folder in folders:
        if (folder / reference.place).exists():
            return folder.resolve()
    looked = " or ".join(dict.fromkeys(str(folder.resolve()) for folder in folders))
    raise CodeError(f"{text}: there is no {'file' if reference.is_file else 'folder'} {reference.place} in {looked}")


def _read(home: Path, reference: Reference, text: str) -> dict[str, str]:
    if reference.is_file:
        return {reference.place: _read_text(home / reference.place, text)}
    folder = home / reference.place
    if not (folder / "__init__.py").is_file():
        raise CodeError(f"{text}: {folder} has no __init__.py, in which {reference.name} would be looked for")
    return _read_tree(home, folder, text)


def _read_tree(home: Path, folder: Path, text: str) -> dict[str, str]:
    found = (file for file in folder.rglob("*.py") if not any(p.startswith(".") for p in file.relative_to(home).parts))
    names = sorted(islice(found, MAX_FILES + 1))
    if len(names) > MAX_FILES:
        raise CodeError(f"{text}: {folder} has more than {MAX_FILES:,} files of code; name a folder of your own")
    return {name.relative_to(home).as_posix(): _read_text(name, text) for name in names}


def _read_text(file: Path, text: str) -> str:
    try:
        return read_plain(file, MAX_FILE_BYTES).decode()
    except OSError as error:
        raise CodeError(f"{text}: {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CodeError(f"{text}: {file} is not UTF-8 text") from error


def _digest_of(text: str, module: str) -> str:
    """Return the digest of an installed module's file; "" where it has none."""
    try:
        # Finding a module imports the packages that it lies in.
        if "." in module:
            import_module(module.rpartition(".")[0])
        spec = importlib.util.find_spec(module)
    except (CodeError, ImportError, ValueError) as error:
        cause = error.__cause__ or error
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else ""
        reason = f"there is no module {missing}" if missing else describe_error(cause)
        raise CodeError(f"{text}: {reason}; install it, or give a path, in one of the forms {FORMS}") from error
    if spec is None:
        raise CodeError(f"{text}: there is no module {module}; install it, or give a path, in one of the forms {FORMS}")
    if spec.origin is None or not Path(spec.origin).is_file():
        return ""
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def _hint(reference: Reference, cause: BaseException | None) -> str:
    """Say what to do where an import lacks a module, which may lie beside the user's file."""
    if not isinstance(cause, ModuleNotFoundError) or reference.is_installed:
        return ""
    hint = f"; install {(cause.name or '').partition('.')[0]}, or, if it is a file beside yours,"
    if reference.is_folder:
        return f"{hint} import from it with a dot: from .other import Name"
    return f"{hint} put both into a folder with an __init__.py, and name it: folder/:Name"
