"""A report's numbers for programs: JSON and CSV, at full precision."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sltune.report.analysis.baselines import Baseline
from sltune.report.analysis.choices import Choice
from sltune.report.analysis.comparison import Comparison, Optimism
from sltune.report.analysis.costs import Cost, OwnMetric
from sltune.report.analysis.published import Published
from sltune.report.analysis.rows import Group, Row
from sltune.report.analysis.summary import Table
from sltune.report.inference.statistics import Interval
from sltune.report.inference.two_way import Estimate
from sltune.report.tables.notes import NESTED, NO_COMPARISON, OPTIMISTIC, SYNTHETIC, table_notes
from sltune.wording import as_toml, spreadsheet_cell

_TABLE_COLUMNS = (
    *("kind", "run", "config_id", "seed", "dataset", "synthetic", "fingerprint", "protocol", "sessions", "metric"),
    *("mean_percent", "std_percent", "ddof", "std_ddof0_percent", "std_ddof1_percent", "ci95_low_percent"),
    *("ci95_high_percent", "n", "loss", "loss_std", "loss_n", "complete", "trials"),
    *("chance_percent", "values_percent", "note", "source", "doi"),
)
_SPLIT_COLUMNS = ("split", "std_over")
"""Of splits other than plain folds."""
_OWN_COLUMNS = ("mean", "std", "values")
"""Of metrics of the user's, which are in no unit that is known."""
_COMPARISON_COLUMNS = (
    *("first", "second", "metric", "n", "difference_points", "ci95_low_points", "ci95_high_points", "effect"),
    *("p", "p_holm", "p_better", "p_worse", "equivalence_points", "p_resampled", "wilcoxon_p", "generalises_to"),
    *("unit", "units", "trainings", "df", "reason"),
)


def table_as_json(table: Table) -> str:
    """Return the table as a JSON object; accuracies in per cent, differences in points, unknown values null."""
    values = {
        "unit": "%",
        "rows": [_row_values(row) for row in table.rows],
        "comparisons": [_comparison_values(one) for section in table.sections for one in section.comparisons],
        "optimism": [_optimism_values(one) for section in table.sections for one in section.optimism],
        "costs": [_cost_values(one) for section in table.sections for one in section.costs],
        "published": [_known(figure.model_dump()) for figure in table.published],
        "notes": table_notes(table),
    }
    if baselines := [_baseline_values(one) for section in table.sections for one in section.baselines]:
        values["baselines"] = baselines
    if choices := [_choice_values(one) for section in table.sections for one in section.choices]:
        values["choices"] = choices
    if own := [_own_values(cost, one) for cost, one in _own(table)]:
        values["own"] = own
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _baseline_values(one: Baseline) -> dict[str, Any]:
    row = one.row
    return {
        "name": one.name,
        "beside": [beside.group.label for beside in one.beside],
        "mean": row.mean,
        "std": row.std(row.ddof),
        "ddof": row.ddof,
        "n": row.n,
        "interval95": _bounds(row.interval),
        "values": [{"fold": value.fold, "seed": value.seed, "value": value.percent} for value in row.values],
        "unbeaten_by": [beside.group.label for beside in one.unbeaten],
    }


def _own(table: Table) -> list[tuple[Cost, OwnMetric]]:
    """Return the metrics of the user's, each with the costs of the same configuration."""
    return [(cost, one) for section in table.sections for cost in section.costs for one in cost.own]


def _own_values(cost: Cost, one: OwnMetric) -> dict[str, Any]:
    values = [{"fold": fold, "seed": seed, "value": value} for (fold, seed), value in one.values.items()]
    return {
        **_name(cost.group),
        "metric": one.name,
        "mean": one.mean,
        "std": one.std,
        "n": len(values),
        "values": values,
    }


def _own_line(cost: Cost, one: OwnMetric) -> dict[str, Any]:
    values = ";".join(f"f{fold}-s{seed}:{value}" for (fold, seed), value in one.values.items())
    return {"kind": "own", **_own_values(cost, one), "dataset": cost.group.dataset.name, "values": values}


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value == "" else value for key, value in values.items()}


