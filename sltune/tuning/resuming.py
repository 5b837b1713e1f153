"""Going on with a run, of whatever kind it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sltune.errors import Interrupted, UsageError
from sltune.runs.folder import RunFolder
from sltune.runs.info import RunInfo, read_info, resume_command
from sltune.settings.space import Space, load_space
from sltune.system.places import Database
from sltune.system.remote import AnyPath
from sltune.system.supervisor import last_word, note_run
from sltune.tuning.continuity import refuse_unnamed_places
from sltune.wording import as_argument

if TYPE_CHECKING:
    # What follows brings Ray and Optuna, which a command that is wrong need not wait for.
    from sltune.progress.display import Display
    from sltune.tuning.cluster.resources import Request
    from sltune.tuning.preparation import Kind


@dataclass(frozen=True)
class Changes:
    """What a run is to do beyond what it began with.

    budgets: new totals of a search by their keys in [search], trials and trainings. retry_failed: also train the trials
    that failed once more. database: where the study of a search is; None for the run folder. seeds: all seeds of an
    evaluation, those that it has and new ones; None for those that it has. folds: those of an evaluation that are
    trained now, from 0; None for all. The others are left for later.
    """

    budgets: Mapping[str, int] = field(default_factory=dict)
    retry_failed: bool = False
    database: Database | None = None
    seeds: Sequence[int] | None = None
    folds: Sequence[int] | None = None


def resume_run(
    run: Path, data: AnyPath | None, request: Request, display: Display, changes: Changes = Changes()
) -> None:
    """Go on with a run.

    Args:
        data: where the dataset lies now; None for where it lay when the run began.

    Raises:
        SltuneError: as preparation.resume does.
        UsageError: the changes do not suit the run, or a place outside of its folder has to be named again.
    """
    folder = RunFolder(run)
    info = read_info(folder)
    space = unchecked_space(folder, info, request, changes)
    note_run(resume_command(folder))
    try:
        if info.is_nested:
            from sltune.tuning.nested import resume_nested

            resume_nested(folder, data, request, display, changes.retry_failed)
            return
        from sltune.tuning.preparation import resume

        resume(_kind_of(info, space, changes), folder, data, request, display)
    except KeyboardInterrupt:
        # While Ray starts, say, long after there is a run.
        raise Interrupted(last_word("interrupted", resume_command(folder))) from None


def unchecked_space(folder: RunFolder, info: RunInfo, request: Request, changes: Changes) -> Space:
    """Return the space with which a run goes on, which is still to be compared with that of its beginning.

    Raises:
        UsageError: as resume_run does.
    """
    _refuse_unsuited(info, folder.root, changes)
    refuse_unnamed_places(folder, info, changes.database, request.checkpoints)
    return _with_seeds(load_space(folder.space_toml), folder, changes)


def _refuse_unsuited(info: RunInfo, run: Path, changes: Changes) -> None:
    """Raise a UsageError if changes do not suit a kind of run."""
    database = changes.database
    if info.kind != "evaluate" and (changes.seeds or changes.folds):
        seeds = f" --set 'evaluation.seeds={list(changes.seeds or (0, 1, 2))}'"
        text = f"{run} is a search, whose seeds and folds stay as they are; its best configuration can have others"
        raise UsageError(f"{_flags(changes)}: {text}: sltune evaluate --from {as_argument(run)} --data DATA{seeds}")
    if database is not None and database.named and (info.study is None or info.study.storage is None):
        raise UsageError(f"--study-storage: {run} has no study in a database; leave this option out")
    if not changes.budgets:
        return
    flags = " ".join(f"--{name} {number}" for name, number in changes.budgets.items())
    if info.is_nested or info.outer_fold is not None:
        raise UsageError(f"{flags}: what a nested search has tested must not be chosen anew; begin a new one")
    if not info.is_search:
        raise UsageError(f"{flags}: {run} is no search; to train more seeds, add them: --seeds 0,1,2")


def _with_seeds(space: Space, folder: RunFolder, changes: Changes) -> Space:
    """Return the space of an evaluation with the seeds that it is to have.

    Raises:
        UsageError: a seed would be lost, or there are no such seeds or folds.
    """
    evaluation, run = space.evaluation, folder.root
    if changes.folds is not None and not set(changes.folds) <= set(range(evaluation.folds)):
        text = f"{_flags(changes)}: {run} has the folds 0 to {evaluation.folds - 1}"
        if evaluation.draws_folds:
            text += "; another number of folds is another split, which takes a new run"
            text += ": sltune evaluate … --set evaluation.folds=N"
        raise UsageError(text)
    if changes.seeds is None:
        return space
    if missing := [seed for seed in evaluation.seeds if seed not in changes.seeds]:
        every = ",".join(map(str, dict.fromkeys([*evaluation.seeds, *changes.seeds])))
        text = f"{run} has trials of the seeds {', '.join(map(str, missing))}, and none are taken away"
        raise UsageError(f"{_flags(changes)}: {text}; name all seeds: --seeds {every}")
    return load_space(folder.space_toml, [f"evaluation.seeds={list(changes.seeds)}"])


def _flags(changes: Changes) -> str:
    given = {"--seeds": changes.seeds, "--folds": changes.folds}
    return " ".join(f"{flag} {','.join(map(str, numbers))}" for flag, numbers in given.items() if numbers is not None)


def _kind_of(info: RunInfo, space: Space, changes: Changes) -> Kind:
    """Return what an earlier run does."""
    if info.is_search:
        from sltune.tuning.tune import Tune

        budgets, again = changes.budgets, changes.retry_failed
        return Tune(space, changes.database, budgets=budgets, retry_failed=again, outer_fold=info.outer_fold)
    from sltune.tuning.evaluate import Evaluate

    return Evaluate(space, changes.retry_failed, changes.folds)
