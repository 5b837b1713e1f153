"""The predecessor's procedure in plain loops, written apart from sltune, for the tests to compare with.

Source: ronichester/SL-animals-DVS-stbp and the STBP paper (Wu et al. 2018, Front. Neurosci. 12:331).
Nothing here imports sltune, and nothing here is fast. Times are in µs unless a name says otherwise.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import KFold, train_test_split
from tonic.transforms import Compose, Downsample, TimeAlignment, ToFrame
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
"""Input of shape (N, P, H, W, T) and integer labels of shape (N,)."""

DVS128_EVENT = np.dtype(
    [("row", np.int64), ("column", np.int64), ("polarity", np.int64), ("time_us", np.int64), ("special", np.bool_)]
)
TONIC_EVENT = np.dtype([(name, np.int64) for name in "xytp"])


def decode_aedat(path: Path) -> NDArray[np.void]:
    """Return every event of a DVS128 AEDAT-2.0 file as an array of DVS128_EVENT, in file order.

    row is bits 8–14, column bits 1–7, polarity the raw bit 0 (0 = ON), special bit 15.
    Times are unsigned and not unwrapped.
    """
    words = np.fromfile(path, dtype=">u4", offset=_header_bytes(path)).reshape(-1, 2).astype(np.int64)
    address = words[:, 0]
    events = np.empty(len(words), dtype=DVS128_EVENT)
    events["row"] = (address // 2**8) % 128
    events["column"] = (address // 2) % 128
    events["polarity"] = address % 2
    events["special"] = (address // 2**15) % 2 == 1
    events["time_us"] = words[:, 1]
    return events


def _header_bytes(path: Path) -> int:
    with path.open("rb") as file:
        while file.peek(1)[:1] == b"#":
            if file.readline().startswith(b"#End Of ASCII Header"):
                break
        return file.tell()


@dataclass(frozen=True, eq=False)
class PlainSample:
    """One sign: its recording, the 0-based row of the tag file, the 0-based label, and DVS128_EVENT events."""

    recording: str
    tag_row: int
    label: int
    events: NDArray[np.void]


def read_samples(folder: Path, names: Sequence[str]) -> list[PlainSample]:
    """Return the samples of recordings/<name>.aedat and tags/<name>.csv, in the order of names and tag rows.

    Tags count every event of the file, so special events are dropped after slicing.
    """
    samples = []
    for name in names:
        events = decode_aedat(folder / "recordings" / f"{name}.aedat")
        with (folder / "tags" / f"{name}.csv").open(newline="") as file:
            for tag_row, tag in enumerate(csv.DictReader(file)):
                part = events[int(tag["startTime_ev"]) : int(tag["endTime_ev"])]
                samples.append(PlainSample(name, tag_row, int(tag["class"]) - 1, part[~part["special"]]))
    return samples


def counted_on(raw_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a sample's times with 2³² added after each wrap of the clock, none of them before the first turn.

    The predecessor has no such step: it takes raw times, and a sample within which they wrap ends before it begins.
    """
    turn, turns = 0, [0]
    for before, after in itertools.pairwise(raw_us.tolist()):
        if before - after > 2**31:
            turn += 1
        elif after - before > 2**31:  # back over the wrap, out of order
            turn -= 1
        turns.append(turn)
    return raw_us + (np.array(turns) - min(turns)) * 2**32


def tonic_frames(
    row: NDArray[Any],
    column: NDArray[Any],
    polarity: NDArray[Any],
    time_us: NDArray[Any],
    time_bin_ms: int,
    sensor: int = 128,
) -> NDArray[np.int16]:
    """Return Tonic's event counts in shape (T, P, rows, columns) for a square sensor.

    As the predecessor has it, Tonic's x is the row of a DVS128 address and its y the column; Tonic's
    frames are (T, P, y, x), so the last two axes are exchanged.
    """
    events = np.empty(len(time_us), dtype=TONIC_EVENT)
    events["x"], events["y"], events["t"], events["p"] = row, column, time_us, polarity
    to_frame = ToFrame(sensor_size=(sensor, sensor, 2), time_window=time_bin_ms)
    frames = Compose([Downsample(time_factor=0.001), TimeAlignment(), to_frame])(events)
    return np.asarray(frames, dtype=np.int16).transpose(0, 1, 3, 2)


def predecessor_random_start(n_bins: int, steps: int, rng: np.random.Generator) -> int:
    """Return a uniform start in 0 … n_bins − steps − 1; the last possible start is never drawn."""
    if n_bins <= steps:
        return 0
    return int(rng.integers(0, n_bins - steps))


