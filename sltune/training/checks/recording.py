"""One batch through a network, with what every module in it got and gave.

A tensor is kept as a digest, a few numbers for each row, so that a recording takes little memory. Two recordings tell
which module is the first to give something else although it got the same.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, is_dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sltune.snn.running import reset

TOLERANCE = 1e-5
"""Rounding changes a row by less than this, relative to its norm, where only the order of a sum differs."""
MAX_NESTING = 5
"""Containers within containers that are searched for tensors; a linked list must not be followed for ever."""


class BatchFailed(Exception):
    """A network raised an exception; layer: the innermost module that was running."""

    def __init__(self, layer: str, error: BaseException) -> None:
        super().__init__(str(error))
        self.layer, self.error = layer, error


@dataclass(frozen=True)
class Digest:
    """rows: a random projection of each row; norms: their L2 norms. carries_gradient: whether one flows back from it.

    Rows are those of the first dimension, or of time and batch together where the tensor has both.
    """

    rows: Tensor
    norms: Tensor
    shape: tuple[int, ...]
    mean: float
    low: float
    high: float
    carries_gradient: bool

    @property
    def is_zero(self) -> bool:
        return self.low == 0 == self.high

    @property
    def is_finite(self) -> bool:
        # The least and the greatest value are NaN where any value is.
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def is_like(self, other: Digest, keep: slice = slice(None)) -> bool:
        """Say whether the rows to keep are equal, up to rounding."""
        if self.shape != other.shape:
            return False
        mine, theirs = self.rows[keep], other.rows[keep]
        near = (mine - theirs).abs() <= TOLERANCE * torch.maximum(self.norms, other.norms)[keep]
        return bool((near | (mine == theirs) | (mine.isnan() & theirs.isnan())).all())


@dataclass(frozen=True)
class Call:
    """One call of a module. depth: of the calls around it. wrote_input: whether the frames were changed meanwhile."""

    layer: str
    depth: int
    inputs: list[Digest]
    outputs: list[Digest]
    wrote_input: bool


@dataclass
class Recording:
    """calls: in the order in which they ended. output: what the network returned."""

    output: Any = None
    input_changed: bool = False
    generators: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    running: list[tuple[str, int]] = field(default_factory=list)

    @property
    def rates(self) -> Tensor:
        """The output as one row for each sample."""
        output: Tensor = self.output
        return output.mean(0) if output.dim() == 3 else output


def record(
    network: nn.Module,
    frames: Tensor,
    seed: int = 0,
    others_seed: int = 0,
    call: Callable[[Tensor], Any] | None = None,
    gradient: bool = False,
) -> Recording:
    """Run a batch as training and evaluation do, after reset() where there is one.

    Args:
        seed: of torch. others_seed: of numpy and Python.
        call: what to call instead of the network. gradient: whether to keep what a backward pass needs.

    Raises:
        BatchFailed: the network raised an exception.
    """
    recording, given = Recording(), frames
    frames = frames.clone()
    seed_all(seed, others_seed)
    generators = Generators()
    try:
        reset(network)
        with torch.set_grad_enabled(gradient), _recorded(network, frames, recording):
            recording.output = (call or network)(frames)
            if call is not None:
                digests = _Digests(frames)
                recording.calls.append(Call("", 0, digests.of(frames), digests.of(recording.output), False))
    except (Exception, SystemExit) as error:
        raise BatchFailed(recording.running[-1][0] if recording.running else "", error) from error
    recording.generators = generators.used()
    recording.input_changed = not torch.equal(frames, given)
    return recording


def seed_all(seed: int, others_seed: int = 0) -> None:
    """Seed torch, as each trial does, and the generators of numpy and Python, which no trial seeds."""
    torch.manual_seed(seed)
    random.seed(others_seed)
    np.random.seed(others_seed)  # noqa: NPY002


def first_difference(
    one: Recording, two: Recording, batch: int, sample: int | None = None, excused: frozenset[str] = frozenset()
) -> str | None:
    """Return the first module that gave something else although it got the same; None where there is none.

    Args:
        batch: the number of samples.
        sample: compare the rows of this sample alone.
        excused: modules that may.
    """
    depth: float = math.inf
    for mine, theirs in zip(one.calls, two.calls, strict=False):
        if mine.layer != theirs.layer:
            return ""
        if mine.layer in excused:
            continue
        if not _alike(mine.inputs, theirs.inputs, batch, sample):
            # A call around this one, which got the same, has made something else of it. Of single samples that
            # would be a guess, as their rows are unknown where batch and time have been folded the other way round.
            # A state of another shape says nothing: snnTorch's is empty before the first batch, and zeros later.
            if sample is None and [one.shape for one in mine.inputs] == [one.shape for one in theirs.inputs]:
                depth = min(depth, mine.depth)
        elif mine.depth < depth < math.inf or not _alike(mine.outputs, theirs.outputs, batch, sample, if_unknown=True):
            return mine.layer
    return None


def _alike(mine: list[Digest], theirs: list[Digest], batch: int, sample: int | None, if_unknown: bool = False) -> bool:
    if len(mine) != len(theirs):
        return False
    for one, two in zip(mine, theirs, strict=True):
        if sample is not None and len(one.rows) % batch and one.shape == two.shape:
            # Which rows are the sample's is unknown, unless all rows are equal anyway.
            alike = one.is_like(two) or if_unknown
        else:
            alike = one.is_like(two, slice(None) if sample is None else slice(sample, None, batch))
        if not alike:
            return False
    return True


def tensors_in(value: object, depth: int = 0) -> Iterator[Tensor]:
    """Give all tensors in a value: in lists, tables and plain objects that hold data."""
    if isinstance(value, Tensor):
        yield value
    elif depth < MAX_NESTING:
        if isinstance(value, dict):
            items = list(value.values())
        elif isinstance(value, list | tuple | set):
            items = list(value)
        else:
            items = list(vars(value).values()) if is_dataclass(value) and not isinstance(value, type) else []
        for item in items:
            yield from tensors_in(item, depth + 1)


@contextmanager
def hooked(
    network: nn.Module, before: Callable[[str, tuple[Any, Any]], object], after: Callable[[Any], object]
) -> Iterator[None]:
    """Within the block, call before(name, inputs) and after(output) around each call of a module."""
    handles = []
    for name, module in network.named_modules():

        def enter(_: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
            before(name, (args, kwargs))

        def leave(_: nn.Module, args: Any, output: Any) -> None:
            after(output)

        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _recorded(network: nn.Module, frames: Tensor, recording: Recording) -> AbstractContextManager[None]:
    inputs: list[list[Digest]] = []
    digests = _Digests(frames)

    def before(name: str, given: tuple[Any, Any]) -> None:
        recording.running.append((name, frames._version))
        inputs.append(digests.of(given))

    def after(output: Any) -> None:
        name, version = recording.running.pop()
        changed = frames._version != version
        recording.calls.append(Call(name, len(recording.running), inputs.pop(), digests.of(output), changed))

    return hooked(network, before, after)


class _Digests:
    """Makes digests; what a module gave is often what the next one gets, and is looked at once."""

    def __init__(self, frames: Tensor) -> None:
        self._time_and_batch = frames.shape[:2]
        self._recent: list[tuple[Tensor, int, Digest]] = []

    def of(self, value: object) -> list[Digest]:
        """Return the digests of all tensors in a value."""
        made = []
        for tensor in tensors_in(value):
            if tensor.layout == torch.strided:
                known = (one for seen, version, one in self._recent if seen is tensor and version == tensor._version)
                made.append((tensor, tensor._version, next(known, None) or _digest(tensor, self._time_and_batch)))
        self._recent = made or self._recent
        return [digest for _, _, digest in made]


@torch.no_grad()
def _digest(tensor: Tensor, time_and_batch: torch.Size) -> Digest:
    values = tensor.detach()
    if values.dim() > 1 and values.shape[:2] == time_and_batch:
        values = values.flatten(0, 1)
    if not values.numel():
        # The state of some libraries is an empty tensor at first.
        values = torch.zeros(1, 1)
    rows = values.reshape(len(values) if values.dim() else 1, -1)
    rows = rows if rows.dtype == torch.float64 else rows.float()
    low, high = map(float, rows.aminmax())
    projected = rows @ _weights(rows.shape[1]).to(rows.dtype)
    return Digest(projected, rows.norm(dim=1), tuple(tensor.shape), float(rows.mean()), low, high, tensor.requires_grad)


class Generators:
    """Notices which random generators are used that no trial seeds."""

    def __init__(self) -> None:
        self._before = self._states()

    def used(self) -> set[str]:
        """Return those that have been used since."""
        now = self._states()
        return {name for name, state in self._before.items() if now[name] != state}

    @staticmethod
    def _states() -> dict[str, object]:
        _, keys, *place = np.random.get_state()  # noqa: NPY002
        return {"numpy.random": (np.asarray(keys).tobytes(), place), "Python's random": random.getstate()}


@lru_cache(maxsize=64)
def _weights(length: int) -> Tensor:
    return torch.randn(length, generator=torch.Generator().manual_seed(length))
