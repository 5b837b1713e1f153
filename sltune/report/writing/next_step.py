"""What to run next, by what a section's results leave open."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from sltune.report.analysis.runs import Run
from sltune.report.analysis.summary import ReportSection
from sltune.report.tables.comparison import SIGNIFICANT
from sltune.report.writing.standing import Standing
from sltune.runs.commands import MIN_CONFIRMING_SEEDS, confirmation
from sltune.runs.folder import RunFolder
from sltune.wording import as_argument

WORTH_SHOWING_POINTS = 3.0
"""A gain that papers report as one."""
Step = tuple[str, str]
"""What to do, and its command; "" where there is none."""


def next_step(found: Standing, section: ReportSection, runs: Sequence[Run]) -> Step:
    """Return what would tell most."""
    of_best = [run for run in runs if found.best.group.run in (run.name, *(part.name for part in run.parts))]
    return next(_steps(found, section, runs, next(iter(of_best), runs[0])))


def _steps(found: Standing, section: ReportSection, runs: Sequence[Run], best: Run) -> Iterator[Step]:
    """Give what is left open, the most urgent first."""
    folders = [as_argument(_place(run)) for run in runs]
    for run in runs:
        failed = sum(record.went_wrong for record in run.records)
        left = len(run.left)
        if run.alive:
            yield f"wait: {run.name} is still running, trials left: {left}", ""
        if left and not run.info.ended:
            yield f"trials left: {left}", _command("resume", run)
        if failed:
            yield f"trials that failed: {failed}", _command("resume", run, "--retry-failed")
    group = found.best.group
    if group.chosen_from > 1 and best.info.outer_fold is None:
        used, data = {key.seed for key in best.planned}, best.info.dataset.folder_name
        command = confirmation(RunFolder(_place(best)).best_toml, data, best.name, used)
        yield "confirm it with fresh seeds, which have not chosen it", command
    if any(row.group == group for one in section.baselines for row in one.unbeaten):
        yield "a search, as a classifier without a network does as well", "sltune tune SPACE --data DATA"
    seeds = {one.seed for one in found.best.values}
    if len(seeds) < MIN_CONFIRMING_SEEDS and not best.info.is_search and not best.info.is_nested:
        wanted = ",".join(map(str, sorted({*seeds, *range(MIN_CONFIRMING_SEEDS)})[:MIN_CONFIRMING_SEEDS]))
        yield "more seeds, as so few cannot tell luck from skill", _command("resume", best, "--seeds", wanted)
    sure = found.comparison.answer if found.comparison else None
    if sure is not None and sure.p is not None and sure.p >= SIGNIFICANT:
        # Not the difference that was found: with that in its place, a plan only says again what p has said.
        points = f"{WORTH_SHOWING_POINTS:g}"
        command = shlex.join(["sltune", "plan", *folders, "--difference", points])
        yield f"no difference is shown; how many seeds, folds or signers would show one of {points} points", command
    if section.dataset.synthetic:
        yield "the same on real recordings", "sltune import RECORDINGS --out DATA"
    yield "write it up", shlex.join(["sltune", "report", *folders, "--style", "paper"])


def _command(verb: str, run: Run, *flags: str) -> str:
    return shlex.join(["sltune", verb, as_argument(_place(run)), *flags])


def _place(run: Run) -> Path:
    """Return a run's folder as it was typed, but without what would tell others about this machine."""
    return Path(run.folder.resolve().name) if run.folder.is_absolute() else run.folder
