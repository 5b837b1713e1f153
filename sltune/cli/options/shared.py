"""Flags of the verbs that train, and how their progress is shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sltune.errors import UsageError
from sltune.system.files import is_unicode
from sltune.system.places import LOCAL, STUDY_STORAGE, Database, database_named, without_secrets
from sltune.system.supervisor import note_form
from sltune.tuning.cluster.environment import prepare_environment
from sltune.tuning.cluster.resources import KEPT_WEIGHTS, Request
from sltune.wording import excerpt

if TYPE_CHECKING:
    from sltune.progress.display import Display
    from sltune.report.tables.text import Format
    from sltune.tuning.starting import NewSearch

FOR_MACHINES = "sltune.for_machines"
"""Key of click's meta; whether what a command says on stderr shall be lines of JSON."""
MAX_DIGITS = 18
"""Of a whole number; no seed is as long, and Python refuses to read numbers of thousands of digits."""


class UnicodePath(click.Path):
    """A path of which every name is UTF-8: others can stand in no manifest, and Arrow does not open them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if "://" in os.fsdecode(value):
            self.fail(f"{without_secrets(os.fsdecode(value))!r} is a URI; {LOCAL}", param, ctx)
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not is_unicode(str(path)):
            self.fail(f"{str(path)!r} is not UTF-8; rename it", param, ctx)
        return path


def _study_storage(ctx: click.Context, param: click.Parameter, value: str | None) -> Database | None:
    """Return the database that an option or the environment names; raises as database_named does."""
    from_environment = ctx.get_parameter_source(param.name or "") is ParameterSource.ENVIRONMENT
    return None if value is None else database_named(value, from_environment)


def _as_json(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    """Note the form of all that follows, also of what is wrong with other flags."""
    ctx.meta[FOR_MACHINES] = value
    note_form(value)
    return value


def _share(ctx: click.Context, param: click.Parameter, value: str) -> float | None:
    """Return the CPUs or GPUs of a trial; None where they are to be decided."""
    try:
        return None if value == "auto" else float(value)
    except ValueError as error:
        raise UsageError(f"{param.opts[0]} must be a number or auto, but got {excerpt(repr(value))}") from error


def numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Return whole numbers that stand with commas between."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= MAX_DIGITS for part in parts):
        text = f"must be whole numbers with commas between, such as 0,1,2, but got {excerpt(repr(value))}"
        raise UsageError(f"{param.opts[0]} {text}")
    return tuple(map(int, parts))


def named(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return names by what they are for, of values such as RUN=NAME."""
    pairs = [value.rpartition("=") for value in values]
    if wrong := [value for value, (what, _, name) in zip(values, pairs, strict=True) if not (what and name)]:
        raise UsageError(f"{param.opts[0]} must be {param.metavar}, but got {excerpt(repr(wrong[0]))}")
    return {what: name for what, _, name in pairs}


FileArgument = UnicodePath(path_type=Path)
FolderArgument = UnicodePath(path_type=Path, file_okay=False)


@dataclass(frozen=True)
class ShownOptions:
    """How progress is shown."""

    as_json: bool
    quiet: bool

    @property
    def table_format(self) -> Format:
        """The format of the table that is printed at the end."""
        return "json" if self.as_json else "md"

    def display(self) -> Display:
        """Return where progress goes: always to stderr, live where that is a terminal."""
        from rich.console import Console

        from sltune.progress.display import Display

        # Paths such as :cat: are no emoji.
        console = Console(stderr=True, emoji=False)
        mode = "json" if self.as_json else "live" if console.is_terminal else "lines"
        return Display(console, "quiet" if self.quiet else mode)


@dataclass(frozen=True)
class RunOptions(ShownOptions):
    """What trials run with, and how their progress is shown."""

    request: Request

    def __post_init__(self) -> None:
        # Here, since a verb may import Ray before it asks for anything else of the flags.
        prepare_environment(self.request.address)


@dataclass(frozen=True)
class SearchOptions:
    """How a search begins."""

    trials: int | None
    trainings: int | None
    time_budget: float | None
    earlier: Path | None
    study_storage: Database | None
    nested: bool

    @property
    def overrides(self) -> list[str]:
        """What the flags change in the space."""
        changes = {"trials": self.trials, "trainings": self.trainings, "max_hours": self.time_budget}
        return [f"search.{name}={value}" for name, value in changes.items() if value is not None]

    def new(self) -> NewSearch:
        """Return how the search begins; raises as NewSearch does."""
        from sltune.runs.folder import RunFolder
        from sltune.tuning.starting import NewSearch

        return NewSearch(RunFolder(self.earlier) if self.earlier else None, self.study_storage, self.nested)


