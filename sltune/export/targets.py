"""Simulators that read NIR graphs: how each is given one, and what each of them does with it that NIR does not say."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Target:
    """A simulator.

    package: what must be installed. load: makes a module that takes a time step (B, P, H, W) and maybe a state, and
    returns its output, and maybe the state. quirk: why it may compute something else than the graph says; "" for no
    reason that is known.
    """

    name: str
    package: str
    load: Callable[[Path, float], nn.Module]
    quirk: Callable[[nir.NIRGraph, float], str]

    @property
    def version(self) -> str:
        """Its version; "" where it is not installed."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return ""


def run(module: nn.Module, frames: Tensor, nodes: Sequence[str]) -> dict[str, Tensor]:
    """Return what nodes give over time, from rest.

    Args:
        frames: of one sample, (T, 1, P, H, W).

    Returns:
        by node, values of shape (T, ...), without a batch.
    """
    found: dict[str, list[Tensor]] = {node: [] for node in nodes}
    hooks = [module.get_submodule(node).register_forward_hook(_keep(found[node])) for node in nodes]
    for layer in module.modules():
        # snnTorch keeps the state within its neurons.
        if callable(reset := getattr(layer, "reset_mem", None)):
            reset()
    try:
        state: Any = None
        with torch.no_grad():
            for step in frames:
                output = module(step) if state is None else module(step, state)
                state = output[1] if isinstance(output, tuple) else None
    finally:
        for hook in hooks:
            hook.remove()
    return {node: torch.stack(values) for node, values in found.items()}


def _keep(values: list[Tensor]) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_: nn.Module, __: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        values.append(first.detach().float().flatten())

    return hook


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep a library from printing what it does."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _snntorch(file: Path, _: float) -> nn.Module:
    with _quiet():
        from snntorch.import_nir import import_from_nir

        module: nn.Module = import_from_nir(nir.read(file))
    return module


def _spikingjelly(file: Path, dt_s: float) -> nn.Module:
    with _quiet():
        from spikingjelly.activation_based.nir_exchange import import_from_nir

        module: nn.Module = import_from_nir(nir.read(file), dt=dt_s)
    return module


def _norse(file: Path, dt_s: float) -> nn.Module:
    graph = nir.read(file)
    if pools := [name for name, node in graph.nodes.items() if isinstance(node, nir.AvgPool2d)]:
        # It would drop the nodes and fail at the next one.
        raise NotImplementedError(f"{pools[0]}: it knows no average pooling")
    with _quiet():
        from norse.torch import from_nir

        module: nn.Module = from_nir(graph, dt=dt_s)
    return module


def _of_snntorch(graph: nir.NIRGraph, dt_s: float) -> str:
    if any(isinstance(node, nir.IF) for node in graph.nodes.values()):
        return "it gives neurons that do not leak a decay of 0.9"
    return "" if np.isclose(dt_s, 1e-4) else f"it takes time steps of 0.1 ms, and the graph has {1000 * dt_s:g} ms"


def _of_spikingjelly(_: nir.NIRGraph, __: float) -> str:
    return "its neurons also fire at the threshold itself"


def _of_norse(graph: nir.NIRGraph, _: float) -> str:
    leaky = [node for node in graph.nodes.values() if isinstance(node, nir.LIF)]
    if any(not np.allclose(node.r, 1) for node in leaky):
        return "it takes R for 1; export with --fold-resistance"
    return "its neurons that do not leak know no R" if len(leaky) < _neurons(graph) else ""


def _neurons(graph: nir.NIRGraph) -> int:
    return sum(isinstance(node, nir.LIF | nir.IF) for node in graph.nodes.values())


TARGETS = (
    Target("snnTorch", "snntorch", _snntorch, _of_snntorch),
    Target("SpikingJelly", "spikingjelly", _spikingjelly, _of_spikingjelly),
    Target("Norse", "norse", _norse, _of_norse),
)
