"""The verbs on data: import, inspect, show. Slow imports are inside the verbs, so that --help is instant."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sltune.cli.messages import say
from sltune.cli.options.data import DataArgument, PictureOptions, import_options, picture_options
from sltune.cli.options.shared import FileArgument, FolderArgument
from sltune.errors import UsageError
from sltune.system.remote import AnyPath
from sltune.wording import as_argument, counted, first_of, printable_lines

if TYPE_CHECKING:
    from sltune.events.manifest import Manifest
    from sltune.events.sources.registry import ImportOptions

MAX_SHOWN = 10
"""The first samples that are left out say enough; a file lists all of them."""


@click.command(name="import")
@click.argument("place", metavar="[SRC]", required=False, type=FileArgument)
@click.option("--out", required=True, type=FolderArgument, help="Where the dataset goes.")
@import_options
def import_(place: Path | None, out: Path, options: ImportOptions) -> None:
    """Read recordings into a dataset that trials can train on.

    SRC is a folder or zip archive that holds the recordings and tags of SL-Animals-DVS, in folders or zip archives of
    any names. With --source, it is a table that lists your own recordings, or a folder that has one for each class.

    \b
    sltune import ~/SL-Animals-DVS --out data/slanimals
    sltune import signs.csv --source table --out data/signs
    sltune import signs/ --source folders --group-by folder --out data/signs
    sltune import --source tonic:DVSGesture --root ~/tonic --out data/gesture
    sltune import nmnist/ --source nmnist-folder --out data/nmnist

    Recordings that have not changed since the last import are not read again. DATA/warnings.csv lists what is odd.
    """
    from rich.console import Console

    from sltune.api.importing import run_import

    click.echo(printable_lines(_imported(out, run_import(place, out, options, Console(stderr=True, emoji=False)))))
    if not options.quiet:
        say(f"next: sltune evaluate best.toml --data {as_argument(out)}")


@click.command()
@click.argument("data", type=DataArgument)
@click.option("--verify", is_flag=True, help="First read all of it and compare it with its manifest.")
@click.option("--samples", "as_list", is_flag=True, help="List the samples instead: id, gesture, duration, events.")
@click.option("--json", "as_json", is_flag=True, help="Print the same facts as JSON.")
def inspect(data: AnyPath, verify: bool, as_list: bool, as_json: bool) -> None:
    """Say what is in a dataset: sessions, classes, durations, event rates, warnings, what was left out.

    \b
    sltune inspect data/slanimals
    sltune inspect data/slanimals --verify
    sltune inspect data/slanimals --samples | grep cat
    sltune inspect data/slanimals --json | jq .sessions
    """
    from sltune.events.dataset import open_dataset
    from sltune.events.verify import verify_dataset
    from sltune.events.views.summary import list_samples, summarize

    verified = verify_dataset(data, lambda file: click.echo(f"read {file.file}", err=True)) if verify else None
    dataset = open_dataset(data)
    if as_list:
        listed = list_samples(dataset, as_json)
        click.echo(listed if as_json else printable_lines(listed), nl=False)
        return
    summary = summarize(dataset, verified)
    # Lines are only wrapped for a terminal. sys.stdout is None if it was closed.
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else 1000
    click.echo(summary.to_json() if as_json else printable_lines(summary.to_text(width)), nl=False)


@click.command()
@click.argument("data", type=DataArgument)
@click.argument("sample", required=False)
@click.option("--all", "all_classes", is_flag=True, help="A frame of every class instead of one sample.")
@click.option("--recording", metavar="NAME", help="With --all: take this one; default: the first sample of each class.")
@picture_options
def show(data: AnyPath, sample: str | None, all_classes: bool, recording: str | None, options: PictureOptions) -> None:
    """Draw a sample: three frames side by side (.png), or an animation in real time (.gif).

    Pictures are upright; ON is orange, OFF blue, both black, and stronger where there are more events.
    `sltune inspect DATA --samples` lists the samples.

    \b
    sltune show data/slanimals user00_indoor_01
    sltune show data/slanimals user00_indoor_01 --out cat.gif --length-ms 2000
    sltune show data/slanimals --all --recording user37_dc --bin-ms 100 --scale 2 --out gestures.png
    """
    if (sample is None) != all_classes or (recording is not None and not all_classes):
        raise UsageError("name one SAMPLE, or ask for a frame of every class with --all [--recording NAME]")
    file = options.file(sample or recording or data.resolve().name, (".png",) if all_classes else (".png", ".gif"))
    from sltune.events.dataset import open_dataset
    from sltune.events.views.pictures import draw_sample, draw_sheet

    dataset = open_dataset(data)
    if sample is None:
        draw_sheet(dataset, options.span(), options.scale, file, recording)
    else:
        draw_sample(dataset, sample, options.span(), options.scale, file)
    click.echo(printable_lines(str(file)))


def _imported(out: Path, manifest: Manifest) -> str:
    """Return what was imported, in three or four lines."""
    from sltune.events.manifest import WARNINGS

    stored_bytes = sum((out / file.file).stat().st_size for file in manifest.files)
    lines = [
        f"{out}: {'SYNTHETIC ' if manifest.synthetic else ''}{manifest.name}",
        f"{counted(manifest.recordings, 'recording')}, {counted(manifest.samples, 'sample')}, "
        f"{counted(manifest.events, 'event')}, {stored_bytes / manifest.events:.2f} bytes an event, "
        f"{counted(len(manifest.warnings), 'warning')}",
        f"fingerprint {manifest.fingerprint}",
    ]
    if manifest.left_out:
        names = first_of([left.name for left in manifest.left_out], MAX_SHOWN)
        lines.insert(2, f"left out: {', '.join(names)}; see {out / WARNINGS}")
    return "\n".join(lines)
