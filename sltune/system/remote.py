"""Files that a URI names, as s3://bucket/data: Arrow opens them, with the credentials that the cloud's tools find."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from sltune.errors import UsageError
from sltune.system.files import open_plain
from sltune.system.places import checked_place

if TYPE_CHECKING:
    # Arrow's clouds take a moment to import, and --help does without them.
    from pyarrow import fs

CONNECT_S, SILENCE_S, ATTEMPTS = 5.0, 10.0, 3
"""How long a server may take to be connected to, how long it may then send nothing, and how often it is asked."""
S3_OPTIONS = ("region", "scheme", "endpoint_override")
"""What may stand behind the ? of s3://bucket/path?…, as Arrow has it."""
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Environment variables in which Amazon's tools look for another server than Amazon's."""
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, ~/.aws, and the role of the machine",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, and the role of the machine",
}
_NO_BUCKET = re.compile(r"Bucket '[^']*' not found")
_CURL_ERROR = re.compile(r"CURL error[^{]*?(?= error_info|\}|$)")
_AWS_ERROR = re.compile(r"AWS Error (?P<kind>[A-Z_]+)[^:]*: (?P<text>.*?)(?: \(Request ID.*)?$", re.DOTALL)


@dataclass(frozen=True)
class RemotePath:
    """A folder or file that a URI names; of a pathlib.Path it has what reading a dataset takes."""

    uri: str

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> RemotePath:
        before, mark, options = self.uri.partition("?")
        return RemotePath(f"{before.rstrip('/')}/{name}{mark}{options}")

    @property
    def name(self) -> str:
        return self.uri.partition("?")[0].rstrip("/").rpartition("/")[2]

    def resolve(self) -> RemotePath:
        return self

    def opened(self) -> tuple[fs.FileSystem, str]:
        """Return Arrow's file system, and the path in it.

        Raises:
            UsageError: the URI is none that Arrow opens.
            OSError: nothing answers; says what to do.
        """
        import pyarrow as pa

        try:
            with self.explained():
                return _opened(self.uri)
        except (ValueError, pa.ArrowException) as error:
            raise UsageError(f"{self}: is no URI that Arrow opens: {error}") from error

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn an OSError of Arrow's within the block into one whose strerror says what is wrong, and what to do.

        Others, such as those of damaged files, are left as they are.
        """
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, self._absence(), self.uri) from None
        except OSError as error:
            explanation = _explanation(str(error), self.uri)
            if explanation is None:
                raise
            raise OSError(*explanation, self.uri) from error

    def _absence(self) -> str:
        """Say what is not there: the object, or the whole bucket."""
        import pyarrow as pa

        try:
            system, path = _opened(self.uri)
            bucket = path.partition("/")[0]
            if self.uri.startswith("s3://") and system.get_file_info(bucket).type == pa.fs.FileType.NotFound:
                return f"there is no bucket {bucket}"
        except (OSError, pa.ArrowException):
            pass
        return "there is no such object"


AnyPath = Path | RemotePath


def path_or_uri(text: str | os.PathLike[str], option: str = "DATA") -> AnyPath:
    """Return what a path or URI names.

    Args:
        option: where it was typed.

    Raises:
        UsageError: a secret stands in the URI.
    """
    named = os.fspath(text)
    if "://" not in named:
        return Path(named)
    checked_place(named, option)
    if named.startswith("file://"):
        return Path(unquote(urlsplit(named).path))
    return RemotePath(named)


@contextmanager
def opened_file(file: AnyPath, max_bytes: int | None = None) -> Iterator[BinaryIO]:
    """Open a file that may come from a stranger, to read it; arguments and errors are those of ``open_plain``."""
    if isinstance(file, Path):
        with open_plain(file, max_bytes) as handle:
            yield handle
        return
    system, path = file.opened()
    with file.explained(), system.open_input_file(path) as stream:
        if max_bytes is not None and stream.size() > max_bytes:
            size, largest = f"{stream.size() / 1e6:,.0f} MB", f"{max_bytes / 1e6:,.0f} MB"
            raise OSError(errno.EFBIG, f"has {size}, more than the {largest} that such a file may have", str(file))
        yield cast(BinaryIO, stream)


