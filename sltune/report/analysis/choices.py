"""What the outer folds of a nested search have chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sltune.errors import ConfigError
from sltune.report.analysis.rows import Group
from sltune.report.analysis.runs import Run
from sltune.runs.folder import RunFolder
from sltune.settings.space import load_space


@dataclass(frozen=True)
class Choice:
    """What one outer fold has chosen.

    config_id: of the configuration, in the search of the fold. settings: those that were searched; empty until a trial
    of the fold has ended.
    """

    group: Group
    fold: int
    config_id: str
    settings: Mapping[str, object]


def choices_of(run: Run, group: Group) -> Iterator[Choice]:
    """Give the choices of all outer folds whose searches have ended; none where the run is no nested search."""
    configs = {record.fold: record.settings for record in run.records}
    winners = run.info.winners or ()
    searched = _searched(run) if winners else []
    for fold, config_id in enumerate(winners):
        settings = configs.get(fold, {})
        yield Choice(group, fold, config_id, {key: settings[key] for key in searched if key in settings})


def _searched(run: Run) -> list[str]:
    try:
        return list(load_space(RunFolder(run.folder).space_toml).domains)
    except ConfigError:
        return []
