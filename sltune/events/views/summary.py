"""Summarize a dataset by session and by class, without reading its events."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sltune.errors import DataError
from sltune.events.dataset import Dataset
from sltune.events.manifest import HINT, RECORDINGS, WARNINGS, LeftOut, Manifest
from sltune.events.samples import Samples
from sltune.events.store import PARTS
from sltune.events.verify import Verified
from sltune.system.remote import AnyPath, sizes_in
from sltune.wording import first_of

MAX_SHOWN_FINDINGS = 10
"""More would push the tables off the screen; a file lists all of them."""
NONE = "–"
NOTE = "±: standard deviation over samples (ddof 0); rate: all events over all time"


@dataclass(frozen=True)
class Part:
    """Facts about some samples of a dataset.

    events_per_second: all events over the whole time.
    durations_ms: mean, std (ddof 0), min and max; empty without samples.
    """

    name: str
    recordings: int
    samples: int
    events: int
    events_per_sample: float | None
    events_per_second: float | None
    durations_ms: Mapping[str, float]


@dataclass(frozen=True)
class Summary:
    """A dataset in numbers. bytes: size of the sample files; backward: samples in which time goes backwards.

    splits: the number of samples in each official part; sessions: both empty if the dataset has none. verified: None if
    the dataset was not verified.
    """

    root: AnyPath
    manifest: Manifest
    subjects: int
    bytes: int
    backward: int
    total: Part
    splits: Mapping[str, int]
    sessions: tuple[Part, ...]
    classes: tuple[Part, ...]
    verified: Verified | None

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        return self.manifest.left_out

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of the import, except those that give the reason why something was left out."""
        reasons = {left.reason for left in self.left_out}
        return tuple(warning for warning in self.manifest.warnings if warning not in reasons)

    def to_text(self, width: int) -> str:
        """Return the summary as a text whose tables are at most ``width`` columns wide."""
        out = io.StringIO()
        # In a notebook, rich would show the tables by itself instead of writing them.
        console = Console(file=out, width=width, color_system=None, force_jupyter=False)
        out.write("\n".join(_head(self)) + "\n\n")
        for table in _tables(self):
            console.print(table)
            console.print()
        out.write("\n".join([NOTE, "", *_findings(self)]))
        if self.verified is not None:
            out.write(f"\nverified: {self.verified.files:,} files, {self.verified.samples:,} samples")
        return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())

    def to_json(self) -> str:
        """Return the same facts as a JSON object; all times in ms."""
        values = {
            "data": str(self.root),
            "name": self.manifest.name,
            "synthetic": self.manifest.synthetic,
            "sensor": {"height": self.manifest.sensor[0], "width": self.manifest.sensor[1]},
            "orientation": self.manifest.orientation,
            "downsample": self.manifest.downsample,
            "subjects": self.subjects,
            "bytes": self.bytes,
            "bytes_per_event": self.bytes / self.total.events,
            "samples_with_backward_times": self.backward,
            "fingerprint": self.manifest.fingerprint,
            "sltune": self.manifest.sltune,
            "format": self.manifest.format,
            "std_ddof": 0,
            "total": asdict(self.total),
            "splits": self.splits,
            "sessions": [asdict(part) for part in self.sessions],
            "classes": [asdict(part) for part in self.classes],
            "warnings": list(self.warnings),
            "left_out": [asdict(left) for left in self.left_out],
            "verified": None if self.verified is None else asdict(self.verified),
        }
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def summarize(dataset: Dataset, verified: Verified | None = None) -> Summary:
    """Count what is in a dataset.

    Raises:
        DataError: it holds no samples.
    """
    samples, manifest = dataset.samples, dataset.manifest
    if not len(samples):
        raise DataError(f"{dataset.root}: holds no samples; {HINT}")
    duration_us = np.array([samples.duration_us(index) for index in range(len(samples))], dtype=np.int64)
    session, everything = np.array(samples.session), np.ones(len(samples), dtype=bool)
    names = [name for name in sorted(set(samples.session)) if name]
    recordings = samples.recordings()
    sizes, in_part = sizes_in(dataset.root / RECORDINGS), Counter[str]()
    for recording in recordings:
        in_part[recording.split] += len(recording.sample_ids)
    return Summary(
        root=dataset.root,
        manifest=manifest,
        subjects=len({info.subject for info in recordings}),
        bytes=sum(sizes.get(PurePosixPath(file.file).name, 0) for file in manifest.files),
        backward=sum(samples.backward_steps(index) > 0 for index in range(len(samples))),
        total=_part("all", samples, duration_us, everything),
        splits={part: in_part[part] for part in PARTS if part in in_part},
        sessions=tuple(_part(name, samples, duration_us, session == name) for name in names),
        classes=tuple(
            _part(name, samples, duration_us, samples.label == label) for label, name in enumerate(manifest.classes)
        ),
        verified=verified,
    )


