"""From a run's folder to a tracker of experiments: where to, what is sent, and what cannot work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from sltune.errors import SltuneError, UsageError
from sltune.report.analysis.runs import Run
from sltune.report.analysis.summary import table
from sltune.report.publishing.entries import Entry, entries_of
from sltune.runs.folder import RunFolder
from sltune.settings.toml import MAX_SPACE_BYTES
from sltune.system.files import read_plain
from sltune.system.places import TYPED, without_secrets
from sltune.wording import excerpt

Files = Mapping[str, str]
TARGETS = {"mlflow": "URI", "wandb": "PROJECT"}


@dataclass(frozen=True)
class Published:
    """How many configurations and trials were sent, and how many the tracker had already as they are."""

    sent: int
    unchanged: int


class Tracker(Protocol):
    """A tracker of experiments, to which the entries of one run go."""

    def send(self, entry: Entry, files: Callable[[], Files] | None) -> bool:
        """Have an entry in the tracker as it is now; return False if it was there already.

        Args:
            files: gives the texts that are to be attached to it, by their names.
        """
        ...


def publish(run: Run, target: str) -> Published:
    """Send a run to ``mlflow:URI`` or ``wandb:PROJECT``. Repeated calls end in the same entries.

    The report and the space file go with the best configuration, or else with the first.

    Raises:
        UsageError: there is no such target, its library is missing, or it does not answer.
    """
    sent = unchanged = 0
    entries = list(entries_of(run))
    best = next((one for one in entries if one.tags.get("sltune.best") == "true"), entries[0] if entries else None)
    with _talking_to(target):
        tracker = _tracker(run, target)
        for entry in entries:
            if tracker.send(entry, (lambda: _files(run)) if entry is best else None):
                sent += 1
            else:
                unchanged += 1
    return Published(sent, unchanged)


def _tracker(run: Run, target: str) -> Tracker:
    kind, _, place = target.partition(":")
    if kind not in TARGETS or not place:
        forms = " or ".join(f"{name}:{what}" for name, what in TARGETS.items())
        raise UsageError(f"--to {excerpt(target)}: must be {forms}")
    if without_secrets(place) != place:
        raise UsageError(f"--to {kind}:{without_secrets(place)}: {TYPED}; give it as the tracker's own tools take it")
    try:
        library = import_module(kind)
    except ImportError as error:
        raise UsageError(
            f"--to {kind}: needs a library that is missing ({error}): pip install 'sltune[{kind}]'"
        ) from error
    module: Any = import_module(f"sltune.report.publishing.{kind}")
    tracker: Tracker = module.open_tracker(library, run, place)
    return tracker


@contextmanager
def _talking_to(target: str) -> Iterator[None]:
    """Turn what a tracker's library raises into a UsageError: any kind, since some are those of its own libraries."""
    try:
        yield
    except SltuneError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        text = f"{target}: does not take the run: {excerpt(lines[0]).rstrip('.')}"
        raise UsageError(f"{text}; mend that and repeat the command, which goes on with what is left") from error


def _files(run: Run) -> Files:
    """Return the texts that go with a run: its report and its space files, fit to be read by others."""
    from sltune.report.all_plots import plots
    from sltune.report.page import page

    folder = RunFolder(run.folder)
    found = {"report.html": page([run], table([run]), plots([run]))}
    for file in (folder.space_toml, folder.best_toml):
        if file.exists():
            found[file.name] = run.sharing.text(_text(file))
    return found


def _text(file: Path) -> str:
    return read_plain(file, MAX_SPACE_BYTES).decode(errors="replace")
