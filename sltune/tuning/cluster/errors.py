"""Errors of Ray's as sentences of ours: everything that talks to Ray does so within one of these blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import AuthenticationError, RayError

from sltune.errors import SltuneError, UsageError
from sltune.wording import printable, shortened

LIBRARIES = ("ray", "grpc")
"""Packages whose RuntimeError, OSError and the like are Ray's."""
MAX_REASON = 300
"""Characters of Ray's own text; what is longer is advice on how to program Ray."""
UNAUTHENTICATED = ("Unauthenticated", "InvalidAuthToken")
"""How the errors of gRPC say it where Ray has wrapped them as text."""


@contextmanager
def in_our_words(after: str = "") -> Iterator[None]:
    """Turn errors of Ray's that leave the block into ours; errors of sltune, and its bugs, pass as they are.

    Args:
        after: what to do about it, which follows the reason.

    Raises:
        UsageError: Ray failed.
    """
    try:
        yield
    except SltuneError:
        raise
    except Exception as error:
        if not is_of_ray(error):
            raise
        raise UsageError(f"Ray failed: {reason_of(error)}{'; ' if after else ''}{after}") from error


def is_of_ray(error: BaseException) -> bool:
    """Say whether an error comes from Ray: is one of its own kinds, or was raised within it."""
    if isinstance(error, RayError) or _is_in_library(type(error).__module__):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and _is_in_library(trace.tb_frame.f_globals.get("__name__", ""))


def reason_of(error: BaseException) -> str:
    """Return what an error of Ray's says, in a line: where it holds a trace, its end."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        text = text.splitlines()[-1]
    line = printable(" ".join(text.split())) or type(error).__name__
    return shortened(line, MAX_REASON)


def lacks_token(error: BaseException | None) -> bool:
    """Say whether a cluster refused the token, or the lack of one."""
    while error is not None:
        if isinstance(error, AuthenticationError) or any(word in str(error) for word in UNAUTHENTICATED):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_in_library(module: str) -> bool:
    return module.partition(".")[0] in LIBRARIES
