"""The verb doctor: a line for each thing that was looked at, or all of it as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sltune.cli.options.shared import FileArgument, FolderArgument
from sltune.errors import BrokenSetup
from sltune.tuning.cluster.environment import prepare_environment
from sltune.wording import printable

if TYPE_CHECKING:
    from sltune.tuning.doctor.findings import Finding


@click.command()
@click.argument("space_file", metavar="[SPACE]", type=FileArgument, required=False)
@click.option("--address", metavar="HOST:PORT", help="Examine this Ray cluster with all its nodes, or `auto`.")
@click.option("--data", type=FolderArgument, help="A dataset that there must be room for.")
@click.option("--results", type=FileArgument, default="results", show_default=True, help="Where runs are to go.")
@click.option("--checkpoints", metavar="PLACE", help="Where workers are to keep checkpoints.")
@click.option("--json", "as_json", is_flag=True, help="Print findings and facts as JSON, for a report of a fault.")
def doctor(
    space_file: Path | None,
    address: str | None,
    data: Path | None,
    results: Path,
    checkpoints: str | None,
    as_json: bool,
) -> None:
    """Find what would keep a run from working, on this machine or on the nodes of a cluster; 30 s at most.

    \b
    sltune doctor
    sltune doctor SPACE --data DATA
    sltune doctor SPACE --data DATA --address auto --checkpoints /shared/checkpoints

    Looks at versions, limits, memory, GPUs and their driver, the compiled kernels, folders and the dataset; of a
    cluster also at the token, clocks, the network and the object stores. Exit code 8 if anything is broken.
    """
    # Before anything imports Ray.
    prepare_environment(address)
    from sltune.settings.space import load_space
    from sltune.tuning.doctor.doctor import examine
    from sltune.tuning.doctor.storage import Places

    space = None if space_file is None else load_space(space_file, [])
    found = examine(address, Places(results, checkpoints, data), space)
    if as_json:
        findings = [asdict(finding) for finding in found.findings]
        click.echo(json.dumps({"findings": findings, "facts": found.facts}, indent=2))
    else:
        click.echo(as_text(found.findings))
    broken = sum(finding.state == "broken" for finding in found.findings)
    if broken:
        raise BrokenSetup(f"{broken} thing{'s' if broken > 1 else ''} to mend before a run")


def as_text(findings: Sequence[Finding]) -> str:
    """Return a line for each finding, those of a node below its name, and what to do about it on the next one."""
    lines: list[str] = []
    node = ""
    # Stable, so that the findings of a node keep their order.
    for finding in sorted(findings, key=lambda finding: finding.node):
        if finding.node != node:
            node = finding.node
            lines.append(f"node {printable(node)}")
        lines.append(f"{finding.state:<8} {printable(f'{finding.subject}: {finding.text}')}")
        if finding.advice:
            lines.append(f"{'':<8} → {printable(finding.advice)}")
    return "\n".join(lines)
