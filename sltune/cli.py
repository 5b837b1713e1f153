"""The command line: parse, call, render. Heavy imports stand inside the verbs, so that --help is instant."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sltune import __version__
from sltune.cli_data import import_, inspect, show
from sltune.errors import SltuneError, SomeTrialsFailed, UsageError
from sltune.options import (
    FileArgument,
    FolderArgument,
    RunName,
    RunOptions,
    SpaceOptions,
    run_name,
    run_options,
    space_options,
)

if TYPE_CHECKING:
    from sltune.report.formats import Format


class _Group(click.Group):
    """Shows the errors that sltune raises on purpose as text with their exit code; others are bugs and keep a trace."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        # In the order of the work, not of the alphabet.
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SltuneError as error:
            _say(str(error))
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            _say("interrupted")
            ctx.exit(130)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        # Here and not in invoke, since --help too may be written to a full disk. Click ends a broken pipe by itself.
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            where = error.filename if error.filename is not None else "output"
            _say(f"{where}: {error.strerror or error}")
            sys.exit(UsageError.exit_code)


def _say(text: str) -> None:
    """Say on stderr why a command ends; where that cannot be written either, its exit code has to do."""
    with suppress(OSError):
        click.echo(f"sltune: {text}", err=True)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sltune")
def main() -> None:
    """Cross-validated training of spiking networks on event-camera data, distributed with Ray.

    \b
    A first look, on synthetic recordings:   sltune demo
    With recordings of your own:             sltune import SRC --out DATA
                                             sltune evaluate search_spaces/paper.toml --data DATA
                                             sltune report results/RUN
    """


@main.command()
@click.option("--out", type=FolderArgument, default=Path("demo"), show_default=True, help="An empty or new folder.")
@run_options
def demo(out: Path, options: RunOptions) -> None:
    """Show the whole way on synthetic recordings.

    Writes recordings, imports them, trains and tests a small network on 4 folds, and prints the table;
    a few minutes on two cores.
    """
    from sltune.demo import demo_run, run_demo

    def work() -> None:
        run_demo(out, options.request(), options.display(), lambda text: click.echo(text, err=True))

    _then_report(work, demo_run(out), options)


@main.command()
@click.argument("out", type=FolderArgument)
@click.option("--recordings", default=12, show_default=True, help="How many signers; 59 is the size of the real set.")
@click.option("--seed", default=0, show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def synth(out: Path, recordings: int, seed: int, quiet: bool) -> None:
    """Write synthetic recordings and tags."""
    from sltune.events.synthetic import write_dataset

    def show(name: str, events: int) -> None:
        if not quiet:
            click.echo(f"{name}: {events:,} events", err=True)

    write_dataset(out, recordings, seed, show)


for verb in (import_, inspect, show):
    main.add_command(verb)


@main.command()
@space_options
@click.option("--data", type=FolderArgument, help="Also say what would run on this dataset.")
def check(space_options: SpaceOptions, data: Path | None) -> None:
    """Validate a space file and say what would run."""
    space = space_options.load()
    click.echo(space.to_toml(), nl=False)
    if space.domains:
        click.echo("searches: " + ", ".join(space.domains), err=True)
        return
    from sltune.tuning.describe import describe

    for line in describe(space.configuration(), data):
        click.echo(line, err=True)


@main.command()
@space_options
@click.option("--data", required=True, type=FolderArgument, help="A dataset that `sltune import` made.")
@run_name
@click.option("--smoke", is_flag=True, help="Two epochs only, to see that all is in place.")
@run_options
def evaluate(space_options: SpaceOptions, data: Path, run_name: RunName, smoke: bool, options: RunOptions) -> None:
    """Train and test a configuration on all folds.

    \b
    sltune evaluate search_spaces/paper.toml --data DATA
    sltune evaluate search_spaces/paper.toml --data DATA --set training.epochs=50 --gpus-per-trial 0.25
    """
    from sltune.tuning.evaluation import start_evaluation

    space = space_options.load(*(["training.epochs=2"] if smoke else []))
    folder = run_name.folder(space_options.space_file)
    _then_report(
        lambda: start_evaluation(space, data, folder, options.request(), options.display()), folder.root, options
    )


@main.command()
@click.argument("run", metavar="RUN", type=FolderArgument)
@click.option("--data", type=FolderArgument, help="Where the dataset lies, if it has moved.")
@click.option("--retry-failed", is_flag=True, help="Also train the trials that failed once more.")
@run_options
def resume(run: Path, data: Path | None, retry_failed: bool, options: RunOptions) -> None:
    """Go on with an interrupted run."""
    from sltune.record import RunFolder
    from sltune.space import load_space
    from sltune.tuning.evaluation import resume_evaluation

    folder = RunFolder(run)
    folder.info()
    space = load_space(folder.space_toml)
    _then_report(
        lambda: resume_evaluation(space, folder, data, options.request(), options.display(), retry_failed), run, options
    )


@main.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=FolderArgument)
@click.option("--format", "form", type=click.Choice(["md", "csv", "latex", "json"]), default="md", show_default=True)
@click.option("--ddof", type=click.Choice(["0", "1"]), default="1", show_default=True, help="1 = sample deviation.")
@click.option("--published/--no-published", default=True, help="Published figures beside ours.")
def report(runs: tuple[Path, ...], form: Format, ddof: str, published: bool) -> None:
    """Print the mean ± std table of runs.

    The table of a single run is also written in every format into its folder report/.
    """
    _print_report(runs, form, int(ddof), published)


@main.command()
@click.argument("network_yaml", type=FileArgument)
@click.option("--out", type=FileArgument, help="Write the space file here instead of to the terminal.")
def convert(network_yaml: Path, out: Path | None) -> None:
    """Turn the predecessor's network.yaml into a space file.

    The predecessor is ronichester/SL-animals-DVS-stbp. What cannot be carried over is named.
    """
    from sltune.convert import convert_network_yaml
    from sltune.files import write_whole

    if out is not None and out.exists():
        raise UsageError(f"{out}: exists; choose another --out")
    try:
        text = network_yaml.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{network_yaml}: cannot be read: {error}") from error
    space, lost = convert_network_yaml(text, str(network_yaml))
    if out is None:
        click.echo(space, nl=False)
    else:
        write_whole(out, space)
    for line in lost:
        click.echo(f"not carried over: {line}", err=True)


def _then_report(work: Callable[[], None], run: Path, options: RunOptions) -> None:
    """Do the work, and print the table of what it left, also where some trials failed."""
    try:
        work()
    except SomeTrialsFailed:
        _print_report([run], options.table_format)
        raise
    _print_report([run], options.table_format)


def _print_report(runs: Sequence[Path], form: Format, ddof: int = 1, published: bool = True) -> None:
    from sltune.report.formats import render, write_report
    from sltune.report.table import load_runs, table

    result = table(load_runs(runs), ddof, published)
    click.echo(render(result, form), nl=False)
    if len(runs) == 1:
        try:
            write_report(runs[0], result)
        except UsageError as error:
            # Another's run may be read-only; the table stands on the screen all the same.
            click.echo(f"warning: {error}", err=True)


if __name__ == "__main__":
    sys.exit(main())
