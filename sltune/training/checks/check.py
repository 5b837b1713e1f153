"""All checks of a network, one after the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sltune.errors import CodeError, SltuneError
from sltune.extensions.importing import describe_error, users_frames
from sltune.training.checks.activity import check_activity
from sltune.training.checks.costs import check_costs
from sltune.training.checks.findings import Finding, Mistake
from sltune.training.checks.gradients import check_gradients
from sltune.training.checks.outputs import check_outputs
from sltune.training.checks.probe import GAINS, Probe
from sltune.training.checks.randomness import check_reproducible, check_seeds
from sltune.training.checks.recording import BatchFailed, record
from sltune.training.checks.state import check_batch, check_leak, check_state_dict, check_stretches
from sltune.training.checks.structure import check_parameters
from sltune.training.process_state import kept_state

FATAL = {Mistake.CONSTRUCTOR, Mistake.LAZY, Mistake.DEVICE, Mistake.FAILS, Mistake.OUTPUT, Mistake.NOT_FINITE}
"""Nothing more can be learned of a network before these are mended."""
UNSTEADY = {Mistake.UNSEEDED, Mistake.STILL_TRAINING, Mistake.LEAK}
"""With these, two runs differ anyway, and a comparison would tell nothing more."""


@dataclass
class _Checks:
    """The checks that have been made, and what they have found."""

    say: Callable[[Finding | str], None]
    findings: list[Finding] = field(default_factory=list)

    def found(self, *mistakes: Mistake) -> bool:
        return any(finding.mistake in mistakes for finding in self.findings)

    def run(self, name: str, check: Callable[..., Iterator[Finding]], *arguments: Any) -> None:
        """Make a check, unless a mistake has been found that leaves it nothing to learn."""
        if self.found(*FATAL):
            return
        self.say(name)
        for finding in self._made(check(*arguments)):
            self.findings.append(finding)
            self.say(finding)

    def _made(self, check: Iterator[Finding]) -> Iterator[Finding]:
        try:
            yield from check
        except BatchFailed as failure:
            # A backward pass fails where what it needs of the frames has been changed.
            if not self.found(Mistake.INPUT_CHANGED):
                yield Finding(Mistake.FAILS, failure.layer, describe_error(failure.error))
        except SltuneError:
            raise
        except Exception as error:
            # As in a train() of the user's own; what does not lead through their code is a bug of ours.
            if not users_frames(error):
                raise
            yield Finding(Mistake.FAILS, "", describe_error(error))


def check_network(
    probe: Probe, realistic: Tensor, say: Callable[[Finding | str], None] = lambda item: None
) -> list[Finding]:
    """Look for mistakes in a network; leaves random generators, threads and torch's settings as they were.

    Args:
        realistic: frames of shape (T, B, P, H, W) as training would see them.
        say: is called with the name of each check before it begins, and with each finding.

    Raises:
        SltuneError: building the network raises it.
    """
    checks = _Checks(say)
    with _restored():
        checks.run("constructor", _check_constructor, probe)
        checks.run("seeds", check_seeds, probe)
        checks.run("outputs", check_outputs, probe)
        if checks.found(*FATAL):
            return checks.findings
        if not checks.found(Mistake.UNSEEDED, Mistake.STILL_TRAINING):
            checks.run("random numbers", check_reproducible, probe)
        lively = _lively(probe)
        if not checks.found(*UNSTEADY):
            checks.run("state", check_leak, lively)
            checks.run("batch", check_batch, lively)
        if not checks.found(*UNSTEADY, Mistake.RANDOM_EVALUATION):
            checks.run("stretches of time", check_stretches, lively)
        checks.run("gradients", check_gradients, probe)
        checks.run("saved weights", check_state_dict, lively, not checks.found(*UNSTEADY, Mistake.UNREGISTERED))
        checks.run("firing", check_activity, probe, realistic)
        checks.run("costs", check_costs, probe)
    return checks.findings


def _check_constructor(probe: Probe) -> Iterator[Finding]:
    try:
        network = probe.network()
    except CodeError as error:
        yield Finding(Mistake.CONSTRUCTOR, "", str(error))
    except SltuneError:
        raise
    except Exception as error:
        yield Finding(Mistake.CONSTRUCTOR, "", describe_error(error))
    else:
        yield from check_parameters(network)


def _lively(probe: Probe) -> Probe:
    """Return the probe with frames of the strength at which the outputs for its samples differ most."""

    def spread(gain: float) -> float:
        rates = record(probe.network(), probe.frames * gain).rates
        return float(rates.detach().std(0).sum())

    gain = max((1, *GAINS), key=spread)
    return replace(probe, frames=probe.frames * gain, others=probe.others * gain)


@contextmanager
def _restored() -> Iterator[None]:
    """Put back what is global in a process and what a network may change."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(), kept_state():
            # As a trial has; and more threads than idle cores would wait for each other.
            torch.set_num_threads(1)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