def list_samples(dataset: Dataset, as_json: bool) -> str:
    """Return id, gesture, duration and events of each sample, one a line, or as JSON."""
    samples = dataset.samples
    listed = [
        {
            "sample_id": sample_id,
            "gesture": dataset.manifest.classes[samples.label[index]],
            "duration_ms": samples.duration_us(index) / 1000,
            "events": int(samples.event_count[index]),
        }
        for index, sample_id in enumerate(samples.sample_id)
    ]
    if as_json:
        return json.dumps(listed, indent=1, ensure_ascii=False) + "\n"
    names, gestures = (max((len(str(sample[key])) for sample in listed), default=0) for key in ("sample_id", "gesture"))
    row = f"{{sample_id:<{names}}}  {{gesture:<{gestures}}}  {{duration_ms:>9,.1f}} ms  {{events:>10,}} events\n"
    return "".join(row.format(**sample) for sample in listed)


def _part(name: str, samples: Samples, duration_us: NDArray[np.int64], mask: NDArray[np.bool_]) -> Part:
    index = np.flatnonzero(mask)
    events, durations_ms = int(samples.event_count[index].sum()), duration_us[index] / 1000
    seconds = float(durations_ms.sum()) / 1000
    functions: dict[str, Callable[[NDArray[np.float64]], np.floating]] = (
        {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max} if len(index) else {}
    )
    return Part(
        name=name,
        recordings=len({samples.recording[i] for i in index}),
        samples=len(index),
        events=events,
        events_per_sample=events / len(index) if len(index) else None,
        events_per_second=events / seconds if seconds else None,
        durations_ms={name: float(function(durations_ms)) for name, function in functions.items()},
    )


def _head(summary: Summary) -> Iterator[str]:
    """Give the facts above the tables, one a line of at most 80 columns unless a path is long."""
    manifest, total = summary.manifest, summary.total
    height, width = manifest.sensor
    merged = f", {manifest.downsample}×{manifest.downsample} merged into one" if manifest.downsample > 1 else ""
    facts = {
        "folder": str(summary.root),
        "sensor": f"{width} × {height} pixels (width × height){merged}",
        "orientation": f"{manifest.orientation}, as stored",
        "classes": str(len(summary.classes)),
        "subjects": f"{summary.subjects:,}",
        "recordings": f"{total.recordings:,}",
        "samples": f"{total.samples:,}, {summary.backward:,} with times that go backwards",
        "parts": ", ".join(f"{name} {count:,} samples" for name, count in summary.splits.items()),
        "events": f"{total.events:,}",
        "on disk": f"{_size_text(summary.bytes)}, {summary.bytes / total.events:.2f} bytes an event",
        "fingerprint": manifest.fingerprint,
        "imported by": f"sltune {manifest.sltune}, format {manifest.format}",
    }
    yield manifest.name + (", SYNTHETIC data" if manifest.synthetic else "")
    yield from (f"  {name:<12} {fact}" for name, fact in facts.items() if fact)


def _size_text(size: int) -> str:
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"


def _findings(summary: Summary) -> Iterator[str]:
    left_out = [f"{left.name} ({left.reason})" for left in summary.left_out]
    for title, lines in (("warnings", summary.warnings), ("left out", left_out)):
        yield f"{title}: {len(lines) or 'none'}"
        yield from (f"  {line}" for line in first_of(lines, MAX_SHOWN_FINDINGS, f"; see {summary.root / WARNINGS}"))


def _tables(summary: Summary) -> tuple[Table, Table]:
    """Return the tables by session and by class, of at most 80 columns if names are short."""
    by_session, by_class = _table("session", is_long=True), _table("class", is_long=False)
    for part in summary.sessions:
        by_session.add_row(*_cells(part, is_long=True))
    if len(summary.sessions) > 1:
        by_session.add_section()
    if len(summary.sessions) != 1:
        by_session.add_row(*_cells(summary.total, is_long=True))
    for part in summary.classes:
        by_class.add_row(*_cells(part, is_long=False))
    return by_session, by_class


def _table(kind: str, is_long: bool) -> Table:
    """Return a table without rows; a long one has columns for recordings and the range of durations, too."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column(kind, overflow="fold")
    headers = ["samples", "events\na sample", "rate\nk/s", "duration ms\nmean ± std"]
    for header in ["recordings", *headers, "duration ms\nmin – max"] if is_long else headers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _cells(part: Part, is_long: bool) -> list[Text]:
    span = part.durations_ms
    cells = [
        f"{part.samples:,}",
        NONE if part.events_per_sample is None else f"{part.events_per_sample:,.0f}",
        NONE if part.events_per_second is None else f"{part.events_per_second / 1000:,.1f}",
        f"{span['mean']:.0f} ± {span['std']:>4.0f}" if span else NONE,
    ]
    if is_long:
        cells = [f"{part.recordings:,}", *cells, f"{span['min']:.0f} – {span['max']:>5.0f}" if span else NONE]
    # As Text, since rich would take brackets in a name for markup.
    return [Text(cell) for cell in [part.name, *cells]]
