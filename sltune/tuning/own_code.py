"""Whether what a space names of a user's own code can be made, which is found out before anything runs."""

from __future__ import annotations

import torch
from torch import nn

from sltune.errors import CodeError
from sltune.extensions.calls import takes
from sltune.extensions.code import is_reference
from sltune.extensions.kinds import KINDS, named
from sltune.settings.space import Space
from sltune.training.optim import make_optimizer, make_schedule
from sltune.training.process_state import kept_state
from sltune.tuning.campaign.pruning import epoch_scores
from sltune.tuning.campaign.samplers import make_sampler
from sltune.tuning.trial.job import refuse_unknown_options


def refuse_unusable(space: Space) -> None:
    """Import a user's code, and make what a space names of it; of networks, which need a dataset, check the arguments.

    Raises:
        CodeError: something cannot be found, imported or made; names the setting and the user's line.
    """
    with kept_state():
        for key, text in space.own():
            try:
                _make(key, text, space)
            except CodeError as error:
                raise CodeError(f"{key}: {error}") from error.__cause__
        for network in (configuration.network for configuration in space.probes()):
            if is_reference(network.name):
                factory = named(KINDS["network.name"], network.name, space.code)
                refuse_unknown_options(network.name, factory, network.options)


def _make(key: str, text: str, space: Space) -> None:
    weights = [nn.Parameter(torch.zeros(1))]
    match key:
        case "training.optimizer":
            decay = space.settings.get("training.weight_decay")
            make_optimizer(text, weights, 1e-3, 0.0, decay if isinstance(decay, float) else 0.0, space.code)
        case "training.schedule":
            make_schedule(text, torch.optim.SGD(weights), 1, 1, 1.0, space.code)
        case "training.loss":
            smooths = "training.label_smoothing" in space.domains or space.settings.get("training.label_smoothing")
            if not takes(named(KINDS[key], text, space.code), "label_smoothing") and smooths:
                raise CodeError(f"{text}: takes no label_smoothing; leave out training.label_smoothing")
        case "search.sampler":
            make_sampler(text, 0, space.domains, space.code)
        case "search.epoch_pruner":
            epoch_scores(text, 1, frozenset(), space.code)
        case _:
            named(KINDS[key], text, space.code)
