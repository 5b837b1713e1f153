"""Searches without Ray: a made-up landscape instead of training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from sltune.runs.folder import RunFolder
from sltune.runs.info import run_name
from sltune.runs.plan import search_plan, steps_of
from sltune.runs.record import DatasetInfo, TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.space import Space, parse_space
from sltune.tuning.campaign.campaign import Campaign
from sltune.tuning.campaign.promotion import strategy_of
from sltune.tuning.campaign.storage import open_storage
from sltune.tuning.campaign.study import SearchStudy
from sltune.tuning.trial.report import Report

DATASET = DatasetInfo(name="hills", synthetic=True, fingerprint="f", classes=("a", "b"))
FOLD_EFFECTS = (0.0, 0.12, -0.15, 0.05, -0.02)

Trainer = Callable[[Configuration, TrialKey], Report]


def space(search: str = "", folds: int = 4, seeds: str = "[0]", domains: str = "") -> Space:
    """A space of two searched values; search: lines of its table [search]."""
    text = f"""
        [neuron]
        decay = {{ low = 0.0, high = 1.0 }}
        v_threshold = {{ low = 0.1, high = 0.9, step = 0.1 }}
        {domains}
        [evaluation]
        folds = {folds}
        seeds = {seeds}
        [search]
        {search}
    """
    return parse_space(text, "hills.toml")


def hills(configuration: Configuration, key: TrialKey) -> Report:
    """Accuracy with one summit at decay 0.3, easy and hard folds, and noise that belongs to configuration and trial."""
    neuron = configuration.neuron
    noise = np.random.default_rng([key.fold, key.seed, int(1e9 * neuron.decay), int(10 * neuron.v_threshold)])
    value = 0.7 - 0.4 * (neuron.decay - 0.3) ** 2 - 0.1 * abs(neuron.v_threshold - 0.5)
    return done(value + FOLD_EFFECTS[key.fold] + 0.01 * float(noise.normal()), 1000 * neuron.v_threshold)


def done(val_accuracy: float, synaptic_ops: float = 1.0, test_accuracy: float = 0.5) -> Report:
    """What a trained trial reports."""
    metrics = {"val_accuracy": val_accuracy, "synaptic_ops": synaptic_ops, "test_accuracy": test_accuracy}
    return Report(
        "done", metrics=metrics, weights=b"w", timings={"started": 0.0, "ended": 3600.0}, device={"num_cpus": 1}
    )


def search(root: Path, space: Space, storage: BaseStorage | None = None, retry_failed: bool = False) -> Campaign:
    """Begin a search in a folder, or go on with it."""
    assert space.search is not None
    folder = RunFolder(root)
    root.mkdir(parents=True, exist_ok=True)
    storage = storage or open_storage(folder.study_journal)
    study = SearchStudy(storage, "hills", space, space.search, new=True)
    return campaign_of(folder, space, study, retry_failed)


def campaign_of(folder: RunFolder, space: Space, study: SearchStudy, retry_failed: bool = False) -> Campaign:
    """Return the campaign of a study's search."""
    assert space.search is not None
    plan = search_plan(run_name(folder), space, space.search, steps_of(space.evaluation))
    return Campaign(folder, DATASET, plan, strategy_of(folder, space, space.search, study, retry_failed))


EPOCHS = 6
Health = Callable[[Configuration], dict[str, float]]


def run(
    campaign: Campaign,
    train: Trainer = hills,
    slots: int = 1,
    seed: int = 0,
    epochs: int = 0,
    health: Health = lambda configuration: {},
) -> list[str]:
    """Run a search to its end, some trials at a time, which end in random order; return the trials as handed out.

    epochs: how many each reports before it ends; accuracies rise evenly to the last one's. health: further metrics of
    each of its epochs.
    """
    order, running, names = random.Random(seed), list[tuple[TrialKey, Configuration]](), list[str]()
    while not campaign.finished:
        while len(running) < slots and (trial := campaign.next_trial()) is not None:
            running.append((trial.key, trial.configuration))
            names.append(trial.key.name)
        if not running:
            break
        key, configuration = running.pop(order.randrange(len(running)))
        finished, reason = train(configuration, key), campaign.candidates[key.config_id].over
        for epoch in range(1, epochs + 1):
            accuracy = finished.metrics.get("val_accuracy", 0.0) * epoch / epochs
            row = {"epoch": epoch, "val_loss": 1 / epoch, "val_accuracy": accuracy, **health(configuration)}
            reason = reason or campaign.add_epochs(key, [row])[1]
        campaign.finish(key, replace(finished, status="pruned", error=reason, metrics={}) if reason else finished)
    if campaign.finished:
        campaign.strategy.close(campaign.candidates.values())
    return names


class Killed(BaseException):
    """Ends the process, as it were: nothing in between may catch it."""


def run_through_kills(
    root: Path,
    space: Space,
    train: Trainer = hills,
    slots: int = 1,
    seed: int = 0,
    health: Health | None = None,
) -> Campaign:
    """Run a search to its end in processes of which each dies, as it were, after a few trainings."""
    rng = random.Random(seed)
    for life in range(100):
        campaign, left = search(root, space), iter(range(rng.randrange(1, 12)))

        def train_or_die(configuration: Configuration, key: TrialKey, left: Iterator[int] = left) -> Report:
            if next(left, None) is None:
                raise Killed
            return train(configuration, key)

        try:
            if health is None:
                run(campaign, train_or_die, slots, seed + life)
            else:
                run(campaign, train_or_die, slots, seed + life, EPOCHS, health)
        except Killed:
            continue
        return campaign
    raise AssertionError("the search does not come to its end")


def trials(campaign: Campaign) -> list[FrozenTrial]:
    """Return what Optuna knows."""
    return campaign.strategy._study._study.get_trials()


def told(campaign: Campaign) -> list[tuple[object, ...]]:
    """Return what Optuna knows, without times."""
    return [(t.number, t.state.name, t.params, t.values, t.intermediate_values, t.user_attrs) for t in trials(campaign)]