@dataclass(frozen=True)
class MoreOptions:
    """What a run is to do beyond what it began with."""

    trials: int | None
    trainings: int | None
    seeds: tuple[int, ...] | None
    folds: tuple[int, ...] | None
    retry_failed: bool

    @property
    def budgets(self) -> dict[str, int]:
        """The new budgets of a search, by their keys in [search]."""
        budgets = {"trials": self.trials, "trainings": self.trainings}
        return {name: number for name, number in budgets.items() if number is not None}


Verb = Callable[..., None]


def bundle(kind: type[Any], name: str, *flags: Callable[[Verb], Verb]) -> Callable[[Verb], Verb]:
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


_request_options = bundle(
    Request,
    "request",
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option("--address", help="A Ray cluster to run on; a local one is started without it."),
    click.option(
        "--gpus-per-trial",
        metavar="NUMBER|auto",
        default="auto",
        show_default=True,
        callback=_share,
        help="0, 1/k or whole: 0.25, 0.5, 1, 2 …; auto measures it.",
    ),
    click.option(
        "--cpus-per-trial",
        metavar="NUMBER|auto",
        default="1",
        show_default=True,
        callback=_share,
        help="Threads of a trial; auto measures it where there is no GPU.",
    ),
    click.option("--max-concurrent", type=click.IntRange(min=1), help="Largest number of trials at once."),
    click.option(
        "--checkpoints",
        metavar="DIR|URI",
        help="Where workers keep the state of trials under way; without it, it goes through the driver to the run.",
    ),
    click.option(
        "--checkpoint-minutes",
        type=click.FloatRange(min=0),
        default=5,
        show_default=True,
        help="Least time between two checkpoints of a trial; 0 makes one an epoch.",
    ),
    click.option(
        "--hang-minutes",
        type=click.FloatRange(min=0),
        default=60,
        show_default=True,
        help="Restart a trial that finishes no epoch for this long; 0: never.",
    ),
    click.option(
        "--keep-weights",
        type=click.Choice(KEPT_WEIGHTS),
        help="Whose weights stay: best (the best configuration and the Pareto front; of searches), all (of "
        "evaluations), none. [default: as the run began; best for a search, all for an evaluation]",
    ),
    click.option(
        "--tensorboard-details", "details", is_flag=True, help="Histograms of weights and a picture of spikes, too."
    ),
    click.option(
        "--baselines/--no-baselines",
        default=True,
        show_default=True,
        help="Test classifiers that need no network on the same folds, for comparison.",
    ),
)
shown_flags = (
    click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,
        callback=_as_json,
        help="JSON: lines while it runs, the table at the end.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
)
_shown_options = bundle(RunOptions, "options", *shown_flags)


def run_options(verb: Verb) -> Verb:
    """Add the flags of a command that trains, which takes their values as RunOptions."""
    return _request_options(_shown_options(verb))


study_storage = click.option(
    "--study-storage",
    metavar="URL|@FILE",
    callback=_study_storage,
    envvar=STUDY_STORAGE,
    show_envvar=True,
    help="Optuna's study is in this database, not in the run folder; one with a password goes into a file (mode 600).",
)
search_options = bundle(
    SearchOptions,
    "search_options",
    click.option("--trials", type=click.IntRange(min=1), help="Most configurations; overrides search.trials."),
    click.option("--trainings", type=click.IntRange(min=1), help="Most trainings; overrides search.trainings."),
    click.option(
        "--time-budget",
        type=click.FloatRange(min=0, min_open=True),
        metavar="HOURS",
        help="Start no more configurations after this time.",
    ),
    click.option("--from", "earlier", type=FolderArgument, metavar="RUN", help="Learn from the records of this run."),
    study_storage,
    click.option(
        "--nested", is_flag=True, help="Search in each outer fold without its test signers, which gives unbiased tests."
    ),
)
more_options = bundle(
    MoreOptions,
    "more_options",
    click.option("--trials", type=click.IntRange(min=1), help="New total number of configurations of a search."),
    click.option("--trainings", type=click.IntRange(min=1), help="New total number of trainings of a search."),
    click.option(
        "--seeds", metavar="S,S,…", callback=numbers, help="All seeds of an evaluation: those it has, and new ones."
    ),
    click.option(
        "--folds", metavar="F,F,…", callback=numbers, help="Train only these folds of an evaluation for now, from 0."
    ),
    click.option("--retry-failed", is_flag=True, help="Also train the trials that failed once more."),
)
