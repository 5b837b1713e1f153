"""Draw samples upright: some frames side by side, an animation, or one frame of each class."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from sltune.errors import UsageError
from sltune.events.dataset import Dataset
from sltune.events.frames import FrameFormat, Window, place_events
from sltune.events.orientation import on_polarity, upright, upright_size
from sltune.events.views.canvas import Canvas, Counts, Indices, Panel, full_count, ink
from sltune.events.views.gif import write_gif
from sltune.system.files import named_by_user, whole_file
from sltune.wording import as_argument, suggestion

FRAMES = 3
SHEET_COLUMNS = 5
GIF_TICK_MS = 10
# Browsers slow down animations whose frames are shorter.
MIN_GIF_MS = 20
# A GIF counts hundredths of a second in 16 bits.
MAX_GIF_MS = 655_350
# 2.5 minutes of frames of 30 ms. A single wrong timestamp would make 143,000 frames.
MAX_GIF_FRAMES = 5000


@dataclass(frozen=True)
class Span:
    """The part of a sample that is shown, in ms from its first event, and the duration of a frame.

    length_ms: None for the rest of the sample.
    """

    bin_ms: int = 30
    start_ms: int = 0
    length_ms: int | None = None


def find_sample(dataset: Dataset, sample_id: str) -> int:
    """Return the index of a sample.

    Raises:
        UsageError: there is none of this name.
    """
    return dataset.samples.sample_id.index(_known(dataset, "sample", sample_id, dataset.samples.sample_id))


def frames_picture(dataset: Dataset, sample_id: str, span: Span, scale: int) -> Image.Image:
    """Return three frames of a sample side by side, each from the middle of a third of the span.

    Raises:
        UsageError: there is no such sample, or the span lies after its end.
    """
    index = find_sample(dataset, sample_id)
    first, last = _ends(dataset, index, span)
    number = min(FRAMES, max(1, (last - first) // span.bin_ms))
    starts = [_middle(first, last, span.bin_ms, (part + 0.5) / number) for part in range(number)]
    counter = _Counter(dataset)
    counts = [counter.counts(index, start, span.bin_ms) for start in starts]
    full = full_count(counts)
    labels = [f"{start}-{start + span.bin_ms} ms" for start in starts]
    panels = [Panel(label, counter.ink(count, full)) for label, count in zip(labels, counts, strict=True)]
    return Canvas(_frame(dataset), number, number, _sample_title(dataset, index), scale).image(panels)


def animation(dataset: Dataset, sample_id: str, span: Span, scale: int) -> Iterator[tuple[Image.Image, int]]:
    """Return the frames of a sample in real time, each with how many ms it is to be seen.

    Frames are drawn when they are asked for. An incomplete frame at the end is left out, as in training.

    Raises:
        UsageError: there is no such sample, the span lies after its end or has too many frames, or a GIF cannot show
            frames of this length.
    """
    if not MIN_GIF_MS <= span.bin_ms <= MAX_GIF_MS:
        limits = f"{MIN_GIF_MS} ms are the least and {MAX_GIF_MS} ms the most"
        raise UsageError(f"a GIF cannot show frames of {span.bin_ms} ms in real time, {limits}; draw a .png instead")
    index = find_sample(dataset, sample_id)
    first, last = _ends(dataset, index, span)
    starts = range(first, max(first + 1, last - span.bin_ms + 1), span.bin_ms)
    if len(starts) > MAX_GIF_FRAMES:
        raise UsageError(
            f"{sample_id} from {first} to {last} ms has {len(starts)} frames of {span.bin_ms} ms, and an animation "
            f"{MAX_GIF_FRAMES} at most; show a part of it with --start-ms and --length-ms "
            f"{MAX_GIF_FRAMES * span.bin_ms} or less, or longer frames with --bin-ms"
        )
    canvas = Canvas(_frame(dataset), 1, 1, _sample_title(dataset, index), scale)
    return _frames(_Counter(dataset), canvas, index, starts, span.bin_ms)


def _frames(
    counter: _Counter, canvas: Canvas, index: int, starts: Sequence[int], bin_ms: int
) -> Iterator[tuple[Image.Image, int]]:
    # Events are counted twice, since the frames of a minute may not fit into memory.
    full = full_count(counter.counts(index, start, bin_ms) for start in starts)
    # A GIF counts in hundredths of a second; what one frame is short of, the next one gets.
    ticks = pairwise(round(number * bin_ms / GIF_TICK_MS) for number in range(len(starts) + 1))
    for start, (begin, end) in zip(starts, ticks, strict=True):
        inks = counter.ink(counter.counts(index, start, bin_ms), full)
        yield canvas.image([Panel(f"{start}-{start + bin_ms} ms", inks)]), GIF_TICK_MS * (end - begin)


def contact_sheet(dataset: Dataset, span: Span, scale: int, recording: str | None = None) -> Image.Image:
    """Return one frame of each class, from the middle of the span of its first sample, labelled with its name.

    A class without a sample has an empty panel.

    Args:
        recording: where the samples are from; None for the first sample of each class in the dataset.

    Raises:
        UsageError: there is no such recording, or the span lies after the end of a sample.
    """
    samples, manifest = dataset.samples, dataset.manifest
    if recording is not None:
        _known(dataset, "recording", recording, samples.recording)
    first_of = dict[int, int]()
    for index, label in enumerate(samples.label.tolist()):
        if recording in (None, samples.recording[index]):
            first_of.setdefault(label, index)
    counter, counts = _Counter(dataset), dict[int, Counts]()
    for label, index in first_of.items():
        start = _middle(*_ends(dataset, index, span), span.bin_ms, 0.5)
        counts[label] = counter.counts(index, start, span.bin_ms)
    full = full_count(list(counts.values()))
    panels = [
        Panel(name, counter.ink(counts[label], full)) if label in counts else Panel(f"{name}: no sample", None)
        for label, name in enumerate(manifest.classes)
    ]
    shown = {samples.recording[index] for index in first_of.values()}
    where = f", {shown.pop()}" if len(shown) == 1 else ""
    which = "the middle " if span == Span(span.bin_ms) else ""
    title = f"{_dataset_title(dataset)}{where}: {which}{span.bin_ms} ms of each sample"
    columns = min(len(panels), max(SHEET_COLUMNS, math.ceil(math.sqrt(len(panels)))))
    return Canvas(_frame(dataset), len(panels), columns, title, scale).image(panels)


def draw_sample(dataset: Dataset, sample_id: str, span: Span, scale: int, file: Path) -> None:
    """Write a sample's picture as PNG, or its animation where the file's name ends in .gif.

    Raises:
        UsageError: as frames_picture and animation, or the file cannot be written.
    """
    if file.suffix.lower() != ".gif":
        _write_png(frames_picture(dataset, sample_id, span, scale), file)
        return
    frames = animation(dataset, sample_id, span, scale)
    with whole_file(named_by_user(file)) as handle:
        write_gif(handle, frames)


def draw_sheet(dataset: Dataset, span: Span, scale: int, file: Path, recording: str | None = None) -> None:
    """Write a contact sheet as PNG.

    Raises:
        UsageError: as contact_sheet, or the file cannot be written.
    """
    _write_png(contact_sheet(dataset, span, scale, recording), file)


def _write_png(image: Image.Image, file: Path) -> None:
    with whole_file(named_by_user(file)) as handle:
        image.save(handle, "PNG", optimize=True)


class _Counter:
    """Counts the events between any two milliseconds, and colours them in the upright picture."""

    def __init__(self, dataset: Dataset) -> None:
        self._samples = dataset.samples
        # With bins of 1 ms, a frame may start at any millisecond; its bins are added up.
        self._format = FrameFormat(dataset.manifest.sensor, time_bin_ms=1)
        self._orientation = dataset.manifest.orientation
        self._on = on_polarity(dataset.manifest.name)

    def counts(self, index: int, start_ms: int, bin_ms: int) -> Counts:
        """Return the events of each pixel, shape (2, rows, columns), as stored."""
        window = Window(index, start_ms, self._samples.last_ms(index) + 1)
        place = place_events(self._samples, [window], self._format, bin_ms) % self._format.values
        # bincount is fast enough for the hundreds of frames of an animation.
        return np.bincount(place, minlength=self._format.values).astype(np.int32).reshape(2, *self._format.size)

    def ink(self, counts: Counts, full: int) -> Indices:
        """Return the palette indices of the upright picture; full: the count of full colour."""
        counts = upright(counts, self._orientation)
        return ink(counts[self._on], counts[1 - self._on], full)


def _frame(dataset: Dataset) -> tuple[int, int]:
    """Return (height, width) of an upright frame."""
    return upright_size(dataset.manifest.sensor, dataset.manifest.orientation)


def _ends(dataset: Dataset, index: int, span: Span) -> tuple[int, int]:
    """Return the first millisecond of the span and the one after its last."""
    end = dataset.samples.last_ms(index) + 1
    if span.start_ms >= end:
        name = dataset.samples.sample_id[index]
        raise UsageError(f"{name} lasts {end} ms; --start-ms must be less, but is {span.start_ms}")
    return span.start_ms, end if span.length_ms is None else min(end, span.start_ms + span.length_ms)


def _middle(first: int, last: int, bin_ms: int, part: float) -> int:
    """Return the start of a frame whose middle lies at a fraction of the span; it stays in the span if it fits."""
    start = round(first + part * (last - first) - bin_ms / 2)
    return max(first, min(start, last - bin_ms))


def _sample_title(dataset: Dataset, index: int) -> str:
    samples, manifest = dataset.samples, dataset.manifest
    synthetic = ", synthetic" if manifest.synthetic else ""
    gesture = manifest.classes[samples.label[index]]
    return f"{samples.sample_id[index]}: {gesture}, {samples.duration_us(index) / 1e6:.2f} s{synthetic}"


def _dataset_title(dataset: Dataset) -> str:
    return dataset.manifest.name + (" (synthetic)" if dataset.manifest.synthetic else "")


def _known(dataset: Dataset, kind: str, name: str, names: Sequence[str]) -> str:
    """Return a name that exists.

    Raises:
        UsageError: it does not; names the most similar ones.
    """
    if name not in names:
        listing = shlex.join(["sltune", "inspect", as_argument(dataset.root), "--samples"])
        hint = suggestion(name, names, 3) or "."
        raise UsageError(f"{dataset.root}: has no {kind} {name!r}{hint} `{listing}` lists all")
    return name
