"""The verb ``import``: find the source, read it on this machine or on a cluster, and show the progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from sltune.cli.data_options import ImportOptions
from sltune.events.existing import refuse_dropping
from sltune.events.importing import Imported, import_source
from sltune.events.manifest import WARNINGS, Manifest
from sltune.events.source import Source
from sltune.events.sources.registry import open_source
from sltune.tuning.cluster.environment import prepare_environment
from sltune.wording import first_of, printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sltune.events.importing import Spread

MAX_SHOWN = 10
"""The first warnings, and the first samples that are left out, say enough; a file lists all of them."""


def run_import(place: Path | None, out: Path, options: ImportOptions, console: Console) -> Manifest:
    """Import a dataset and show progress and warnings on the console.

    Args:
        place: where the source lies; None if ``options.root`` says so, as for Tonic.

    Raises:
        UsageError: the options contradict each other, out cannot be used, or recordings would be dropped from it.
        DataError: something cannot be read.
    """
    source = open_source(options.kind, place, options.root, options.group_by)
    if not options.replace:
        refuse_dropping(source, out)
    with _spread(options, console) as spread, _display(source, options.quiet, console) as done:
        manifest = import_source(source, out, options.strict, options.skip_bad, done, spread)
    warnings = [f"warning: {warning}" for warning in manifest.warnings]
    for line in first_of(warnings, MAX_SHOWN, f"; see {out / WARNINGS}"):
        _print(line, console)
    return manifest


def summary(out: Path, manifest: Manifest) -> str:
    """Return what was imported, in three or four lines."""
    stored_bytes = sum((out / file.file).stat().st_size for file in manifest.files)
    lines = [
        f"{out}: {'SYNTHETIC ' if manifest.synthetic else ''}{manifest.name}",
        f"{manifest.recordings} recordings, {manifest.samples} samples, {manifest.events:,} events, "
        f"{stored_bytes / manifest.events:.2f} bytes an event, {len(manifest.warnings)} warnings",
        f"fingerprint {manifest.fingerprint}",
    ]
    if manifest.left_out:
        names = first_of([left.name for left in manifest.left_out], MAX_SHOWN)
        lines.insert(2, f"left out: {', '.join(names)}; see {out / WARNINGS}")
    return "\n".join(lines)


def _print(line: str, console: Console) -> None:
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _spread(options: ImportOptions, console: Console) -> AbstractContextManager[Spread | None]:
    """Spread the import over a Ray cluster, if the options name one."""
    if options.address is None:
        return nullcontext()
    prepare_environment(options.address)
    # Ray reads its environment when it is imported.
    from sltune.tuning.cluster.importing import import_spread

    return import_spread(options.address, lambda text: None if options.quiet else _print(text, console))


@contextmanager
def _display(source: Source, quiet: bool, console: Console) -> Iterator[Callable[[Imported], None]]:
    """Show a progress bar on a terminal, and otherwise a line for each file."""
    if quiet or not console.is_terminal:
        yield lambda done: None if quiet else _print(_line(done), console)
        return
    sizes = {file.name: max(1, file.size) for file in source.files}
    columns = (
        TextColumn("importing {task.fields[files]} of {task.fields[of]}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=sum(sizes.values()), files=0, of=len(sizes))

        def show_bar(done: Imported) -> None:
            files = progress.tasks[task].fields["files"] + 1
            progress.update(task, advance=sizes[done.name], files=files)

        yield show_bar


def _line(done: Imported) -> str:
    if done.stored is None:
        return f"{done.name}: could not be read"
    state = "unchanged" if done.reused else "imported"
    return f"{done.name}: {done.stored.samples} samples, {done.stored.events:,} events, {state}"
