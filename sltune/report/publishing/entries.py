"""What trackers of experiments are told of a run: its configurations, and the trials of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from statistics import mean, stdev
from typing import Any, Literal

from sltune.report.analysis.runs import Run
from sltune.runs.epochs import read_epochs
from sltune.runs.metrics import tag_of
from sltune.runs.record import Record, TrialKey, config_number

State = Literal["running", "done", "failed"]
Setting = bool | float | str


@dataclass(frozen=True)
class Entry:
    """A configuration, or one of its trials.

    identity: the same whenever the run is published. parent: that of a trial's configuration. figures: those of the
    result, which belong to step; of a configuration means and deviations over its trials, whose number is the step, so
    that further trials make further points. epochs: metrics by their tags, for each epoch. Times are Unix seconds.
    """

    identity: str
    name: str
    state: State
    settings: Mapping[str, Setting]
    tags: Mapping[str, str]
    figures: Mapping[str, float]
    step: int
    parent: str = ""
    epochs: Sequence[tuple[int, Mapping[str, float]]] = ()
    started: float = 0.0
    ended: float = 0.0

    @property
    def points(self) -> list[tuple[str, int, float]]:
        """All figures with their steps."""
        of_epochs = [(tag, epoch, value) for epoch, row in self.epochs for tag, value in row.items()]
        return [*of_epochs, *((name, self.step, value) for name, value in self.figures.items())]

    @property
    def digest(self) -> str:
        """The same as long as all of it is."""
        return _digest(self.settings, self.tags, self.points, self.state, self.name)


def identity_of(run: Run) -> str:
    """Return what tells a run from all others; it stays the same when the run goes on or its folder moves."""
    info = run.info
    facts = (info.name, info.kind, info.dataset.fingerprint, info.command, info.host, info.git_commit, info.outer_fold)
    return _digest(*facts, info.versions)


def entries_of(run: Run) -> Iterator[Entry]:
    """Give each configuration of a run, followed by those of its trials that have begun."""
    keys: dict[str, list[TrialKey]] = {}
    for key in sorted({*run.begun, *(record.key for record in run.records)}):
        keys.setdefault(key.config_id, []).append(key)
    records = {record.key: record for record in run.records}
    for config_id in sorted(keys, key=config_number):
        trials = [_trial(run, key, records.get(key)) for key in keys[config_id]]
        yield _configuration(run, config_id, trials)
        yield from trials


def _configuration(run: Run, config_id: str, trials: Sequence[Entry]) -> Entry:
    done = [trial for trial in trials if trial.state == "done"]
    figures: dict[str, float] = {"trials": float(len(done))}
    for name in dict.fromkeys(name for trial in done for name in trial.figures):
        values = [trial.figures[name] for trial in done if name in trial.figures]
        if len(values) == len(done):
            figures[f"mean/{name.removeprefix('final/')}"] = mean(values)
            if len(done) > 1:
                figures[f"std/{name.removeprefix('final/')}"] = stdev(values)
    planned = sum(key.config_id == config_id for key in run.planned)
    state: State = "running" if run.alive and len(trials) < planned else "done" if done else "failed"
    own = {"sltune.config_id": config_id, "sltune.trials": f"{len(done)} of {planned} done"}
    return Entry(
        identity=_identity(run, config_id),
        name=f"{run.name}/{config_id}",
        state=state,
        settings=_common([trial.settings for trial in trials]),
        tags={**_tags(run), **own, "sltune.best": str(config_id == run.best).lower()},
        figures=figures,
        step=len(done),
        started=min((trial.started for trial in trials if trial.started), default=0.0),
        ended=max(trial.ended for trial in trials),
    )


def _trial(run: Run, key: TrialKey, record: Record | None) -> Entry:
    rows = read_epochs(run.trial(key).epochs_csv, skip_bad=True)
    epochs = [(int(row["epoch"]), {tag: float(x) for name, x in row.items() if (tag := tag_of(name))}) for row in rows]
    own = {"sltune.config_id": key.config_id, "sltune.fold": str(key.fold), "sltune.seed": str(key.seed)}
    tags = {**_tags(run), **own, "sltune.status": record.status if record else run.state_of(key)}
    place = (_identity(run, key.name), f"{run.name}/{key.name}")
    if record is None:
        return Entry(*place, "running", {}, tags, {}, len(rows), _identity(run, key.config_id), epochs)
    # Seeds that are added to a run stand in later records only.
    told = {name: value for name, value in record.settings.items() if name != "evaluation.seeds"}
    settings = {name: _setting(run, value) for name, value in told.items()}
    own = {"sltune.device": record.device.name or "", "sltune.error": record.error and record.reason}
    versions = {f"sltune.version.{name}": version for name, version in record.versions.items()}
    return Entry(
        *place,
        "done" if record.status == "done" else "failed",
        settings,
        tags | {name: run.sharing.text(text) for name, text in own.items() if text} | versions,
        {f"final/{name}": float(value) for name, value in record.metrics.in_columns().items() if value is not None},
        record.metrics.best_epoch or len(rows),
        _identity(run, key.config_id),
        epochs,
        record.timings.started or 0.0,
        record.timings.ended or 0.0,
    )


def _tags(run: Run) -> dict[str, str]:
    info, dataset = run.info, run.dataset
    tags = {
        "sltune.run": identity_of(run),
        "sltune.kind": info.kind,
        "sltune.dataset": dataset.name,
        "sltune.synthetic": str(dataset.synthetic).lower(),
        "sltune.fingerprint": dataset.fingerprint,
        "sltune.git_commit": info.git_commit or "",
        "sltune.python": info.python,
        **{f"sltune.version.{name}": version for name, version in info.versions.items()},
    }
    return {name: text for name, text in tags.items() if text}


def _common(settings: Sequence[Mapping[str, Setting]]) -> dict[str, Setting]:
    """Return the settings that all trials share: in a nested search, each fold has chosen others."""
    known = [one for one in settings if one]
    return {
        name: value for name, value in (known[0] if known else {}).items() if all(x.get(name) == value for x in known)
    }


def _setting(run: Run, value: Any) -> Setting:
    if isinstance(value, (bool, int, float)):
        return value
    return run.sharing.text(value if isinstance(value, str) else json.dumps(value))


def _identity(run: Run, name: str) -> str:
    return f"{identity_of(run)}-{name}"


def _digest(*facts: object) -> str:
    return sha256(json.dumps(facts, sort_keys=True, default=dict).encode()).hexdigest()[:16]