def _row_values(row: Row) -> dict[str, Any]:
    group = row.group
    return {
        "run": group.run,
        "config_id": group.config_id,
        "protocol": group.protocol or None,
        "sessions": list(group.sessions),
        "metric": row.metric,
        "mean": row.mean,
        "std": row.std(row.ddof),
        "ddof": row.ddof,
        "n": row.n,
        "values": [
            {"fold": value.fold, "seed": value.seed, "value": value.percent, "loss": value.loss} for value in row.values
        ],
        "seed": row.seed,
        "interval95": _bounds(row.interval),
        **(_basis(row.estimate) if row.estimate else {}),
        "loss": row.mean_loss,
        "loss_std": row.std_loss(row.ddof),
        "loss_n": len(row.losses),
        "std_by_ddof": {str(ddof): row.std(ddof) for ddof in (0, 1)},
        "absent": [{"fold": gone.fold, "seed": gone.seed, "reason": gone.reason} for gone in row.absent],
        "trials": row.trials,
        "complete": row.complete,
        "optimistic": row.optimistic,
        "dataset": group.dataset.name,
        "synthetic": group.dataset.synthetic,
        "fingerprint": group.dataset.fingerprint,
        "chance": group.dataset.chance_percent,
        "note": _row_note(row),
        **({} if group.has_plain_folds else {"split": group.split, "std_over": row.std_over or None}),
    }


def _comparison_values(one: Comparison) -> dict[str, Any]:
    test, answer = one.test, one.answer
    return {
        "first": _name(one.first),
        "second": _name(one.second),
        "metric": one.metric,
        "n": test.n if test else 0,
        "difference": test.difference if test else None,
        "interval95": _bounds(answer.interval) if answer else None,
        "effect": test.effect if test else None,
        "p": answer.p if answer else None,
        "p_holm": one.p_holm,
        "p_better": answer.p_better if answer else None,
        "p_worse": answer.p_worse if answer else None,
        "equivalence_points": answer.equivalence if answer else None,
        "p_resampled": test.p if test else None,
        "interval95_resampled": _bounds(test.interval) if test else None,
        "wilcoxon_p": test.wilcoxon_p if test else None,
        **_basis(answer),
        "reason": one.reason or None,
    }


def _basis(estimate: Estimate | None) -> dict[str, Any]:
    """Say what an estimate is from, and to what it generalises."""
    if estimate is None:
        return {"generalises_to": None}
    numbers = {"unit": estimate.unit, "units": estimate.units} if estimate.units else {}
    return {"generalises_to": estimate.over, **numbers, "trainings": estimate.trainings, "df": estimate.df}


def _optimism_values(one: Optimism) -> dict[str, Any]:
    values = {"by": one.by, "selected": one.selected, "unselected": one.unselected, "difference": one.difference}
    return {**_name(one.group), **values, "n": one.n}


def _cost_values(one: Cost) -> dict[str, Any]:
    values = {"n": one.n, **one.metrics, "best_epoch": one.best_epoch, "epochs": one.epochs, "minutes": one.minutes}
    return {**_name(one.group), **values}


def _choice_values(one: Choice) -> dict[str, Any]:
    return {"run": one.group.run, "outer_fold": one.fold, "config_id": one.config_id, "settings": dict(one.settings)}


def _name(group: Group) -> dict[str, str]:
    return {"run": group.run, "config_id": group.config_id}


