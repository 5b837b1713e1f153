"""The verb ``report``: print tables on the terminal, or write a page of tables and plots to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from sltune.cli.messages import say
from sltune.errors import UsageError
from sltune.report.inference.equivalence import EQUIVALENCE_POINTS
from sltune.wording import printable_lines

if TYPE_CHECKING:
    from sltune.report.analysis.runs import Run
    from sltune.report.analysis.summary import Table
    from sltune.report.tables.text import Format
    from sltune.report.writing.styles import Style


@dataclass(frozen=True)
class ReportOptions:
    """What a report shows, and where it goes.

    form: md, csv, latex, json or html. every: show all configurations of a search, not only the best. style: None for
    the one that fits the format. labels: what a paper calls runs or configurations, by their names. energy: picojoules
    of operations, as EnergyTable reads them. out: a file instead of the terminal.
    """

    form: Format | Literal["html"]
    ddof: int = 1
    published: bool = True
    every: bool = False
    baseline: str = ""
    equivalence: float = EQUIVALENCE_POINTS
    style: Style | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    energy: str = ""
    plots: bool = False
    out: Path | None = None

    @property
    def chosen_style(self) -> Style:
        """The style that was asked for, or else what readers of the format want; --all asks for all tables."""
        usual: dict[str, Style] = {"md": "answers", "latex": "paper"}
        return self.style or ("full" if self.every else usual.get(self.form, "full"))


def make_report(folders: Sequence[Path], options: ReportOptions) -> Table:
    """Print or write the report, and return its table. For a single run, tables are also written into its folder.

    Raises:
        UsageError: a file cannot be written, --out is needed, or the format has no such style.
        DataError: a folder is not a run folder, or a file in it is foreign, broken or of a newer schema.
    """
    from sltune.report.analysis.costs import with_energy
    from sltune.report.analysis.runs import load_runs
    from sltune.report.analysis.summary import table
    from sltune.settings.energy import EnergyTable

    for folder in folders:
        _refuse_inside_run(folder, options.out)
    if options.out is None and len(folders) > 1 and (options.plots or options.form == "html"):
        raise UsageError("a page or plots of several runs need a place; name it with --out FILE")
    energies = EnergyTable.parse(options.energy) if options.energy else None
    runs = [with_energy(run, energies) if energies else run for run in load_runs(folders)]
    result = table(runs, options.ddof, options.published, options.every, options.baseline, options.equivalence)
    if options.form == "html":
        click.echo(printable_lines(str(_write_page(runs, result, options.out, options.baseline))))
    else:
        _print_table(runs, result, options.form, options)
    if options.plots:
        _draw_plots(runs, options.out)
    if len(runs) == 1:
        _write_tables(runs[0], result)
    return result


def runs_in(paths: Sequence[Path]) -> list[Path]:
    """Return the folders of runs among some paths: those that are runs, and the runs directly below other folders.

    What stands beside runs, as ``results/*`` names it, is left aside where there is a run.
    """
    from sltune.report.publishing.unpacking import is_archive
    from sltune.runs.folder import RunFolder

    found: list[Path] = []
    for path in paths:
        below = [] if RunFolder(path).run_json.exists() else sorted(path.glob("*/run.json"))
        found += [file.parent for file in below] or [path]
    return [path for path in found if path.is_dir() or is_archive(path)] or found


def say_selection(result: Table) -> None:
    """Say on stderr what the test means of searches' winners are worth: tables say less, as programs read them."""
    from sltune.runs.commands import selected
    from sltune.settings.sections import DRAWN

    groups = dict.fromkeys(row.group for row in result.rows if row.n and row.group.chosen_from > 1)
    for group in groups:
        offer = "; sltune tune … --nested gives an unbiased figure" if group.split in DRAWN else ""
        say(f"{group.label}: {selected(group.chosen_from, group.is_one_fold)}{offer}")


def write_page_of(folders: Sequence[Path], file: Path) -> None:
    """Write a page on some runs and say on stderr where it is; raises what ``make_report`` raises."""
    from sltune.report.analysis.runs import load_runs
    from sltune.report.analysis.summary import table

    runs = load_runs(folders)
    say(f"all of it with plots: {_write_page(runs, table(runs), file)}")


