"""Evaluations that differ in nothing but their seeds, pooled into one, and what keeps others apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sltune.report.analysis.runs import Run, names_of
from sltune.runs.info import DatasetPlace
from sltune.runs.record import apart_from_seeds
from sltune.settings.configuration import DEFAULTS
from sltune.settings.toml import flat
from sltune.wording import as_toml, excerpt, first_of

MAX_SHOWN_KEYS = 5
"""Two configurations may differ in every setting; the first few say enough."""
MAX_SHOWN_RUNS = 5
"""A report may be of many runs, of which each differs from the first."""


def pooled(runs: Sequence[Run]) -> list[Run]:
    """Return runs with evaluations pooled that agree in all but their seeds, in the place of the first of them."""
    pools: list[list[tuple[str, Run]]] = []
    for name, run in zip(names_of(runs), runs, strict=True):
        for pool in pools:
            if all(_may_share(run, other) for _, other in pool):
                pool.append((name, run))
                break
        else:
            pools.append([(name, run)])
    return [_merged(pool) for pool in pools]


def kept_apart(runs: Sequence[Run]) -> list[str]:
    """Say of evaluations that were not pooled with the first one why they were not.

    Runs with the same seeds and other settings are there to be compared, and nothing is said of them.
    """
    found = [(name, run) for name, run in zip(names_of(runs), runs, strict=True) if _settings(run) is not None]
    notes = [
        f"{name} is not pooled with {found[0][0]}: {'; '.join(first_of(reasons, MAX_SHOWN_KEYS))}"
        for name, run in found[1:]
        if (reasons := list(_obstacles(found[0][1], run)))
    ]
    return first_of(notes, MAX_SHOWN_RUNS)


def _may_share(one: Run, other: Run) -> bool:
    return None not in (_settings(one), _settings(other)) and not (
        _seeds(one) & _seeds(other) or list(_differences(one, other))
    )


def _merged(pool: Sequence[tuple[str, Run]]) -> Run:
    first, parts = pool[0][1], tuple(run for _, run in pool)
    if len(parts) == 1:
        return first
    return replace(
        first,
        name=" + ".join(name for name, _ in pool),
        records=tuple(record for run in parts for record in run.records),
        planned=tuple(key for run in parts for key in run.planned),
        alive=any(run.alive for run in parts),
        parts=parts,
    )


def _obstacles(first: Run, second: Run) -> Iterator[str]:
    """Give what keeps two evaluations apart that could be meant to be pooled."""
    differing = list(_differences(first, second))
    shared = sorted(_seeds(first) & _seeds(second))
    if not shared:
        yield from differing
    elif not differing:
        yield f"both have trials of the seeds {', '.join(map(str, shared))}"


def _differences(first: Run, second: Run) -> Iterator[str]:
    one, other = first.info.dataset, second.info.dataset
    for name in DatasetPlace.model_fields:
        values = (getattr(one, name), getattr(other, name))
        # What older versions did not write is None.
        if name != "path" and None not in values and values[0] != values[1]:
            yield f"dataset.{name} is another"
    if first.info.code != second.info.code:
        yield "the user's code is another"
    # Records do not mention settings that came later and have their defaults.
    before, after = ({**DEFAULTS, **(_settings(run) or {})} for run in (first, second))
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield excerpt(f"{key} = {as_toml(after.get(key))} instead of {as_toml(before.get(key))}")


def _settings(run: Run) -> dict[str, object] | None:
    """Return the settings that all trials of an evaluation have; None where there is no such evaluation."""
    if run.info.kind != "evaluate" or not run.records:
        return None
    found: list[dict[str, object]] = []
    for record in run.records:
        settings = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in flat(apart_from_seeds(record.config))
        }
        if settings not in found:
            found.append(settings)
    return found[0] if len(found) == 1 else None


def _seeds(run: Run) -> set[int]:
    return {key.seed for key in (*run.planned, *(record.key for record in run.records))}
