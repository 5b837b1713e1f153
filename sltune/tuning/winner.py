"""What a search has found: the best configuration as a space file, and how sure it is the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sltune.runs.info import read_info, resume_command, write_info
from sltune.runs.metrics import METRICS
from sltune.runs.results import Outlook, Result, sign
from sltune.settings.space import Space
from sltune.tuning.campaign.campaign import Campaign
from sltune.wording import counted, first_of

MAX_RIVALS = 5
"""More names would not fit a line, and are hardly the best."""


def write_best(campaign: Campaign, best: Result) -> None:
    """Write the best configuration as a space file in which nothing is searched, and its name into run.json."""
    accuracy, configuration = 100 * (best.val_accuracy or 0.0), campaign.candidates[best.config_id].configuration
    head = (
        f"# {best.config_id} of the search {campaign.name}: validation accuracy "
        f"{accuracy:.2f} %, the best of {len(campaign.candidates)} configurations.\n"
        "# It was selected for that number, which therefore flatters it; see the test accuracy, and fresh seeds.\n\n"
    )
    space = Space.of(configuration)
    weights = configuration.network.weights
    if Path(weights).is_absolute():
        # The file is handed on, and where weights lie on this machine says nothing elsewhere.
        head += "# network.weights is the name of a file, of which the path is left out: --set network.weights=FILE\n\n"
        space = replace(space, settings={**space.settings, "network.weights": Path(weights).name})
    lists = configuration.evaluation.split_lists
    if Path(lists).is_absolute():
        head += "# The lists of its split are those in split_lists/, beside this file.\n\n"
        space = replace(space, settings={**space.settings, "evaluation.split_lists": Path(lists).name})
    campaign.folder.write(campaign.folder.best_toml, head + space.to_toml())
    info = read_info(campaign.folder)
    write_info(campaign.folder, info.model_copy(update={"best": best.config_id}))


def summary(campaign: Campaign, spent: str = "") -> Iterator[str]:
    """Say what became of the configurations; spent: which budget has ended the search."""
    states = Counter(result.state for result in campaign.results)
    trained = sum(record.was_trained for record in campaign.records)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    full = len(campaign.candidates) * len(campaign.steps)
    number = counted(len(campaign.candidates), "configuration")
    yield f"{number}: {counts}; {trained} trainings of {full} in full cross-validation"
    if spent:
        plan = campaign.plan
        budget = f"trainings = {plan.trainings}" if plan.trainings else f"trials = {plan.configurations}"
        more = f"raise it in {campaign.folder.space_toml}, then: {resume_command(campaign.folder)}"
        yield f"ended before search.{budget}, as {spent} is spent; {more}"


def rivals(campaign: Campaign, best: Result | None) -> Iterator[str]:
    """Say how sure it is that the best configuration is the best, and which are as good and cheaper."""
    results, criteria = campaign.results, campaign.plan.criteria
    eligible = criteria.eligible(results)
    if best is None or len(eligible) < 2 or criteria.std_weight:
        return
    outlook = Outlook(results, campaign.steps)
    likely = [f"{one.config_id} {share:.0%}" for one, share in outlook.best_probabilities(eligible)[:MAX_RIVALS]]
    yield f"probability of being the best of the {len(eligible)} complete configurations: {', '.join(likely)}"
    error, others = outlook.as_good_as(best, eligible)
    if others:
        names = ", ".join(first_of([one.config_id for one in others], MAX_RIVALS))
        name = criteria.cost_shown(similar := [best, *others])
        cheapest = min(similar, key=lambda one: (sign(name) * (one.cost(name) or 0.0), one.number))
        cost = f"{METRICS[name].shown(cheapest.cost(name) or 0.0):.4g} ({METRICS[name].heading})"
        within = f"within one standard error ({100 * error:.1f} points) of {best.config_id}"
        yield f"{within}: {names}; the cheapest is {cheapest.config_id} with {cost}"
