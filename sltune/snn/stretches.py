"""What neurons carry from one stretch of time to the next, where a sample is too long to be run at once.

A layer of neurons starts at rest whenever it is called, so that nothing can leak from one batch into the next. Only
within ``run_stretch`` does it start where the stretch before has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor, nn

from sltune.errors import UsageError
from sltune.snn.neurons.lif import Fired, LIFState

States = list[LIFState]
"""What layers of neurons carry, in the order in which a network calls them; without gradients."""


@dataclass
class _Stretch:
    before: Iterator[LIFState]
    after: States = field(default_factory=list)


_stretch: ContextVar[_Stretch | None] = ContextVar("stretch", default=None)


def fire_from_state(fire: Callable[[LIFState | None], Fired]) -> Fired:
    """Return what a layer of neurons does, called with the state to start from; None is at rest."""
    stretch = _stretch.get()
    if stretch is None:
        return fire(None)
    fired = fire(next(stretch.before, None))
    stretch.after.append(fired.state)
    return fired


def run_stretch(network: nn.Module, frames: Tensor, states: Sequence[LIFState] | None) -> tuple[Tensor, States]:
    """Return a network's outputs for a stretch of time, and the states of its neurons at the end.

    Args:
        states: those after the stretch before; None at the start of a sample.

    Raises:
        UsageError: the network calls more or fewer layers of neurons than in the stretch before.
    """
    stretch = _Stretch(iter(states or ()))
    token = _stretch.set(stretch)
    try:
        outputs: Tensor = network(frames)
    finally:
        _stretch.reset(token)
    if states is not None and len(states) != len(stretch.after):
        counts = f"{len(stretch.after)} times in one stretch of time and {len(states)} times in the one before"
        raise UsageError(f"the network calls its layers of neurons {counts}; it cannot be run in stretches")
    return outputs, stretch.after


class Network(nn.Module):
    """A base for networks of which all memory is in sltune's neurons, so that they can be run in stretches of time.

    ``forward`` must return outputs of shape (T, B, classes), each of which depends on the frames up to its time only.
    """

    def run(self, frames: Tensor, state: Sequence[LIFState] | None = None) -> tuple[Tensor, States]:
        """Return outputs for the next stretch of a sample, and the state after it; None is the state at the start."""
        return run_stretch(self, frames, state)
