"""Runs in Weights & Biases: trials are grouped with their configuration."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from sltune.report.analysis.runs import Run
from sltune.report.publishing.entries import Entry

PRIVATE = {"x_disable_meta", "x_disable_stats", "x_disable_machine_info", "disable_git", "disable_code", "silent"}
"""Settings that keep W&B from sending what it finds on this machine, and from writing on the terminal."""
NAMELESS = {"host", "program", "username", "email"}


def open_tracker(library: Any, run: Run, project: str) -> WandbTracker:
    """Return the tracker of ``PROJECT`` or ``ENTITY/PROJECT``."""
    entity, _, name = project.rpartition("/")
    return WandbTracker(library, run, entity or None, name)


class WandbTracker:
    """Writes entries as runs whose ids follow from them. W&B decides by itself whether it is online.

    W&B never takes back what was logged. A training that was repeated is therefore a new run, whose id also follows
    from its first epoch, and the earlier run is deleted. Offline, a run that is written again replaces what the folder
    ``wandb`` has of it.
    """

    def __init__(self, library: Any, run: Run, entity: str | None, project: str) -> None:
        self._library, self._run, self._entity, self._project = library, run, entity, project
        self._known: dict[str, list[Any]] = {}

    def send(self, entry: Entry, files: Callable[[], Mapping[str, str]] | None) -> bool:
        """Have an entry in W&B as it is now."""
        config_id = entry.tags["sltune.config_id"]
        found = self._library.init(
            entity=self._entity,
            project=self._project,
            id=f"{_stem(entry)}{_first_epoch(entry)}",
            name=entry.name,
            group=f"{self._run.name}/{config_id}",
            job_type="trial" if entry.parent else "configuration",
            config={**entry.settings, **entry.tags},
            resume="allow",
            reinit="finish_previous",
            settings=self._settings(),
        )
        try:
            for epoch, row in entry.epochs:
                # Where this run was published before, it goes on after the last epoch that is there.
                if epoch >= found.starting_step:
                    found.log(dict(row), step=epoch)
            found.summary.update(dict(entry.figures))
            if files:
                found.log_artifact(self._artifact(files()))
        except BaseException:
            found.finish(exit_code=1)
            raise
        found.finish(exit_code=1 if entry.state == "failed" else 0)
        # Last: where this was killed, the next time removes what is left.
        if found.offline:
            _remove_earlier(Path(found.dir).parent, _stem(entry))
        else:
            self._delete_earlier(found, _stem(entry))
        return True

    def _delete_earlier(self, sent: Any, stem: str) -> None:
        """Delete the runs of earlier trainings of the same trial."""
        if sent.group not in self._known:
            place = f"{sent.entity}/{sent.project}"
            self._known[sent.group] = list(self._library.Api().runs(place, filters={"group": sent.group}))
        for one in self._known[sent.group]:
            if one.id.startswith(stem) and one.id != sent.id:
                one.delete()

    def _settings(self) -> Any:
        values: dict[str, Any] = {"console": "off", "save_code": False}
        values |= dict.fromkeys(PRIVATE, True) | dict.fromkeys(NAMELESS, "")
        known = self._library.Settings.model_fields
        return self._library.Settings(**{name: value for name, value in values.items() if name in known})

    def _artifact(self, files: Mapping[str, str]) -> Any:
        artifact = self._library.Artifact("report", type="report")
        for name, text in files.items():
            with artifact.new_file(name) as file:
                file.write(text)
        return artifact


def _stem(entry: Entry) -> str:
    """Return how the ids of all trainings of an entry begin."""
    return f"{sha256(entry.identity.encode()).hexdigest()[:16]}-"


def _first_epoch(entry: Entry) -> str:
    # Times differ where an epoch was done again after a kill.
    first = {tag: value for tag, value in (entry.epochs[0][1] if entry.epochs else {}).items() if "speed/" not in tag}
    return sha256(str(sorted(first.items())).encode()).hexdigest()[:8]


def _remove_earlier(written: Path, stem: str) -> None:
    """Remove the folders of earlier times of an entry; `wandb sync` would send each of them."""
    for folder in written.parent.glob(f"offline-run-*-{stem}*"):
        if folder != written and folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
