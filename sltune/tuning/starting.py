"""Beginning an evaluation or a search, of a space that is bound to its dataset here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sltune.errors import UsageError
from sltune.system.places import STUDY_STORAGE, Database
from sltune.system.remote import AnyPath

if TYPE_CHECKING:
    # What follows brings Ray and Optuna, which a command that is wrong need not wait for.
    from sltune.progress.display import Display
    from sltune.runs.folder import RunFolder
    from sltune.settings.space import Space
    from sltune.tuning.cluster.resources import Request


@dataclass(frozen=True)
class NewSearch:
    """How a search begins.

    earlier: a run whose records it learns from. database: where its study is; None for the run folder. is_nested:
    whether to search in each outer fold without its test signers.

    Raises:
        UsageError: a nested search cannot begin so.
    """

    earlier: RunFolder | None = None
    database: Database | None = None
    is_nested: bool = False

    def __post_init__(self) -> None:
        if self.is_nested and self.earlier is not None:
            text = "an earlier run has seen the signers on whom a nested search tests; leave it out"
            raise UsageError(f"--from {self.earlier.root} with --nested: {text}")
        if self.is_nested and self.database is not None:
            text = f"a nested search has a study in each of its folders; leave it out, and unset {STUDY_STORAGE}"
            raise UsageError(f"--study-storage with --nested: {text}")


def start_evaluation(space: Space, data: AnyPath, folder: RunFolder, request: Request, display: Display) -> None:
    """Evaluate a configuration in a new run folder; raises as preparation.start does."""
    from sltune.tuning.evaluate import Evaluate
    from sltune.tuning.preparation import start

    start(Evaluate(_bound(space, data)), data, folder, request, display)


def start_search(
    space: Space, data: AnyPath, folder: RunFolder, request: Request, display: Display, new: NewSearch
) -> None:
    """Search a space in a new run folder; raises as preparation.start does.

    Raises:
        ConfigError: nothing is searched.
    """
    space = _bound(space, data)
    if new.is_nested:
        from sltune.tuning.nested import start_nested

        start_nested(space, data, folder, request, display)
        return
    from sltune.tuning.preparation import start
    from sltune.tuning.tune import Tune

    start(Tune(space, new.database, new.earlier), data, folder, request, display)


def check_evaluation(space: Space, data: AnyPath, folder: RunFolder, request: Request, display: Display) -> None:
    """Refuse an evaluation as start_evaluation does, but for what only the nodes can tell; nothing is written."""
    from sltune.tuning.checking import check_start
    from sltune.tuning.evaluate import Evaluate

    check_start(Evaluate(_bound(space, data)), data, folder, request, display)


def check_search(
    space: Space, data: AnyPath, folder: RunFolder, request: Request, display: Display, new: NewSearch
) -> None:
    """Refuse a search as start_search does, but for what only the nodes can tell; nothing is written."""
    from sltune.tuning.checking import check_start
    from sltune.tuning.nested import Nested
    from sltune.tuning.tune import Tune

    space = _bound(space, data)
    nested = Nested(space, data, folder, request, display) if new.is_nested else None
    check_start(nested or Tune(space, new.database, new.earlier), data, folder, request, display)


def _bound(space: Space, data: AnyPath) -> Space:
    """Return the space with what only its dataset tells; raises as splits.split.bound does."""
    from sltune.events.dataset import open_dataset
    from sltune.events.splits.split import bound

    return bound(space, open_dataset(data).samples.recordings())
