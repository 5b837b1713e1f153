"""Networks to and from NIR files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sltune.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from sltune.export.graph import Exported
    from sltune.snn.stretches import Network


def write_nir(
    network: nn.Module,
    frame_shape: tuple[int, int, int],
    file: Path | str,
    dt_s: float = 1e-4,
    fold_resistance: bool = False,
) -> Exported:
    """Write a network, as it evaluates, to a NIR file, which replaces one that is there.

    Args:
        frame_shape: (P, H, W).
        dt_s: seconds of a time step for simulators.
        fold_resistance: whether R is 1 and the weights before neurons are scaled instead, for Norse.

    Returns:
        the graph, and which of its nodes gives what which layer of neurons gives.

    Raises:
        UsageError: NIR cannot say what a layer does, which is named; the file cannot be written; or the package nir is
            not installed.

    >>> import sltune
    >>> network = sltune.open_run("results/tiny").network("c0000-f0-s0")
    >>> exported = sltune.write_nir(network, (2, 16, 16), "tiny.nir")
    >>> list(exported.graph.nodes)[:3]
    ['input', 'flatten', 'fc1']
    """
    with _nir_installed():
        from sltune.export.graph import Options, as_graph, write_graph

    exported = as_graph(network, frame_shape, Options(dt_s, fold_resistance))
    write_graph(Path(file), exported)
    return exported


def read_nir(file: Path | str, dt_s: float | None = None) -> Network:
    """Return the network that a NIR file describes, of sltune's layers and in evaluation mode.

    Args:
        dt_s: seconds of a time step; None for what the file says, or 0.1 ms where it says nothing.

    Raises:
        DataError: the file cannot be read, or has a node that sltune's layers cannot compute; names the node.
        UsageError: the package nir is not installed.

    >>> import sltune, torch
    >>> network = sltune.open_run("results/tiny").network("c0000-f0-s0")
    >>> _ = sltune.write_nir(network, (2, 16, 16), "again.nir")
    >>> frames = torch.ones(5, 1, 2, 16, 16)
    >>> bool((sltune.read_nir("again.nir")(frames) == network(frames)).all())
    True
    """
    with _nir_installed():
        from sltune.export.reading import read_nir as read

    return read(Path(file), dt_s)


@contextmanager
def _nir_installed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "nir":
            raise
        raise UsageError("the package nir is not installed; pip install 'sltune[nir]'") from error
