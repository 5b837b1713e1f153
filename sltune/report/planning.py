"""How many seeds, folds or signers would show a difference, by what a pilot's records tell of its variances."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sltune.errors import UsageError
from sltune.report.analysis.comparison import headline_metric, paired_rows
from sltune.report.analysis.rows import Row, scores_of
from sltune.report.analysis.runs import Run
from sltune.report.analysis.summary import table
from sltune.report.inference.power import (
    MAX_SEEDS,
    MAX_UNITS,
    Components,
    Design,
    Need,
    components,
    mean_of,
    needs,
    power,
)
from sltune.report.inference.two_way import Cells, cells, unit_of

MAX_PAIRS = 15
"""All pairs of six configurations: further ones of a search say little more of its variances."""


@dataclass(frozen=True)
class Pilot:
    """What was tested and how it varied. pairs: of configurations; 0 where there is one alone, with several seeds."""

    design: Design
    unit: str
    pairs: int
    found: Components


@dataclass(frozen=True)
class Plan:
    """What would show a difference of so many points with the power that is wanted.

    power: that of the pilot's own design. needs: how many seeds, folds or units would do, each alone.
    """

    pilot: Pilot
    difference: float
    wanted: float
    power: float
    needs: dict[str, Need]


def plan_of(runs: Sequence[Run], difference: float, wanted: float = 0.8) -> Plan:
    """Return what a comparison would need; runs: those of the pilot.

    Raises:
        UsageError: the records do not say how often each signer was classed right, or are of too few trainings.
    """
    pilot = _pilot(runs)
    return Plan(
        pilot,
        difference,
        wanted,
        power(pilot.found, pilot.design, difference),
        needs(pilot.found, pilot.design, difference, wanted),
    )


def in_words(plan: Plan) -> Iterator[str]:
    """Give the lines of a plan for people."""
    pilot, design = plan.pilot, plan.pilot.design
    of = (
        f"differences of {pilot.pairs} pairs of configurations"
        if pilot.pairs > 1
        else "differences of two configurations"
    )
    of = of if pilot.pairs else "one configuration, twice its variances of trainings and rest"
    yield f"pilot: {design.units} {pilot.unit}, folds: {design.folds}, seeds: {design.seeds}; {of}"
    found = {"between trainings": pilot.found.trainings, "rest": pilot.found.rest}
    if pilot.pairs:
        found = {f"between {pilot.unit}": pilot.found.units, **found}
    yield "standard deviations: " + ", ".join(
        f"{name} {float(value) ** 0.5:.1f} points" for name, value in found.items()
    )
    yield (
        f"power of this design for a difference of {plan.difference:g} points: {plan.power:.2f} "
        f"(two-sided test at 5 %, over {pilot.unit} and trainings)"
    )
    yield f"for power {plan.wanted:g}, with all else as in the pilot:"
    for name, need in plan.needs.items():
        number, low, high = (_number(one, name) for one in (need.number, need.low, need.high))
        yield f"  {pilot.unit if name == 'units' else name}: {number} (95 % interval {low} to {high})"
    yield from _cautions(plan)


def as_json(plan: Plan) -> str:
    """Return a plan as a JSON object; null stands for more than can be."""
    pilot, design = plan.pilot, plan.pilot.design
    found = {name: float(getattr(pilot.found, name)) ** 0.5 for name in ("units", "trainings", "rest")}
    values = {
        "difference_points": plan.difference,
        "wanted_power": plan.wanted,
        "pilot": {"units": design.units, "unit": pilot.unit, "folds": design.folds, "seeds": design.seeds,
                  "pairs": pilot.pairs, "std_points": found},
        "power": plan.power,
        "needed": {name: {"number": one.number, "interval95": [one.low, one.high]} for name, one in plan.needs.items()},
    }  # fmt: skip
    return json.dumps(values, indent=1)


def _pilot(runs: Sequence[Run]) -> Pilot:
    rows = [
        row
        for section in table(runs, published=False, every=True).sections[:1]
        for row in section.rows
        if row.seed is None and row.n and row.metric == headline_metric(row.group.protocol)
    ]
    found = [pair for first, second in itertools.combinations(rows, 2) if (pair := paired_rows(first, second))]
    found = [(one, unit) for one, unit in found[:MAX_PAIRS] if _is_enough(one)]
    if found:
        largest, unit = max(found, key=lambda pair: len(pair[0].values))
        return Pilot(_design(largest, rows), unit, len(found), mean_of([components(one) for one, _ in found]))
    return next(_alone(rows), None) or _refuse()


def _alone(rows: Sequence[Row]) -> Iterator[Pilot]:
    """Give a pilot of a single configuration: what two like it would differ in, if signers take to both alike."""
    for row in rows:
        scores = scores_of(row.values)
        found = cells(scores) if scores else None
        if found is not None and _is_enough(found) and len(found.values) > len(np.unique(found.units)):
            one = components(found)
            unit = unit_of(scores, row.group.dataset.name)
            yield Pilot(_design(found, [row]), unit, 0, Components(0.0, 2 * one.trainings, 2 * one.rest))


def _refuse() -> Pilot:
    raise UsageError(
        "the records do not tell how accuracies vary: a pilot needs two configurations on the same folds, or one with "
        "two seeds, and records that say how often each signer was classed right; "
        "sltune resume RUN --seeds 0,1 adds a seed"
    )


def _is_enough(found: Cells) -> bool:
    return len(np.unique(found.trainings)) > 1 and len(np.unique(found.units)) > 1


def _design(found: Cells, rows: Sequence[Row]) -> Design:
    seeds = max(1, round(len(found.values) / len(np.unique(found.units))))
    folds = max(len({value.fold for value in row.values}) for row in rows)
    return Design(len(np.unique(found.units)), folds, seeds)


def _number(number: int | None, name: str) -> str:
    if number is not None:
        return str(number)
    return {"seeds": f"more than {MAX_SEEDS}", "units": f"more than {MAX_UNITS}"}.get(name, f"no number of {name}")


def _cautions(plan: Plan) -> Iterator[str]:
    """Say what a pilot could not tell."""
    pilot = plan.pilot
    if not pilot.pairs:
        yield f"a single configuration cannot show how {pilot.unit} take to another; a second run would tell more"
    elif pilot.design.seeds == 1:
        yield (
            f"with one seed, what is between {pilot.unit} and what is chance cannot be told apart: the number of seeds "
            "is an upper bound"
        )
    yield "more folds also train on more signers each; that this makes no difference is assumed"
