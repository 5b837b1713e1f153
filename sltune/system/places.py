"""Places outside of a run's folder: those that it writes to, named without passwords, and where its code came from."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, unquote_plus

from sltune.errors import UsageError
from sltune.system.files import open_plain

STUDY_STORAGE = "SLTUNE_STUDY_STORAGE"
"""Environment variable with the URL of the study's database, for what shall stand on no command line."""
MAX_URL_BYTES = 1 << 16
"""URLs of databases have some hundred bytes; a larger file is named by mistake."""
PRIVATE = f"in the environment variable {STUDY_STORAGE} or, as @FILE, in a file of mode 600"
TYPED = "a password or key must not stand on the command line, which others on the machine can read"
LOCAL = "only DATA, --data and --checkpoints may be one; name a folder or file here, and copy by the cloud's own tools"
"""What is said of a URI where there can be none."""

# As SQLAlchemy has it, a password may contain all but @; of what is typed wrong, too much is better left out.
_PASSWORD = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*://)[^:/@?#\s]*:.*@", re.DOTALL)
_USER = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*://)[^/?#]*@")
_QUERY = re.compile(r"(?P<place>[A-Za-z][\w+.-]*://[^?]*)\?(?P<query>.*)", re.DOTALL)
_SECRET = re.compile("pass|pwd|secret|token|key|sig|cred", re.IGNORECASE)
"""What parameters are called in which drivers and clouds take a secret."""


@dataclass(frozen=True)
class Database:
    """A database for studies.

    url: with its password; shown nowhere. named: what to give to --study-storage to name it again; None where the
    environment does.
    """

    url: str = field(repr=False)
    named: str | None = None

    @property
    def address(self) -> str:
        """The URL as it may be shown."""
        return address_of(self.url)

    def without_password(self, text: str) -> str:
        """Return what a driver says, without the URL and its password should they stand in it."""
        found = re.search("://[^:/@?#]*:(.*)@", self.url, re.DOTALL)
        secrets = {self.url, *([found[1], unquote(found[1])] if found else [])} - {""}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, self.address if secret == self.url else "…")
        return text


def without_secrets(text: str) -> str:
    """Return a place, or an argument that names one, without a password and without parameters that may be secrets."""
    text = _PASSWORD.sub(r"\g<scheme>", text)
    query = _QUERY.search(text)
    return text[: query.end("place")] if query and _SECRET.search(unquote_plus(query["query"])) else text


def address_of(url: str) -> str:
    """Return the URL of a database without user, password and parameters."""
    return _USER.sub(r"\g<scheme>", without_secrets(url).partition("?")[0])


def checked_place(text: str, option: str = "--checkpoints") -> str:
    """Return the path or URI of a place as it was typed.

    Args:
        option: where that was.

    Raises:
        UsageError: a secret stands in it, which a command line shows to everybody on the machine.
    """
    if without_secrets(text) != text:
        hint = "give it as the cloud's own tools take it (environment variables, files in the home folder)"
        raise UsageError(f"{option} {without_secrets(text)}: {TYPED}; {hint}")
    return text


def database_named(text: str, from_environment: bool = False) -> Database:
    """Return the database that is meant by a URL, or by @FILE with a file that holds it.

    Raises:
        UsageError: there is a password in a URL that was typed, the file can be read by others, or it is no URL.
    """
    if text.startswith("@"):
        # Shells leave a ~ after @ as it is.
        file = Path(os.path.expanduser(text[1:])).absolute()
        url, named = _read_private(file), f"@{file}"
    elif not from_environment and without_secrets(text) != text:
        raise UsageError(f"--study-storage {address_of(text)}: {TYPED}; give the URL {PRIVATE}")
    else:
        url, named = text, text
    source = STUDY_STORAGE if from_environment else "--study-storage"
    if "://" not in url:
        raise UsageError(f"{source} must be the URL of a database, as sqlite:///study.db, or @FILE with one in a file")
    return Database(url, None if from_environment else named)


def _read_private(file: Path) -> str:
    try:
        with open_plain(file, MAX_URL_BYTES) as handle:
            status = os.fstat(handle.fileno())
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                text = "must be your own file, which nobody else can read; change that by: chmod 600 FILE"
                raise UsageError(f"--study-storage @{file}: {text}")
            return handle.read(MAX_URL_BYTES).decode().strip()
    except OSError as error:
        raise UsageError(f"--study-storage @{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"--study-storage @{file}: is not text in UTF-8") from None


def lies_in(place: str, folder: Path) -> bool:
    """Say whether a place is a folder below another one, wherever links lead."""
    return "://" not in place and Path(place).resolve().is_relative_to(folder.resolve())
