"""Runs in MLflow: an experiment of the run's name, in which trials lie below their configurations."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sltune.errors import UsageError
from sltune.report.analysis.runs import Run
from sltune.report.publishing.entries import Entry, identity_of
from sltune.wording import shortened

IDENTITY, CONTENT, PARENT = "sltune.id", "sltune.content", "mlflow.parentRunId"
MAX_METRICS, MAX_OTHERS = 1000, 100
"""What one request may hold of metrics, and of params or tags."""
MAX_VALUE_LENGTH = 5000
"""MLflow refuses params of more than 6000 characters, and tags of more than 8000."""
ENVIRONMENT = {
    # By default, MLflow tries for many minutes before it says that nobody answers.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Variables of MLflow's, unless the user has set them."""
STATES = {"done": "FINISHED", "failed": "FAILED"}
Point = tuple[str, int, float]
T = TypeVar("T")


def open_tracker(library: Any, run: Run, uri: str) -> MlflowTracker:
    """Return the tracker at a URI of MLflow's; raises what the library raises."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    return MlflowTracker(library, run, library.MlflowClient(tracking_uri=uri))


class MlflowTracker:
    """Writes entries by a client of MLflow's.

    MLflow adds each figure to those that it has. So figures that are there are read first, and only others are sent. A
    run with figures that ours does not have, because a trial was repeated, is deleted and written anew.
    """

    def __init__(self, library: Any, run: Run, client: Any) -> None:
        self._library, self._client = library, client
        self._experiment = self._experiment_of(run.name)
        self._runs: dict[str, Any] = {}
        for found in self._search(identity_of(run)):
            # Two processes that publish at once may both have made it.
            if self._runs.setdefault(found.data.tags.get(IDENTITY, ""), found) is not found:
                client.delete_run(found.info.run_id)

    def send(self, entry: Entry, files: Callable[[], Mapping[str, str]] | None) -> bool:
        """Have an entry in MLflow as it is now; return False if it was there already."""
        parent = {PARENT: self._runs[entry.parent].info.run_id} if entry.parent else {}
        tags = {IDENTITY: entry.identity, **parent, **entry.tags, CONTENT: entry.digest}
        tags = {name: shortened(text, MAX_VALUE_LENGTH) for name, text in tags.items()}
        there = self._runs.get(entry.identity)
        if there is not None and tags.items() <= there.data.tags.items():
            return False
        params = {_key(name): shortened(str(value), MAX_VALUE_LENGTH) for name, value in entry.settings.items()}
        points = dict.fromkeys((_key(name), step, value) for name, step, value in entry.points)
        known = set(self._points(there))
        # Of a configuration, figures over fewer trials are earlier points of the same curve.
        others = [point for point in known - points.keys() if entry.parent or point[1] == entry.step]
        if there is not None and (others or there.data.params.items() - params.items()):
            self._client.delete_run(there.info.run_id)
            there, known = None, set()
        if there is None:
            there = self._begin(entry, {name: text for name, text in tags.items() if name != CONTENT})
        self._log(there.info.run_id, entry, [point for point in points if point not in known], params)
        for name, text in (files() if files else {}).items():
            self._client.log_text(there.info.run_id, text, name)
        # Last: without the tag for the content, a run that was killed here is looked at again.
        for some in _parts(tags.items(), MAX_OTHERS):
            found = [self._library.entities.RunTag(*tag) for tag in some]
            self._client.log_batch(there.info.run_id, tags=found)
        return True

    def _begin(self, entry: Entry, tags: Mapping[str, str]) -> Any:
        start = int(1000 * entry.started) or None
        begun = self._client.create_run(self._experiment, start_time=start, tags=tags, run_name=entry.name)
        self._runs[entry.identity] = begun
        return begun

    def _log(self, run_id: str, entry: Entry, points: Sequence[Point], params: Mapping[str, str]) -> None:
        entities, when = self._library.entities, int(1000 * (entry.ended or time.time()))
        for part in _parts(points, MAX_METRICS):
            metrics = [entities.Metric(key, value, when, step) for key, step, value in part]
            self._client.log_batch(run_id, metrics=metrics)
        for some in _parts(params.items(), MAX_OTHERS):
            self._client.log_batch(run_id, params=[entities.Param(*param) for param in some])
        if entry.state == "running":
            self._client.update_run(run_id, "RUNNING")
        else:
            self._client.set_terminated(run_id, STATES[entry.state], when)

    def _experiment_of(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return str(self._client.create_experiment(name))
        if found.lifecycle_stage != "active":
            raise UsageError(f"the experiment {name!r} of MLflow is deleted; restore it, or remove it for good")
        return str(found.experiment_id)

    def _search(self, identity: str) -> Iterator[Any]:
        token = None
        while True:
            words = f"tags.`sltune.run` = '{identity}'"
            page = self._client.search_runs([self._experiment], words, max_results=MAX_METRICS, page_token=token)
            yield from page
            if not (token := page.token):
                return

    def _points(self, there: Any) -> Iterator[Point]:
        """Give the figures that MLflow has of a run; none where there is no run."""
        for key in there.data.metrics if there is not None else ():
            for one in self._client.get_metric_history(there.info.run_id, key):
                yield key, one.step, one.value


def _key(name: str) -> str:
    """Return a name with the characters that MLflow allows; layers of a user's network may have others."""
    return re.sub(r"[^\w\-. /]", "_", name)


def _parts(values: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(values)
    while part := list(islice(left, size)):
        yield part