def crop(frames: NDArray[Any], start: int, steps: int) -> NDArray[Any]:
    """Return `steps` frames from `start` on, with zero frames at the end where the sample is too short."""
    cropped = np.zeros((steps, *frames.shape[1:]), dtype=frames.dtype)
    for step in range(steps):
        if start + step < len(frames):
            cropped[step] = frames[start + step]
    return cropped


def first_steps(frames: NDArray[Any], steps: int) -> NDArray[Any]:
    """Return the first `steps` frames, padded like `crop`."""
    return crop(frames, 0, steps)


def bin_values(frames: NDArray[Any], mode: str) -> NDArray[np.float32]:
    """Return network input for the counts of a crop: mode is OR, SUM or SUM_NORM."""
    counts = frames.astype(np.float32)
    if mode == "OR":
        return (counts > 0).astype(np.float32)
    if mode == "SUM":
        return counts
    if mode == "SUM_NORM":
        return counts / counts.max() if counts.max() > 0 else counts
    raise ValueError(f"unknown mode {mode!r}")


def make_batches(inputs: Sequence[NDArray[Any]], labels: Sequence[int], batch_size: int) -> list[Batch]:
    """Return batches in the given order from inputs of shape (T, P, H, W); the last one may be smaller."""
    batches = []
    for first in range(0, len(inputs), batch_size):
        last = min(first + batch_size, len(inputs))
        frames = np.stack([np.moveaxis(inputs[index], 0, -1) for index in range(first, last)])
        batches.append((torch.from_numpy(frames), torch.tensor(labels[first:last])))
    return batches


@dataclass(frozen=True)
class PlainFold:
    """Recording names of each part, in the order in which the predecessor reads them."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def predecessor_folds(names: Sequence[str], seed: int, validation: bool = True) -> list[PlainFold]:
    """Return the four folds over names in file order; without validation for the train/test protocol."""
    array = np.asarray(names)
    folds = []
    for train_index, test_index in KFold(n_splits=4, shuffle=True, random_state=seed).split(array):
        train, val = array[train_index], array[:0]
        if validation:
            train, val = train_test_split(train, test_size=0.15, random_state=seed + 1)
        folds.append(PlainFold(*(tuple(part.tolist()) for part in (train, val, array[test_index]))))
    return folds


def polynomial(x: Tensor, width: float) -> Tensor:
    height = math.sqrt(width) / 2 - width / 4 * x.abs()
    return torch.where(x.abs() < 2 / math.sqrt(width), height, torch.zeros_like(x))


def sigmoid(x: Tensor, width: float) -> Tensor:
    tail = torch.exp(-x.abs() / width)  # the window is even, and this sign cannot overflow
    return tail / (1 + tail) ** 2 / width


WINDOWS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "rectangular": lambda x, width: (x.abs() < width / 2).to(x.dtype) / width,
    "polynomial": polynomial,
    "sigmoid": sigmoid,
    "gaussian": lambda x, width: torch.exp(-(x**2) / (2 * width)) / math.sqrt(2 * math.pi * width),
}


@dataclass(frozen=True)
class Neuron:
    """Parameters of the LIF neuron and of its surrogate gradient."""

    v_threshold: float = 0.3
    decay: float = 0.3
    width: float = 0.5
    surrogate: str = "rectangular"


class Spike(torch.autograd.Function):
    """Forward u > threshold, backward the window over u − threshold."""

    @staticmethod
    def forward(ctx: Any, potential: Tensor, neuron: Neuron) -> Tensor:
        ctx.save_for_backward(potential)
        ctx.neuron = neuron
        return (potential > neuron.v_threshold).to(potential.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (potential,) = ctx.saved_tensors
        window = WINDOWS[ctx.neuron.surrogate]
        return grad * window(potential - ctx.neuron.v_threshold, ctx.neuron.width), None


def lif(current: Tensor, neuron: Neuron) -> Tensor:
    """Return spikes for a current of shape (..., T); hard reset to 0, with the gradient through the reset."""
    potential = spikes = torch.zeros_like(current[..., 0])
    history = []
    for input_current in current.unbind(dim=-1):
        potential = neuron.decay * potential * (1 - spikes) + input_current
        spikes = Spike.apply(potential, neuron)  # type: ignore[no-untyped-call]
        history.append(spikes)
    return torch.stack(history).movedim(0, -1)


class PlainNetwork(nn.Module):
    """Stages applied at each time step, LIF neurons after every convolution and linear stage."""

    def __init__(self, stages: Sequence[nn.Module], neuron: Neuron) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.neuron = neuron

    def forward(self, x: Tensor) -> Tensor:
        """Return firing rates of shape (N, classes) for input of shape (N, P, H, W, T)."""
        for stage in self.stages:
            x = torch.stack([stage(step) for step in x.unbind(dim=-1)]).movedim(0, -1)
            if isinstance(stage, nn.Conv2d | nn.Linear):
                x = lif(x, self.neuron)
        return x.sum(dim=-1) / x.shape[-1]


def _convolutions(input_size: int) -> tuple[list[nn.Module], int]:
    side = ((input_size - 2) // 2 - 2) // 2
    stages = [nn.Conv2d(2, 20, 3), nn.AvgPool2d(2), nn.Conv2d(20, 50, 3), nn.AvgPool2d(2), nn.Flatten()]
    return stages, 50 * side * side


class PlainSLANIMALSNet(PlainNetwork):
    """The network of the SL-Animals-DVS paper; init "stbp" is the predecessor's second variant."""

    def __init__(
        self,
        input_size: int = 128,
        v_threshold: float = 0.3,
        decay: float = 0.3,
        width: float = 0.5,
        surrogate: str = "rectangular",
        init: str = "torch",
    ) -> None:
        stages, features = _convolutions(input_size)
        linear = [nn.Linear(features, 200), nn.Linear(200, 19)]
        if init == "stbp":
            for layer in linear:
                stbp_init(layer)
        super().__init__([*stages, *linear], Neuron(v_threshold, decay, width, surrogate))


