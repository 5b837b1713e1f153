"""Layers that keep their weights: left out of what is loaded, or frozen while others learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from sltune.errors import DataError, UsageError
from sltune.events.manifest import read_manifest
from sltune.events.samples import Samples
from sltune.events.splits.split import split_of
from sltune.events.store import read_table
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.training.weights import load_weights, refuse_unknown_layers, weights_to_bytes
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.trainer import Trainer
from tests.small import CLASSES, SENSOR, quick


class Nested(nn.Module):
    """Its names begin as those of modules that training scripts wrap around a network."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"fc": nn.Linear(3, 4), "model": nn.Linear(4, classes)})
        self.model = nn.ModuleDict({"fc": nn.Linear(3, 4)})
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))


def filled(network: nn.Module, value: float) -> nn.Module:
    for parameter in network.parameters():
        nn.init.constant_(parameter, value)
    return network


def trainer(dataset: Path, configuration: Configuration, weights: bytes | None = None) -> Trainer:
    samples = Samples([read_table(dataset / file.file) for file in read_manifest(dataset).files])
    job = Job(TrialKey("c0000", 0, 0), configuration, SENSOR, len(CLASSES), weights)
    return Trainer(job, samples, split_of(configuration, samples.recordings(), 0, 0), torch.device("cpu"))


def test_weights_of_a_users_network_are_loaded_by_its_own_names() -> None:
    network = Nested()
    assert load_weights(network, weights_to_bytes(filled(Nested(), 0.5)), "best.pt") == ""
    assert all((parameter == 0.5).all() for parameter in network.parameters())


def test_skipped_layers_keep_their_weights_whatever_their_shape() -> None:
    network = filled(Nested(classes=2), 0.25)
    note = load_weights(network, weights_to_bytes(filled(Nested(classes=7), 0.5)), "w.pt", ["net.model"])
    assert note == 'w.pt: "net.model.weight", "net.model.bias" are skipped'
    values = {name: value.flatten()[0].item() for name, value in network.named_parameters()}
    assert {name for name, value in values.items() if value == 0.25} == {"net.model.weight", "net.model.bias"}


def test_a_layer_that_does_not_fit_is_named_with_both_shapes() -> None:
    with pytest.raises(DataError, match=r'"net\.model\.weight" is 7×4, but the network needs 2×4'):
        load_weights(Nested(classes=2), weights_to_bytes(Nested(classes=7)), "w.pt")


def test_an_unknown_layer_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r'training\.freeze: the network has no layer "net\.fcc".*"net\.fc"'):
        refuse_unknown_layers(Nested(), ["net.fcc"], "training.freeze")
    with pytest.raises(UsageError, match=r"no layer \"z\" with weights; it has mask, net\.fc, net\.model, model\.fc"):
        refuse_unknown_layers(Nested(), ["z"], "training.freeze")


def test_frozen_layers_keep_their_weights_and_statistics_while_others_learn(dataset: Path) -> None:
    settings = {"network__name": "slanimals", "network__norm": "tdbn", "training__epochs": 1}
    frozen = trainer(dataset, quick(**settings, training__freeze=["conv1", "conv1_norm"]))
    before = {name: value.clone() for name, value in frozen.network.state_dict().items()}
    list(frozen.epochs())
    changed = {name for name, value in frozen.network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("conv1") for name in changed)
    assert {"conv2.weight", "conv2_norm.running_mean", "fc2.weight"} <= changed


def test_a_frozen_network_has_nothing_to_learn(dataset: Path) -> None:
    with pytest.raises(UsageError, match=r"no parameter to train; see training\.freeze"):
        trainer(dataset, quick(training__freeze=["fc1", "fc2"], network__name="nmnist-mlp2"))


def test_a_trial_begins_with_given_weights_but_for_skipped_layers(dataset: Path) -> None:
    plain = trainer(dataset, quick(network__name="nmnist-mlp2"))
    given = weights_to_bytes(filled(plain.network, 0.125))
    begun = trainer(dataset, quick(network__name="nmnist-mlp2", network__weights_skip=["fc2"]), given).network
    fresh = trainer(dataset, quick(network__name="nmnist-mlp2")).network
    assert (begun.get_parameter("fc1.weight") == 0.125).all()
    assert torch.equal(begun.get_parameter("fc2.weight"), fresh.get_parameter("fc2.weight"))
