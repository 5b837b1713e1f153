"""What a search has found: the best configuration by validation, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from optuna.trial import TrialState

from sltune.runs.info import read_info, write_info
from sltune.settings.space import Space
from sltune.tuning.campaign.campaign import Candidate
from sltune.tuning.campaign.search import Observed, SearchCampaign, verdict_of
from sltune.tuning.campaign.study import DIRECTIONS


@dataclass(frozen=True)
class Complete:
    """A configuration of which every trial has a result. excess: by how much it breaks its constraints; ≤ 0 if not."""

    candidate: Candidate
    objectives: tuple[float, ...]
    excess: float

    @property
    def feasible(self) -> bool:
        return self.excess <= 0


def complete(campaign: SearchCampaign) -> list[Complete]:
    """Return the configurations that have all their results, in the order in which they were proposed."""
    found = []
    for candidate in campaign.candidates.values():
        done = sum(record.status == "done" for record in candidate.records.values())
        if done == len(campaign.steps):
            verdict = verdict_of(candidate, TrialState.COMPLETE, campaign.search)
            excess = max((verdict.constraints or {}).values(), default=0.0)
            found.append(Complete(candidate, tuple(verdict.objectives), excess))
    return found


def winner(found: Sequence[Complete], objectives: Sequence[str]) -> Complete | None:
    """Return the best by validation accuracy of those that keep the constraints; the first of equals."""
    place = objectives.index("val_accuracy")
    return max((one for one in found if one.feasible), key=lambda one: one.objectives[place], default=None)


def pareto_front(found: Sequence[Complete], objectives: Sequence[str]) -> list[Complete]:
    """Return those that no other beats in one objective without losing in another."""
    signs = [1 if DIRECTIONS[name] == "maximize" else -1 for name in objectives]
    points = [(one, [sign * value for sign, value in zip(signs, one.objectives, strict=True)]) for one in found]
    feasible = [(one, point) for one, point in points if one.feasible]

    def dominates(a: list[float], b: list[float]) -> bool:
        return a != b and all(x >= y for x, y in zip(a, b, strict=True))

    return [one for one, point in feasible if not any(dominates(other, point) for _, other in feasible)]


def write_best(campaign: SearchCampaign, best: Complete) -> None:
    """Write the winner as a space file in which nothing is searched, and its name where reports look for it."""
    accuracy = 100 * mean(Observed.of(record).val_accuracy for record in best.candidate.records.values())
    head = (
        f"# {best.candidate.config_id} of the search {campaign.name}: validation accuracy "
        f"{accuracy:.2f} %, the best of {len(campaign.candidates)} configurations.\n"
        "# It was selected for that number, which therefore flatters it; see the test accuracy, and fresh seeds.\n\n"
    )
    space = Space.of(best.candidate.configuration)
    weights = best.candidate.configuration.network.weights
    if Path(weights).is_absolute():
        # The file is handed on, and where weights lie on this machine says nothing elsewhere.
        head += "# network.weights is the name of a file, of which the path is left out: --set network.weights=FILE\n\n"
        space = replace(space, settings={**space.settings, "network.weights": Path(weights).name})
    campaign.folder.write(campaign.folder.best_toml, head + space.to_toml())
    info = read_info(campaign.folder)
    write_info(campaign.folder, info.model_copy(update={"best": best.candidate.config_id}))
