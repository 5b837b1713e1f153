"""What a network keeps: from batch to batch, between samples, between stretches of time, and in a file of weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sltune.extensions.importing import describe_error
from sltune.training.checks.findings import Finding, Mistake, listed
from sltune.training.checks.probe import Probe
from sltune.training.checks.recording import (
    TOLERANCE,
    BatchFailed,
    Digest,
    Recording,
    first_difference,
    record,
    tensors_in,
)
from sltune.training.checks.structure import layer_of

RETAINED = "backward through the graph a second time"
"""Torch says so where a loss leads to a batch before this one."""


def check_leak(probe: Probe) -> Iterator[Finding]:
    """Run a batch before and after others, in evaluation and in training mode."""
    network = probe.network()
    before = record(network, probe.frames)
    record(network, probe.others)
    after = record(network, probe.frames)
    if (layer := first_difference(before, after, probe.batch)) is not None:
        measured = f"after another batch, the same one gives other values{_apart(before, after)}{_kept(network, layer)}"
        yield Finding(Mistake.LEAK, layer, measured)
        return
    try:
        record(network, probe.frames[:, :1])
        record(network, probe.frames)
    except BatchFailed as failure:
        measured = f"a batch of 1 sample after one of {probe.batch} fails: {describe_error(failure.error)}"
        yield Finding(Mistake.LEAK, failure.layer, measured)
        return
    yield from _check_leak_in_training(probe)


def _check_leak_in_training(probe: Probe) -> Iterator[Finding]:
    network = probe.network(train=True)
    before = record(network, probe.frames)
    for batch in (probe.others, probe.frames):
        rates = record(network, batch, gradient=True).rates
        if not rates.requires_grad:
            break
        try:
            torch.autograd.backward(rates.sum())
        except RuntimeError as error:
            if RETAINED not in str(error):
                raise BatchFailed("", error) from error
            holder = next((name for name, module in network.named_modules() if _with_graph(module)), "")
            measured = f"the gradient of a batch leads into the one before it{_kept(network, holder)}"
            yield Finding(Mistake.LEAK, holder, measured)
            return
    if (layer := first_difference(before, record(network, probe.frames), probe.batch)) is not None:
        yield Finding(Mistake.LEAK_IN_TRAINING, layer, "after another batch, the same one gives other values")


def check_batch(probe: Probe) -> Iterator[Finding]:
    """Run a batch, and then its first sample with others beside it."""
    mixed = torch.cat([probe.frames[:, :1], probe.others[:, 1:]], 1)
    for train, mistake in ((False, Mistake.BATCH), (True, Mistake.BATCH_IN_TRAINING)):
        network = probe.network(train)
        one, two = record(network, probe.frames), record(probe.network(train), mixed)
        modules = dict(network.named_modules())
        norms = [name for name, module in modules.items() if train and isinstance(module, _BatchNorm)]
        excused = frozenset(
            name for name in modules if any(f"{norm}.".startswith(f"{name}.") or not name for norm in norms)
        )
        layer = first_difference(one, two, probe.batch, sample=0, excused=excused)
        if layer is not None:
            gap = _gap(one.rates[0], two.rates[0])
            text = f"the rates of a sample change by {gap:.3g}" if gap else "values of a sample change"
            yield Finding(mistake, layer, f"{text} when the other {probe.batch - 1} samples are replaced")
            return


def check_stretches(probe: Probe) -> Iterator[Finding]:
    """Compare run() over all time steps with two calls of it, and with forward; nothing where there is no run()."""
    network = probe.network()
    if not callable(run := getattr(network, "run", None)):
        return

    def whole(frames: Tensor) -> Any:
        return run(frames, None)[0]

    def halves(frames: Tensor) -> Any:
        half = len(frames) // 2
        first, state = run(frames[:half], None)
        return torch.cat([first, run(frames[half:], state)[0]])

    try:
        once, twice = record(network, probe.frames, call=whole), record(network, probe.frames, call=halves)
    except BatchFailed as failure:
        yield Finding(Mistake.STRETCHES, failure.layer, f"run fails: {describe_error(failure.error)}")
        return
    if once.output.shape != (*probe.frames.shape[:2], probe.classes):
        measured = f"run returns outputs of shape {tuple(once.output.shape)} instead of (T, B, classes)"
        yield Finding(Mistake.STRETCHES, "", measured)
    elif gap := _gap(once.output, twice.output):
        layer = _first_different_series(once, twice)
        yield Finding(Mistake.STRETCHES, layer, f"outputs differ by up to {gap:.3g}")
    elif gap := _gap(once.rates, record(network, probe.frames).rates):
        yield Finding(Mistake.STRETCHES, "", f"its mean over time and the rates of forward differ by up to {gap:.3g}")


def check_state_dict(probe: Probe, compare: bool) -> Iterator[Finding]:
    """Train on a batch without a step, then load the state dict into a network of another seed.

    Args:
        compare: whether the outputs of both should be equal then.
    """
    used = probe.network(train=True)
    record(used, probe.others)
    record(used.eval(), probe.others)
    state = {name: value.clone() if isinstance(value, Tensor) else value for name, value in used.state_dict().items()}
    other = probe.fresh(2, others_seed=2).eval()
    fresh = other.state_dict()
    wrong = {name: "is only there after a batch" for name in state if name not in fresh}
    wrong |= {name: "is missing after a batch" for name in fresh if name not in state}
    for name, value in state.items():
        if isinstance(value, Tensor) and name in fresh and value.shape != fresh[name].shape:
            wrong[name] = f"has shape {tuple(value.shape)} after a batch, and {tuple(fresh[name].shape)} before"
    for name, text in wrong.items():
        yield Finding(Mistake.STATE_DICT, layer_of(name), f"{name} {text}")
    if wrong:
        return
    try:
        other.load_state_dict(state)
    except Exception as error:
        yield Finding(Mistake.STATE_DICT, "", f"load_state_dict fails: {describe_error(error)}")
        return
    if not compare:
        return
    one, two = record(used, probe.frames), record(other, probe.frames)
    if (layer := first_difference(one, two, probe.batch)) is not None:
        gap = _apart(one, two)
        yield Finding(Mistake.NOT_SAVED, layer, f"the first values that differ{gap} come from here{_kept(used, layer)}")


def _first_different_series(one: Recording, two: Recording) -> str:
    """Return the first module whose outputs differ over all its calls, though its inputs do not."""
    series = [_series(recording) for recording in (one, two)]
    for name, (inputs, outputs) in series[0].items():
        others = series[1].get(name)
        if name and others and _same(inputs, others[0]) and not _same(outputs, others[1]):
            return name
    return ""


def _series(recording: Recording) -> dict[str, tuple[list[Digest], list[Digest]]]:
    """Return the first input and output of each module in all its calls."""
    series: dict[str, tuple[list[Digest], list[Digest]]] = {}
    for call in recording.calls:
        inputs, outputs = series.setdefault(call.layer, ([], []))
        inputs += call.inputs[:1]
        outputs += call.outputs[:1]
    return series


def _same(one: list[Digest], two: list[Digest]) -> bool:
    mine, theirs = (
        torch.cat([digest.rows for digest in digests]) if digests else torch.zeros(0) for digests in (one, two)
    )
    norms = torch.cat([digest.norms for digest in one]) if one else torch.zeros(0)
    return mine.shape == theirs.shape and bool(((mine - theirs).abs() <= TOLERANCE * norms).all())


def _gap(one: Tensor, two: Tensor) -> float:
    """Return the largest difference, or 0 where it is rounding."""
    return 0.0 if torch.allclose(one, two, rtol=1e-4, atol=1e-5) else float((one - two).abs().max())


def _apart(one: Recording, two: Recording) -> str:
    gap = _gap(one.rates.detach(), two.rates.detach())
    return f" (rates up to {gap:.3g} apart)" if gap else ""


def _kept(network: nn.Module, layer: str) -> str:
    """Name the attributes in which a module keeps tensors, other than its parameters and what is saved with them."""
    module = network.get_submodule(layer)
    saved = module.state_dict(keep_vars=True)
    names = [name for name, value in vars(module).items() if name[0] != "_" and any(True for _ in tensors_in(value))]
    names += [name for name, _ in module.named_buffers(recurse=False) if name not in saved]
    return f"; it keeps {listed(names)}" if names else ""


def _with_graph(module: nn.Module) -> bool:
    """Say whether a module itself keeps something that leads to earlier computations."""
    kept = [value for name, value in vars(module).items() if name not in ("_modules", "_parameters")]
    return any(tensor.grad_fn is not None for tensor in tensors_in(kept))
