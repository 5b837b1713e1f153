"""The verb ``plan``: how many seeds, folds or signers would show a difference."""

from __future__ import annotations

from pathlib import Path

import click

from sltune.cli.options.shared import FolderArgument


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=FolderArgument)
@click.option("--difference", type=click.FloatRange(0.01, 100), required=True, help="What is to be shown, in points.")
@click.option("--power", "wanted", type=click.FloatRange(0.1, 0.99), default=0.8, show_default=True,
              help="The probability that the test finds it.")  # fmt: skip
@click.option("--json", "as_object", is_flag=True, help="Print a JSON object.")
def plan(runs: tuple[Path, ...], difference: float, wanted: float, as_object: bool) -> None:
    """Say how many seeds, folds or signers would show a difference, by the records of a pilot.

    The pilot is one run or several, finished or not, that trained two or more configurations on the same folds, or one
    configuration with several seeds.

    \b
    sltune plan results/FIRST results/SECOND --difference 3
    """
    from sltune.report.analysis.runs import load_runs
    from sltune.report.planning import as_json, in_words, plan_of

    found = plan_of(load_runs(runs), difference, wanted)
    click.echo(as_json(found) if as_object else "\n".join(in_words(found)))
