"""The split that the settings of an evaluation ask for, bound to a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sltune.errors import ConfigError, DataError
from sltune.events.samples import RecordingInfo
from sltune.events.splits.folds import one_subject_folds, plain_folds, stratified_folds
from sltune.events.splits.lists import Lists, Names, find_lists, read_lists
from sltune.events.splits.official import official_fold
from sltune.events.splits.parts import Fold, Split, by_subject, refuse_sessions, select_sessions, sessions_of
from sltune.runs.folder import RunFolder
from sltune.runs.record import EARLIER_SESSIONS
from sltune.settings.configuration import Configuration
from sltune.settings.search import too_few_trainings
from sltune.settings.sections import Evaluation
from sltune.settings.space import Space, load_space
from sltune.settings.types import MAX_FOLDS
from sltune.wording import as_toml, first_of

MAX_SHOWN_RECORDINGS = 5
"""Half of a dataset may be left out; the first few show which."""


def split_of(
    configuration: Configuration,
    recordings: Sequence[RecordingInfo],
    fold: int,
    seed: int,
    outer_fold: int | None = None,
    lists: Lists | None = None,
) -> Split:
    """Return the parts that one trial trains, validates and tests on.

    Args:
        recordings: those of the whole dataset.
        outer_fold: the fold of the same configuration whose test signers are left out, before the others are split by
            the same rules; None leaves out none.
        lists: those that the configuration names.

    Raises:
        DataError: the sessions or folds that the configuration asks for are not to be had from these recordings.
    """
    evaluation = configuration.evaluation
    split_seed = evaluation.split_seed_for(seed)
    chosen = select_sessions(recordings, evaluation.sessions)
    if outer_fold is not None:
        tested = {one.name for one in _fold(evaluation, chosen, recordings, outer_fold, split_seed, lists).test}
        chosen = [one for one in chosen if one.name not in tested]
    found = _fold(evaluation, chosen, recordings, fold, split_seed, lists)
    split = found.parted(evaluation.validation_fraction, split_seed)
    # Plain folds have always drawn it so, and their records stay as they are.
    return replace(split, validation="") if evaluation.split == "folds" else split


def _fold(
    evaluation: Evaluation,
    chosen: Sequence[RecordingInfo],
    recordings: Sequence[RecordingInfo],
    fold: int,
    seed: int,
    lists: Lists | None,
) -> Fold:
    match evaluation.split:
        case "stratified":
            return stratified_folds(chosen, evaluation.folds, seed)[fold]
        case "official":
            return official_fold(chosen)
        case "leave-one-subject-out":
            return one_subject_folds(chosen)[fold]
        case "list":
            assert lists is not None, "whoever splits by lists has read them"
            return lists.fold_of(fold, chosen, Names.of(recordings))
    return plain_folds(chosen, evaluation.folds, seed)[fold]


def lists_of(space: Space) -> Lists | None:
    """Return the lists that a space names, of those of a run the copy in its folder; None where it names none.

    Raises:
        DataError: they cannot be found or read.
    """
    name = space.evaluation.split_lists
    if not name:
        return None
    if space.folder is None:
        return read_lists(find_lists(name, [Path()]))
    run = RunFolder(space.folder)
    if run.run_json.exists():
        own = load_space(run.space_toml).evaluation.split_lists
        # best.toml has the last part of a path alone.
        if name in (own, Path(own).name):
            return read_lists(run.split_lists)
    return read_lists(find_lists(name, [space.folder, Path()]))


def bound(space: Space, recordings: Sequence[RecordingInfo]) -> Space:
    """Return a space with what only a dataset tells: which sessions there are, and how many folds its split has.

    Raises:
        DataError: there is no such split of these recordings, or a session that the space names is not there.
        ConfigError: the space names another number of folds.
    """
    space = with_sessions(space, recordings)
    evaluation, lists = space.evaluation, lists_of(space)
    if evaluation.draws_folds:
        return space
    chosen = select_sessions(recordings, evaluation.sessions)
    folds = 1 if lists is None else len(lists.folds)
    if evaluation.split == "leave-one-subject-out":
        folds = len(by_subject(chosen))
    split = f"evaluation.split = {as_toml(evaluation.split)}"
    if folds > MAX_FOLDS:
        raise DataError(f"{split}: the dataset has {folds:,} subjects; at most {MAX_FOLDS} folds are possible")
    settings = {**space.settings, "evaluation.folds": folds}
    problems = list(too_few_trainings(space.search, settings)) if space.search else []
    if evaluation.folds not in (0, folds):
        text = f"evaluation.folds = {evaluation.folds}: {split} has {folds} here; leave folds out, or set 0"
        problems = [text, *problems]
    if problems:
        raise ConfigError(space.source, problems)
    return replace(space, settings=settings)


def with_sessions(space: Space, recordings: Sequence[RecordingInfo]) -> Space:
    """Return a space that names the sessions that are used; "all" if the dataset has none.

    Raises:
        DataError: a session that the space names is not there.
    """
    there, named = sessions_of(recordings), space.evaluation.sessions
    if named == "all":
        return replace(space, settings={**space.settings, "evaluation.sessions": there or "all"})
    # Runs of earlier versions name these, whatever the dataset has.
    is_earlier = not there and set(named) == set(EARLIER_SESSIONS)
    if not is_earlier and (lacking := [name for name in named if name not in there]):
        refuse_sessions(lacking, recordings)
    return space


def left_out(
    configuration: Configuration, recordings: Sequence[RecordingInfo], lists: Lists | None = None
) -> Iterator[str]:
    """Say which recordings of the used sessions are in no part of a fold."""
    evaluation = configuration.evaluation
    chosen = select_sessions(recordings, evaluation.sessions)
    if evaluation.split not in ("official", "list"):
        return
    texts = []
    for number in range(evaluation.folds):
        fold = _fold(evaluation, chosen, recordings, number, 0, lists)
        used = {one.name for one in (*fold.training, *fold.test)}
        if names := [one.name for one in chosen if one.name not in used]:
            shown = ", ".join(first_of(names, MAX_SHOWN_RECORDINGS))
            texts.append(f"recordings in no part of the split are left out ({len(names)}): {shown}")
    yield from dict.fromkeys(texts)
