"""Whether a gradient reaches every parameter."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from sltune.training.checks.findings import Finding, Mistake, listed
from sltune.training.checks.probe import GAINS, Probe
from sltune.training.checks.recording import BatchFailed, Call, Recording, record
from sltune.training.checks.structure import layer_of


def check_gradients(probe: Probe) -> Iterator[Finding]:
    """Train on batches of several strengths, until every parameter has had a gradient."""
    network = probe.network(train=True)
    wanted = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    missing, unused, recording = set(wanted), set(wanted), Recording()
    # A surrogate may be 0 for all potentials that are far from the threshold.
    for gain in (1, *GAINS):
        network = probe.network(train=True)
        recording = record(network, probe.frames * gain, gradient=True)
        gradients = _gradients(network, recording)
        sick = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
        if sick:
            yield Finding(Mistake.NOT_FINITE, layer_of(sick[0]), f"the gradient of {listed(sick)} is not")
            return
        unused -= gradients.keys()
        missing -= {name for name, gradient in gradients.items() if gradient.any()}
        if not missing:
            return
    cuts = _cuts(network, recording)
    order = {call.layer: place for place, call in enumerate(recording.calls)}
    last = max(map(order.__getitem__, cuts), default=-1)
    # Weights that get no spike change nothing; what comes before them is silent, which another check finds.
    idle = {call.layer for call in recording.calls} - {call.layer for call in recording.calls if not _is_silent(call)}
    missing -= {name for name in missing - unused if layer_of(name) in idle}
    behind = [name for name in wanted if name in missing and order.get(layer_of(name), last + 1) <= last]
    for layer in cuts:
        text = f"; {listed(behind)} get none" if behind and layer == cuts[0] else ""
        yield Finding(Mistake.CUT_GRADIENT, layer, f"its input carries a gradient, but its output does not{text}")
    rest: dict[str, list[str]] = {}
    for name in wanted:
        if name in missing and name not in behind:
            rest.setdefault(layer_of(name), []).append(name)
    for layer, names in rest.items():
        why = _lost(recording, layer) if names[0] in unused else "the gradient is exactly 0 for inputs of all strengths"
        yield Finding(Mistake.NO_GRADIENT, layer, f"{listed(names)}: {why}")


def _gradients(network: nn.Module, recording: Recording) -> dict[str, torch.Tensor]:
    """Return the gradients of a random mixture of the rates."""
    rates = recording.rates
    if not rates.requires_grad:
        return {}
    mixture = torch.rand(rates.shape, generator=torch.Generator().manual_seed(0)) + 0.5
    try:
        torch.autograd.backward((rates * mixture).sum())
    except Exception as error:
        raise BatchFailed("", error) from error
    return {name: one.grad for name, one in network.named_parameters() if one.grad is not None}


def _cuts(network: nn.Module, recording: Recording) -> list[str]:
    """Return the innermost modules with an output that carries no gradient, though an input or a parameter does."""
    cuts: list[str] = []
    for call in recording.calls:
        trainable = any(one.requires_grad for one in network.get_submodule(call.layer).parameters())
        goes_in = trainable or any(digest.carries_gradient for digest in call.inputs)
        is_inner = not any(cut.startswith(f"{call.layer}.") or not call.layer for cut in cuts)
        if goes_in and call.outputs and not call.outputs[0].carries_gradient and is_inner:
            cuts.append(call.layer)
    return list(dict.fromkeys(cuts))


def _lost(recording: Recording, layer: str) -> str:
    """Say where the gradient of a module's parameters is lost."""
    calls = [place for place, call in enumerate(recording.calls) if call.layer == layer]
    if not calls:
        return "the module is not called in forward"
    later = recording.calls[calls[-1] + 1 :]
    bare = next((call for call in later if _is_bare(call)), None)
    return f"it is cut before {bare.layer}, whose input carries none" if bare else "they do not lead to the output"


def _is_silent(call: Call) -> bool:
    return bool(call.inputs) and call.inputs[0].is_zero


def _is_bare(call: Call) -> bool:
    return bool(call.layer and call.inputs) and not any(digest.carries_gradient for digest in call.inputs)
