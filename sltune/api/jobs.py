"""Evaluating, searching and going on with runs from Python, by the same engine as the command line."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from sltune.api.datasets import Dataset
from sltune.api.runs import Run
from sltune.api.spaces import Overrides, SpaceLike, load_space
from sltune.errors import Interrupted, UsageError
from sltune.progress.notebook import display_for_call
from sltune.runs.folder import RunFolder, new_folder
from sltune.settings.space import Space
from sltune.system.places import STUDY_STORAGE, Database, database_named
from sltune.system.remote import AnyPath, path_or_uri
from sltune.tuning.cluster.environment import came_too_late, prepare_environment
from sltune.tuning.cluster.resources import Request
from sltune.tuning.resuming import Changes, resume_run
from sltune.tuning.starting import NewSearch, start_evaluation, start_search

DEFAULT_RESULTS = "results"

_at_work = threading.Lock()


class TrialOptions(TypedDict, total=False):
    """What trials run with; each is a flag of ``sltune evaluate``.

    device: "auto", "cpu" or "cuda". address: a Ray cluster to run on; without it, a Ray that is running in this process
    is used and left as it is, or a local one is started and stopped. cpus_per_trial: 1 by default;
    None measures it where there is no GPU. gpus_per_trial: 0, 1/k or a whole number; None, the default, measures it.
    max_concurrent: how many trials run at once, at most.
    checkpoints: where workers keep the state of trials, instead of the run folder. checkpoint_minutes: the least time
    between two of a trial. hang_minutes: after this time without an epoch, a trial is restarted. details: keep
    histograms of weights and a picture of spikes for TensorBoard. keep_weights: whose weights stay in the run folder:
    those of the "best" configuration and the Pareto front, as of a search by default, "all", or "none".
    """

    device: Literal["auto", "cpu", "cuda"]
    address: str | None
    cpus_per_trial: float | None
    gpus_per_trial: float | None
    max_concurrent: int | None
    checkpoints: str | None
    checkpoint_minutes: float
    hang_minutes: float
    details: bool
    keep_weights: Literal["best", "all", "none"] | None


class SearchOptions(TrialOptions, total=False):
    """How a search begins, beside what its trials run with.

    nested: search in each outer fold without its test subjects, which gives an unbiased table. earlier: a run whose
    records the search learns from. study_storage: a database for Optuna's study, by its URL or as "@FILE".
    """

    nested: bool
    earlier: Run | str | os.PathLike[str] | None
    study_storage: str | None


class ResumeOptions(TrialOptions, total=False):
    """What a run is to do beyond what it began with.

    seeds: all seeds of an evaluation, those that it has and new ones. folds: those of an evaluation that are trained
    now, from 0; the others are left for later. trials, trainings: new totals of a search. retry_failed: also train the
    trials that failed once more. study_storage: the database of its study, if that is not in the run folder.
    """

    seeds: Sequence[int] | None
    folds: Sequence[int] | None
    trials: int | None
    trainings: int | None
    retry_failed: bool
    study_storage: str | None


def evaluate(
    space: SpaceLike,
    data: Dataset | str | os.PathLike[str],
    *,
    overrides: Overrides = (),
    run: str | None = None,
    results: str | os.PathLike[str] = DEFAULT_RESULTS,
    progress: bool = True,
    **options: Unpack[TrialOptions],
) -> Run:
    """Train and test a configuration on all folds and seeds, in a new run folder.

    >>> import sltune
    >>> run = sltune.evaluate("tiny.toml", "data", overrides={"training.epochs": 1}, run="once", progress=False)
    >>> run.records()["status"].tolist()
    ['done', 'done']

    Args:
        space: a path, a dict, or what `load_space` returns; nothing in it is searched.
        data: a dataset, or its folder.
        overrides: changes of the space, such as {"training.epochs": 10}.
        run: the name of the run; None for that of the space and the time.
        results: the folder that holds the run's.
        progress: show it; without it, messages go to the logger "sltune".
        options: what trials run with; see `TrialOptions`.

    Raises:
        ConfigError: the space is wrong, or searches something.
        UsageError: the run exists, an option is not allowed, no node can run such trials, or another call is training.
        DataError: the dataset or weights cannot be read, or there are too few subjects.
        SomeTrialsFailed, NothingRan: by how many trials have a result; the run folder holds those.
        Interrupted: the user stopped the run, which `resume` continues.
    """
    fixed, request = load_space(space, overrides), Request(**options)
    folder = new_folder(Path(results), run, _stem(fixed))
    with _engine(request):
        start_evaluation(fixed, _folder(data), folder, request, display_for_call(progress))
    return Run(folder.root)


def tune(
    space: SpaceLike,
    data: Dataset | str | os.PathLike[str],
    *,
    overrides: Overrides = (),
    run: str | None = None,
    results: str | os.PathLike[str] = DEFAULT_RESULTS,
    progress: bool = True,
    **options: Unpack[SearchOptions],
) -> Run:
    """Search a space for the configuration with the highest validation accuracy, in a new run folder.

    >>> import sltune
    >>> searched = {"training.learning_rate": {"choices": [0.001, 0.01]}, "search.trainings": 4}
    >>> run = sltune.tune("tiny.toml", "data", overrides=searched, run="search", progress=False)
    >>> run.best in ("c0000", "c0001")
    True

    Args:
        space: as for `evaluate`, with a domain for each setting that is searched.
        overrides: changes of the space; "search.trainings", "search.trials" and "search.max_hours" are its budgets.
        options: how the search begins, and what trials run with; see `SearchOptions`.

    Raises:
        SltuneError: as `evaluate` does.
        ConfigError: the space is wrong, or nothing in it is searched.
    """
    of_trials = dict[str, Any](options)
    nested, earlier = of_trials.pop("nested", False), of_trials.pop("earlier", None)
    database = _database(of_trials.pop("study_storage", None))
    searched, request = load_space(space, overrides), Request(**of_trials)
    searched.required_search()
    learned = None if earlier is None else RunFolder(earlier.path if isinstance(earlier, Run) else Path(earlier))
    folder, new = new_folder(Path(results), run, _stem(searched)), NewSearch(learned, database, nested)
    with _engine(request):
        start_search(searched, _folder(data), folder, request, display_for_call(progress), new)
    return Run(folder.root)


def resume(
    run: Run | str | os.PathLike[str],
    *,
    data: Dataset | str | os.PathLike[str] | None = None,
    progress: bool = True,
    **options: Unpack[ResumeOptions],
) -> Run:
    """Go on with an interrupted run, or have it do more: what has ended is kept.

    >>> import sltune
    >>> run = sltune.evaluate("tiny.toml", "data", run="grown", progress=False)
    >>> run = sltune.resume(run, seeds=[0, 1], progress=False)
    >>> run.records()["seed"].tolist()
    [0, 0, 1, 1]

    Args:
        run: a run, or its folder.
        data: the dataset, if it has moved.
        options: what the run is to do beyond what it began with, and what trials run with; see `ResumeOptions`.

    Raises:
        SltuneError: as `evaluate` does.
        DataError: the folder is no run folder, or the dataset is not that of the run.
    """
    of_trials = dict[str, Any](options)
    budgets = {name: of_trials.pop(name, None) for name in ("trials", "trainings")}
    changes = Changes(
        {name: number for name, number in budgets.items() if number is not None},
        of_trials.pop("retry_failed", False),
        _database(of_trials.pop("study_storage", None)),
        of_trials.pop("seeds", None) or None,
        of_trials.pop("folds", None) or None,
    )
    opened, request = run if isinstance(run, Run) else Run(Path(run)), Request(**of_trials)
    with _engine(request):
        resume_run(opened.path, None if data is None else _folder(data), request, display_for_call(progress), changes)
    return opened


@contextmanager
def _engine(request: Request) -> Iterator[None]:
    """Hold what only one call of a process may use at a time: Ray, and the environment that it reads.

    Raises:
        UsageError: another call uses it.
        Interrupted: the user stopped what was done within the block.
    """
    if not _at_work.acquire(blocking=False):
        raise UsageError("another call is training in this process; wait for it, or use another process")
    # Taken out of the environment, which Ray's processes inherit, but the next call needs it again.
    storage = os.environ.get(STUDY_STORAGE)
    try:
        if request.address is None and came_too_late():
            text = "was imported before sltune's first call, which could not start a private one any more"
            raise UsageError(
                f"Ray {text}; restart Python and import it later, or call ray.init(): that one is used then"
            )
        prepare_environment(request.address)
        yield
    except KeyboardInterrupt:
        # Before there was a run; later ones say how to go on.
        raise Interrupted("interrupted") from None
    finally:
        if storage is not None:
            os.environ[STUDY_STORAGE] = storage
        _at_work.release()


def _database(named: str | None) -> Database | None:
    """Return the database that an argument or the environment names; raises as database_named does."""
    from_environment = None if named is not None else os.environ.get(STUDY_STORAGE)
    if from_environment is not None:
        return database_named(from_environment, from_environment=True)
    return None if named is None else database_named(named)


def _folder(data: Dataset | str | os.PathLike[str]) -> AnyPath:
    return data.root if isinstance(data, Dataset) else path_or_uri(data)


def _stem(space: Space) -> str:
    """Return what a run of a space is called: the stem of its file."""
    return Path(space.source.partition(" --set ")[0]).stem
