"""The command line: parse, call, render. Heavy imports stand inside the verbs, so that --help is instant."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NoReturn

import click

from sltune import __version__
from sltune.cli.data import import_, inspect, show
from sltune.cli.doctor import doctor
from sltune.cli.final import fit, predict
from sltune.cli.network_check import check_network
from sltune.cli.options.data import DataArgument
from sltune.cli.options.shared import FOR_MACHINES, FileArgument, FolderArgument, named
from sltune.cli.options.space import SpaceOptions, space_options
from sltune.cli.plan import plan
from sltune.cli.publish import archive, export, publish
from sltune.cli.submit import submit
from sltune.cli.train import demo, evaluate, resume, tune
from sltune.errors import SltuneError, UsageError
from sltune.report.inference.equivalence import EQUIVALENCE_POINTS
from sltune.system.remote import AnyPath
from sltune.system.stdio import drop_errors
from sltune.system.supervisor import error_line, supervised
from sltune.wording import as_argument

PACKAGES = ("torch", "ray", "optuna", "numpy", "numba", "triton", "pyarrow", "tonic", "scikit-learn")
SUPERVISED = ("check", "demo", "evaluate", "tune", "resume")


class _Group(click.Group):
    """Shows the errors that sltune raises on purpose as text with their exit code; others are bugs and keep a trace."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        # In the order of the work, not of the alphabet.
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SltuneError as error:
            _end(ctx, str(error), error.exit_code)
        except KeyboardInterrupt:
            _end(ctx, "interrupted", 130)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        # Here and not in invoke, since --help too may be written to a full disk. Click ends a broken pipe by itself.
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            where = error.filename if error.filename is not None else "output"
            _say(error_line(f"{where}: {error.strerror or error}", UsageError.exit_code, as_json=False))
            sys.exit(UsageError.exit_code)


def _end(ctx: click.Context, text: str, exit_code: int) -> NoReturn:
    """End with the reason and the exit code; the reason is a line of JSON where the others were."""
    _say(error_line(text, exit_code, as_json=bool(ctx.meta.get(FOR_MACHINES))))
    ctx.exit(exit_code)


def _say(line: str) -> None:
    """Say on stderr why a command ends; where that cannot be written either, its exit code has to do."""
    with suppress(OSError):
        click.echo(line, err=True)


def _show_versions(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    """Print what a report of a fault needs; nothing of it is imported, which would take seconds."""
    if not is_asked or ctx.resilient_parsing:
        return
    found = [f"sltune {__version__}", f"Python {platform.python_version()}", platform.platform()]
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    click.echo(found[0])
    click.echo(", ".join(found[1:]))
    ctx.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_versions, help="Versions.")
def main() -> None:
    """Cross-validated training of spiking networks on event-camera data, distributed with Ray.

    \b
    A first look, on synthetic recordings:   sltune demo
    With recordings of your own:             sltune import SRC --out DATA
                                             sltune evaluate search_spaces/paper.toml --data DATA
                                             sltune report results/RUN
    """


main.add_command(demo)


