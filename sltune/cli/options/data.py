"""Flags of the verbs that read and show data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sltune.cli.options.shared import FileArgument, UnicodePath, bundle
from sltune.errors import UsageError
from sltune.events.orientation import ORIENTATIONS
from sltune.events.sources.registry import DEFAULT, ImportOptions, source_help
from sltune.system.remote import path_or_uri

if TYPE_CHECKING:
    from sltune.events.views.pictures import Span


class _DataPath(UnicodePath):
    """A folder, or a URI that Arrow opens."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and "://" in value:
            return path_or_uri(value, param.human_readable_name if isinstance(param, click.Argument) else "--data")
        return super().convert(value, param, ctx)


DataArgument = _DataPath(path_type=Path, file_okay=False)


@dataclass(frozen=True)
class PictureOptions:
    """Which part of a sample a picture shows, how large, and where it goes."""

    out: Path | None
    bin_ms: int
    start_ms: int
    length_ms: int | None
    scale: int
    force: bool

    def span(self) -> Span:
        """Return the part of a sample that the flags ask for."""
        from sltune.events.views.pictures import Span

        return Span(self.bin_ms, self.start_ms, self.length_ms)

    def file(self, stem: str, suffixes: tuple[str, ...]) -> Path:
        """Return the file to write: the one of --out, or STEM.png in the current folder.

        Raises:
            UsageError: it exists already, or does not end in one of the suffixes.
        """
        file = self.out or Path(f"{stem.replace('/', '_')}.png")
        if file.suffix.lower() not in suffixes:
            raise UsageError(f"{file}: must end in {' or '.join(suffixes)}")
        if file.exists() and not self.force:
            raise UsageError(f"{file}: exists; choose another --out, or overwrite it with --force")
        return file


import_options = bundle(
    ImportOptions,
    "options",
    click.option("--source", "kind", default=DEFAULT, show_default=True, metavar="KIND", help=source_help()),
    click.option("--root", type=FileArgument, help="table, tonic: the folder from which paths count."),
    click.option("--group-by", metavar="FIELD", help="What folds keep together: a column, folder, sample, path:REGEX."),
    click.option("--sensor", metavar="WxH", help="The camera's pixels, if its files do not say."),
    click.option("--time-unit", metavar="U", help="Unit of times, if a format leaves it open: s, ms, us, ns."),
    click.option(
        "--downsample", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Merge N×N pixels."
    ),
    click.option("--orientation", type=click.Choice(ORIENTATIONS), help="How frames lie, if SRC does not know it."),
    click.option("--strict", is_flag=True, help="Treat every warning as an error."),
    click.option("--skip-bad", is_flag=True, help="Leave out samples that cannot be read; the manifest names them."),
    click.option("--replace", is_flag=True, help="Drop recordings from DATA that SRC no longer has."),
    click.option(
        "--address", help="A Ray cluster whose nodes all see SRC; without it, all cores that may be used here."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
)
picture_options = bundle(
    PictureOptions,
    "options",
    click.option("--out", type=FileArgument, metavar="FILE", help="FILE.png or .gif; default: SAMPLE.png"),
    click.option("--bin-ms", type=click.IntRange(min=1), default=30, show_default=True, help="Length of a frame."),
    click.option(
        "--start-ms", type=click.IntRange(min=0), default=0, show_default=True, help="Leave out what comes earlier."
    ),
    click.option("--length-ms", type=click.IntRange(min=1), help="How long after that the picture ends."),
    click.option(
        "--scale", type=click.IntRange(1, 8), default=4, show_default=True, help="How much pixels are enlarged."
    ),
    click.option("--force", is_flag=True, help="Overwrite the file."),
)
