"""What Ray reads from the environment when it is imported, and what its processes inherit; imports no Ray itself."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Any

from sltune.system.places import STUDY_STORAGE

TOKEN_BYTES = 32
"""256 bits cannot be guessed."""
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Named after the systems on which "0" is the default; with it, Ray takes the loopback address for its own."""


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
        os.environ[LOOPBACK_ONLY] = "0"
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(TOKEN_BYTES)
    elif _has_token():
        # Ray shows its token to a cluster at an explicit address only if told so.
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def came_too_late() -> bool:
    """Say whether somebody else has imported Ray before anything was prepared, and no Ray runs that could be used.

    A Ray of our own would then be open to the network.
    """
    imported: Any = sys.modules.get("ray")
    return imported is not None and os.environ.get(LOOPBACK_ONLY) != "0" and not imported.is_initialized()


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
