"""What a network returns: shape, type and values, for several numbers of samples and time steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from sltune.extensions.importing import describe_error
from sltune.training.checks.findings import Finding, Mistake, listed
from sltune.training.checks.probe import Probe
from sltune.training.checks.recording import BatchFailed, Recording, record


def check_outputs(probe: Probe) -> Iterator[Finding]:
    """Run batches of other sizes and lengths, each through a fresh network; the first problem of each kind counts."""
    frames, longer = probe.frames, probe.longer(len(probe.frames) + 2)
    cases = [(frames, False), (frames, True), (frames[:, :1], False), (longer, False)]
    found: dict[Mistake, Finding] = {}
    for batch, train in cases:
        network = probe.network(train)
        try:
            recording = record(network, batch)
        except BatchFailed as failure:
            measured = f"{batch.shape[1]} samples of {len(batch)} time steps: {describe_error(failure.error)}"
            found.setdefault(Mistake.FAILS, Finding(Mistake.FAILS, failure.layer, measured))
            continue
        problems = [_shape_problem(recording.output, batch, probe.classes), _value_problem(recording)]
        if recording.input_changed:
            writer = next((call.layer for call in recording.calls if call.wrote_input), "")
            problems.append(Finding(Mistake.INPUT_CHANGED, writer, "the frames are not what they were before forward"))
        for problem in problems:
            if problem is not None:
                found.setdefault(problem.mistake, problem)
        training = [name for name, module in network.named_modules() if module.training]
        if training and not train:
            measured = f"training is still True in {listed([name or 'the network' for name in training])} after eval()"
            found.setdefault(Mistake.STILL_TRAINING, Finding(Mistake.STILL_TRAINING, training[0], measured))
    yield from found.values()


def _shape_problem(output: Any, frames: Tensor, classes: int) -> Finding | None:
    """Say what is wrong with the type or shape of an output."""
    steps, batch = frames.shape[:2]
    if not isinstance(output, Tensor):
        measured = f"forward returns a {type(output).__name__} instead of a tensor"
        if isinstance(output, tuple | list):
            kinds = [tuple(item.shape) if isinstance(item, Tensor) else type(item).__name__ for item in output]
            measured = f"forward returns {len(output)} values instead of one tensor: {listed(list(map(str, kinds)))}"
        return Finding(Mistake.OUTPUT, "", measured)
    if not output.is_floating_point():
        return Finding(Mistake.OUTPUT, "", f"the output is of type {output.dtype}, through which no gradient flows")
    if output.shape in ((batch, classes), (steps, batch, classes)):
        return None
    measured = (
        f"for {steps} time steps of {batch} samples and {classes} classes, the output has shape {tuple(output.shape)}"
    )
    if output.shape == (batch, steps, classes):
        measured += ", which has the batch before time"
    return Finding(Mistake.OUTPUT, "", measured)


def _value_problem(recording: Recording) -> Finding | None:
    """Name the module in which the first value arose that is not finite."""
    if not isinstance(recording.output, Tensor) or recording.output.isfinite().all():
        return None
    sick = (call for call in recording.calls if not all(digest.is_finite for digest in call.outputs))
    origin = next((call.layer for call in sick if all(digest.is_finite for digest in call.inputs)), "")
    count = int((~recording.output.isfinite()).sum())
    return Finding(Mistake.NOT_FINITE, origin, f"{count} of {recording.output.numel()} values of the output are not")
