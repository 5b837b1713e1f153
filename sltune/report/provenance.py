"""Where the numbers of a run come from: what was run, on what, with what, and the commands that do it again."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sltune.confirmation import confirmation
from sltune.record import RunFolder
from sltune.report.runs import Run
from sltune.wording import as_argument

Fact = tuple[str, str]


def facts_of(run: Run) -> list[Fact]:
    """Return what is known of a run, as pairs of a name and a text."""
    info, dataset = run.info, run.dataset
    trials = Counter(str(record.status) for record in run.records)
    trials.update(run.state_of(key) for key in set(run.planned) - {record.key for record in run.records})
    data = info["dataset"].get("path", "") if isinstance(info.get("dataset"), dict) else ""
    facts = [
        ("Run", f"{run.name}, {_kinds(run)}"),
        ("Trials", ", ".join(f"{count} {state}" for state, count in sorted(trials.items())) or "none"),
        ("Command", _command(info.get("command"))),
        ("Dataset", f"{dataset.name}{', SYNTHETIC' * dataset.synthetic}, {len(dataset.classes)} classes; {data}"),
        ("Fingerprint", dataset.fingerprint),
        ("Commit", str(info.get("git_commit") or "")),
        ("Versions", _versions(info)),
        ("Hardware", _hardware(run)),
        *_times(run),
    ]
    return [(name, text) for name, text in facts if text]


def configuration_text(run: Run) -> str:
    """Return the settings of what the report shows, the best of a search or the run's own; "" where they are lost."""
    folder = RunFolder(run.folder)
    file = folder.best_toml if run.best else folder.space_toml
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def reproduction(run: Run) -> list[str]:
    """Return the commands that run it again, and for a search those that confirm its best."""
    folder, info = RunFolder(run.folder), run.info
    versions = info.get("versions")
    torch = str(versions.get("torch") or "").partition("+")[0] if isinstance(versions, dict) else ""
    dataset = info.get("dataset")
    data = str(dataset.get("path", "DATA")) if isinstance(dataset, dict) else "DATA"
    verb = "tune" if info.get("kind") == "tune" else "evaluate"
    again = ["sltune", verb, as_argument(folder.space_toml), "--data", data, "--run", f"{run.name}-again"]
    lines = [
        *([shlex.join(["git", "checkout", str(info["git_commit"])])] if _is_commit(info.get("git_commit")) else []),
        *([shlex.join(["pip", "install", "--constraint", "constraints.txt", f"torch=={torch}", "."])] if torch else []),
        shlex.join(again),
    ]
    if run.best:
        lines.append(confirmation(folder.best_toml, data, run.name, {key.seed for key in run.planned}))
    return lines


def failures_of(run: Run) -> list[Fact]:
    """Return the trials that failed or diverged, each with the last line of what went wrong."""
    return [
        (record.key.name, f"{record.status}: {record.reason}")
        for record in run.records
        if record.status in ("failed", "diverged")
    ]


def _is_commit(value: object) -> bool:
    """Say whether a value is a commit's number, and nothing that git takes for an option."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{7,64}", value) is not None


def _command(command: object) -> str:
    return shlex.join(map(str, command)) if isinstance(command, list) else str(command or "")


def _kinds(run: Run) -> str:
    kind = {"tune": "a search", "evaluate": "an evaluation"}.get(str(run.info.get("kind")), "a run")
    return f"{kind}{', still running' * run.alive}"


def _versions(info: Any) -> str:
    versions = info.get("versions")
    parts = [f"Python {info['python']}"] if info.get("python") else []
    return ", ".join([*parts, *(f"{k} {v}" for k, v in versions.items())] if isinstance(versions, dict) else parts)


def _hardware(run: Run) -> str:
    devices = Counter(str(record.device["name"]) for record in run.records if record.device.get("name"))
    hosts = {str(record.device["host"]) for record in run.records if record.device.get("host")}
    names = ", ".join(f"{name} ({count} trials)" for name, count in devices.most_common())
    return f"{names} on {len(hosts)} host{'s' * (len(hosts) != 1)}" if names else ""


def _times(run: Run) -> Iterator[Fact]:
    spans = [
        (float(record.timings["started"]), float(record.timings["ended"]))
        for record in run.records
        if record.timings.get("started") and record.timings.get("ended")
    ]
    if spans:
        first, last = min(start for start, _ in spans), max(end for _, end in spans)
        yield "Time", f"{_utc(first)} to {_utc(last)}"
        yield "Trial hours", f"{sum(record.seconds for record in run.records) / 3600:.2f}"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
