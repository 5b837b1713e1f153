"""From the facts of a node to findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sltune.tuning.cluster.resources import STORE_HEADROOM
from sltune.tuning.doctor.facts import VISIBLE, Facts
from sltune.tuning.doctor.findings import Finding, graded, size

MIN_OPEN_FILES = 4096
"""Ray's processes take some hundred for each that they talk to, and raise the soft limit to the hard one."""
MANY_OPEN_FILES = 65536
"""What Ray's documentation advises for clusters."""
BUSY = 0.1
"""The share of a GPU's memory that others may have without being spoken of."""


def judged(facts: Facts, data_bytes: int, has_store: bool) -> Iterator[Finding]:
    """Give what the facts of a node mean.

    Args:
        data_bytes: what the dataset takes in memory; 0 where none is named.
        has_store: whether Ray runs there already, so that the size of its object store is decided.
    """
    if group := facts.get("unanswered"):
        text = f"what was asked of {group} has not been answered"
        yield Finding("broken", group, text, "a driver or a file server hangs: dmesg says more")
    if limits := facts.get("limits"):
        yield from _limits(limits, 0 if has_store else data_bytes)
    if not has_store and (shm := facts.get("shm")):
        yield _shared_memory(shm, data_bytes)
    if gpus := facts.get("gpus"):
        yield from _gpus(gpus)
        if torch := facts.get("torch"):
            yield _torch(torch, gpus)
    yield from map(_kernels, facts.get("kernels", ()))


def _limits(facts: Facts, data_bytes: int) -> Iterator[Finding]:
    cpus, there = facts["cpus"], facts["cpus_there"]
    why = "" if cpus == there else ", by affinity or the quota of a container"
    yield Finding("ok", "CPUs", f"{cpus} of {there} can be used{why}")
    limit, need = facts["memory_bytes"], data_bytes + STORE_HEADROOM
    text = f"{size(limit)} can be used; the data and what lies beside them take {size(need)}"
    yield graded("memory", text, "ask for more memory", need > limit, 2 * need > limit)
    if "open_files" in facts:
        soft, hard = facts["open_files"], facts["open_files_most"]
        few = 0 <= hard < MIN_OPEN_FILES
        text = f"{soft} may be open at once, {hard} after `ulimit -n {hard}`, which Ray does itself"
        advice = (
            f"a run of a few trials works, a larger one fails with EMFILE; raise the limit: ulimit -n {MANY_OPEN_FILES}"
        )
        yield graded("open files", text if soft != hard else f"{soft} may be open at once", advice, False, few)


def _shared_memory(facts: Facts, data_bytes: int) -> Finding:
    need, free = data_bytes + STORE_HEADROOM, facts["free_bytes"]
    text = f"{size(free)} of {size(facts['total_bytes'])} are free; the object store takes {size(need)}"
    advice = "Ray then keeps the data on the disk, which is slower; give a container more: docker run --shm-size=…"
    return graded("/dev/shm", text, advice, False, need > free)


def _gpus(facts: Facts) -> Iterator[Finding]:
    if facts["error"]:
        yield Finding("broken", "GPU driver", facts["error"], "restart the machine, or install the driver anew")
        return
    gpus: list[dict[str, Any]] = facts["gpus"]
    if not gpus:
        yield Finding("ok", "GPUs", "none; trials run on the CPU")
    for number, gpu in enumerate(gpus):
        text = f"{gpu['name']}, {size(gpu['total_bytes'])}, driver {gpu['driver']}"
        others = [one for one in facts["processes"] if one["uuid"] == gpu["uuid"] and one["user"]]
        if others:
            users = ", ".join(sorted({one["user"] for one in others}))
            held = size(sum(one["used_bytes"] for one in others))
            text = f"{text}; {held} are held by processes of others ({users})"
        else:
            text = f"{text}, {size(gpu['used_bytes'])} in use"
        busy = bool(others) or gpu["used_bytes"] > BUSY * gpu["total_bytes"]
        advice = f"trials share its memory with what runs there; choose others by {VISIBLE}, or wait"
        yield graded(f"GPU {number}", text, advice, False, busy)
        if gpu["is_divided"]:
            note = f"is divided (MIG); a process sees one instance, which {VISIBLE} names by its UUID"
            yield Finding("warning", f"GPU {number}", note, "start Ray once for each instance, or switch MIG off")


def _torch(facts: Facts, driver: Facts) -> Finding:
    there, seen = driver["gpus"], facts["gpus"]
    built = f"torch {facts['version']}"
    if not there and not seen:
        return Finding("ok", "torch", f"{built}; sees no GPU, and there is none")
    if len(seen) < len(there):
        text = f"{built} sees {len(seen)} of {len(there)} GPUs"
        if facts["visible"] is not None:
            few = f"{VISIBLE} is {facts['visible']!r}"
            return graded("torch", f"{text}: {few}", f"unset {VISIBLE}, or name the GPUs in it", not seen, True)
        if not facts["cuda"]:
            advice = "install torch for CUDA: https://pytorch.org/get-started/locally"
            return Finding("broken", "torch", f"{text}: it is a build for the CPU", advice)
        reason = f": {facts['error']}" if facts["error"] else ""
        advice = f"install a driver for CUDA {facts['cuda']}, or torch for that of driver {there[0]['driver']}"
        return graded("torch", f"{text}{reason}", advice, not seen, True)
    for gpu in seen:
        if not fits(gpu["capability"], facts["architectures"]):
            text = (
                f"{built} has no code for {gpu['name']} ({gpu['capability']}), only {', '.join(facts['architectures'])}"
            )
            return Finding("broken", "torch", text, "install a build of torch for this GPU")
    return Finding("ok", "torch", f"{built} for CUDA {facts['cuda']} sees {len(seen)} GPUs and has code for them")


def fits(capability: str, architectures: list[str]) -> bool:
    """Say whether a build has machine code for a GPU, or code that its driver can compile for it.

    Machine code (sm_80) runs on GPUs of the same major number that are not older, intermediate code (compute_80) on all
    that are not older (CUDA C++ Programming Guide, 3.1.2 and 3.1.3).
    """
    major, minor = map(int, capability.split("."))
    for architecture in architectures:
        kind, _, number = architecture.partition("_")
        # Such as sm_90a, which runs on that GPU alone.
        digits = number.rstrip("af")
        its = int(digits[:-1]), int(digits[-1])
        if kind == "sm" and its[0] == major and its[1] <= minor and not (number != digits and its != (major, minor)):
            return True
        if kind == "compute" and number == digits and its <= (major, minor):
            return True
    return False


def _kernels(facts: Mapping[str, Any]) -> Finding:
    device, faults = facts["device"], facts.get("faults", {})
    subject = f"kernels ({facts['type']})"
    if error := facts.get("error"):
        return Finding("warning", subject, error, facts["advice"])
    if faults:
        named = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
        advice = "runs take plain torch instead, which is slower; report it with this line, or install other versions"
        return Finding("broken", subject, f"{named} ({device})", advice)
    if not facts["compiled"]:
        return Finding("warning", subject, f"none are compiled ({device})", "install numba, and triton for GPUs")
    return Finding("ok", subject, f"equal the reference ({device})")
