"""The nodes of a cluster, examined beside each other by a small Ray task on each, which may not take for ever."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sltune.errors import UsageError
from sltune.tuning.cluster.connection import connected
from sltune.tuning.cluster.errors import lacks_token, reason_of
from sltune.tuning.cluster.joining import described
from sltune.tuning.cluster.nodes import Node, ask_versions, living, name_of
from sltune.tuning.cluster.objects import LARGER_STORE, store_bytes
from sltune.tuning.cluster.versions import NOTED, difference, own_versions
from sltune.tuning.doctor.examination import examined
from sltune.tuning.doctor.facts import Facts
from sltune.tuning.doctor.findings import Finding, graded, size
from sltune.tuning.doctor.judgement import judged
from sltune.tuning.doctor.storage import examine_checkpoints

SENT_BYTES = 16 << 20
"""What is sent to each node to see how fast the network is."""
SLOW_BYTES_PER_S = 50e6
"""Half of what a network of 1 Gbit/s carries."""
SKEW_S, MUCH_SKEW_S = 2.0, 300.0
"""Locks of runs take a holder on another machine for dead whose sign of life is older than the second one."""
REPLY_S = 2.0
"""How much earlier than the driver gives it up a node's own examination should end."""
POLL_S = 0.02


@dataclass(frozen=True)
class Asked:
    """What the nodes are asked. surrogates: as in examined. checkpoints: a place that all nodes write to."""

    surrogates: Sequence[str]
    checkpoints: str | None
    data_bytes: int


def examine_cluster(address: str, asked: Asked, end: float) -> tuple[list[Finding], dict[str, Facts]]:
    """Connect to a cluster, and examine it as ``examine_nodes`` does; one that does not answer is a finding, too."""
    try:
        with connected(address, store_bytes=0):
            cluster = Finding("ok", "cluster", described())
            findings, facts = examine_nodes(asked, end)
            return [cluster, *findings], facts
    except UsageError as error:
        if lacks_token(error):
            return [Finding("broken", "token", str(error), "copy the head's file to ~/.ray/auth_token")], {}
        return [Finding("broken", "cluster", str(error), "`ray status` on its head says more")], {}


def examine_nodes(asked: Asked, end: float) -> tuple[list[Finding], dict[str, Facts]]:
    """Examine every node of the cluster that this process is connected to.

    Args:
        end: when it is to be over, by time.monotonic(); a node that has not answered by then is broken.

    Returns:
        what was found, and the facts of each node by its name.
    """
    visit = _Visit(asked, end)
    while visit.waiting and time.monotonic() < end:
        done, _ = ray.wait(list(visit.waiting), timeout=POLL_S)
        received = time.time()
        for reference in done:
            visit.hear(reference, received)
    visit.give_up()
    return visit.findings, visit.facts


class _Visit:
    """What the nodes have been asked, and what they have answered.

    waiting: what was asked of which node, by the reference of its answer.
    """

    def __init__(self, asked: Asked, end: float) -> None:
        self._asked, self._end = asked, end
        self._nodes = {node["NodeID"]: node for node in living()}
        self._here = ray.get_runtime_context().get_node_id()
        self._payload = ray.put(os.urandom(SENT_BYTES))
        self.findings: list[Finding] = []
        self.facts: dict[str, Facts] = {}
        self.waiting: dict[Any, tuple[str, str]] = {}
        for number in self._nodes:
            self.waiting |= {ask_versions(number): ("versions", number), _ask_time(number): ("clock", number)}

    def hear(self, reference: Any, received: float) -> None:
        """Take an answer that has come; received: when, in Unix seconds."""
        what, number = self.waiting.pop(reference)
        node = self._nodes[number]
        try:
            answer = ray.get(reference)
        except RayError as error:
            text = f"could not be examined ({what}): {reason_of(error)}"
            self._note(node, [Finding("broken", "node", text, "look at its log, or start it anew")])
            return
        if what == "clock":
            self._note(node, [_clock(answer - received)])
        elif what == "facts":
            self.facts[name_of(node)] = answer
            self._note(node, _judged(answer, node, self._asked))
        else:
            self._note(node, _versions(answer))
            if answer["code"] == own_versions()["code"]:
                payload = [self._payload] if number != self._here else []
                seconds = max(0.0, self._end - time.monotonic() - REPLY_S)
                self.waiting[_examine(number, self._asked, payload, seconds)] = ("facts", number)

    def give_up(self) -> None:
        """Note what has not been answered."""
        for what, number in self.waiting.values():
            text = f"has not answered ({what}); it may be frozen, or too busy"
            advice = "look at its load, or start Ray there anew"
            self._note(self._nodes[number], [Finding("broken", "node", text, advice)])

    def _note(self, node: Node, findings: Iterable[Finding]) -> None:
        self.findings += [replace(finding, node=name_of(node)) for finding in findings]


