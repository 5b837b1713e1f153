"""The verbs that train: demo, evaluate, tune, resume; each prints the table of what it left."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from sltune.cli.options.data import DataArgument
from sltune.cli.options.only_checked import is_only_checked, note_checked
from sltune.cli.options.shared import (
    FolderArgument,
    MoreOptions,
    RunOptions,
    SearchOptions,
    more_options,
    run_options,
    search_options,
    study_storage,
)
from sltune.cli.options.space import FixedOptions, RunName, SpaceOptions, fixed_options, run_name, space_options
from sltune.errors import NothingRan, SomeTrialsFailed, UsageError
from sltune.system.places import Database
from sltune.system.remote import AnyPath
from sltune.wording import as_argument, printable_lines

# What --smoke changes: enough to see that all is in place.
SMOKE = ("training.epochs=2",)
# What --weights-only changes.
UNTRAINED = ("training.epochs=0",)


@click.command()
@click.option("--out", type=FolderArgument, default=Path("demo"), show_default=True, help="An empty or new folder.")
@run_options
def demo(out: Path, options: RunOptions) -> None:
    """Show the whole way on synthetic recordings.

    Writes recordings, imports them, trains and tests a small network on 4 folds, searches for better settings, and
    prints the tables; a few minutes on two cores.
    """
    from sltune.cli.demo import demo_runs, run_demo

    def work() -> None:
        run_demo(out, options.request, options.display())

    _then_report(work, demo_runs(out), options, page=out / "report.html")


@click.command()
@fixed_options
@click.option("--data", required=True, type=DataArgument, help="A dataset that `sltune import` made.")
@run_name
@click.option("--smoke", is_flag=True, help="Two epochs only, to see that all is in place.")
@click.option("--weights-only", is_flag=True, help="Train nothing: test network.weights (training.epochs=0).")
@run_options
def evaluate(
    fixed_options: FixedOptions, data: AnyPath, run_name: RunName, smoke: bool, weights_only: bool, options: RunOptions
) -> None:
    """Train and test a configuration on all folds.

    \b
    sltune evaluate search_spaces/paper.toml --data DATA
    sltune evaluate search_spaces/paper.toml --data DATA --set training.epochs=50 --gpus-per-trial 0.25
    sltune evaluate --from results/SEARCH/c0012 --data DATA --set "evaluation.seeds=[1, 2, 3]"
    sltune evaluate search_spaces/paper.toml --data DATA --weights-only --set "network.weights=w/fold{fold1}.pt"
    """
    if smoke and weights_only:
        raise UsageError("--smoke trains two epochs and --weights-only none; choose one of them")
    space = fixed_options.load(*(SMOKE if smoke else ()), *(UNTRAINED if weights_only else ()))
    space.configuration()
    folder = run_name.folder(fixed_options.stem)

    def work() -> None:
        from sltune.tuning.starting import check_evaluation, start_evaluation

        begin = check_evaluation if is_only_checked() else start_evaluation
        begin(space, data, folder, options.request, options.display())

    _then_report(work, [folder.root], options)


@click.command()
@space_options
@click.option("--data", required=True, type=DataArgument, help="A dataset that `sltune import` made.")
@run_name
@search_options
@click.option("--smoke", is_flag=True, help="One configuration and two epochs, to see that all is in place.")
@run_options
def tune(
    space_options: SpaceOptions,
    data: AnyPath,
    run_name: RunName,
    search_options: SearchOptions,
    smoke: bool,
    options: RunOptions,
) -> None:
    """Search for the best configuration of a space.

    Every configuration begins with one fold and seed, and the best ones are promoted to further ones, until the
    trainings are spent. Only validation accuracy is seen; the table at the end shows the test accuracy of the best.

    That number is optimistic, since the validation signers of a fold are test signers in other folds. With --nested
    there is a search in each outer fold, over the other signers only, and its winner is tested on that fold. The table
    then is unbiased. It takes as many searches as there are folds.

    \b
    sltune tune search_spaces/crops.toml --data DATA
    sltune tune search_spaces/crops.toml --data DATA --nested
    sltune tune search_spaces/full.toml --data DATA --trainings 500 --gpus-per-trial 0.25 --time-budget 24
    """
    space = space_options.load(*search_options.overrides, *([*SMOKE, "search.trials=1"] if smoke else []))
    space.required_search()
    folder, new = run_name.folder(space_options.space_file.stem), search_options.new()

    def work() -> None:
        from sltune.tuning.starting import check_search, start_search

        begin = check_search if is_only_checked() else start_search
        begin(space, data, folder, options.request, options.display(), new)

    _then_report(work, [folder.root], options)


@click.command()
@click.argument("run", metavar="RUN", type=FolderArgument)
@click.option("--data", type=DataArgument, help="Where the dataset lies, if it has moved.")
@more_options
@study_storage
@run_options
def resume(
    run: Path, data: AnyPath | None, more_options: MoreOptions, study_storage: Database | None, options: RunOptions
) -> None:
    """Go on with an interrupted run, add seeds to an evaluation, or trainings or configurations to a search.

    A database or a place of checkpoints outside of the run's folder is named anew: --study-storage, --checkpoints.

    \b
    sltune resume results/RUN
    sltune resume results/RUN --seeds 0,1,2
    sltune resume results/SEARCH --trainings 480
    """
    from sltune.tuning.resuming import Changes, resume_run

    more = more_options
    changes = Changes(more.budgets, more.retry_failed, study_storage, more.seeds, more.folds)

    def work() -> None:
        if is_only_checked():
            from sltune.tuning.checking import check_resumption

            check_resumption(run, data, options.request, changes)
            return
        resume_run(run, data, options.request, options.display(), changes)

    _then_report(work, [run], options)


def _then_report(work: Callable[[], None], runs: Sequence[Path], options: RunOptions, page: Path | None = None) -> None:
    """Do the work, and print the table of what it left, also where trials failed; then write a page, or say how."""
    from sltune.cli.report import ReportOptions, make_report, write_page_of

    if is_only_checked():
        work()
        note_checked(runs[0])
        return
    table = ReportOptions(options.table_format)
    try:
        work()
    except (SomeTrialsFailed, NothingRan):
        make_report(runs, table)
        raise
    make_report(runs, table)
    if page is not None:
        write_page_of(runs, page)
    elif not (options.quiet or options.as_json):
        command = shlex.join(["sltune", "report", *map(as_argument, runs), "--format", "html"])
        click.echo(printable_lines(f"with plots: {command}"), err=True)
