"""What a user sees of errors of Ray's, and what stays a bug of ours."""

from __future__ import annotations

import pytest
from ray._private import services
from ray.exceptions import (
    ActorDiedError,
    AuthenticationError,
    GetTimeoutError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RaySystemError,
    RuntimeEnvSetupError,
)
from ray.tune.error import TuneError

from sltune.errors import DataError, UsageError
from sltune.tuning.cluster.errors import in_our_words, lacks_token, reason_of

TRACE = "task failed\nTraceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'sltune'\n"


@pytest.mark.parametrize(
    "error",
    [
        ActorDiedError(),
        GetTimeoutError("timed out"),
        ObjectLostError("0" * 56, None, "lost"),
        OutOfMemoryError("no memory"),
        RaySystemError("broken"),
        RuntimeEnvSetupError("no folder"),
        RayError("any"),
        TuneError("of Tune"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_of_rays_becomes_one_line_of_ours(error: Exception) -> None:
    with pytest.raises(UsageError) as caught, in_our_words("go on with: sltune resume results/run"):
        raise error
    text = str(caught.value)
    assert text.startswith("Ray failed: ")
    assert text.endswith("; go on with: sltune resume results/run")
    assert "\n" not in text


def test_what_ray_raises_of_pythons_own_kinds_is_rays() -> None:
    with pytest.raises(UsageError, match="Ray failed: "), in_our_words():
        services.extract_ip_port("no address")


@pytest.mark.parametrize("error", [KeyError("a bug"), RuntimeError("a bug"), OSError("a full disk")])
def test_what_does_not_come_from_ray_keeps_its_trace(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, in_our_words():
        raise error
    assert caught.value is error


def test_errors_of_sltune_pass_as_they_are() -> None:
    with pytest.raises(DataError, match=r"^broken$"), in_our_words():
        raise DataError("broken")


def test_of_a_trace_its_end_is_said_and_long_advice_is_cut() -> None:
    assert reason_of(RuntimeError(TRACE)) == "ModuleNotFoundError: No module named 'sltune'"
    assert reason_of(RuntimeError("two\n  lines")) == "two lines"
    assert reason_of(RuntimeError("\x1b[31mred")) == "\\x1b[31mred"
    assert reason_of(RuntimeError("")) == "RuntimeError"
    assert len(reason_of(RuntimeError("x" * 1000))) == 300


def test_a_refused_token_is_known_below_what_ray_wraps_it_in() -> None:
    wrapped = ConnectionError("Failed to connect")
    wrapped.__cause__ = AuthenticationError("RPC error: InvalidAuthToken")
    text = RuntimeError("Failed to connect to GCS. Last connection error: Unauthenticated: missing or incorrect")
    assert lacks_token(wrapped)
    assert lacks_token(text)
    assert not lacks_token(ConnectionRefusedError("Connection refused"))
    assert not lacks_token(None)
