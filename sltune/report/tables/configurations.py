"""Every configuration of a search as a table: its settings, its state, and what it reached in validation."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import stdev

from sltune.report.analysis.choices import Choice
from sltune.report.analysis.series import RecordedResult, Series
from sltune.report.tables.grid import NONE, Grid, percent
from sltune.runs.metrics import METRICS


def configurations_grid(series: Series) -> Grid | None:
    """Return a line for each configuration in the order of asking; None where the search has none."""
    if not series.results:
        return None
    keys = list(series.space.domains) if series.space else []
    best = series.shown.config_id if series.shown else ""
    cost = series.criteria.cost_shown(series.results)
    figures = ("± ddof 1", "n", "P(best)", METRICS[cost].heading)
    header = ("configuration", "state", "validation", *short_names(keys), *figures)
    settings = {record.config_id: record.settings for record in series.run.records}
    eligible = series.criteria.eligible(series.results)
    likely = {one.config_id: share for one, share in series.outlook.best_probabilities(eligible)}
    lines = tuple(
        _line(
            one,
            one.config_id == best,
            likely.get(one.config_id),
            cost,
            [_text(settings.get(one.config_id, {}).get(key)) for key in keys],
        )
        for one in series.results
    )
    title = f"{series.name}: validation accuracy of every configuration, in %; unequal n is not comparable"
    if any(one.predicted for one in series.results):
        title += ", but for paused ones, with the mean predicted for all trials and its standard error"
    return Grid(title, header, lines, 2)


def choices_grid(choices: Sequence[Choice]) -> Grid:
    """Return a line for each outer fold of nested searches, with the configuration that was chosen for it."""
    keys = list(dict.fromkeys(key for one in choices for key in one.settings))
    header = ("run", "outer fold", "configuration", *short_names(keys))
    lines = tuple(
        (
            one.group.label,
            str(one.fold),
            f"outer-{one.fold}/{one.config_id}",
            *(_text(one.settings.get(key)) for key in keys),
        )
        for one in choices
    )
    return Grid("Chosen in each outer fold, by a search that has not seen its test signers", header, lines, 3)


def short_names(keys: Sequence[str]) -> list[str]:
    """Return keys without the names of their TOML tables, if they still differ."""
    short = [key.partition(".")[2] for key in keys]
    return short if len(set(short)) == len(keys) else list(keys)


def _line(one: RecordedResult, is_best: bool, likely: float | None, cost: str, settings: list[str]) -> tuple[str, ...]:
    values, costs = one.percents("val_accuracy"), one.cost(cost)
    return (
        one.config_id,
        "best" if is_best else one.state,
        percent(one.val_percent) + (f" ± {100 * one.predicted[1]:.1f}" if one.predicted else ""),
        *settings,
        percent(stdev(values)) if len(values) > 1 else NONE,
        f"{len(values)} of {one.trials}",
        NONE if likely is None else f"{likely:.2f}",
        NONE if costs is None else f"{METRICS[cost].shown(costs):.4g}",
    )


def _text(value: object) -> str:
    if value is None:
        return NONE
    return f"{value:.4g}" if isinstance(value, float) else str(value)
