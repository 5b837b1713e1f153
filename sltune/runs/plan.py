"""What a run is to do: its steps, its numbers of configurations and epochs, and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sltune.runs.record import TrialKey
from sltune.runs.results import Criteria
from sltune.settings.configuration import Configuration
from sltune.settings.search import Search
from sltune.settings.sections import Evaluation
from sltune.settings.space import Space

Step = tuple[int, int]
"""(seed, fold)."""


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    steps: (seed, fold) of the trials of each configuration. configurations: the largest number of them. epochs: the
    largest number in a trial. same_epochs: whether it is the same for every configuration. at_most: whether the run may
    end with fewer trials, configurations or epochs. trainings: the largest number of trials, 0 where it follows from
    the others. promotes: whether the trials of a configuration wait to be promoted. has_val: whether trials have a
    validation part. shows_test: whether test accuracies may be shown. criteria: how configurations are judged.
    max_hours, max_device_hours: the budgets of a search; 0 for none.
    """

    title: str
    steps: tuple[Step, ...]
    configurations: int
    epochs: int
    same_epochs: bool = True
    at_most: bool = False
    trainings: int = 0
    promotes: bool = False
    has_val: bool = True
    shows_test: bool = True
    criteria: Criteria = field(default_factory=Criteria)
    max_hours: float = 0.0
    max_device_hours: float = 0.0


def evaluation_plan(title: str, configuration: Configuration, steps: Sequence[Step]) -> Plan:
    """Return what the evaluation of one configuration is to do."""
    training = configuration.training
    has_val = configuration.evaluation.protocol == "train-val-test"
    return Plan(title, tuple(steps), 1, training.epochs, at_most=bool(training.patience), has_val=has_val)


def search_plan(title: str, space: Space, search: Search, steps: Sequence[Step]) -> Plan:
    """Return what a search is to do."""
    return Plan(
        title,
        tuple(steps),
        search.most_configurations,
        most_epochs(space),
        same_epochs="training.epochs" not in space.domains,
        at_most=True,
        trainings=search.trainings,
        promotes=search.strategy == "promote",
        shows_test=False,
        criteria=Criteria.of(search),
        max_hours=search.max_hours,
        max_device_hours=search.max_device_hours,
    )


def nested_plan(title: str, space: Space, steps: Sequence[Step]) -> Plan:
    """Return what the outer trials of a nested search are to do: as of one configuration, which each fold chooses."""
    return Plan(title, tuple(steps), 1, most_epochs(space), same_epochs=False, at_most=True)


def nested_trainings(of_a_search: int, folds: int, seeds: int) -> int:
    """Return how many trainings a nested search takes: a search in each outer fold, and the tests of their winners."""
    return folds * (of_a_search + seeds)


def most_epochs(space: Space) -> int:
    """Return how many epochs a trial of the space has at most."""
    domain = space.domains.get("training.epochs")
    if domain is None:
        return int(space.settings["training.epochs"])  # type: ignore[arg-type]
    return max(map(int, domain.extremes()))  # type: ignore[arg-type]


def steps_of(evaluation: Evaluation) -> list[Step]:
    """Return the trials of every configuration: all folds with the first seed, then all with the next."""
    return [(seed, fold) for seed in evaluation.seeds for fold in range(evaluation.folds)]


def trials_of(configuration: Configuration, config_id: str = "c0000") -> list[TrialKey]:
    """Return the trials of a configuration in their order."""
    return [TrialKey(config_id, *step) for step in steps_of(configuration.evaluation)]
