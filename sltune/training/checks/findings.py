"""What a check of a network can find, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from sltune.wording import first_of

MAX_SHOWN_NAMES = 3
"""A network may have hundreds of parameters; the first few show which are meant."""

Severity = Literal["broken", "warning", "note"]
SEVERITIES: Sequence[Severity] = ("broken", "warning", "note")


class Mistake(Enum):
    """What can be wrong with a network: how bad it is, what it is called, and what to do about it."""

    CONSTRUCTOR = ("broken", "cannot be built", "It is called as Name(frame_shape=(P, H, W), classes=n, **options).")
    FAILS = ("broken", "a batch ends in an exception", "Mend the line that is named.")
    OUTPUT = (
        "broken",
        "the output is not one rate for each class",
        "Return a floating-point tensor of shape (B, classes), or (T, B, classes), for any T and B.",
    )
    NOT_FINITE = (
        "broken",
        "values are not finite numbers",
        "Look for a division by zero, a logarithm or root of 0, or a potential that grows without bound.",
    )
    LAZY = ("broken", "parameters have no size before the first batch", "Compute the sizes from frame_shape.")
    UNREGISTERED = (
        "broken",
        "parameters are not registered",
        "Keep modules in nn.ModuleList or nn.ModuleDict, and parameters in nn.ParameterList or as nn.Parameter.",
    )
    DEVICE = (
        "broken",
        "parameters lie on different devices",
        "Make them on the CPU; the whole network is moved before it trains.",
    )
    DTYPE = ("warning", "parameters have different types", "Make all of them float32.")
    PLAIN_TENSOR = (
        "warning",
        "a plain tensor stays behind when the network moves to a GPU, and is not saved",
        "Keep it with register_buffer.",
    )
    UNSEEDED = (
        "broken",
        "random numbers ignore the seed",
        "Draw all random numbers with torch, from its global generator.",
    )
    SEED_FIXED = (
        "broken",
        "every seed gives the same network",
        "Do not call torch.manual_seed in the network; each trial sets its own seed.",
    )
    SEED_UNUSED = (
        "warning",
        "every seed gives the same network",
        "If the initial weights are meant to be fixed, several seeds tell nothing about their influence.",
    )
    INPUT_CHANGED = (
        "broken",
        "the input is changed in place",
        "Work on a copy, without inplace=True and operations such as mul_ on the frames.",
    )
    STILL_TRAINING = (
        "broken",
        "a layer is in training mode during evaluation",
        "Do not call train() in forward; an overridden train(mode) must pass the mode on.",
    )
    RANDOM_EVALUATION = (
        "broken",
        "evaluation is random",
        "Use nn.Dropout, or functional.dropout(x, p, self.training); draw nothing in evaluation mode.",
    )
    LEAK = (
        "broken",
        "state leaks from one batch into the next",
        "Start with fresh state in forward, or set it back in reset(), which is called before every batch.",
    )
    LEAK_IN_TRAINING = (
        "warning",
        "in training mode, a batch changes the output for the next one",
        "If this is no adaptation that is meant, start with fresh state in forward or reset().",
    )
    BATCH = (
        "broken",
        "the output for a sample depends on the other samples of its batch",
        "Normalise over no dimension of the batch in evaluation mode, and give state a row for each sample.",
    )
    BATCH_IN_TRAINING = (
        "warning",
        "in training mode, the output for a sample depends on the others, without a BatchNorm",
        "If this is no normalisation that is meant, give each sample a result of its own.",
    )
    STRETCHES = (
        "broken",
        "run(frames, state) in two stretches differs from one run over all steps",
        "Return in the state all that a step needs of earlier ones, and begin afresh only where the state is None.",
    )
    CUT_GRADIENT = (
        "broken",
        "no gradient passes through",
        "Fire with a surrogate gradient instead of a comparison, and do not use detach(), .data or no_grad here.",
    )
    NO_GRADIENT = (
        "broken",
        "parameters get no gradient",
        "Use them in forward, or remove them; do not cut what leads from them to the output.",
    )
    STATE_DICT = (
        "broken",
        "the saved weights do not load into a fresh network",
        "Make all parameters and buffers in the constructor, with sizes that no batch changes.",
    )
    NOT_SAVED = (
        "broken",
        "saved weights, loaded into a fresh network, give other outputs",
        "Keep whatever the output depends on as a parameter or with register_buffer.",
    )
    NOT_YET = ("note", "does not fire before training", "With weights three times as large, it would.")
    NEVER_FIRES = ("warning", "never fires", "Lower the threshold, or make the weights before it larger.")
    ALWAYS_FIRES = ("warning", "always fires", "Raise the threshold, or make the weights before it smaller.")
    GROWTH = (
        "warning",
        "cost grows faster than the number of time steps",
        "Go through time with `for x in current`, as the backward pass of current[t] makes a tensor of all steps; "
        "stack outputs once, at the end; look at no earlier steps but by a state.",
    )
    ENDLESS = ("broken", "does not end", "Look for an endless loop; if it is only slow, allow more with --timeout.")
    ENDS_PROCESS = (
        "broken",
        "ends the whole process",
        "Look for exit(), a lack of memory, or compiled code that crashes.",
    )
    COST = ("note", "cost", "")

    @property
    def severity(self) -> Severity:
        return self.value[0]

    @property
    def title(self) -> str:
        return self.value[1]

    @property
    def advice(self) -> str:
        return self.value[2]


@dataclass(frozen=True)
class Finding:
    """layer: the name of the module, "" for the network itself. measured: a sentence or two on what was seen."""

    mistake: Mistake
    layer: str
    measured: str


def listed(names: list[str]) -> str:
    """Return the first names in a line, and how many are left out."""
    return ", ".join(first_of(names, MAX_SHOWN_NAMES))