def _bounds(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def _row_note(row: Row) -> str:
    return "; ".join(
        [OPTIMISTIC] * row.optimistic + [NESTED] * _is_unbiased(row) + [SYNTHETIC] * row.group.dataset.synthetic
    )


def _is_unbiased(row: Row) -> bool:
    return row.group.is_nested and row.metric == "test_accuracy"


def table_as_csv(table: Table) -> str:
    """Return a line for each row, each choice of an outer fold, each published figure and each metric of the user's."""
    synthetic = {figure for section in table.sections if section.dataset.synthetic for figure in section.published}
    lines = [_row_line(row) for row in table.rows]
    lines += [_baseline_line(one) for section in table.sections for one in section.baselines]
    lines += [_choice_line(one) for section in table.sections for one in section.choices]
    lines += [_published_line(figure, figure in synthetic) for figure in table.published]
    own = [_own_line(cost, one) for cost, one in _own(table)]
    split = _SPLIT_COLUMNS if any("split" in line for line in lines) else ()
    return _csv((*_TABLE_COLUMNS, *split, *(_OWN_COLUMNS if own else ())), [*lines, *own])


def comparisons_as_csv(table: Table) -> str:
    """Return a line for each comparison; p values are two-sided."""
    compared = [one for section in table.sections for one in section.comparisons]
    return _csv(_COMPARISON_COLUMNS, map(_comparison_line, compared))


def _csv(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: spreadsheet_cell(value) for name, value in line.items()} for line in lines)
    return text.getvalue()


def _comparison_line(one: Comparison) -> dict[str, Any]:
    values = _comparison_values(one)
    low, high = values["interval95"] or (None, None)
    return {
        **values,
        "first": one.first.label,
        "second": one.second.label,
        "difference_points": values["difference"],
        "ci95_low_points": low,
        "ci95_high_points": high,
    }


def _row_line(row: Row) -> dict[str, Any]:
    """Return the line of a measured row; ``values_percent`` is ``f0-s0:81.25;f1-s0:…``, by fold and seed."""
    values = _row_values(row)
    return {key: _csv_cell(values[key]) for key in _TABLE_COLUMNS if key in values} | {
        "kind": "measured",
        "protocol": row.group.protocol or "?",
        **{name: values[name] for name in _SPLIT_COLUMNS if name in values},
        "sessions": "+".join(row.group.sessions),
        "mean_percent": row.mean,
        "std_percent": row.std(row.ddof),
        "std_ddof0_percent": row.std(0),
        "std_ddof1_percent": row.std(1),
        "ci95_low_percent": row.interval.low if row.interval else None,
        "ci95_high_percent": row.interval.high if row.interval else None,
        "chance_percent": row.group.dataset.chance_percent,
        "values_percent": ";".join(f"f{value.fold}-s{value.seed}:{value.percent}" for value in row.values),
    }


def _baseline_line(one: Baseline) -> dict[str, Any]:
    note = f"without a network; on the test parts of {', '.join(row.group.label for row in one.beside)}"
    gone = ("complete", "trials", "loss", "loss_std", "loss_n", "seed")
    line = {key: value for key, value in _row_line(one.row).items() if key not in gone}
    return {**line, "kind": "baseline", "run": one.name, "config_id": "", "note": note}


def _choice_line(one: Choice) -> dict[str, Any]:
    settings = ", ".join(f"{key} = {as_toml(value)}" for key, value in one.settings.items())
    note = f"chosen for outer fold {one.fold}{f': {settings}' if settings else ''}"
    return {"kind": "choice", "run": one.group.run, "config_id": one.config_id, "note": note}


def _published_line(figure: Published, beside_synthetic: bool) -> dict[str, Any]:
    caution = [OPTIMISTIC] * (figure.protocol == "train-test") + [NO_COMPARISON] * beside_synthetic
    return {
        "kind": "published",
        "run": figure.method,
        "dataset": figure.dataset,
        "synthetic": "false",
        "protocol": figure.protocol or "?",
        "split": figure.split,
        "std_over": figure.std_over,
        "sessions": figure.set,
        "metric": "test_accuracy",
        "mean_percent": figure.mean,
        "std_percent": figure.std,
        "ddof": "?" if figure.std is not None and figure.ddof is None else figure.ddof,
        "n": "?" if figure.n is None else figure.n,
        "note": "; ".join([*([figure.note] if figure.note else []), *caution]),
        "source": figure.source,
        "doi": figure.doi,
    }


def _csv_cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value
