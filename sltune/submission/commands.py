"""What a job runs: the verb as it was typed, where the run does not exist yet, and after that ``sltune resume``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sltune.errors import UsageError
from sltune.wording import as_argument

VERBS = ("evaluate", "tune", "resume")
"""Verbs whose work a job can do."""
CARRIED = frozenset({
    "device", "gpus_per_trial", "cpus_per_trial", "max_concurrent", "checkpoints", "checkpoint_minutes", "hang_minutes",
    "details", "baselines", "study_storage", "as_json", "quiet",
})  # fmt: skip
"""Flags of evaluate and tune that say how trials run, so that resume has to be told of them, too."""

INPUTS = ("space_file", "data")
"""Parameters that name what a run reads."""


@dataclass(frozen=True)
class RunCommands:
    """The commands of a job.

    folder: that of the run, absolute. start: begins the run. resume: goes on with it. checkpoints: where the state of
    trials is kept, if that is not in the run folder. inputs: files and folders that the
    arguments name; none in a bucket.
    """

    folder: Path
    start: tuple[str, ...]
    resume: tuple[str, ...]
    checkpoints: str | None = None
    inputs: tuple[Path, ...] = ()


def commands_of(verb: click.Command, arguments: Sequence[str], check: Callable[[Sequence[str]], Path]) -> RunCommands:
    """Return the commands that do what a verb with these arguments would do, once these are checked.

    Args:
        check: refuses arguments as the verb does; returns the folder of the run.

    Raises:
        UsageError: the arguments are wrong, or name a Ray cluster of their own.
    """
    folder = check(arguments).absolute()
    values, flags = _typed(verb, arguments)
    if "address" in flags:
        raise UsageError("--address: a job has a Ray of its own; leave it out")
    named = [str(values[name]) for name in INPUTS if values.get(name)]
    inputs = tuple(Path(name) for name in named if "://" not in name)
    whole = ("sltune", str(verb.name), *arguments)
    if verb.name == "resume":
        return RunCommands(folder, whole, whole, values.get("checkpoints"), inputs)
    # The name that was given at the desk, since one by the time of the start would begin a new run at each start.
    start = whole if "name" in flags else (*whole[:2], "--run", folder.name, *arguments)
    carried = [word for name, words in flags.items() if name in CARRIED for word in words]
    resume = ("sltune", "resume", *carried, as_argument(folder))
    return RunCommands(folder, start, resume, values.get("checkpoints"), inputs)


def _typed(verb: click.Command, arguments: Sequence[str]) -> tuple[Mapping[str, Any], Mapping[str, list[str]]]:
    """Return what stands for each parameter, and the flags that were given, as words that mean the same."""
    context = click.Context(verb, info_name=verb.name, resilient_parsing=True)
    values, _, order = verb.make_parser(context).parse_args(list(arguments))
    flags: dict[str, list[str]] = {}
    for option in order:
        name = str(option.name)
        value = values.get(name)
        if not isinstance(option, click.Option) or value is None:
            continue
        if option.is_flag:
            flags[name] = [option.opts[-1] if value else option.secondary_opts[-1]]
        else:
            words = value if isinstance(value, list) else [value]
            flags[name] = [f"{_long(option)}={word}" for word in words]
    return values, flags


def _long(option: click.Option) -> str:
    return next(name for name in option.opts if name.startswith("--"))
