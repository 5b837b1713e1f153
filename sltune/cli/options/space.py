"""Which space or configuration a command runs, and what the new run is called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sltune.cli.options.shared import FileArgument, bundle
from sltune.errors import UsageError

if TYPE_CHECKING:
    from sltune.runs.folder import RunFolder
    from sltune.settings.space import Space


@dataclass(frozen=True)
class SpaceOptions:
    """A space file and what is changed in it."""

    space_file: Path
    overrides: tuple[str, ...]

    def load(self, *more_overrides: str) -> Space:
        """Read the space; raises as load_space does."""
        from sltune.settings.space import load_space

        return load_space(self.space_file, [*self.overrides, *more_overrides])


@dataclass(frozen=True)
class FixedOptions:
    """A configuration: that of a space file, or of an earlier run, and what is changed in it."""

    space_file: Path | None
    source: str | None
    overrides: tuple[str, ...]

    def load(self, *more_overrides: str) -> Space:
        """Return the configuration as a space; raises as load_space does.

        Raises:
            UsageError: neither a file nor a run is given, or both, or the run has no such configuration.
        """
        from sltune.settings.space import load_space, parse_space
        from sltune.tuning.reuse import configuration_of

        overrides = [*self.overrides, *more_overrides]
        if (self.space_file is None) == (self.source is None):
            raise UsageError("name either a space file or --from RUN[/TRIAL]")
        if self.space_file is not None:
            return load_space(self.space_file, overrides)
        folder, trial = self._run_and_trial()
        return parse_space(configuration_of(folder, trial).to_toml(), str(self.source), overrides, folder.root)

    @property
    def stem(self) -> str:
        """What a run of it is called."""
        if self.space_file is not None:
            return self.space_file.stem
        from sltune.runs.info import run_name as name_of

        folder, trial = self._run_and_trial()
        return f"{name_of(folder)}-{trial or 'best'}"

    def _run_and_trial(self) -> tuple[RunFolder, str]:
        from sltune.runs.folder import RunFolder

        source = Path(self.source or "")
        if RunFolder(source).run_json.exists():
            return RunFolder(source), ""
        return RunFolder(source.parent), source.name


@dataclass(frozen=True)
class RunName:
    """What a new run is called and where it goes."""

    name: str | None
    results: Path

    def folder(self, stem: str) -> RunFolder:
        """Return the run's folder, named after a space and the time unless it has a name.

        Raises:
            UsageError: the name is none that a folder directly below --results can have.
        """
        from sltune.runs.folder import new_folder

        return new_folder(self.results, self.name, stem)


space_options = bundle(
    SpaceOptions,
    "space_options",
    click.argument("space_file", metavar="SPACE", type=FileArgument),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override: training.epochs=10"),
)
fixed_options = bundle(
    FixedOptions,
    "fixed_options",
    click.argument("space_file", metavar="[SPACE]", type=FileArgument, required=False),
    click.option("--from", "source", metavar="RUN[/TRIAL]", help="Instead: the best of a run, or that of a trial."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override: training.epochs=10"),
)
run_name = bundle(
    RunName,
    "run_name",
    click.option("--run", "name", help="Name of the run; without it, the space's name and the time."),
    click.option("--results", type=FileArgument, default="results", show_default=True),
)
