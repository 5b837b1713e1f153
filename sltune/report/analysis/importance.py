"""How much each searched parameter explains of the validation accuracy: fANOVA over complete configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from sltune.report.analysis.series import RecordedResult, Series
from sltune.settings.space import Space
from sltune.settings.types import Value

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEWEST = 4
"""Of fewer configurations nothing can be explained."""
MOST = 250
"""The time of fANOVA grows faster than the number of configurations: 4 s for these, minutes for thousands."""

Point = tuple[Mapping[str, Value], float]
"""Values of the searched domains, and the mean validation accuracy in per cent."""


def importances(series: Series) -> dict[str, float]:
    """Return the share of each searched parameter in the variance of mean validation accuracy that single ones explain.

    Hutter et al. 2014, as in Optuna, with a fixed seed; the largest share first, their sum 1. Only complete
    configurations count, at most MOST of them, evenly spaced in the order of asking. Parameters that were constant, or
    drawn only under conditions, have no share. Empty where there are fewer than FEWEST configurations, where nothing
    varies or where the accuracy does not.
    """
    if series.space is None:
        return {}
    return _fanova(_sampled(points(series.space, series.complete)), series.space)


def explained(series: Series) -> tuple[int, int]:
    """Return how many configurations importances are computed from, and how many there are."""
    found = len(points(series.space, series.complete)) if series.space else 0
    return min(found, MOST), found


def points(space: Space, results: Iterable[RecordedResult]) -> list[Point]:
    """Return searched values and accuracy of the results that have one and lie in the space."""
    found = list[Point]()
    for result in results:
        values = space.active(result.settings)
        if result.val_percent is not None and all(space.domains[key].contains(values[key]) for key in values):
            found.append((values, result.val_percent))
    return found


def _sampled(found: list[Point]) -> list[Point]:
    places = np.linspace(0, len(found) - 1, min(len(found), MOST)).round().astype(int)
    return [found[place] for place in places]


def _fanova(found: list[Point], space: Space) -> dict[str, float]:
    varied = [key for key in space.domains if _varies(key, found)]
    # Means that differ by rounding alone do not differ.
    if len(found) < FEWEST or not varied or float(np.ptp([accuracy for _, accuracy in found])) < 1e-9:
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


def _varies(key: str, found: list[Point]) -> bool:
    """Say whether every point has a value of the key, and not all the same."""
    return all(key in values for values, _ in found) and len({values[key] for values, _ in found}) > 1


def _trials(found: list[Point], space: Space) -> Iterable[FrozenTrial]:
    from optuna.trial import create_trial

    from sltune.settings.distributions import as_parameter, distribution_of

    distributions = {key: distribution_of(domain) for key, domain in space.domains.items()}
    for values, accuracy in found:
        parameters = {key: as_parameter(value) for key, value in values.items()}
        yield create_trial(
            value=accuracy, params=parameters, distributions={key: distributions[key] for key in parameters}
        )
