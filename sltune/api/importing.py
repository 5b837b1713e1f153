"""Importing recordings: find the source, read it on this machine or on a cluster, and show the progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from sltune.api.datasets import Dataset, open_dataset
from sltune.errors import Interrupted, UsageError
from sltune.events.existing import refuse_dropping
from sltune.events.importing import Imported, import_source
from sltune.events.manifest import WARNINGS, Manifest
from sltune.events.orientation import ORIENTATIONS, Orientation
from sltune.events.source import Source
from sltune.events.sources.registry import DEFAULT, ImportOptions, open_source
from sltune.progress.notebook import console_for_call, in_notebook, notebook_live
from sltune.system.places import LOCAL, without_secrets
from sltune.tuning.cluster.environment import prepare_environment
from sltune.wording import first_of, printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sltune.events.importing import Spread

MAX_SHOWN = 10
"""The first warnings say enough; a file lists all of them."""


def import_recordings(  # noqa: PLR0913 - one for each flag of the verb
    source: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    kind: str = DEFAULT,
    root: str | os.PathLike[str] | None = None,
    group_by: str | None = None,
    sensor: str | None = None,
    time_unit: str | None = None,
    downsample: int = 1,
    orientation: Orientation | None = None,
    strict: bool = False,
    skip_bad: bool = False,
    replace: bool = False,
    address: str | None = None,
    progress: bool = True,
) -> Dataset:
    """Read recordings into a dataset that trials can train on; the same call again finishes an import that was stopped.

    >>> import sltune
    >>> len(sltune.import_recordings("recordings", "imported", progress=False))
    76

    Args:
        source: where the recordings lie; None for a source of Tonic's, whose place is ``root``. out: the dataset.
        kind: as ``sltune import --source`` takes it, such as "slanimals", "table", "folders" or "tonic:DVSGesture".
        root, group_by, sensor, time_unit, downsample, orientation, strict: as the flags of ``sltune import``, such as
            sensor="640x480".
        skip_bad: leave out samples that cannot be read; the manifest names them.
        replace: drop recordings from the dataset that the source no longer has.
        address: a Ray cluster whose nodes all see the source; None for this machine. progress: whether to show it.

    Raises:
        UsageError: the arguments contradict each other, out cannot be used, or recordings would be dropped from it.
        DataError: something cannot be read; names the places.
        Interrupted: the user stopped the import.
    """
    if "://" in os.fspath(out):
        raise UsageError(f"{without_secrets(os.fspath(out))!r} is a URI; {LOCAL}")
    place, at = (None if path is None else Path(path) for path in (source, root))
    options = ImportOptions(
        kind, at, group_by, sensor, time_unit, downsample, orientation, strict, skip_bad, replace, address, not progress
    )
    return _imported(place, Path(out), options, console_for_call(progress))


def _imported(place: Path | None, out: Path, options: ImportOptions, console: Console) -> Dataset:
    """Import a dataset as run_import does, and open it."""
    try:
        run_import(place, out, options, console)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same call goes on with the import") from None
    return open_dataset(out)


def run_import(place: Path | None, out: Path, options: ImportOptions, console: Console) -> Manifest:
    """Import a dataset and show progress and warnings on the console.

    Args:
        place: where the source lies; None if ``options.root`` says so, as for Tonic.

    Raises:
        UsageError: the options contradict each other, out cannot be used, or recordings would be dropped from it.
        DataError: something cannot be read.
    """
    source = _with_options(open_source(options, place), options)
    if not options.replace:
        refuse_dropping(source, out)
    with _spread(options, console) as spread, _display(source, options.quiet, console) as done:
        manifest = import_source(source, out, options.strict, options.skip_bad, done, spread)
    warnings = [f"warning: {warning}" for warning in manifest.warnings]
    for line in first_of(warnings, MAX_SHOWN, f"; see {out / WARNINGS}"):
        _print(line, console)
    return manifest


def _with_options(source: Source, options: ImportOptions) -> Source:
    """Return a source whose pixels are merged, and which lies, as the options say.

    Raises:
        UsageError: they name what there is not.
    """
    orientation = options.orientation or source.orientation
    if orientation not in ORIENTATIONS:
        raise UsageError(f"orientation must be one of {', '.join(ORIENTATIONS)}, but got {orientation!r}")
    if options.downsample < 1:
        raise UsageError(f"downsample must be at least 1, but got {options.downsample}")
    return replace(source, orientation=orientation, downsample=options.downsample * source.downsample)


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
    """Show a progress bar on a terminal and in a notebook, and otherwise a line for each file."""
    if quiet or not (console.is_terminal or in_notebook()):
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
    progress = Progress(*columns, console=console, transient=True)
    with notebook_live(progress.get_renderable) if in_notebook() else progress:
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
