"""The state of a training in bytes: what is not made as this training would make it is refused before it is used."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sltune.training.checkpoint import learner_from_bytes, learner_to_bytes
from sltune.training.fit import EpochMetrics, EvaluationResult, Learner
from sltune.training.optim import make_optimizer, make_schedule
from tests.networks import NETWORKS

EVALUATION = EvaluationResult(0.5, 0.75, [[1, 0], [1, 2]], {"fc1": 2.0}, 3.0, {"fc1": 0.1}, (True, False, True, True))
METRICS = EpochMetrics(1, 0.1, EVALUATION, 1, 0.5, 10.0, 1.0)


def learner(optimizer: str = "adam", schedule: str = "cosine") -> Learner:
    """A learner after one step, so that its optimizer has a state."""
    network = NETWORKS["nmnist-mlp2"]((2, 4, 4), 2)
    made = make_optimizer(optimizer, network.parameters(), 1e-3, momentum=0.9)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    made.step()
    return Learner(network, made, make_schedule(schedule, made, 3, 25, 0.1))


def saved(source: Learner) -> bytes:
    return learner_to_bytes(source, {"best": METRICS, "last": None}, {"job": "j"})


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_training_comes_back_as_it_was(optimizer: str, schedule: str) -> None:
    source, target = learner(optimizer, schedule), learner(optimizer, schedule)
    assert learner_from_bytes(target, saved(source)) == ({"best": METRICS, "last": None}, {"job": "j"})
    assert saved(target) == saved(source)


def forged(change: Callable[[Any], object]) -> bytes:
    """A checkpoint in which something has been changed after it was written."""
    state = torch.load(io.BytesIO(saved(learner())), weights_only=True)
    change(state)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


FORGERIES: dict[str, Callable[[Any], object]] = {
    "no network": lambda state: state.pop("network"),
    "no table": lambda state: state.update(network=[1]),
    "other shape": lambda state: state["network"].update({"fc1.bias": torch.zeros(3)}),
    "other type": lambda state: state["network"].update({"fc1.bias": torch.zeros(512, dtype=torch.complex64)}),
    "text as weight": lambda state: state["network"].update({"fc1.bias": "x"}),
    "text as rate": lambda state: state["optimizer"]["param_groups"][0].update(lr="x"),
    "another option": lambda state: state["optimizer"]["param_groups"][0].update(more=1),
    "no groups": lambda state: state["optimizer"].update(param_groups=[]),
    "text as moment": lambda state: state["optimizer"]["state"][0].update(exp_avg="x"),
    "small moment": lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.zeros(2)),
    "moment of nothing": lambda state: state["optimizer"]["state"].update({99: {"exp_avg": torch.zeros(2)}}),
    "no moments": lambda state: state["optimizer"]["state"].update({0: 3}),
    "no schedule": lambda state: state.update(schedule=None),
    "text as period": lambda state: state["schedule"].update(T_max="x"),
    "unknown metric": lambda state: state["metrics"]["best"].update(more=1),
    "text as epoch": lambda state: state["metrics"]["best"].update(epoch="x"),
    "text as loss": lambda state: state["metrics"]["best"].update(best_loss="x"),
    "text as count": lambda state: state["metrics"]["best"]["evaluation"].update(confusion=[["x"]]),
    "text as spikes": lambda state: state["metrics"]["best"]["evaluation"].update(spikes={"fc1": "x"}),
    "text as outcome": lambda state: state["metrics"]["best"]["evaluation"].update(correct=("x",)),
    "no metrics": lambda state: state.update(metrics=3),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_checkpoint_that_is_made_otherwise_is_refused(forgery: str) -> None:
    with pytest.raises(ValueError, match="no checkpoint of this training"):
        learner_from_bytes(learner(), forged(FORGERIES[forgery]))


class Planted:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.file),)


def test_a_pickle_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    buffer, made = io.BytesIO(), tmp_path / "made"
    torch.save({"network": {}, "more": Planted(made)}, buffer)
    for data in (buffer.getvalue(), pickle.dumps(Planted(made))):
        with pytest.raises(ValueError, match=r"it holds objects that could run code|it is no file that torch\.save"):
            learner_from_bytes(learner(), data)
    assert not made.exists()
