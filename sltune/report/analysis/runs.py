"""Run folders, as the report reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sltune.errors import DataError
from sltune.runs.baselines import Baselines, TestedFold
from sltune.runs.folder import RunFolder, TrialFolder
from sltune.runs.info import RunInfo, read_info
from sltune.runs.record import DatasetInfo, Record, TrialKey
from sltune.runs.sharing import Sharing
from sltune.system.locks import seems_held


@dataclass(frozen=True)
class Run:
    """What one run folder holds: ``run.json``, the finished trials' records and the planned trials.

    begun: trials that have epochs but no record. alive: whether a process works on the run. parts: of pooled
    evaluations, each of them. baselines: None where the run has none.
    """

    name: str
    folder: Path
    info: RunInfo
    records: tuple[Record, ...]
    planned: tuple[TrialKey, ...]
    begun: frozenset[TrialKey] = frozenset()
    alive: bool = False
    parts: tuple[Run, ...] = ()
    baselines: Baselines | None = None

    @property
    def sharing(self) -> Sharing:
        """What makes its texts fit to be published."""
        return Sharing.of(self.info, self.records, self.folder)

    @property
    def best(self) -> str:
        """The configuration that run.json names as the best of a search; "" where there is none."""
        best = self.info.best
        return best if best is not None and any(key.config_id == best for key in self.planned) else ""

    @property
    def configurations(self) -> int:
        """How many configurations the run has begun."""
        return len({key.config_id for key in self.planned})

    @property
    def left(self) -> frozenset[TrialKey]:
        """The planned trials that have no record."""
        return frozenset(self.planned) - {record.key for record in self.records}

    def only(self, config_id: str) -> Run:
        """Return the run with this configuration alone."""
        records = tuple(record for record in self.records if record.config_id == config_id)
        return replace(self, records=records, planned=tuple(key for key in self.planned if key.config_id == config_id))

    def state_of(self, key: TrialKey) -> str:
        """Say how far a trial without a record is: running, unfinished (it was stopped) or missing (not begun)."""
        home = self._home(key)
        return ("running" if home.alive else "unfinished") if key in home.begun else "missing"

    def trial(self, key: TrialKey) -> TrialFolder:
        """Return where the files of a trial lie."""
        return RunFolder(self._home(key).folder).trial(key)

    def tested_fold(self, key: TrialKey, tested: Sequence[str]) -> TestedFold | None:
        """Return what baselines reach on the test part of a trial; None where it is not known."""
        baselines = self._home(key).baselines
        return baselines.fold_of(key.seed, key.fold, tested) if baselines else None

    def _home(self, key: TrialKey) -> Run:
        return next((run for run in self.parts if any(key.seed == other.seed for other in run.planned)), self)

    @property
    def dataset(self) -> DatasetInfo:
        """The data that the run was started on."""
        # That of the run also says where the data lie, and so would equal that of no record.
        return DatasetInfo.model_validate(self.info.dataset.model_dump())


def load_runs(paths: Sequence[Path]) -> list[Run]:
    """Read run folders, finished or not; a folder given twice counts once.

    Raises:
        DataError: a folder is no run folder, or a file in it is foreign, broken or of a newer schema.
    """
    return [_load(path) for path in each_once(paths)]


def each_once(paths: Sequence[Path]) -> list[Path]:
    """Return folders in their order, each once, even if it is given again by another path."""
    folders: dict[Path, Path] = {}
    for path in paths:
        folders.setdefault(path.resolve(), path)
    return list(folders.values())


def _load(path: Path) -> Run:
    folder = RunFolder(path)
    info = read_info(folder)
    records = folder.records()
    twice = [key.name for key, count in Counter(record.key for record in records).items() if count > 1]
    if twice:
        raise DataError(f"{folder.trials}: several folders hold a record of {twice[0]}; remove the copies")
    planned, ended = info.planned(folder), {record.key for record in records}
    begun = frozenset(key for key in planned if key not in ended and folder.trial(key).epochs_csv.exists())
    # Reasons appear in pages that may be published. The whole text is in error.txt beside each record.
    sharing = Sharing.of(info, records, path)
    records = [record.model_copy(update={"error": sharing.text(record.error)}) for record in records]
    alive, baselines = seems_held(folder.lock), Baselines.read(folder)
    return Run(info.name, path, info, tuple(records), tuple(planned), begun, alive, baselines=baselines)


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return the runs' names. Those of the same name get as much of the end of their paths as tells them apart."""
    names = [run.name for run in runs]
    paths = [run.folder.resolve().parts for run in runs]
    shared = {place for place, name in enumerate(names) if names.count(name) > 1}
    depth = 0
    while len(set(names)) < len(names) and depth < max(map(len, paths)):
        depth += 1
        names = ["/".join(paths[place][-depth:]) if place in shared else name for place, name in enumerate(names)]
    return names
