"""Which layers fire on realistic input, in a network that has not been trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from sltune.training.checks.findings import Finding, Mistake
from sltune.training.checks.probe import Probe
from sltune.training.checks.recording import Digest, record

ALWAYS = 0.99
"""A layer of which this share of the neurons fires in every time step says nothing about its input."""


WAKING = 3
"""Training easily makes weights so many times as large."""


@dataclass
class _Values:
    """All values that a module got or gave."""

    digests: list[Digest] = field(default_factory=list)

    @property
    def are_zero(self) -> bool:
        return bool(self.digests) and all(digest.is_zero for digest in self.digests)

    @property
    def are_spikes_always(self) -> bool:
        counts = [len(digest.rows) for digest in self.digests]
        if not counts or any(digest.low < 0 or digest.high != 1 for digest in self.digests):
            return False
        total = sum(digest.mean * count for digest, count in zip(self.digests, counts, strict=True))
        return total / sum(counts) >= ALWAYS


def check_activity(probe: Probe, frames: Tensor) -> Iterator[Finding]:
    """Run frames of shape (T, B, P, H, W) as training would, where a normalisation knows its batch."""
    network = probe.network(train=True)
    now = list(_found(network, frames))
    # Deep layers are often silent at first, and training wakes them.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(WAKING)
    later = {(finding.mistake, finding.layer) for finding in _found(network, frames)}
    for finding in now:
        is_lasting = finding.mistake is Mistake.ALWAYS_FIRES or (finding.mistake, finding.layer) in later
        yield finding if is_lasting else replace(finding, mistake=Mistake.NOT_YET)


def _found(network: nn.Module, frames: Tensor) -> Iterator[Finding]:
    recording = record(network, frames)
    inputs: dict[str, _Values] = {}
    outputs: dict[str, _Values] = {}
    for call in recording.calls:
        # The first tensor is the input or the spikes; state may follow.
        inputs.setdefault(call.layer, _Values()).digests += call.inputs[:1]
        outputs.setdefault(call.layer, _Values()).digests += call.outputs[:1]
    named: set[str] = set()
    is_silent = False
    for layer, fired in outputs.items():
        arrives = inputs[layer]
        # A module around one that has been named has nothing to add.
        if any(other.startswith(f"{layer}.") or not layer for other in named):
            continue
        text = f"in {len(frames)} time steps of {frames.shape[1]} samples, all its values are"
        if fired.are_zero and not arrives.are_zero:
            yield Finding(Mistake.NEVER_FIRES, layer, f"{text} 0")
        elif fired.are_spikes_always and not arrives.are_spikes_always:
            yield Finding(Mistake.ALWAYS_FIRES, layer, f"{text} 1, but for {1 - ALWAYS:.0%} at most")
        elif arrives.are_zero and not is_silent:
            yield Finding(Mistake.NEVER_FIRES, layer, "all that it gets is 0, so what comes before it is silent")
        else:
            is_silent = is_silent and fired.are_zero
            continue
        is_silent = fired.are_zero
        named.add(layer)