@main.command()
@click.argument("out", type=FolderArgument)
@click.option("--recordings", default=12, show_default=True, help="How many signers; 59 is the size of the real set.")
@click.option(
    "--signers",
    type=click.Choice(["varied", "similar"]),
    default="varied",
    show_default=True,
    help="How much they differ; those of the demo are similar.",
)
@click.option("--seed", default=0, show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def synth(out: Path, recordings: int, signers: Literal["varied", "similar"], seed: int, quiet: bool) -> None:
    """Write synthetic recordings and tags."""
    from sltune.events.synthetic.recordings import write_dataset

    def show(name: str, events: int) -> None:
        if not quiet:
            click.echo(f"{name}: {events:,} events", err=True)

    write_dataset(out, recordings, seed, show, signers)
    if not quiet:
        click.echo(f"next: sltune import {as_argument(out)} --out DATA", err=True)


for verb in (import_, inspect, show):
    main.add_command(verb)


@main.command()
@space_options
@click.option("--data", type=DataArgument, help="Also say what would run on this dataset.")
def check(space_options: SpaceOptions, data: AnyPath | None) -> None:
    """Validate a space file and say what would run."""
    space = space_options.load()
    click.echo(space.to_toml(everything=True), nl=False)
    if space.own():
        from sltune.tuning.own_code import refuse_unusable

        refuse_unusable(space)
    from sltune.tuning.trial.estimate import describe

    for line in describe(space, data):
        click.echo(line, err=True)


for verb in (check_network, doctor, evaluate, tune, resume, submit, fit, predict, export):
    main.add_command(verb)


@main.command()
def cite() -> None:
    """Print BibTeX entries for sltune and for the methods that it uses."""
    from sltune.report.writing.references import entries_for_citing

    click.echo(entries_for_citing(), nl=False)


@main.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=FileArgument)
@click.option(
    "--format", "form", type=click.Choice(["md", "csv", "latex", "json", "html"]), default="md", show_default=True
)
@click.option("--ddof", type=click.Choice(["0", "1"]), default="1", show_default=True, help="1 = sample deviation.")
@click.option("--published/--no-published", default=True, help="Published figures beside ours.")
@click.option(
    "--style",
    type=click.Choice(["answers", "full", "paper"]),
    help="Answers to what readers ask first, all tables, or what a paper needs.",
)
@click.option(
    "--all", "every", is_flag=True, help="All tables, with every configuration of a search, not only its best."
)
@click.option("--baseline", metavar="RUN[/CONFIG]", default="", help="Compare the others with this one alone.")
@click.option(
    "--equivalence",
    metavar="POINTS",
    type=click.FloatRange(0, 100),
    default=EQUIVALENCE_POINTS,
    show_default=True,
    help="Up to so many points, a difference counts as none in practice.",
)
@click.option(
    "--label",
    "labels",
    metavar="RUN=NAME",
    multiple=True,
    callback=named,
    help="What a paper calls a run: --label paper=Ours; also of RUN/CONFIG.",
)
@click.option("--energy", metavar="PICOJOULES", default="", help="Others than of 45 nm: accumulate=0.1,access=650.")
@click.option("--plots", is_flag=True, help="Also draw the plots, as PDF, SVG and PNG.")
@click.option("--out", type=FileArgument, help="Write to this file instead of to the terminal; plots go beside it.")
@click.option(
    "--watch", is_flag=True, help="Show how runs go on until they are over, or wait until they begin; writes nothing."
)
def report(**values: Any) -> None:
    """Print what runs have shown, or make a page of tables and plots. Of a folder of runs, all are read.

    Tables, plots and page of a single run are also written into its folder report/; those of several runs go where
    --out says. With --watch, follow runs that other processes train, here or on another machine that sees their
    folders: a board on a terminal, elsewhere a line for each thing that happens, with --format json in JSON.

    \b
    sltune report results/RUN
    sltune report results/RUN --all
    sltune report results --format html --out comparison.html
    sltune report results/RUN --style paper --format latex
    sltune report results/RUN --watch
    sltune report RUN.zip                              what sltune archive has written
    """
    from sltune.cli.report import ReportOptions, make_report, runs_in, say_selection, watch_runs
    from sltune.report.publishing.unpacking import is_archive, unpacked

    runs, watch, values["ddof"] = runs_in(values.pop("runs")), values.pop("watch"), int(values["ddof"])
    options = ReportOptions(**values)
    if watch:
        watch_runs(runs, options)
        return
    if options.out is None and (options.plots or options.form in ("html", "latex")) and any(map(is_archive, runs)):
        raise UsageError("a page, plots or references of an archive need a place; name it with --out FILE")
    with unpacked(runs) as folders:
        result = make_report(folders, options)
        if options.form == "md":
            say_selection(result)


for verb in (plan, archive, publish):
    main.add_command(verb)


@main.command()
@click.argument("network_yaml", type=FileArgument)
@click.option("--out", type=FileArgument, help="Write the space file here instead of to the terminal.")
def convert(network_yaml: Path, out: Path | None) -> None:
    """Turn a network.yaml of ronichester/SL-animals-DVS-stbp into a space file.

    What cannot be carried over is named, and what is filled in.
    Its file_list is read: of recordings other than those of whole sessions, folds would be others, so it is refused.
    """
    from sltune.settings.predecessor import MAX_YAML_BYTES, convert_network_yaml
    from sltune.system.files import named_by_user, read_plain, write_whole

    if out is not None and out.exists():
        raise UsageError(f"{out}: exists; choose another --out")
    try:
        text = read_plain(network_yaml, MAX_YAML_BYTES).decode()
    except OSError as error:
        raise UsageError(f"{network_yaml}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{network_yaml}: cannot be read: {error}") from error
    space, lost, filled = convert_network_yaml(text, str(network_yaml), network_yaml.parent)
    if out is None:
        click.echo(space, nl=False)
    else:
        write_whole(named_by_user(out), space)
    for line in lost:
        click.echo(f"not carried over: {line}", err=True)
    if filled:
        click.echo(f"not in the file, filled in as in that repository's own: {', '.join(filled)}", err=True)


def run() -> None:
    """Be the command ``sltune``.

    Verbs that train have a supervisor, since Ray or a user's code may end them without a word. An import over a
    cluster has none: what goes on with it is the same command again.
    """
    # A reader that closes the pipe, as `head` does, must not end the training.
    drop_errors("stderr")
    if len(sys.argv) > 1 and sys.argv[1] in SUPERVISED:
        drop_errors("stdout", BrokenPipeError)
        supervised(main)
    else:
        main()
