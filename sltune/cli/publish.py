"""The verbs that hand runs on: ``archive`` and ``publish``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sltune.cli.messages import say
from sltune.cli.options.shared import FileArgument, FolderArgument
from sltune.errors import UsageError

if TYPE_CHECKING:
    from sltune.report.analysis.runs import Run


@click.command()
@click.argument("run", type=FolderArgument)
@click.argument("out", metavar="OUT.zip", type=FileArgument)
@click.option("--weights", is_flag=True, help="Also the weights of every trial.")
def archive(run: Path, out: Path, weights: bool) -> None:
    """Pack a run for reviewers, without anything private.

    The zip file has the records, epochs, space, splits, code, versions, baselines and tables of the run. Paths and the
    names of machines and users are taken out of every file. `sltune report OUT.zip` prints the tables of the run.
    """
    from sltune.report.publishing.archive import write_archive
    from sltune.report.publishing.unpacking import SUFFIX
    from sltune.runs.folder import RunFolder

    if out.suffix.lower() != SUFFIX:
        raise UsageError(f"{out}: must end in {SUFFIX}, by which sltune report knows an archive")
    if out.resolve().is_relative_to(run.resolve()):
        raise UsageError(f"{out}: lies among the files of the run; choose another place")
    done = write_archive(RunFolder(run), out, weights)
    _say_unfinished(done.run)
    for name in done.left_out:
        say(f"left out: {name}")
    if done.kept:
        say(f"warning: {', '.join(done.kept)}: not replaced outside of paths, since sltune's files use this word, too")
    say(f"written: {out}, {done.files} files, {out.stat().st_size / 1e6:.1f} MB")


@click.command()
@click.argument("run", type=FolderArgument)
@click.option("--to", "target", required=True, metavar="mlflow:URI|wandb:PROJECT", help="Where to.")
def publish(run: Path, target: str) -> None:
    """Send a run to MLflow or Weights & Biases, from its folder.

    Configurations are runs there, with their trials below them: settings, epochs, results, versions, and the report.
    The same command again, after more trials or after it was killed, ends in the same runs.

    \b
    sltune publish results/RUN --to mlflow:http://localhost:5000
    sltune publish results/RUN --to wandb:PROJECT             also offline, with WANDB_MODE=offline
    """
    from sltune.report.analysis.runs import load_runs
    from sltune.report.publishing.trackers import publish as send

    (loaded,) = load_runs([run])
    _say_unfinished(loaded)
    done = send(loaded, target)
    unchanged = f"; {done.unchanged} were there already" if done.unchanged else ""
    say(f"published: {loaded.name}, {done.sent} configurations and trials{unchanged}")


def _say_unfinished(run: Run) -> None:
    missing = len(run.left)
    if missing:
        state = "is still running" if run.alive else "is not finished"
        say(f"{run.name} {state}: {missing} of {len(run.planned)} trials have no result yet; what is there is taken")
