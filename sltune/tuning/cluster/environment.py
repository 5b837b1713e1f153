"""What Ray reads from the environment when it is imported, and what its processes inherit; imports no Ray itself."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from sltune.runs.places import STUDY_STORAGE

TOKEN_BYTES = 32
"""256 bits cannot be guessed."""


def prepare_environment(address: str | None) -> None:
    """Set what Ray reads when it is imported; once it is imported, nothing is changed.

    A Ray of our own, for which the address is None, talks over the loopback interface alone, and only to who knows a
    token that is drawn for this command and written nowhere. A cluster has its own token.
    """
    # The command has read it; Ray's processes, which others may look at by its tools, have no use for it.
    os.environ.pop(STUDY_STORAGE, None)
    if "ray" in sys.modules:
        return
    # Since 2.60, Ray does not hide GPUs from workers that asked for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    # Nobody who evaluates a network expects reports on it to go elsewhere.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Below `uv run`, Ray would pack the working folder and start each worker in a copy of it.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if not _has_home():
        # As containers set it for users that their system does not know; Ray cannot be imported without one.
        os.environ["HOME"] = "/"
    if address is None:
        # Named after the systems on which it is the default; with it, Ray takes the loopback address for its own.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(TOKEN_BYTES)
    elif _has_token():
        # Ray shows its token to a cluster at an explicit address only if told so.
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _has_home() -> bool:
    try:
        Path.home()
    except RuntimeError:
        return False
    return True


def _has_token() -> bool:
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return True
    try:
        return (Path.home() / ".ray" / "auth_token").exists()
    except OSError:
        # A home that this user may not enter.
        return False
