"""What a NIR graph says, step by step by Euler's method, in numpy and float64; knows nothing of sltune."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate

Values = NDArray[np.float64]


def simulate(graph: nir.NIRGraph, frames: Values, dt_s: float) -> dict[str, Values]:
    """Return what each node gives over time, (T, ...), for frames of one sample, (T, P, H, W)."""
    sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        sources[target].append(source)
    potentials: dict[str, Values] = {}
    found: dict[str, list[Values]] = {name: [] for name in graph.nodes}
    for frame in frames:
        for name in TopologicalSorter(sources).static_order():
            node = graph.nodes[name]
            given = frame if isinstance(node, nir.Input) else sum(found[source][-1] for source in sources[name])
            if isinstance(node, nir.LIF | nir.IF):
                before = potentials.get(name, np.zeros(node.r.shape))
                rate = node.r * given
                if isinstance(node, nir.LIF):
                    rate = (node.v_leak - before + rate) / node.tau
                now = before + dt_s * rate
                fires = now > node.v_threshold
                potentials[name] = np.where(fires, node.v_reset, now)
                given = fires.astype(np.float64)
            else:
                given = _without_memory(node, given)
            found[name].append(given)
    return {name: np.stack(values) for name, values in found.items()}


def _without_memory(node: Any, given: Any) -> Any:
    if isinstance(node, nir.Conv2d):
        (rows, columns), weight = node.padding, node.weight.astype(np.float64)
        padded = np.pad(given, ((0, 0), (rows, rows), (columns, columns)))
        maps = [correlate(padded, kernel, "valid")[0] for kernel in weight]
        assert tuple(node.stride) == tuple(node.dilation) == (1, 1)
        return np.stack(maps) + node.bias[:, None, None]
    if isinstance(node, nir.Affine):
        return node.weight.astype(np.float64) @ given + node.bias
    if isinstance(node, nir.AvgPool2d):
        assert tuple(node.kernel_size) == tuple(node.stride) == (2, 2)
        maps, height, width = given.shape
        even = given[:, : height // 2 * 2, : width // 2 * 2]
        return even.reshape(maps, height // 2, 2, width // 2, 2).mean((2, 4))
    if isinstance(node, nir.Flatten):
        return given.ravel()
    assert isinstance(node, nir.Input | nir.Output), node
    return given
