"""Work in a process of its own: what it says arrives, and its end is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sltune.system.apart import CutShort, Say, run_apart


def say_process(say: Say, text: str) -> None:
    print("goes nowhere")
    say(text)
    say(os.getpid())


def leave(say: Say) -> None:
    say("before")
    os._exit(7)


def loop(say: Say) -> None:
    say(os.getpid())
    while True:
        pass


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_said_arrives_in_order_from_another_process(capfd: pytest.CaptureFixture[str]) -> None:
    text, process = run_apart(say_process, ("hello",), silent_s=60)
    assert text == "hello"
    assert process != os.getpid()
    assert not is_alive(process)
    assert capfd.readouterr().out == ""


def test_a_process_that_ends_itself_is_told_with_its_exit_code() -> None:
    assert list(run_apart(leave, (), silent_s=60)) == ["before", CutShort("", 7)]


def test_a_process_that_says_nothing_for_too_long_is_ended_with_its_line() -> None:
    process, end = run_apart(loop, (), silent_s=1)
    assert f'File "{__file__}", line ' in end.trace
    assert "in loop" in end.trace
    assert not is_alive(process)


def test_a_caller_that_loses_interest_ends_the_process() -> None:
    said = run_apart(loop, (), silent_s=60)
    process = next(said)
    said.close()  # type: ignore[attr-defined]
    assert not is_alive(process)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the system ends a child with its parent on Linux only")
def test_the_process_ends_with_its_parent_even_where_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    text = "from sltune.system.apart import run_apart\nfrom tests.system.test_apart import loop\n"
    script.write_text(
        f"{text}if __name__ == '__main__':\n    print(next(run_apart(loop, (), 60)), flush=True)\n    input()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    # Where nobody waits for orphans, they stay in the table of processes, without a command.
    command = Path(f"/proc/{process}/cmdline")
    while command.exists() and command.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not command.exists() or not command.read_bytes()
