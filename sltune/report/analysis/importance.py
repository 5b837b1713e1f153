"""How much each searched parameter explains of the validation accuracy, by fANOVA."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from sltune.report.analysis.series import RecordedResult, Series
from sltune.settings.space import Space
from sltune.settings.types import Value

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MIN_CONFIGURATIONS = 4
"""With fewer, nothing can be explained."""
MAX_CONFIGURATIONS = 250
"""The time of fANOVA grows faster than their number: 4 s for these, minutes for thousands."""

SearchedPoint = tuple[Mapping[str, Value], float]
"""The values of a configuration's searched domains, and its mean validation accuracy in per cent."""


def importances(series: Series) -> dict[str, float]:
    """Return the share of each searched parameter in the variance of mean validation accuracy that single ones explain.

    This is fANOVA (Hutter et al. 2014) as in Optuna, with a fixed seed. The largest share comes first, and they sum
    to 1. Complete configurations count, and paused ones with their predicted means; at most MAX_CONFIGURATIONS of them,
    evenly spaced in the order of asking.
    Parameters that were constant, or drawn only under conditions, have no share. There are no shares at all with fewer
    than MIN_CONFIGURATIONS configurations, or where the accuracy does not vary.
    """
    if series.space is None:
        return {}
    return _fanova(_sampled(points(series.space, series.judged)), series.space)


def explained(series: Series) -> tuple[int, int]:
    """Return how many configurations importances are computed from, and how many there are."""
    found = len(points(series.space, series.judged)) if series.space else 0
    return min(found, MAX_CONFIGURATIONS), found


def points(space: Space, results: Iterable[RecordedResult]) -> list[SearchedPoint]:
    """Return the points of the configurations that have an accuracy and lie in the space."""
    found = list[SearchedPoint]()
    for result in results:
        values = space.active(result.settings)
        if result.val_percent is not None and all(space.domains[key].contains(values[key]) for key in values):
            found.append((values, result.val_percent))
    return found


def _sampled(found: list[SearchedPoint]) -> list[SearchedPoint]:
    places = np.linspace(0, len(found) - 1, min(len(found), MAX_CONFIGURATIONS)).round().astype(int)
    return [found[place] for place in places]


def _fanova(found: list[SearchedPoint], space: Space) -> dict[str, float]:
    varied = [key for key in space.domains if _varies(key, found)]
    # Means that differ by rounding alone do not differ.
    if len(found) < MIN_CONFIGURATIONS or not varied or float(np.ptp([accuracy for _, accuracy in found])) < 1e-9:
        return {}
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize", storage=None)
        study.add_trials(_trials(found, space))
        evaluator = FanovaImportanceEvaluator(seed=0)
        shares = get_param_importances(study, evaluator=evaluator, params=varied)
    finally:
        optuna.logging.set_verbosity(before)
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _varies(key: str, found: list[SearchedPoint]) -> bool:
    """Say whether every point has a value of the key, and not all the same."""
    return all(key in values for values, _ in found) and len({values[key] for values, _ in found}) > 1


def _trials(found: list[SearchedPoint], space: Space) -> Iterable[FrozenTrial]:
    from optuna.trial import create_trial

    from sltune.settings.distributions import as_parameter, distribution_of

    distributions = {key: distribution_of(domain) for key, domain in space.domains.items()}
    for values, accuracy in found:
        parameters = {key: as_parameter(value) for key, value in values.items()}
        yield create_trial(
            value=accuracy, params=parameters, distributions={key: distributions[key] for key in parameters}
        )