def stbp_init(layer: nn.Linear) -> None:
    """Draw weights from [−1, 1] and divide each row by its L2 norm; the bias stays as it is."""
    with torch.no_grad():
        layer.weight.uniform_(-1.0, 1.0)
        layer.weight.copy_(torch.stack([row / (row**2).sum().sqrt() for row in layer.weight]))


class PlainNMNISTNet(PlainNetwork):
    """The N-MNIST networks for input of 34×34: "nmnist-mlp", "nmnist-mlp2" or "nmnist-cnn"."""

    def __init__(self, name: str, neuron: Neuron) -> None:
        front, features = _convolutions(34) if name == "nmnist-cnn" else ([nn.Flatten()], 2312)
        hidden = {"nmnist-mlp": [400, 400], "nmnist-mlp2": [512], "nmnist-cnn": [400]}[name]
        widths = [features, *hidden, 10]
        super().__init__([*front, *(nn.Linear(*pair) for pair in itertools.pairwise(widths))], neuron)


def one_hot(labels: Tensor, rates: Tensor) -> Tensor:
    target = torch.zeros_like(rates)
    for sample, label in enumerate(labels.tolist()):
        target[sample, label] = 1
    return target


def train_steps(
    network: nn.Module, batches: Iterable[Batch], learning_rate: float = 1e-3, optimizer: str = "adam"
) -> list[float]:
    """Take one step a batch with "adam", or "sgd" of momentum 0.9; return the loss before each step."""
    momentum = {"adam": {}, "sgd": {"momentum": 0.9}}[optimizer]
    rule = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
    steps = rule(network.parameters(), lr=learning_rate, **momentum)
    losses = []
    for x, labels in batches:
        rates = network(x)
        loss = ((rates - one_hot(labels, rates)) ** 2).mean()
        steps.zero_grad()
        torch.autograd.backward(loss)
        steps.step()
        losses.append(loss.item())
    return losses


def logged_training_loss(batch_losses: Sequence[float], n_samples: int) -> float:
    """Return the predecessor's training loss of an epoch: batch means summed, over the number of samples."""
    return sum(batch_losses) / n_samples


def evaluate(network: nn.Module, batches: Iterable[Batch]) -> tuple[float, float]:
    """Return the squared error summed over classes and averaged over samples, and the accuracy."""
    squared_error, correct, n_samples = 0.0, 0, 0
    with torch.no_grad():
        for x, labels in batches:
            rates = network(x)
            squared_error += ((rates - one_hot(labels, rates)) ** 2).sum().item()
            correct += int((rates.argmax(dim=1) == labels).sum())
            n_samples += len(labels)
    return squared_error / n_samples, correct / n_samples


def best_epoch(validation_losses: Sequence[float]) -> int:
    """Return the 1-based epoch of the lowest validation loss, the first one of equals."""
    return list(validation_losses).index(min(validation_losses)) + 1
