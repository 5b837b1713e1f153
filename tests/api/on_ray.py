"""A script as a user writes it; run in a folder with ``data`` and ``tiny.toml``, and in a process of its own.

Ray is imported by sltune's first call here, which is what makes a private Ray possible.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import sltune
from sltune.errors import Interrupted, UsageError
from tests.tuning.clusters import PATIENCE_S, below, wait_for

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
LONG = {"training.epochs": 400}


def quietly(run: str, **options: object) -> sltune.Run:
    return sltune.evaluate("tiny.toml", "data", run=run, progress=False, **options)  # type: ignore[arg-type]


def alone() -> bool:
    """Whether no process is left; Ray's need a moment to end."""
    return not below(os.getpid())


def done(run: sltune.Run) -> bool:
    return run.records()["status"].tolist() == ["done", "done"]


def two_calls_in_one_process() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    runs = [quietly("first"), quietly("second")]
    assert all(map(done, runs))
    assert [signal.getsignal(number) for number in SIGNALS] == before
    wait_for(alone)


def a_call_in_a_thread_and_another_one_meanwhile() -> None:
    runs: list[sltune.Run] = []
    thread = threading.Thread(target=lambda: runs.append(quietly("threaded")))
    thread.start()
    wait_for(lambda: Path("results/threaded/run.json").exists())
    with pytest.raises(UsageError, match="another call is training in this process"):
        quietly("meanwhile")
    thread.join(PATIENCE_S)
    assert done(runs[0])


def ctrl_c(run: str, is_time: Callable[[], bool], said: str) -> None:
    """Press Ctrl-C in the middle of a call."""

    def press() -> None:
        wait_for(is_time)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(Interrupted, match=said):
        quietly(run, overrides=LONG, checkpoint_minutes=0)
    wait_for(alone)


def ctrl_c_while_ray_starts_and_while_it_trains() -> None:
    ctrl_c("early", lambda: not alone(), "interrupted")
    ctrl_c("late", Path("results/late/trials/c0000-f0-s0/epochs.csv").exists, "go on with: sltune resume results/late")
    assert not done(sltune.open_run("results/late"))
    assert done(sltune.resume("results/late", progress=False))


def a_ray_of_the_users_own_is_used_and_left_as_it_is() -> None:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    assert done(quietly("borrowed"))
    assert ray.get(ray.remote(lambda: 1).remote()) == 1
    ray.shutdown()


if __name__ == "__main__":
    two_calls_in_one_process()
    a_call_in_a_thread_and_another_one_meanwhile()
    ctrl_c_while_ray_starts_and_while_it_trains()
    a_ray_of_the_users_own_is_used_and_left_as_it_is()
    print("all of it")