def _examine(number: str, asked: Asked, payload: list[Any], seconds: float) -> Any:
    there = NodeAffinitySchedulingStrategy(number, soft=False)
    task: Any = ray.remote(_on_node)
    return task.options(num_cpus=0, scheduling_strategy=there, max_retries=0).remote(asked, payload, seconds)


def _on_node(asked: Asked, payload: list[Any], seconds: float) -> Facts:
    """Return the facts of the node that calls it, and what only a node of a cluster can say."""
    started = time.monotonic()
    facts: Facts = {}
    if payload:
        # In a list, Ray does not fetch it before the task begins.
        ray.get(payload)
        facts["bytes_per_s"] = SENT_BYTES / (time.monotonic() - started)
    facts |= examined(seconds - (time.monotonic() - started), asked.surrogates)
    if asked.checkpoints is not None:
        found = examine_checkpoints(asked.checkpoints)
        facts["checkpoints"] = [found.state, found.text, found.advice]
    return facts


def _ask_time(number: str) -> Any:
    def read() -> float:
        # An inner function, so that Ray sends its code to nodes whose sltune is another one.
        import time

        return time.time()

    here = NodeAffinitySchedulingStrategy(number, soft=False)
    task: Any = ray.remote(read)
    return task.options(num_cpus=0, scheduling_strategy=here, max_retries=0).remote()


def _clock(skew: float) -> Finding:
    """skew: seconds by which a node's clock is ahead."""
    text = f"{abs(skew):.4g} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    advice = "set the clocks by NTP (chronyc tracking); locks and times in records rely on them"
    return graded("clock", text, advice, abs(skew) > MUCH_SKEW_S, abs(skew) > SKEW_S)


def _versions(theirs: Mapping[str, str]) -> Iterator[Finding]:
    own = own_versions()
    if reason := difference(own, theirs):
        advice = "runs leave the node aside; install there what this machine has"
        yield Finding("broken", "versions", reason, advice)
        return
    others = [f"{name} {theirs[name] or 'absent'} and here {own[name]}" for name in NOTED if theirs[name] != own[name]]
    text = f"other packages: {', '.join(others)}" if others else "equal those of this command"
    yield graded("versions", text, "install the same, so that results are equal to the last bit", False, bool(others))


def _judged(facts: Facts, node: Node, asked: Asked) -> Iterator[Finding]:
    if speed := facts.get("bytes_per_s"):
        takes = f"; the data take {asked.data_bytes / speed:.0f} s" if asked.data_bytes else ""
        advice = "the node waits for the data at its first trial; look at the network"
        text = f"{size(speed)}/s from this machine{takes}"
        yield graded("network", text, advice, False, speed < SLOW_BYTES_PER_S)
    store, need = store_bytes(node), asked.data_bytes
    needed = f", and the data take {size(need)}" if need else ""
    advice = f"trials would read the files themselves, which is slower; {LARGER_STORE}"
    yield graded("object store", f"holds {size(store)}{needed}", advice, False, need > store)
    if "checkpoints" in facts:
        state, text, advice = facts["checkpoints"]
        yield Finding(state, "checkpoints", text, advice)
    declared, usable = node["Resources"].get("CPU", 0), facts.get("limits", {}).get("cpus", 0)
    if declared > usable > 0:
        text = f"Ray gives out {declared:g}, and its processes may use {usable}"
        yield Finding("warning", "CPUs", text, f"start Ray there with --num-cpus={usable}")
    yield from judged(facts, need, has_store=True)
