"""Whether the trials of a study, which a stranger may have written, are such as sltune's searches leave."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from sltune.errors import DataError
from sltune.settings.distributions import distribution_of
from sltune.settings.domains import is_idle
from sltune.settings.space import Space
from sltune.system.files import parse_json
from sltune.tuning.campaign.proposals import recall
from sltune.tuning.campaign.samplers import GENERATION
from sltune.wording import excerpt, printable

RESTORE_STUDY = "restore it, or search in a new run"
"""What to do where the study of a search is missing or broken."""

RETRY_OF, FROM = "retry_of", "from"
"""User attributes of trials that no sampler proposed: a configuration tried again, or one of an earlier run."""

CONSTRAINT = "constraints:"
UNREAD = ("cma:", "dashboard:", "artifacts:")
"""System attributes that no sampler of a search reads: of earlier versions' CMA-ES, and of Optuna's dashboard."""


def check_trials(
    place: str,
    stored: Sequence[str],
    directions: Sequence[str],
    trials: Sequence[FrozenTrial],
    space: Space,
    own_sampler: bool = False,
) -> None:
    """Refuse a study of another space, and trials that others have put into it.

    Args:
        place: what errors call the study: its file, or its name in a database.
        stored: the directions of its objectives; directions: those that the space has.
        own_sampler: whether the sampler is a user's, which may write any attributes.

    Raises:
        DataError: says which.
    """
    other = f"{space.source}: is not the space of the study"
    if list(stored) != list(directions):
        raise DataError(f"{other}: the objectives differ; {RESTORE_STUDY}")
    expected = {key: distribution_of(domain) for key, domain in space.domains.items()}
    for trial in trials:
        for key, distribution in trial.distributions.items():
            if expected.get(key) != distribution:
                raise DataError(f"{other}: {printable(key)} differs; {RESTORE_STUDY}")
        wrong = next(_faults(trial, expected, len(directions), own_sampler), None)
        if wrong is not None:
            raise DataError(f"{place}: trial {trial.number}: {wrong}; {RESTORE_STUDY}")
        known = {**space.settings, **space.active(recall(trial.params, space))}
        lacks = any(key not in known and not is_idle(domain, known) for key, domain in space.domains.items())
        if trial.state == TrialState.WAITING or (lacks and trial.state.is_finished()):
            raise DataError(f"{place}: trial {trial.number} was not proposed by sltune; {RESTORE_STUDY}")


def check_attributes(place: str, attributes: Mapping[str, Any]) -> None:
    """Refuse system attributes of a study that Optuna acts on and sltune never writes; raises as check_trials does."""
    unknown = next((key for key in attributes if not key.startswith(UNREAD)), None)
    if unknown is not None:
        raise DataError(f"{place}: {_not_ours(unknown)}; {RESTORE_STUDY}")


def fits(distribution: BaseDistribution, value: Any, internal: bool = False) -> bool:
    """Say whether a value is one of a distribution's; internal: as Optuna stores it, where choices are numbered."""
    try:
        return distribution._contains(value if internal else distribution.to_internal_repr(value))
    except (ValueError, TypeError, ArithmeticError):
        return False


def _faults(
    trial: FrozenTrial, expected: Mapping[str, BaseDistribution], objectives: int, own_sampler: bool
) -> Iterator[str]:
    """Give what is wrong with a trial that has distributions of the space."""
    for key, value in trial.params.items():
        if key not in trial.distributions or not fits(trial.distributions[key], value):
            yield f"{printable(key)} = {excerpt(repr(value))} is not in its domain"
    values = trial._values
    if values is not None and (len(values) != objectives or not all(map(_is_figure, values))):
        yield f"its values {excerpt(repr(values))} are not {objectives} finite numbers"
    if trial.state == TrialState.COMPLETE and values is None:
        yield "it is complete, and has no value"
    if not all(map(_is_figure, trial.intermediate_values.values())):
        yield f"of its scores {excerpt(repr(trial.intermediate_values))} one is no finite number"
    for key in (RETRY_OF, FROM):
        if not isinstance(trial.user_attrs.get(key, ""), str):
            yield f"its attribute {key} = {excerpt(repr(trial.user_attrs[key]))} is no text"
    if not own_sampler:
        yield from _wrong_attributes(trial, expected)


def _wrong_attributes(trial: FrozenTrial, expected: Mapping[str, BaseDistribution]) -> Iterator[str]:
    shared = dict[str, dict[int, str]]()
    for key, value in trial.system_attrs.items():
        part = re.fullmatch(r"(tpe|gp):relative_params:([0-9]{1,4})", key)
        if part and isinstance(value, str):
            shared.setdefault(part[1], {})[int(part[2])] = value
        elif (key == GENERATION and type(value) is int) or (key.startswith(CONSTRAINT) and _is_figure(value)):
            continue
        elif not key.startswith(UNREAD) or key == GENERATION:
            yield _not_ours(f"{key} = {excerpt(repr(value))}")
    for sampler, parts in shared.items():
        yield from _wrong_shared(sampler, "".join(parts[number] for number in sorted(parts)), expected)


def _wrong_shared(sampler: str, text: str, expected: Mapping[str, BaseDistribution]) -> Iterator[str]:
    """Check the values that a sampler has drawn for a trial under way, for the other asks to see."""
    try:
        drawn = parse_json(text)
    except json.JSONDecodeError as error:
        # A process that was killed may have left the first part of it, which TPE leaves aside.
        if sampler != "tpe":
            yield f"its attribute {sampler}:relative_params is no JSON: {error}"
        return
    except ValueError as error:
        yield f"its attribute {sampler}:relative_params is no JSON: {error}"
        return
    if not isinstance(drawn, dict) or not all(key in expected and fits(expected[key], drawn[key]) for key in drawn):
        yield f"its attribute {sampler}:relative_params = {excerpt(repr(drawn))} has a value that is not in its domain"


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _not_ours(attribute: str) -> str:
    return f"the attribute {printable(attribute)} was not written by sltune"
