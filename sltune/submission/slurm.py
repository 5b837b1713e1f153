"""Job scripts for Slurm, and their submission by sbatch."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sltune.errors import SltuneError, UsageError
from sltune.submission.commands import RunCommands
from sltune.submission.user_config import SlurmTable, in_one_line
from sltune.system.files import write_whole
from sltune.wording import excerpt

JOB = Path(__file__).with_name("slurm_job.sh")
"""What follows the head of each script: it is the same for all jobs."""
SCRIPT = "slurm.sh"
"""Name of a job's script in the folder of its run."""
MIN_NOTICE_S = 10
"""A run takes about that long to end."""
LOOK_S = 60
"""Time between two looks at whether a lost node has let go of the run."""
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?", re.ASCII)
"""Minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S (man 1 sbatch)."""


@dataclass(frozen=True)
class SlurmRequest:
    """What a job asks of Slurm; None where the user's configuration file or the cluster decides.

    notice_s: how long before the time limit the run is stopped, in seconds. options: further options of sbatch.

    Raises:
        UsageError: a value is not allowed.
    """

    nodes: int = 1
    gpus_per_node: str | None = None
    cpus_per_task: int | None = None
    mem: str | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    notice_s: int = 120
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option in self.options:
            if not option.startswith("--") or option == "--":
                text = f"must be a long option of sbatch, such as --sbatch=--qos=high, but got {excerpt(repr(option))}"
                raise UsageError(f"--sbatch {text}")
            if option.partition("=")[0] == "--array":
                text = "all jobs of the array would work on one run; submit each run by itself"
                raise UsageError(f"--sbatch={option}: {text}, or have one job run on more --nodes")
        if self.notice_s < MIN_NOTICE_S:
            raise UsageError(f"--notice must be at least {MIN_NOTICE_S} seconds, but got {self.notice_s}")

    def directives(self, table: SlurmTable) -> list[str]:
        """Return the options of sbatch that say what the job needs.

        Raises:
            UsageError: the time limit is none, or leaves the run no time.
        """
        time = self.time or table.time
        if time is not None and seconds_of(time) <= 2 * self.notice_s:
            text = "must be more than twice --notice, the time before the limit at which the run is stopped"
            raise UsageError(f"--time {time}: {text} ({self.notice_s} s)")
        wanted = {
            "--nodes": self.nodes,
            "--ntasks-per-node": 1,
            "--gpus-per-node": self.gpus_per_node,
            "--cpus-per-task": self.cpus_per_task,
            "--mem": self.mem,
            "--time": time,
            "--partition": self.partition or table.partition,
            "--account": self.account or table.account,
        }
        options = [f"{name}={value}" for name, value in wanted.items() if value is not None]
        # `ray stop` on a shared node would end the Ray of other jobs, too.
        return [*options, *(["--exclusive"] if self.nodes > 1 else []), *table.options, *self.options]


def seconds_of(time: str) -> float:
    """Return how long a time limit of Slurm's is.

    Raises:
        UsageError: it is none.
    """
    if time.lower() in ("unlimited", "infinite"):
        return float("inf")
    found = TIME.fullmatch(time)
    if found is None or (found["days"] and not found["first"]):
        raise UsageError(f"--time must be as in 90, 1:30:00 or 2-12 (days and hours), but got {excerpt(repr(time))}")
    first, second, third = (int(found[name] or 0) for name in ("first", "second", "third"))
    if found["days"] is not None:
        return int(found["days"]) * DAY_S + first * HOUR_S + second * MINUTE_S + third
    if found["third"] is not None:
        return first * HOUR_S + second * MINUTE_S + third
    return first * MINUTE_S + second


def script_of(commands: RunCommands, request: SlurmRequest, table: SlurmTable, working_folder: Path) -> str:
    """Return the text of a job's script.

    Raises:
        UsageError: a name cannot stand in it, or the time limit is none that leaves the run time.
    """
    folder = commands.folder
    # Slurm replaces %x and the like in names of files.
    log = str(folder / "slurm-").replace("%", "%%") + "%j.log"
    options = [
        f"--job-name={folder.name}",
        f"--chdir={working_folder}",
        f"--output={log}",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR1@{request.notice_s}",
        *request.directives(table),
    ]
    lines = ["#!/bin/bash", "# Written by `sltune submit`. To submit it once more: sbatch and this file."]
    lines += [f"#SBATCH {_directive(option)}" for option in options]
    lines += ["", *_environment(table), ""]
    lines += [
        f"folder={_word(folder)}",
        f"checkpoints={_word(commands.checkpoints or '')}",
        f"start=({_words(commands.start)})",
        f"resume=({_words(commands.resume)})",
        f"container=({_words(table.container)})",
        f"patience_s={request.notice_s // 2}",
        f"look_s={LOOK_S}",
    ]
    return "\n".join(lines) + "\n\n" + JOB.read_text(encoding="utf-8")


def submit(script: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Write a script into the folder of its run and give it to sbatch; return what that says.

    Args:
        environment: that of the user's shell, which the job inherits where the cluster lets it.

    Raises:
        UsageError: there is no sbatch, or the folder cannot be written.
        SltuneError: sbatch refuses the job.
    """
    sbatch = shutil.which("sbatch", path=environment.get("PATH"))
    if sbatch is None:
        raise UsageError("there is no sbatch here; run this on a login node of a Slurm cluster, or see --dry-run")
    file = folder / SCRIPT
    write_whole(file, script)
    result = subprocess.run([sbatch, str(file)], capture_output=True, text=True, check=False, env=environment)
    if result.returncode:
        raise SltuneError(f"sbatch refused {file}: {' '.join(result.stderr.split())}")
    return result.stdout.strip()


def _environment(table: SlurmTable) -> list[str]:
    """Return the lines that bring the command sltune; those of the file, or else where this command lies."""
    lines = list(table.setup)
    if table.venv is not None:
        lines.append(f"source {_word(str(Path(table.venv).expanduser() / 'bin' / 'activate'))}")
    if not (lines or table.container):
        lines.append(f'export PATH={_word(str(Path(sys.executable).absolute().parent))}:"$PATH"')
    return lines


def _directive(option: str) -> str:
    """Return an option as it stands after #SBATCH, where sbatch takes quotes and backslashes as a shell does."""
    name, _, value = _checked(option).partition("=")
    if not value or re.fullmatch(r"[\w@%+=:,./-]+", value, re.ASCII):
        return option
    return name + '="' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _words(words: Sequence[str]) -> str:
    return " ".join(map(_word, words))


def _word(word: object) -> str:
    """Return a word of the script, which is taken as it is."""
    return shlex.quote(_checked(str(word)))


def _checked(text: str) -> str:
    try:
        return in_one_line(text)
    except ValueError as error:
        raise UsageError(f"{excerpt(repr(text))}: {error}, so that it can stand in a job's script") from error
