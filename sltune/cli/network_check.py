"""The verb check-network: what it finds, as text of 80 columns or as JSON."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from sltune.cli.options.data import DataArgument
from sltune.cli.options.space import SpaceOptions, space_options
from sltune.errors import BrokenNetwork, SltuneError
from sltune.system.remote import AnyPath
from sltune.wording import printable

if TYPE_CHECKING:
    from sltune.system.apart import CutShort
    from sltune.training.checks.findings import Finding

WIDTH, INDENT = 80, 9
LINE_OF_TRACE = re.compile(r'File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)')


@click.command("check-network")
@space_options
@click.option("--data", type=DataArgument, help="Check on training crops of this dataset instead of made-up frames.")
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(min=1),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long a single check may take.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check_network(space_options: SpaceOptions, data: AnyPath | None, seconds: float, as_json: bool) -> None:
    """Find mistakes in a network before it trains.

    \b
    sltune check-network SPACE
    sltune check-network SPACE --data DATA --set network.name=nets.py:Tiny

    Looks for state that leaks between batches, samples that influence each other, parameters without a gradient, layers
    that never or always fire, outputs of a wrong shape, random numbers that ignore the seed, weights that do not load
    again, and costs that grow faster than time. Exit code 6 if anything is broken.
    """
    from sltune.system.apart import CutShort, run_apart
    from sltune.training.checks.findings import SEVERITIES, Finding
    from sltune.tuning.trial.network_check import Subject, check_space

    findings: list[Finding] = []
    check = "start"
    arguments = (space_options.space_file, space_options.overrides, data)
    for item in run_apart(check_space, arguments, seconds):
        match item:
            case SltuneError():
                raise item
            case Finding():
                findings.append(item)
            case CutShort():
                findings.append(_cut_short(item, check, seconds))
            case Subject():
                click.echo(printable(item.text), err=True)
            case _:
                check = item
    findings.sort(key=lambda finding: SEVERITIES.index(finding.mistake.severity))
    click.echo(json.dumps([*map(_table, findings)], indent=2) if as_json else as_text(findings))
    broken = sum(finding.mistake.severity == "broken" for finding in findings)
    if broken:
        raise BrokenNetwork(f"{broken} mistake{'s' if broken > 1 else ''} to mend before the network trains")


def as_text(findings: Sequence[Finding]) -> str:
    """Return findings for a terminal: of each what and where it is, what was measured, and what to do."""
    blocks = []
    for finding in findings:
        title = f"{finding.layer or 'the network'}: {finding.mistake.title}"
        lines = [
            f"{finding.mistake.severity:<{INDENT}}{title}",
            *_wrapped(finding.measured),
            *_wrapped(finding.mistake.advice, "→ "),
        ]
        blocks.append("\n".join(map(printable, lines)))
    if not any(finding.mistake.severity != "note" for finding in findings):
        blocks.insert(0, "nothing to mend")
    return "\n\n".join(blocks)


def _wrapped(text: str, lead: str = "") -> list[str]:
    indent = " " * INDENT
    return textwrap.wrap(text, WIDTH, initial_indent=indent + lead, subsequent_indent=indent + " " * len(lead))


def _table(finding: Finding) -> dict[str, str]:
    mistake = finding.mistake
    return {
        "severity": mistake.severity,
        "mistake": mistake.name.lower(),
        "layer": finding.layer,
        "title": mistake.title,
        "measured": finding.measured,
        "advice": mistake.advice,
    }


def _cut_short(end: CutShort, check: str, seconds: float) -> Finding:
    """Return what it means that a check did not come to its end."""
    from sltune.extensions.importing import is_library
    from sltune.training.checks.findings import Finding, Mistake

    if not end.trace:
        reason = f"signal {-end.exit_code}" if end.exit_code < 0 else f"exit code {end.exit_code}"
        return Finding(Mistake.ENDS_PROCESS, "", f"during the check {check!r}: {reason}")
    frames = LINE_OF_TRACE.finditer(end.trace)
    users = next((frame for frame in frames if not is_library(frame["file"])), None)
    place = f"; it is at line {users['line']} of {users['file']}, in {users['function']}" if users else ""
    return Finding(Mistake.ENDLESS, "", f"the check {check!r} has not ended after {seconds:g} s{place}")