def sizes_in(folder: AnyPath) -> Mapping[str, int]:
    """Return the number of bytes of each file that lies directly in a folder, by its name; none if there is no folder.

    Raises:
        OSError: the server does not answer, or refuses.
    """
    if isinstance(folder, Path):
        if not folder.is_dir():
            return {}
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    from pyarrow import fs

    system, path = folder.opened()
    # A list of all takes one request for a thousand files.
    with folder.explained():
        found = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return {info.base_name: info.size for info in found if info.size is not None}


@lru_cache(1024)
def _opened(uri: str) -> tuple[fs.FileSystem, str]:
    from pyarrow import fs

    parts = urlsplit(uri)
    if parts.scheme == "s3":
        options = tuple(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        if unknown := [name for name, _ in options if name not in S3_OPTIONS]:
            raise ValueError(f"behind the ? may stand {', '.join(S3_OPTIONS)}, but not {unknown[0]}")
        if not parts.netloc or "@" in parts.netloc:
            raise ValueError("must be s3://BUCKET/PATH")
        return _s3(parts.netloc, options), unquote(f"{parts.netloc}{parts.path}").rstrip("/")
    if parts.scheme in ("gs", "gcs") and "retry_limit_seconds" not in uri:
        # Without it, Arrow tries for fifteen minutes.
        uri += f"{'&' if parts.query else '?'}retry_limit_seconds={ATTEMPTS * SILENCE_S:g}"
    system, path = fs.FileSystem.from_uri(uri)
    return system, path.rstrip("/")


@cache
def _s3(bucket: str, options: tuple[tuple[str, str], ...]) -> fs.FileSystem:
    """Return S3 as its URI would open it, but with limits to how long it is waited for."""
    from pyarrow import fs

    settings: dict[str, Any] = dict(options)
    if "endpoint_override" not in settings:
        endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
        if endpoint is not None:
            settings["endpoint_override"] = endpoint
        elif "region" not in settings:
            settings["region"] = fs.resolve_s3_region(bucket)
    retry = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
    return fs.S3FileSystem(connect_timeout=CONNECT_S, request_timeout=SILENCE_S, retry_strategy=retry, **settings)


def _explanation(text: str, uri: str) -> tuple[int, str] | None:
    """Return the number and the words of an error of a cloud's; None where the error is of another kind."""
    found = _AWS_ERROR.search(text)
    scheme = "gs" if uri.startswith(("gs:", "gcs:")) else uri.partition(":")[0]
    kind, reason = (found["kind"], found["text"]) if found else ("", text)
    if kind == "NO_SUCH_BUCKET" or _NO_BUCKET.match(text):
        return errno.ENOENT, f"there is no bucket {urlsplit(uri).netloc}"
    if found is None and "google::cloud" not in text:
        return None
    denied = kind in ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "UNRECOGNIZED_CLIENT")
    if denied or "HTTP status 403" in text or "PERMISSION_DENIED" in text or "OAuth2 access token" in text:
        where = CREDENTIALS.get(scheme, "where its own tools look for them")
        return errno.EACCES, f"access is denied, or no credentials were found; they are looked for in {where}"
    if kind == "NETWORK_CONNECTION" or "CURL error" in text:
        curl = _CURL_ERROR.search(text)
        details = curl[0] if curl else reason.rpartition("Details: ")[2]
        hint = f"; another server than Amazon's is named by {ENDPOINTS[-1]}, or ?endpoint_override=HOST:PORT"
        return errno.EHOSTUNREACH, f"the server does not answer ({details.strip()}){hint if scheme == 's3' else ''}"
    return errno.EIO, " ".join(reason.split())
