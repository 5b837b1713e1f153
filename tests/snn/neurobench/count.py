"""Prints what NeuroBench counts in each network, as JSON; runs where NeuroBench is installed."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import torch
from neurobench.metrics.static import Footprint, ParameterCount  # type: ignore[import-not-found]
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations  # type: ignore[import-not-found]
from neurobench.models import NeuroBenchModel  # type: ignore[import-not-found]
from torch import Tensor, nn

from sltune.snn.layers import LIF
from tests.snn.neurobench.networks import SAMPLES, Fires, frames, networks


class Stepwise(NeuroBenchModel):  # type: ignore[misc]
    """A network that is given one time step after the other, as NeuroBench runs those of snnTorch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.add_activation_module(LIF)
        self.add_activation_module(Fires)

    def __net__(self) -> nn.Module:
        return self.net

    def __call__(self, batch: Tensor) -> Tensor:
        state, outputs = None, []
        for step in batch.transpose(0, 1).split(1):
            run = getattr(self.net, "run", None)
            output, state = run(step, state) if run else (self.net(step), None)
            outputs.append(output[0])
        return torch.stack(outputs, 1)


@torch.no_grad()
def counted(network: nn.Module) -> dict[str, Any]:
    """Return NeuroBench's metrics of a network: means over samples, each of which is a batch."""
    model, operations, sparsity = Stepwise(network), SynapticOperations(), ActivationSparsity()
    model.register_hooks()
    shares = []
    for sample in frames().transpose(0, 1).split(1):
        outputs = model(sample)
        operations(model, outputs, (sample, None))
        shares.append(sparsity(model, outputs, (sample, None)))
        model.reset_hooks()
    model.cleanup_hooks()
    sums = {"effective_acs": operations.AC, "effective_macs": operations.MAC}
    return {
        **{name: total / SAMPLES for name, total in sums.items()},
        "activation_sparsity": sum(shares) / SAMPLES,
        "parameters": ParameterCount()(model),
        "memory_bytes": Footprint()(model),
    }


if __name__ == "__main__":
    found = {name: counted(network) for name, network in networks().items()}
    print(json.dumps({"neurobench": version("neurobench"), "networks": found}, indent=1))
