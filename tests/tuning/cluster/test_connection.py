"""SIGTERM while Ray starts and while it runs."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from sltune.tuning.cluster import connection as cluster
from sltune.tuning.cluster import joining, signals
from sltune.tuning.cluster.connection import connected


@pytest.fixture
def sigterm() -> Any:
    """Give the handler of SIGTERM that a test begins with, which is put back."""
    with signals.answering({signal.SIGTERM: signal.SIG_IGN}):
        yield signal.SIG_IGN


def test_sigterm_counts_as_ctrl_c_once(sigterm: Any) -> None:
    with signals.orderly_end():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        # Sent to the process and to its group.
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is sigterm


@pytest.mark.parametrize("address", [None, "10.0.0.1:6379"])
def test_sigterm_while_ray_starts_is_an_interruption_and_rays_handler_does_not_stay(
    sigterm: Any, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    came = []

    def init(**_: object) -> None:
        # As Ray does, whose exit may be swallowed or end in a crash, wherever it comes.
        signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(joining, "_greet", lambda place: None)
    monkeypatch.setattr(joining, "raylets", lambda: [joining.Raylet("10.0.0.1:6379", "/tmp/ray", "ada")])
    monkeypatch.setattr(joining.ray._raylet, "GcsClient", lambda address: None)
    with pytest.raises(KeyboardInterrupt), connected(address, 0):
        pass
    assert came == []
    assert signal.getsignal(signal.SIGTERM) is sigterm
    assert signal.signal is signals._set_handler
