"""Flags that several verbs share, and what they mean for the modules below."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sltune.errors import UsageError

if TYPE_CHECKING:
    from sltune.record import RunFolder
    from sltune.report.formats import Format
    from sltune.space import Space
    from sltune.tuning.cluster import Request
    from sltune.tuning.evaluation import Display


@dataclass(frozen=True)
class RunOptions:
    """Where trials run and how their progress is shown."""

    device: str
    address: str | None
    gpus_per_trial: str
    cpus_per_trial: float
    max_concurrent: int | None
    as_json: bool
    quiet: bool

    @property
    def table_format(self) -> Format:
        """The format of the table that is printed at the end."""
        return "json" if self.as_json else "md"

    def request(self) -> Request:
        """Return what the flags ask of the cluster.

        Raises:
            UsageError: --gpus-per-trial is neither a number nor auto.
        """
        from sltune.tuning.cluster import Request

        gpus = None
        if self.gpus_per_trial != "auto":
            try:
                gpus = float(self.gpus_per_trial)
            except ValueError as error:
                text = f"--gpus-per-trial must be a number or auto, but got {self.gpus_per_trial!r}"
                raise UsageError(text) from error
        return Request(self.device, self.address, self.cpus_per_trial, gpus, self.max_concurrent)

    def display(self) -> Display:
        """Return where progress goes: always to stderr, live where that is a terminal."""
        from rich.console import Console

        from sltune.tuning.evaluation import Display

        console = Console(stderr=True)
        mode = "json" if self.as_json else "live" if console.is_terminal else "lines"
        return Display(console, "quiet" if self.quiet else mode)


@dataclass(frozen=True)
class SpaceOptions:
    """A space file and what is changed in it."""

    space_file: Path
    overrides: tuple[str, ...]

    def load(self, *more_overrides: str) -> Space:
        """Read the space; raises as load_space does."""
        from sltune.space import load_space

        return load_space(self.space_file, [*self.overrides, *more_overrides])


@dataclass(frozen=True)
class RunName:
    """What a new run is called and where it goes."""

    name: str | None
    results: Path

    def folder(self, space_file: Path) -> RunFolder:
        """Return the run's folder, named after the space and the time unless it has a name."""
        from sltune.record import RunFolder

        return RunFolder(self.results / (self.name or time.strftime(f"{space_file.stem}-%Y%m%d-%H%M%S")))


Verb = Callable[..., None]


def _bundle(kind: type[Any], name: str, *flags: Callable[[Verb], Verb]) -> Callable[[Verb], Verb]:
    """Return a decorator that adds flags to a verb, which takes their values as one object of the kind."""

    def decorate(verb: Verb) -> Verb:
        @wraps(verb)
        def call(**values: Any) -> None:
            bundled = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            verb(**{name: bundled}, **values)

        result: Verb = call
        for flag in reversed(flags):
            result = flag(result)
        return result

    return decorate


run_options = _bundle(
    RunOptions,
    "options",
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option("--address", help="A Ray cluster to run on; a local one is started without it."),
    click.option("--gpus-per-trial", default="auto", show_default=True, help="0, 1/k or whole: 0.25, 0.5, 1, 2 …"),
    click.option("--cpus-per-trial", type=click.FloatRange(min=0, min_open=True), default=1, show_default=True),
    click.option("--max-concurrent", type=click.IntRange(min=1), help="At most so many trials at once."),
    click.option("--json", "as_json", is_flag=True, help="JSON: lines while it runs, the table at the end."),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
)
space_options = _bundle(
    SpaceOptions,
    "space_options",
    click.argument("space_file", metavar="SPACE", type=click.Path(path_type=Path)),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override: training.epochs=10"),
)
run_name = _bundle(
    RunName,
    "run_name",
    click.option("--run", "name", help="Name of the run; without it, the space's name and the time."),
    click.option("--results", type=click.Path(path_type=Path), default="results", show_default=True),
)
