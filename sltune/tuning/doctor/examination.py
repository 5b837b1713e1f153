"""One machine, examined within a time: in other processes, so that nothing there can keep the command for ever."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sltune.system.apart import CutShort, run_apart
from sltune.tuning.doctor.facts import Facts, check_kernels_here, gather

SILENT_S = 12.0
"""How long a single question may take; to import torch takes some seconds on a busy machine."""
MIN_S = 2.0


def examined(seconds: float, surrogates: Sequence[str]) -> Facts:
    """Return the facts of this machine.

    Args:
        seconds: how long all may take, about.
        surrogates: of the neurons whose kernels are checked.

    Returns:
        facts by their group; "unanswered" names a group that was given up, and "kernels" lists what was found on the
        CPU and, where torch sees one, on the GPU.
    """
    end = time.monotonic() + seconds
    facts: Facts = {}
    asked = ""
    for item in run_apart(gather, (), min(SILENT_S, max(MIN_S, seconds))):
        match item:
            case CutShort():
                facts["unanswered"] = asked
            case str():
                asked = item
            case _:
                facts |= item
    types = ["cpu", *(["cuda"] if facts.get("torch", {}).get("gpus") else [])]
    facts["kernels"] = [_kernels(kind, max(MIN_S, end - time.monotonic()), surrogates) for kind in types]
    return facts


def _kernels(kind: str, seconds: float, surrogates: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": kind, "device": kind}
    for item in run_apart(check_kernels_here, (kind, surrogates), seconds):
        if not isinstance(item, CutShort):
            found |= item
        elif item.trace:
            error = f"still being compiled after {seconds:.0f} s, which is done once on a machine"
            found |= {"error": error, "advice": "examine again; what has been compiled is kept"}
        else:
            error = f"the check ended with exit code {item.exit_code}"
            found |= {"error": error, "advice": "set SLTUNE_LIF_BACKEND=reference, and report this line"}
    return found
