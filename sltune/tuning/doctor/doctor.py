"""Examines what a run would need: this machine alone, or a cluster with its nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from sltune.errors import DataError
from sltune.events.dataset import data_bytes
from sltune.events.manifest import Manifest, read_manifest
from sltune.extensions.code import is_reference
from sltune.settings.space import Space
from sltune.snn.neurons.surrogate import WINDOWS
from sltune.tuning.cluster.versions import COMPARED, NOTED, own_versions
from sltune.tuning.doctor.examination import examined
from sltune.tuning.doctor.facts import Facts
from sltune.tuning.doctor.findings import Finding
from sltune.tuning.doctor.judgement import judged
from sltune.tuning.doctor.storage import Places, examine_data, examine_storage

LIMIT_S = 30.0
"""What an examination takes at most, with what it takes Ray to end."""
LEAVE_S = 5.0


@dataclass(frozen=True)
class Examination:
    """What was found, and the facts of each machine by its name; "" for this one, where no cluster is named."""

    findings: list[Finding]
    facts: dict[str, Facts]


def examine(address: str | None, places: Places, space: Space | None) -> Examination:
    """Examine this machine or, at an address, a cluster.

    Args:
        address: as in ``connected``; None to examine this machine alone, for which no Ray is started.
        space: whose neurons tell which kernels are checked; None for all that are built in.
    """
    end = time.monotonic() + LIMIT_S - LEAVE_S
    findings = list(examine_storage(places))
    need = 0
    if places.data is not None:
        try:
            manifest: Manifest = read_manifest(places.data)
            need = data_bytes(manifest)
            findings.append(examine_data(places.data, manifest))
        except DataError as error:
            findings.append(Finding("broken", "data", str(error), "name the dataset that runs are to read"))
    surrogates = list(_surrogates(space))
    if address is None:
        facts = examined(end - time.monotonic(), surrogates)
        return Examination([_own_versions(), *findings, *judged(facts, need, has_store=False)], {"": facts})
    # Here, since it imports Ray, and a machine without it can be examined, too.
    from sltune.tuning.doctor.cluster import Asked, examine_cluster

    found, of_nodes = examine_cluster(address, Asked(surrogates, places.checkpoints, need), end)
    return Examination([_own_versions(), *findings, *found], of_nodes)


def _surrogates(space: Space | None) -> Iterator[str]:
    if space is None:
        yield from WINDOWS
        return
    names = {configuration.neuron.surrogate for configuration in space.probes()}
    yield from (name for name in WINDOWS if name in names or any(map(is_reference, names)))


def _own_versions() -> Finding:
    versions = own_versions()
    named = ", ".join(f"{name} {versions[name]}" for name in (*COMPARED, *NOTED) if versions[name])
    if missing := [name for name in COMPARED if not versions[name]]:
        return Finding("broken", "versions", f"{named}; no {', '.join(missing)}", "install what is missing")
    return Finding("ok", "versions", named)
