"""The state of a run, updated with every message of a trial, so that a board of it costs no walk through all trials."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import get_args

from sltune.progress.board import Board, Line, TrialCell
from sltune.progress.messages import Message, warning
from sltune.runs.health.findings import Finding, findings, findings_of_epoch
from sltune.runs.plan import Plan
from sltune.runs.record import Record, Status, TrialKey
from sltune.runs.results import Observed, Outlook, Result
from sltune.wording import counted

GIB = 1 << 30
ENDED = frozenset(get_args(Status))


@dataclass(frozen=True)
class _Pace:
    """What a running trial reported last."""

    samples_per_second: float
    memory_bytes: float


class RunState:
    """The state of all trials of one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._places = {step: place for place, step in enumerate(plan.steps)}
        self._cells: dict[str, list[TrialCell]] = {}
        self._counts: Counter[str] = Counter()
        self._paces: dict[TrialKey, _Pace] = {}
        self._observed: dict[TrialKey, Observed] = {}
        self._findings: dict[TrialKey, Sequence[Finding]] = {}
        self._said: defaultdict[TrialKey, set[str]] = defaultdict(set)
        self._recent: dict[str, None] = {}
        self._best: Result | None = None
        self._outlook: Outlook | None = None
        self._trained = 0
        self._seconds, self._epochs, self._device_hours = 0.0, 0, 0.0

    def add(self, config_id: str) -> None:
        """Add a configuration, whose trials wait, unless it is known already."""
        if config_id not in self._cells:
            # A configuration that waits to be promoted may never have the rest of its trials.
            first = TrialCell("paused" if self.plan.promotes else "waiting")
            self._cells[config_id] = [first] * len(self.plan.steps)
            self._counts[first.state] += len(self.plan.steps)

    def cell(self, key: TrialKey) -> TrialCell:
        """Return the cell of a trial."""
        self.add(key.config_id)
        return self._cells[key.config_id][self._places[key.seed, key.fold]]

    def wait(self, key: TrialKey) -> None:
        """A trial is to begin, perhaps again."""
        self._set(key, TrialCell())

    def begin(self, key: TrialKey, epochs: int) -> None:
        """A trial has a worker; epochs: how many there will be, 0 if that is unknown."""
        self._set(key, TrialCell("running", epochs=epochs))
        self._paces[key] = _Pace(0.0, 0.0)

    def advance(self, key: TrialKey, row: Mapping[str, float]) -> list[Message]:
        """A running trial has ended an epoch with these metrics; return what speaks against it, each kind once."""
        accuracy = row[f"{self._part}_accuracy"]
        self._set(key, TrialCell("running", int(row["epoch"]), self.cell(key).epochs, accuracy))
        self._paces[key] = _Pace(row["samples_per_second"], row.get("device_memory_bytes", 0.0))
        self._seconds, self._epochs = self._seconds + row["seconds"], self._epochs + 1
        return self._news(key, findings_of_epoch(row))

    def leave(self, key: TrialKey) -> None:
        """No process works any more on a trial that has begun."""
        self._set(key, replace(self.cell(key), state="unfinished"))

    def take_up(self, key: TrialKey) -> None:
        """A trial that was left continues."""
        self._set(key, replace(self.cell(key), state="running"))
        self._paces[key] = _Pace(0.0, 0.0)

    def end(self, record: Record) -> list[Message]:
        """A trial has ended; return what speaks against its result, where it may be shown."""
        metrics, key = record.metrics, record.key
        test = metrics.test_accuracy if self.plan.shows_test else None
        self._set(key, TrialCell(record.status, accuracy=metrics.number(f"{self._part}_accuracy"), test=test))
        self._device_hours += record.device_hours
        self._trained += record.was_trained
        self._observed[key] = Observed.of(record)
        self._compare(key.config_id)
        return self._news(key, findings([], record) if self.plan.shows_test and record.status == "done" else [])

    def _news(self, key: TrialKey, found: Sequence[Finding]) -> list[Message]:
        """Note what speaks against a trial now; return what nobody has said of it before."""
        self._findings.pop(key, None)
        if found:
            self._findings[key] = found
        new = [warning(key, finding) for finding in found if finding.name not in self._said[key]]
        self._said[key].update(finding.name for finding in found)
        return new

    def prune(self, key: TrialKey) -> None:
        """A trial is not wanted any more."""
        self._set(key, TrialCell("pruned"))

    @property
    def _part(self) -> str:
        return "val" if self.plan.has_val else "test"

    @property
    def running(self) -> list[TrialKey]:
        """The trials that have a worker."""
        return list(self._paces)

    @property
    def left(self) -> int:
        """How many of the known trials have not ended."""
        return sum(count for state, count in self._counts.items() if state not in ENDED and state != "paused")

    @property
    def paused(self) -> int:
        """How many trials run only if their configurations are promoted."""
        return self._counts["paused"]

    @property
    def begun(self) -> int:
        """How many configurations there are."""
        return len(self._cells)

    @property
    def best(self) -> Result | None:
        """The best configuration so far among those that have all steps."""
        return self._best

    def board(self, lines: int, facts: Sequence[Sequence[str]] = ()) -> Board:
        """Return a snapshot of at most ``lines`` configurations; the given facts stand below those known here."""
        plan, names = self.plan, list(islice(self._worth_showing(), lines))
        predicted = self._predicted(names) if plan.promotes else {}
        shown = [Line(name, tuple(self._cells[name]), predicted.get(name)) for name in names]
        return Board(
            title=plan.title,
            steps=plan.steps,
            part=self._part,
            shows_test=plan.shows_test and plan.has_val,
            lines=tuple(shown),
            begun=len(self._cells),
            counts=dict(self._counts),
            best=self._best.config_id if self._best and plan.configurations > 1 else "",
            facts=(tuple(self._search()), tuple(self._pace()), tuple(self._health()), *map(tuple, facts)),
        )

    def _predicted(self, names: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Return for those that lack trials the means that they would have with all, and their standard errors."""
        if self._outlook is None:
            self._outlook = Outlook([self._so_far(name) for name in self._cells], self.plan.steps)
        results = map(self._so_far, names)
        lacking = (one for one in results if 0 < len(one.observed) < len(self.plan.steps))
        means = {one.config_id: self._outlook.mean(one) for one in lacking}
        return {name: mean for name, mean in means.items() if mean is not None}

    def _so_far(self, config_id: str) -> Result:
        steps = zip(self.plan.steps, self._cells[config_id], strict=True)
        done = [self._observed[TrialKey(config_id, *step)] for step, cell in steps if cell.state == "done"]
        return Result(config_id, "paused", tuple(done))

    def seconds_left(self) -> float | None:
        """Return how long the rest takes at the mean pace of all epochs so far; None before the first one."""
        plan, running = self.plan, [self.cell(key) for key in self._paces]
        if not self._epochs or not running:
            return None
        waiting = self._counts["waiting"] + self._counts["unfinished"]
        if plan.trainings:
            waiting = max(0, plan.trainings - self._trained - len(running))
        elif not plan.promotes:
            waiting += len(plan.steps) * max(0, plan.configurations - len(self._cells))
        open_epochs = [max(0, (cell.epochs or plan.epochs) - cell.epoch) for cell in running]
        work = sum(open_epochs) + waiting * plan.epochs
        # At the end fewer trials run at once, and each still needs the time of its own epochs.
        longest = max(*open_epochs, plan.epochs if waiting else 0)
        return self._seconds / self._epochs * max(work / len(running), longest)

    def times(self, elapsed_s: float) -> Iterator[str]:
        """Give the times until now and to the end, and what is used of the budgets."""
        plan, left = self.plan, self.seconds_left()
        yield f"{duration(elapsed_s)} elapsed" + (f" of {plan.max_hours:g} h" if plan.max_hours else "")
        if left is not None:
            yield f"{'at most ' if plan.at_most else ''}about {duration(left)} left"
        if plan.max_device_hours:
            yield f"{self._device_hours:.1f} of {plan.max_device_hours:g} device hours"

    def _set(self, key: TrialKey, cell: TrialCell) -> None:
        before = self.cell(key)
        self._cells[key.config_id][self._places[key.seed, key.fold]] = cell
        if "done" in (before.state, cell.state):
            self._outlook = None
        self._counts[before.state] -= 1
        self._counts[cell.state] += 1
        if cell.state != "running":
            self._paces.pop(key, None)
        self._recent.pop(key.config_id, None)
        self._recent[key.config_id] = None

    def _compare(self, config_id: str) -> None:
        """Take a configuration of which a trial has ended for the best so far, if it is."""
        if all(cell.state == "done" for cell in self._cells[config_id]):
            observed = tuple(self._observed[TrialKey(config_id, *step)] for step in self.plan.steps)
            result = Result(config_id, "complete", observed)
            self._best = self.plan.criteria.best([self._best, result] if self._best else [result])

    def _worth_showing(self) -> Iterator[str]:
        """Give each configuration once: running ones, the best, then those with the latest news, then the rest."""
        first = {key.config_id: None for key in self._paces}
        best = [self._best.config_id] if self._best else []
        known: set[str] = set()
        for names in (first, best, reversed(self._recent), self._cells):
            for name in names:
                if name not in known:
                    known.add(name)
                    yield name

    def _search(self) -> Iterator[str]:
        if self.plan.configurations > 1:
            if self.plan.trainings:
                yield f"{self._trained:,} of {self.plan.trainings:,} trainings"
            of = "" if self.plan.trainings else f" of {self.plan.configurations:,}"
            begun = counted(len(self._cells), "configuration") if not of else f"{len(self._cells):,}{of} configurations"
            yield f"{begun} begun"
            if self._best and self._best.val_accuracy is not None:
                weight = self.plan.criteria.std_weight
                best = f"{100 * self._best.val_accuracy:.1f} %, {self._best.config_id}"
                yield f"best so far by mean − {weight:g} std: mean {best}" if weight else f"best mean so far {best}"

    def _health(self) -> Iterator[str]:
        """Say what speaks against the trial with the latest such news, and how many others there are."""
        for key, found in islice(reversed(self._findings.items()), 1):
            yield f"{key.name}: {found[0].text}"
            yield found[0].advice
        if len(self._findings) > 1:
            yield f"warnings on {len(self._findings) - 1} other trials"

    def _pace(self) -> Iterator[str]:
        paces = list(self._paces.values())
        speed, peaks = sum(pace.samples_per_second for pace in paces), [pace.memory_bytes for pace in paces]
        if speed:
            yield f"{speed:,.0f} samples/s"
        if any(peaks):
            yield f"{sum(peaks) / GIB:.1f} GiB of device memory, {max(peaks) / GIB:.1f} at most in a trial"


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds: ``1:02:03``, with as many hours as there are."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
