"""The best configuration of a search, written down for whoever wants to evaluate it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sltune.runs.info import read_info, write_info
from sltune.runs.results import Result
from sltune.settings.space import Space
from sltune.tuning.campaign.campaign import Campaign


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
    campaign.folder.write(campaign.folder.best_toml, head + space.to_toml())
    info = read_info(campaign.folder)
    write_info(campaign.folder, info.model_copy(update={"best": best.config_id}))
