"""Where the numbers of a run come from: the command, data, versions and hardware, and the commands that repeat it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sltune.errors import ConfigError
from sltune.report.analysis.runs import Run
from sltune.runs.commands import confirmation, nested_command, nested_cost
from sltune.runs.folder import RunFolder
from sltune.runs.info import RunInfo
from sltune.settings.sections import Evaluation
from sltune.settings.space import load_space
from sltune.settings.toml import MAX_SPACE_BYTES
from sltune.system.files import read_plain
from sltune.wording import as_argument

Fact = tuple[str, str]


def facts_of(run: Run) -> list[Fact]:
    """Return what is known of a run, as pairs of a name and a text."""
    info, dataset = run.info, run.dataset
    trials = Counter(str(record.status) for record in run.records)
    trials.update(run.state_of(key) for key in run.left)
    facts = [
        ("Run", f"{run.name}, {_kinds(run)}"),
        ("Trials", ", ".join(f"{count} {state}" for state, count in sorted(trials.items())) or "none"),
        ("Command", shlex.join(run.sharing.command(info.command))),
        ("Dataset", ", ".join(_dataset(run))),
        ("Fingerprint", dataset.fingerprint),
        ("Commit", info.git_commit or ""),
        ("Versions", _versions(info)),
        ("Hardware", _hardware(run)),
        *_times(run),
    ]
    return [(name, text) for name, text in facts if text]


def configuration_text(run: Run) -> str:
    """Return the space file of what the report shows: the best of a search, or the run's own; "" if it is lost.

    Of paths, only the last names are left.
    """
    folder = RunFolder(run.folder)
    file = folder.best_toml if run.best else folder.space_toml
    try:
        return run.sharing.text(read_plain(file, MAX_SPACE_BYTES).decode())
    except (OSError, UnicodeDecodeError):
        return ""


def reproduction(run: Run) -> list[str]:
    """Return the commands that repeat the run, and for a search also the one that confirms its best.

    They are to be typed in the folder that holds both the run's folder and the dataset.
    """
    folder, info = RunFolder(Path(run.folder.resolve().name)), run.info
    torch, data = info.versions.get("torch", "").partition("+")[0], info.dataset.folder_name
    verb = ["tune", "--nested"] if info.is_nested else [info.kind]
    again = ["sltune", *verb, as_argument(folder.space_toml), "--data", data, "--run", f"{run.name}-again"]
    lines = [
        *([shlex.join(["git", "checkout", info.git_commit])] if info.git_commit else []),
        *([shlex.join(["pip", "install", "--constraint", "constraints.txt", f"torch=={torch}", "."])] if torch else []),
        # The search of an outer fold is repeated with the whole nested search only.
        *([shlex.join(again)] if info.outer_fold is None else []),
    ]
    if run.best and info.outer_fold is None:
        lines.append(confirmation(folder.best_toml, data, run.name, {key.seed for key in run.planned}))
        if (evaluation := _evaluation(run)) and evaluation.draws_folds:
            lines.append(nested_command(folder.space_toml, data, run.name, evaluation))
    return lines


def nested_offer(run: Run) -> str:
    """Say what a nested search of the same space would give and take; "" where there is no plain search to judge by."""
    evaluation = _evaluation(run)
    if not run.best or run.info.outer_fold is not None or (evaluation is not None and not evaluation.draws_folds):
        return ""
    trained = [record.seconds for record in run.records if record.was_trained]
    return f". sltune tune … --nested gives an unbiased figure: {nested_cost(trained, run.info.steps or ())}"


def _evaluation(run: Run) -> Evaluation | None:
    """Return the folds and seeds of a run; None where its space file is lost or of another version."""
    try:
        return load_space(RunFolder(run.folder).space_toml).evaluation
    except ConfigError:
        return None


def failures_of(run: Run) -> list[Fact]:
    """Return the trials that failed or diverged, each with the last line of what went wrong."""
    return [(one.key.name, f"{one.status}: {one.reason}") for one in run.records if one.went_wrong]


def _dataset(run: Run) -> Iterator[str]:
    info = run.info.dataset
    yield info.name
    if info.synthetic:
        yield "SYNTHETIC"
    yield f"{len(info.classes)} classes"
    yield info.folder_name


def _kinds(run: Run) -> str:
    kind = {"evaluate": "an evaluation", "tune": "a search", "nested": "a nested search"}[run.info.kind]
    if run.info.outer_fold is not None:
        kind = f"the search in outer fold {run.info.outer_fold} of a nested search, without its test signers"
    return f"{kind}{', still running' * run.alive}"


def _versions(info: RunInfo) -> str:
    parts = [f"Python {info.python}"] if info.python else []
    return ", ".join([*parts, *(f"{name} {version}" for name, version in info.versions.items())])


def _hardware(run: Run) -> str:
    devices = Counter(record.device.name for record in run.records if record.device.name)
    hosts = {record.device.host for record in run.records if record.device.host}
    names = ", ".join(f"{name} ({count} trials)" for name, count in devices.most_common())
    return f"{names} on {len(hosts)} host{'s' * (len(hosts) != 1)}" if names else ""


def _times(run: Run) -> Iterator[Fact]:
    spans = [
        (record.timings.started, record.timings.ended)
        for record in run.records
        if record.timings.started and record.timings.ended
    ]
    if spans:
        first, last = min(start for start, _ in spans), max(end for _, end in spans)
        yield "Time", f"{_utc(first)} to {_utc(last)}"
        yield "Trial hours", f"{sum(record.seconds for record in run.records) / 3600:.2f}"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
