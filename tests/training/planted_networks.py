"""Small spiking networks in plain torch as users write them: correct ones, and ones with one mistake each."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, int, int]


class Spike(torch.autograd.Function):
    """A step with the derivative of a fast sigmoid."""

    @staticmethod
    def forward(ctx: Any, potential: Tensor) -> Tensor:
        ctx.save_for_backward(potential)
        return (potential > 0).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (potential,) = ctx.saved_tensors
        return grads[0] / (1 + 5 * potential.abs()) ** 2


class Neurons(nn.Module):
    """One step at a time; the caller keeps the potential."""

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, current: Tensor, potential: Tensor | None) -> tuple[Tensor, Tensor]:
        potential = current if potential is None else 0.8 * potential + current
        spikes = Spike.apply(potential - self.threshold)
        return spikes, potential - spikes.detach() * self.threshold


class Stateful(nn.Module):
    """Keeps its potential until it is told to forget it, as snnTorch does."""

    def __init__(self) -> None:
        super().__init__()
        self.potential: Tensor | None = None

    def forward(self, current: Tensor) -> Tensor:
        potential = current if self.potential is None else 0.8 * self.potential + current
        spikes = Spike.apply(potential - 0.5)
        self.potential = potential * (1 - spikes)
        return spikes

    def forget(self) -> None:
        self.potential = None


class Functional(nn.Module):
    """Correct; the state is passed on, the output is a rate."""

    def __init__(self, frame_shape: Shape, classes: int, width: int = 20) -> None:
        super().__init__()
        polarities, height, self_width = frame_shape
        self.conv = nn.Conv2d(polarities, 4, 3, stride=2)
        self.lif1 = Neurons()
        sides = [(side - 3) // 2 + 1 for side in (height, self_width)]
        self.fc1 = nn.Linear(4 * sides[0] * sides[1], width)
        self.lif2 = Neurons()
        self.fc2 = nn.Linear(width, classes)
        self.lif3 = Neurons()

    def forward(self, frames: Tensor) -> Tensor:
        one = two = three = None
        outputs = []
        for frame in frames:
            spikes, one = self.lif1(self.convolve(frame), one)
            spikes, two = self.lif2(self.fc1(self.between(spikes.flatten(1))), two)
            spikes, three = self.lif3(self.fc2(spikes), three)
            outputs.append(spikes)
        return self.answer(torch.stack(outputs))

    def convolve(self, frame: Tensor) -> Tensor:
        return self.conv(frame)

    def between(self, spikes: Tensor) -> Tensor:
        return spikes

    def answer(self, spikes: Tensor) -> Tensor:
        return spikes.mean(0)


class Kept(nn.Module):
    """Correct; state is kept in the layers and set back at the start of forward; one output per time step."""

    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__()
        polarities, height, width = frame_shape
        self.fc1 = nn.Linear(polarities * height * width, 20)
        self.lif1 = Stateful()
        self.fc2 = nn.Linear(20, classes)
        self.lif2 = Stateful()

    def forward(self, frames: Tensor) -> Tensor:
        self.lif1.forget()
        self.lif2.forget()
        return torch.stack([self.lif2(self.fc2(self.lif1(self.fc1(frame.flatten(1))))) for frame in frames])


class WithReset(Kept):
    """Correct; reset() is left to the caller."""

    def reset(self) -> None:
        self.lif1.forget()
        self.lif2.forget()

    def forward(self, frames: Tensor) -> Tensor:
        return torch.stack([self.lif2(self.fc2(self.lif1(self.fc1(frame.flatten(1))))) for frame in frames])


class Normalised(Functional):
    """Correct; BatchNorm and dropout, both by torch."""

    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.3)

    def convolve(self, frame: Tensor) -> Tensor:
        return self.norm(self.conv(frame))

    def between(self, spikes: Tensor) -> Tensor:
        return self.dropout(spikes)


class InStretches(Functional):
    """Correct; offers run."""

    def run(self, frames: Tensor, state: Any) -> tuple[Tensor, Any]:
        one, two, three = state or (None, None, None)
        outputs = []
        for frame in frames:
            spikes, one = self.lif1(self.conv(frame), one)
            spikes, two = self.lif2(self.fc1(spikes.flatten(1)), two)
            spikes, three = self.lif3(self.fc2(spikes), three)
            outputs.append(spikes)
        return torch.stack(outputs), (one, two, three)


class Recurrent(nn.Module):
    """Correct; one module with everything in it, with a recurrent layer and a membrane that never fires as output."""

    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__()
        polarities, height, width = frame_shape
        self.enter = nn.Linear(polarities * height * width, 16)
        self.recurrent = nn.Linear(16, 16)
        self.leave = nn.Linear(16, classes)
        self.decay = nn.Parameter(torch.tensor(0.9))

    def forward(self, frames: Tensor) -> Tensor:
        potential = spikes = frames.new_zeros(frames.shape[1], 16)
        readout = frames.new_zeros(frames.shape[1], self.leave.out_features)
        outputs = []
        for frame in frames:
            potential = self.decay * potential * (1 - spikes) + self.enter(frame.flatten(1)) + self.recurrent(spikes)
            spikes = Spike.apply(potential - 0.3)
            readout = 0.9 * readout + self.leave(spikes)
            outputs.append(readout)
        return torch.stack(outputs)


class LeaksState(Kept):
    def forward(self, frames: Tensor) -> Tensor:
        return torch.stack([self.lif2(self.fc2(self.lif1(self.fc1(frame.flatten(1))))) for frame in frames])


class LeaksBetweenSizes(Kept):
    """Sets its state back, but only where the batch has another size; the leak is in the second layer alone."""

    def forward(self, frames: Tensor) -> Tensor:
        self.lif1.forget()
        if self.lif2.potential is not None and len(self.lif2.potential) != frames.shape[1]:
            self.lif2.forget()
        return torch.stack([self.lif2(self.fc2(self.lif1(self.fc1(frame.flatten(1))))) for frame in frames])


class LeaksGraph(Functional):
    """Adds nothing of the batch before, but its graph."""

    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.last: Any = 0.0

    def answer(self, spikes: Tensor) -> Tensor:
        rates = spikes.mean(0)
        result = rates + 0 * self.last
        self.last = rates.sum()
        return result


class NormalisesByHand(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return (values - values.mean(0)) / (values.std(0, correction=0) + 1e-3)


class DependsOnBatch(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.norm = NormalisesByHand()

    def convolve(self, frame: Tensor) -> Tensor:
        return self.norm(self.conv(frame))


class NormInTraining(Normalised):
    def forward(self, frames: Tensor) -> Tensor:
        self.norm.train()
        return super().forward(frames)


class NormWithoutStatistics(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def convolve(self, frame: Tensor) -> Tensor:
        return self.norm(self.conv(frame))


class NormOnlyInTraining(DependsOnBatch):
    def convolve(self, frame: Tensor) -> Tensor:
        return self.norm(self.conv(frame)) if self.training else self.conv(frame)


class SharedState(nn.Module):
    """Its potential has no dimension for the samples."""

    def forward(self, current: Tensor, potential: Tensor | None) -> tuple[Tensor, Tensor]:
        potential = current.mean(0) + (0 if potential is None else 0.8 * potential)
        return Spike.apply(current + potential - 0.5), potential


class StateOfWrongShape(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.lif2 = SharedState()


class UnusedLayer(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.fc9 = nn.Linear(3, 3)


class DetachedSpikes(Functional):
    def between(self, spikes: Tensor) -> Tensor:
        return spikes.detach()


class Comparing(Neurons):
    def forward(self, current: Tensor, potential: Tensor | None) -> tuple[Tensor, Tensor]:
        potential = current if potential is None else 0.8 * potential + current
        spikes = (potential > self.threshold).float()
        return spikes, potential - spikes * self.threshold


class NoSurrogate(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.lif2 = Comparing()


class NoSurrogateAtAll(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.lif1, self.lif2, self.lif3 = Comparing(), Comparing(), Comparing()


class ZeroGradient(Functional):
    def convolve(self, frame: Tensor) -> Tensor:
        return 0 * self.conv(frame) + frame.mean()


class NeverFires(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.lif2 = Neurons(threshold=50)


class AlwaysFires(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.lif1 = Neurons(threshold=-50)


class BatchFirst(Functional):
    def answer(self, spikes: Tensor) -> Tensor:
        return spikes.transpose(0, 1)


class ReturnsMore(Functional):
    def answer(self, spikes: Tensor) -> Any:
        return spikes.mean(0), spikes


class WholeNumbers(Functional):
    def answer(self, spikes: Tensor) -> Tensor:
        return spikes.sum(0).long()


class Divides(nn.Module):
    def forward(self, spikes: Tensor) -> Tensor:
        return spikes / spikes.sum(1, keepdim=True)


class NotFinite(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.share = Divides()

    def answer(self, spikes: Tensor) -> Tensor:
        return self.share(0 * spikes.mean(0))


class FixedBatch(Functional):
    """Works for the batch size of the training alone."""

    def answer(self, spikes: Tensor) -> Tensor:
        return spikes.mean(0).view(3, -1)


class FixedSteps(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.over_time = nn.Linear(4, 1)

    def answer(self, spikes: Tensor) -> Tensor:
        return self.over_time(spikes.movedim(0, -1)).squeeze(-1)


class NumpyWeights(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.fc2.weight.data = torch.from_numpy(np.random.randn(*self.fc2.weight.shape)).float()  # noqa: NPY002


class PythonWeights(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        nn.init.constant_(self.fc2.bias, random.random())


class OwnGenerator(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.rng = np.random.default_rng()

    def convolve(self, frame: Tensor) -> Tensor:
        return self.conv(frame + torch.from_numpy(self.rng.random(frame.shape)).float())


class SeedsItself(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        torch.manual_seed(0)
        super().__init__(frame_shape, classes)


class AlwaysTheSame(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.05)


class DropsAlways(nn.Module):
    def forward(self, spikes: Tensor) -> Tensor:
        return functional.dropout(spikes, 0.5)


class DropoutInEvaluation(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.drop = DropsAlways()

    def between(self, spikes: Tensor) -> Tensor:
        return self.drop(spikes)


class StaysInTraining(Normalised):
    def train(self, mode: bool = True) -> StaysInTraining:
        super().train(mode)
        self.dropout.train(True)
        return self


class LazyBuffer(Functional):
    def answer(self, spikes: Tensor) -> Tensor:
        self.register_buffer("trace", spikes.mean(0).detach())
        return spikes.mean(0)


class BufferOfBatch(Functional):
    """Saves its potential, which has the size of a batch."""

    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.register_buffer("trace", torch.zeros(1, classes))

    def answer(self, spikes: Tensor) -> Tensor:
        self.trace = spikes.mean(0).detach()
        return spikes.mean(0)


class Adapts(nn.Module):
    """Learns a mean in training, as BatchNorm does, but keeps it for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: Any = 0.0

    def forward(self, values: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * values.detach().mean()
            return values - values.detach().mean()
        return values - self.mean


class NotSaved(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.adapts = Adapts()

    def convolve(self, frame: Tensor) -> Tensor:
        return self.adapts(self.conv(frame))


class PlainMask(Functional):
    """A random mask that is neither saved nor moved to another device."""

    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.mask = (torch.rand(self.fc1.in_features) < 0.5).float()

    def between(self, spikes: Tensor) -> Tensor:
        return spikes * self.mask


class Concatenates(Functional):
    """Quadratic in time: each step works on all the steps before it."""

    def forward(self, frames: Tensor) -> Tensor:
        one = None
        seen = frames.new_zeros(0, frames.shape[1], self.fc1.in_features)
        for frame in frames:
            spikes, one = self.lif1(self.conv(frame), one)
            seen = torch.cat([seen, spikes.flatten(1)[None]])
        spikes, _ = self.lif2(self.fc1(seen.mean(0)), None)
        return self.lif3(self.fc2(spikes), None)[0]


class Indexes(Functional):
    """Quadratic in the backward pass: that of current[t] makes a tensor of all time steps."""

    def forward(self, frames: Tensor) -> Tensor:
        one = total = None
        currents = self.conv(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        for step in range(len(currents)):
            spikes, one = self.lif1(currents[step], one)
            total = spikes if total is None else total + spikes
        return self.fc2(self.fc1(total.flatten(1)))


class ChangesInput(Functional):
    def convolve(self, frame: Tensor) -> Tensor:
        return self.conv(frame.mul_(2))


class ScalesInPlace(nn.Module):
    def forward(self, frame: Tensor) -> Tensor:
        return frame.mul_(2)


class ChangesInputInModule(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.scale = ScalesInPlace()

    def convolve(self, frame: Tensor) -> Tensor:
        return self.conv(self.scale(frame))


class OneDouble(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.fc2.double()

    def forward(self, frames: Tensor) -> Tensor:
        one = None
        total = torch.zeros(frames.shape[1], self.fc2.in_features)
        for frame in frames:
            spikes, one = self.lif1(self.conv(frame), one)
            total = total + self.lif2(self.fc1(spikes.flatten(1)), None)[0]
        return self.fc2(total.double()).float() / len(frames)


class OneOnMeta(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.register_buffer("elsewhere", torch.zeros(3, device="meta"))


class NoClasses(Functional):
    def __init__(self, frame_shape: Shape) -> None:
        super().__init__(frame_shape, 4)


class FailsInForward(Functional):
    def between(self, spikes: Tensor) -> Tensor:
        return spikes + torch.ones(7)


class FailsInBackward(Functional):
    def answer(self, spikes: Tensor) -> Tensor:
        scaled = torch.sigmoid(spikes.mean(0))
        result = scaled * scaled
        scaled.zero_()
        return result


class ForgetsOneState(InStretches):
    def run(self, frames: Tensor, state: Any) -> tuple[Tensor, Any]:
        one, _, three = state or (None, None, None)
        return super().run(frames, (one, None, three))


class PlainList(nn.Module):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__()
        polarities, height, width = frame_shape
        self.layers = [nn.Linear(polarities * height * width, 20), nn.Linear(20, classes)]
        self.gain = nn.Parameter(torch.rand(1))

    def forward(self, frames: Tensor) -> Tensor:
        spikes = Spike.apply(self.gain * self.layers[0](frames.flatten(2)) - 0.5)
        return Spike.apply(self.layers[1](spikes) - 0.5)


class LazyLayer(Functional):
    def __init__(self, frame_shape: Shape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.fc1 = nn.LazyLinear(20)