def watch_runs(folders: Sequence[Path], options: ReportOptions) -> None:
    """Show the progress of runs.

    Raises:
        UsageError: the options ask for something that only tables have.
    """
    if options.form not in ("md", "json"):
        raise UsageError(f"--format {options.form}: is for tables; --watch shows a board, or lines of --format json")
    if options.out or options.plots:
        raise UsageError("--watch writes nothing: leave out --out and --plots")
    from rich.console import Console

    from sltune.progress.display import Display
    from sltune.progress.watch import watch

    console = Console(emoji=False)
    mode = "json" if options.form == "json" else "live" if console.is_terminal else "lines"
    watch(folders, Display(console, mode))


def _refuse_inside_run(folder: Path, out: Path | None) -> None:
    """Raise a UsageError if --out would write among a run's own files."""
    from sltune.runs.folder import RunFolder

    if out is None:
        return
    root, report = folder.resolve(), RunFolder(folder).report.resolve()
    if out.resolve().is_relative_to(root) and not out.resolve().is_relative_to(report):
        raise UsageError(f"--out {out}: lies among the files of a run; those of a report go to {report}")


def _print_table(runs: Sequence[Run], result: Table, form: Format, options: ReportOptions) -> None:
    from sltune.report.writing.styles import styled

    text = styled(runs, result, form, options.chosen_style, options.baseline, options.labels)
    if options.out is None:
        click.echo(text, nl=False)
    else:
        _write(runs, options.out, text)
        say(f"written: {options.out}")
    if options.chosen_style == "paper" and form == "latex":
        _write_bibliography(runs, result, options)


def _write_bibliography(runs: Sequence[Run], result: Table, options: ReportOptions) -> None:
    """Write the references of a paper beside it: beside --out, or into the folder of a single run's report."""
    from sltune.report.writing.paper import BIBLIOGRAPHY, Paper

    if options.out is None and len(runs) > 1:
        say(f"{BIBLIOGRAPHY} needs a place; name that of the table with --out FILE")
        return
    file = _target(runs, options.out)[0].with_name(BIBLIOGRAPHY)
    _write(runs, file, Paper(runs, result, options.labels, options.baseline).bibliography())
    say(f"references: {file}")


def _write_page(runs: Sequence[Run], result: Table, out: Path | None, reference: str = "") -> Path:
    from sltune.api.worst_samples import worst_of
    from sltune.report.all_plots import plots
    from sltune.report.page import page
    from sltune.report.trial_pages import trial_pages

    return _write(runs, out, page(runs, result, plots(runs), trial_pages(runs, worst_of), reference))


def _write(runs: Sequence[Run], out: Path | None, text: str) -> Path:
    """Write a text where the user wants it, and return the file."""
    from sltune.system.files import named_by_user, write_whole

    file, inside = _target(runs, out)
    write_whole(named_by_user(file) if inside is None else file, text, inside)
    return file


def _draw_plots(runs: Sequence[Run], out: Path | None) -> None:
    from sltune.report.all_plots import plots
    from sltune.report.plots.plot import write_plots
    from sltune.report.plots.style import COLUMN_INCHES, PAGE_INCHES

    file, inside = _target(runs, out)
    files = write_plots(file.parent, plots(runs, COLUMN_INCHES), inside)
    write_plots(file.parent, plots(runs, PAGE_INCHES), inside, "-wide")
    widths = f"{COLUMN_INCHES} inches wide, and as NAME-wide {PAGE_INCHES} inches"
    say(f"plots in {file.parent}: {len({file.stem for file in files})}, each as PDF, SVG and PNG, {widths}")


def _target(runs: Sequence[Run], out: Path | None) -> tuple[Path, Path | None]:
    """Return the file for a page and, if it lies in a run folder, that folder: no link is followed in there."""
    from sltune.runs.folder import RunFolder

    if out is None:
        folder = RunFolder(runs[0].folder)
        return folder.report / "report.html", folder.root
    root = next((run.folder.absolute() for run in runs if out.absolute().is_relative_to(run.folder.absolute())), None)
    return (out, None) if root is None else (out.absolute(), root)


def _write_tables(run: Run, result: Table) -> None:
    from sltune.report.records import write_records
    from sltune.report.tables.text import write_report

    try:
        write_report(run.folder, result)
        write_records(run)
    except UsageError as error:
        # Somebody else's run may be read-only. The table was printed all the same.
        say(f"warning: {error}")
