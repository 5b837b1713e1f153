"""Events of a batch into frames of shape (T, B, P, H, W), with places worked out by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sltune.events.augmentations.augmenter import Augmenter
from sltune.events.formats.aedat import encode_address
from sltune.events.frames import FrameFormat, Window, place_events
from sltune.events.samples import Samples
from sltune.events.store import Sample, encode_samples, read_table
from sltune.training import batches
from sltune.training.batches import BatchSource, scatter
from tests.small import write_samples

CPU = torch.device("cpu")
SMALL = (5, 7)
Event = tuple[int, int, int, int]
"""Time in µs since the first, row, column, polarity."""
MakeSamples = Callable[..., Samples]


@pytest.fixture
def make_samples(tmp_path: Path) -> MakeSamples:
    """Store samples of such events on a sensor of 5 rows and 7 columns, labelled 0, 1, 2 …"""

    def make(signs: Sequence[Sequence[Event]], start_us: int = 0, sensor: tuple[int, int] = SMALL) -> Samples:
        rows = []
        for label, events in enumerate(signs):
            time_us, row, column, polarity = np.array(events, np.uint32).T
            address = ((row * sensor[1] + column) * 2 + polarity).astype(np.uint16)
            rows.append(Sample(f"s{label}", "r", "u", "S1", label, "sign", start_us, address, time_us))
        write_samples(tmp_path / "a.parquet", rows, sensor, {})
        return Samples([read_table(tmp_path / "a.parquet")])

    return make


def ticks(bins: int, time_bin_ms: int = 10) -> list[Event]:
    """One event in each bin, in column 0 of the row that its bin modulo 5 names, and one that ends the last bin."""
    return [*((1000 * time_bin_ms * i, i % 5, 0, 0) for i in range(bins)), (1000 * time_bin_ms * bins, 0, 6, 1)]


def source(samples: Samples, crop_bins: int | None, binning: str = "binary", downsample: int = 1) -> BatchSource:
    frames = FrameFormat(SMALL, time_bin_ms=10, binning=binning, downsample=downsample)
    return BatchSource(samples, np.arange(len(samples)), frames, crop_bins, CPU)


def all_frames(samples: Samples, crop_bins: int | None, binning: str = "binary", downsample: int = 1) -> torch.Tensor:
    """Return the frames of all samples as one batch from the start."""
    (batch,) = source(samples, crop_bins, binning, downsample).evaluation(99)
    (frames,) = batch.views
    return frames


def test_a_dvs128_address_falls_on_polarity_row_and_column(make_samples: MakeSamples) -> None:
    """Rows are bits 8–14 of the address and columns bits 1–7, as in the tensors of the predecessor."""
    samples = make_samples([[(0, 3, 100, 1), (12_000, 127, 0, 0), (20_000, 0, 0, 0)]], sensor=(128, 128))
    assert samples.events(0)[0].tolist() == encode_address([3, 127, 0], [100, 0, 0], [1, 0, 0]).tolist()
    (batch,) = BatchSource(samples, np.array([0]), FrameFormat((128, 128), 10), 2, CPU).evaluation(1)
    (frames,) = batch.views
    assert frames.shape == (2, 1, 2, 128, 128)
    assert frames.nonzero().tolist() == [[0, 0, 1, 3, 100], [1, 0, 0, 127, 0]]
    assert frames.dtype == torch.float32


def test_places_in_a_batch_of_two_are_those_worked_out_by_hand(make_samples: MakeSamples) -> None:
    """A frame of 2 · 5 · 7 values; two samples, so 140 values a bin."""
    samples = make_samples(
        [
            [(0, 1, 2, 0), (9_999, 1, 2, 1), (10_000, 4, 6, 1), (20_000, 0, 0, 0)],
            [(0, 0, 0, 0), (19_999, 2, 3, 0), (20_000, 0, 0, 0)],
        ]
    )
    windows = [Window(0, 0, 2), Window(1, 0, 2)]
    places = place_events(samples, windows, FrameFormat(SMALL, 10), crop_bins=2)
    assert places.tolist() == [
        *(1 * 7 + 2, 35 + 1 * 7 + 2, 140 + 35 + 4 * 7 + 6),
        *(70 + 0, 140 + 70 + 2 * 7 + 3),
    ]
    assert places.dtype == np.int64


def test_a_window_may_hold_a_sample_twice_and_begin_anywhere(make_samples: MakeSamples) -> None:
    samples = make_samples([ticks(6)])
    places = place_events(samples, [Window(0, 4, 6), Window(0, 1, 6)], FrameFormat(SMALL, 10), crop_bins=2)
    assert places.tolist() == [4 * 7, 140, 70 + 7, 140 + 70 + 14]


def test_windows_without_events_give_no_places(make_samples: MakeSamples) -> None:
    samples = make_samples([[(0, 0, 0, 0), (99_000, 0, 0, 0)]])
    assert place_events(samples, [Window(0, 4, 9)], FrameFormat(SMALL, 10), crop_bins=3).tolist() == []
    assert place_events(samples, [], FrameFormat(SMALL, 10), crop_bins=3).tolist() == []


def test_time_is_cut_to_milliseconds_of_the_recordings_clock_before_it_is_aligned(make_samples: MakeSamples) -> None:
    """The sample begins at 1999 µs, in millisecond 1: 9001 µs later is millisecond 11, so 10 after the first."""
    samples = make_samples([[(0, 0, 0, 0), (9_000, 1, 1, 0), (9_001, 2, 2, 0), (19_001, 3, 3, 0)]], start_us=1999)
    assert all_frames(samples, 2).nonzero()[:, [0, 3]].tolist() == [[0, 0], [0, 1], [1, 2]]


@given(
    times=st.lists(st.integers(0, 100_000), min_size=1, max_size=30),
    start_us=st.integers(0, 10**6),
    time_bin_ms=st.integers(1, 40),
    start_bin=st.integers(0, 12),
    crop_bins=st.integers(1, 12),
)
def test_bins_are_those_of_the_predecessors_arithmetic(
    times: list[int], start_us: int, time_bin_ms: int, start_bin: int, crop_bins: int
) -> None:
    """µs → ms, minus the first ms, div the bin; the last incomplete bin is dropped, but one is kept at least."""
    true_us = sorted(time - min(times) for time in times)
    ms = [(start_us + time) // 1000 - start_us // 1000 for time in true_us]
    bins = max(1, ms[-1] // time_bin_ms)
    expected = [m // time_bin_ms - start_bin for m in ms if m // time_bin_ms < bins]

    class OneSample:
        def events(self, _: int) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros(len(true_us), np.uint16), np.array(true_us, np.uint32)

        def phase_us(self, _: int) -> int:
            return start_us % 1000

    frames = FrameFormat((1, 1), time_bin_ms)
    places = place_events(OneSample(), [Window(0, start_bin, bins)], frames, crop_bins)  # type: ignore[arg-type]
    assert (places // 2).tolist() == [bin_ for bin_ in expected if 0 <= bin_ < crop_bins]


@pytest.mark.parametrize("downsample", [1, 2, 3])
def test_every_address_maps_to_its_merged_pixel_and_rests_to_none(downsample: int) -> None:
    """5 rows and 7 columns: by 2 the last row and column are left over, by 3 the last two rows and one column."""
    frames = FrameFormat(SMALL, 10, downsample=downsample)
    rows, columns = {1: (5, 7), 2: (2, 3), 3: (1, 2)}[downsample]
    assert frames.size == (rows, columns)
    for row in range(5):
        for column in range(7):
            for polarity in range(2):
                merged = row // downsample, column // downsample
                place = polarity * rows * columns + merged[0] * columns + merged[1]
                inside = row < rows * downsample and column < columns * downsample
                assert frames.pixel[(row * 7 + column) * 2 + polarity] == (place if inside else -1)


@given(
    sensor=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
)
def test_frames_of_a_given_size_take_every_pixel_of_any_sensor(
    sensor: tuple[int, int], shares: tuple[float, float]
) -> None:
    """A pixel's row goes to row · H // height and its column to column · W // width; no pixel of the frame is empty."""
    (height, width), (rows, columns) = sensor, (max(1, int(sensor[0] * shares[0])), max(1, int(sensor[1] * shares[1])))
    frames = FrameFormat(sensor, 10, resized=(rows, columns))
    assert (frames.size, frames.values, frames.has_rest) == ((rows, columns), 2 * rows * columns, False)
    places = [
        (polarity * rows + row * rows // height) * columns + column * columns // width
        for row in range(height)
        for column in range(width)
        for polarity in range(2)
    ]
    assert frames.pixel.tolist() == places
    assert sorted(set(places)) == list(range(frames.values))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_size_that_divides_the_sensor_gives_the_frames_of_downsample(factor: int) -> None:
    merged, sized = (
        FrameFormat((8, 12), 10, downsample=factor),
        FrameFormat((8, 12), 10, resized=(8 // factor, 12 // factor)),
    )
    assert (sized.size, sized.pixel.tolist()) == (merged.size, merged.pixel.tolist())


def test_left_over_rows_and_columns_are_dropped_and_merged_pixels_count_together(make_samples: MakeSamples) -> None:
    samples = make_samples([[(0, 0, 0, 0), (1, 1, 1, 0), (2, 4, 0, 0), (3, 0, 6, 0), (4, 3, 5, 1)]])
    frames = all_frames(samples, 1, "count", downsample=2)
    assert frames.shape == (1, 1, 2, 2, 3)
    assert frames[0, 0].tolist() == [[[2, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]]


def test_binary_frames_hold_ones_and_counts_the_number_of_events() -> None:
    places = torch.tensor([0, 3, 3, 3])
    shape = (1, 1, 2, 1, 2)
    assert scatter(places, torch.full(shape, 7.0), "binary").flatten().tolist() == [1, 0, 0, 1]
    assert scatter(places, torch.full(shape, 7.0), "count").flatten().tolist() == [1, 0, 0, 3]


def test_normalized_frames_are_divided_by_each_samples_largest_count_in_the_crop(make_samples: MakeSamples) -> None:
    """Counts are 4 and, in the second bin, 1; 2 in the second bin; none but for the event that ends the last bin."""
    end = (20_000, 4, 6, 1)
    samples = make_samples(
        [
            [*[(number, 0, 0, 0) for number in range(4)], (10_000, 0, 1, 1), end],
            [(0, 4, 6, 1), (10_000, 0, 1, 0), (10_001, 0, 1, 0), end],
            [(0, 3, 3, 0), (20_000, 0, 0, 0)],
        ]
    )
    frames = all_frames(samples, 2, "normalized")
    assert frames[:, 0].nonzero().tolist() == [[0, 0, 0, 0], [1, 1, 0, 1]]
    assert (frames[0, 0, 0, 0, 0], frames[1, 0, 1, 0, 1]) == (1, 0.25)
    assert frames[:, 1].nonzero().tolist() == [[0, 1, 4, 6], [1, 0, 0, 1]]
    assert (frames[0, 1, 1, 4, 6], frames[1, 1, 0, 0, 1]) == (0.5, 1)
    assert frames[:, 2].sum() == 1


def test_relative_frames_are_divided_by_each_samples_mean_count_in_the_crop(make_samples: MakeSamples) -> None:
    """Half of the light or twice the crop gives half of the events, and the same frames."""
    end = (20_000, 4, 6, 1)
    dim = [(0, 0, 0, 0), (10, 0, 1, 1), (20, 0, 1, 1), (5000, 4, 6, 1)]
    bright = [event for event in dim for _ in range(2)]
    frames = all_frames(make_samples([[*dim, end], [*bright, end]]), 1, "relative")
    values = frames[:, 0].numel()
    assert torch.equal(frames[:, 0], frames[:, 1])
    assert sorted(frames[:, 0][frames[:, 0] > 0].tolist()) == pytest.approx([values / 4, values / 4, values / 2])


@pytest.mark.parametrize("binning", ["binary", "count", "normalized", "relative"])
@pytest.mark.parametrize("steps", [1, 3, 4, 9])
def test_stretches_of_a_clip_are_its_frames_in_every_binning(
    make_samples: MakeSamples, binning: str, steps: int
) -> None:
    """The second sample has its largest count in its last bin, so a stretch alone would not know it."""
    busy = [(70_000 + number, 1, 1, 0) for number in range(5)]
    samples = make_samples([ticks(8), [*ticks(7), *busy, (80_000, 0, 6, 1)], ticks(3)])
    part = source(samples, 9, binning)
    (whole,) = (clip.frames().clone() for clip in next(part.evaluation(3)).clips)
    (clip,) = next(part.evaluation(3)).clips
    stretches = [frames.clone() for frames in clip.stretches(steps * whole[0].numel())]
    assert [len(frames) for frames in stretches[:-1]] == [steps] * ((9 - 1) // steps)
    assert torch.equal(torch.cat(stretches), whole)


def test_a_stretch_has_one_step_at_least(make_samples: MakeSamples) -> None:
    (clip,) = next(source(make_samples([ticks(4)]), 4).evaluation(1)).clips
    assert [len(frames) for frames in clip.stretches(1)] == [1] * 4


def test_normalization_looks_at_the_crop_only(make_samples: MakeSamples) -> None:
    """The three events of the second bin lie outside a crop of one bin."""
    late = [(10_000 + i, 0, 0, 0) for i in range(3)]
    samples = make_samples([[(0, 0, 0, 0), (1, 0, 0, 0), (2, 1, 1, 0), *late, (20_000, 0, 0, 0)]])
    frames = all_frames(samples, 1, "normalized")
    assert (frames[0, 0, 0, 0, 0], frames[0, 0, 0, 1, 1]) == (1, 0.5)
    assert all_frames(samples, 2, "normalized").amax() == 1
    assert all_frames(samples, 2, "normalized")[0, 0, 0, 0, 0] == pytest.approx(2 / 3)


def test_no_events_at_all_are_zeros_in_every_binning() -> None:
    for binning in ("binary", "count", "normalized", "relative"):
        assert (
            scatter(torch.empty(0, dtype=torch.int64), torch.ones(2, 1, 2, 3, 3), binning).tolist()
            == np.zeros((2, 1, 2, 3, 3)).tolist()
        )


def test_an_unknown_binning_is_refused() -> None:
    with pytest.raises(ValueError, match="binning must be binary, count, normalized or relative, but got 'or'"):
        scatter(torch.tensor([0]), torch.empty(1, 1, 2, 1, 1), "or")


def test_a_crop_beyond_the_end_is_padded_with_zeros(make_samples: MakeSamples) -> None:
    """The event after the sample's last whole bin does not come back in the padding."""
    frames = all_frames(make_samples([ticks(3), ticks(5)]), 8)
    assert frames.shape == (8, 2, 2, 5, 7)
    assert frames[:, 0].nonzero().tolist() == [[0, 0, 0, 0], [1, 0, 1, 0], [2, 0, 2, 0]]
    assert frames[5:].sum() == 0
    assert frames.sum() == 3 + 5


def test_a_sample_shorter_than_one_bin_has_all_its_events_in_one(make_samples: MakeSamples) -> None:
    samples = make_samples([[(0, 0, 0, 0), (8_000, 4, 6, 1)]])
    assert source(samples, None).crop_bins == 1
    assert all_frames(samples, None).nonzero().tolist() == [[0, 0, 0, 0, 0], [0, 0, 1, 4, 6]]


def test_whole_samples_are_cropped_to_the_longest_of_the_part(make_samples: MakeSamples) -> None:
    samples = make_samples([ticks(3), ticks(7), ticks(9)])
    assert source(samples, None).crop_bins == 9
    part = BatchSource(samples, np.array([0, 1]), FrameFormat(SMALL, 10), None, CPU)
    assert (part.crop_bins, len(part)) == (7, 2)


def test_events_out_of_order_fall_into_their_bins(make_samples: MakeSamples) -> None:
    samples = make_samples([[(10_000, 1, 1, 0), (0, 2, 2, 0), (20_000, 0, 0, 0), (15_000, 3, 3, 0)]])
    assert all_frames(samples, 2).nonzero()[:, [0, 3]].tolist() == [[0, 2], [1, 1], [1, 3]]


def row_of_first_frame(frames: torch.Tensor) -> list[int]:
    """ticks() puts the bin's number into the row."""
    return [int(sample[0].nonzero()[0, 0]) for sample in frames[0]]


@pytest.mark.parametrize(
    ("bins", "crops", "starts"),
    [(5, 1, [0]), (5, 2, [0, 3]), (5, 4, [0, 1, 2, 3]), (5, 3, [0, 1, 3]), (2, 3, [0, 0, 0]), (1, 2, [0, 0])],
)
def test_evaluation_crops_are_spread_evenly_from_the_start_to_the_end(
    make_samples: MakeSamples, bins: int, crops: int, starts: list[int]
) -> None:
    """A crop of 2 bins leaves bins − 2 for the last start."""
    (batch,) = source(make_samples([ticks(bins)]), 2).evaluation(8, crops)
    views = [view.clone() for view in batch.views]
    assert [row_of_first_frame(view)[0] for view in views] == starts
    assert {view.shape for view in views} == {(2, 1, 2, 5, 7)}


def test_evaluation_gives_each_sample_once_in_order_in_batches_of_which_the_last_is_smaller(
    make_samples: MakeSamples,
) -> None:
    samples = make_samples([ticks(1 + number) for number in range(5)])
    part = BatchSource(samples, np.array([4, 0, 3]), FrameFormat(SMALL, 10), 5, CPU)
    labels, sums = [], []
    for batch in part.evaluation(2):
        labels.append(batch.labels.tolist())
        (frames,) = batch.views
        sums.append(frames.sum(dim=(0, 2, 3, 4)).tolist())
    assert labels == [[4, 0], [3]]
    assert sums == [[5, 1], [4]]


def test_training_without_an_order_keeps_the_order_given(make_samples: MakeSamples) -> None:
    samples = make_samples([ticks(2)] * 5)
    part = BatchSource(samples, np.array([3, 1, 4, 0, 2]), FrameFormat(SMALL, 10), 2, CPU)
    for _ in range(2):
        batches = part.training(2, "start", np.random.default_rng(0), None)
        assert [batch.labels.tolist() for batch in batches] == [[3, 1], [4, 0], [2]]


def test_training_with_an_order_gives_each_sample_once_and_the_same_for_the_same_seed(
    make_samples: MakeSamples,
) -> None:
    part = source(make_samples([ticks(2)] * 12), 2)

    def epoch(seed: int) -> list[int]:
        batches = part.training(5, "start", np.random.default_rng(0), np.random.default_rng(seed))
        return [label for batch in batches for label in batch.labels.tolist()]

    assert sorted(epoch(1)) == list(range(12))
    assert epoch(1) == epoch(1)
    assert epoch(1) != epoch(2) != list(range(12))
    assert part.indices.tolist() == list(range(12))


def test_labels_follow_their_frames_through_a_shuffle(make_samples: MakeSamples) -> None:
    part = source(make_samples([ticks(1 + number) for number in range(5)]), 5)
    for batch in part.training(2, "start", np.random.default_rng(0), np.random.default_rng(3)):
        (frames,) = batch.views
        assert frames.sum(dim=(0, 2, 3, 4)).tolist() == [label + 1 for label in batch.labels.tolist()]


def test_random_crops_are_consecutive_bins_of_the_sample_and_reach_the_last_start(make_samples: MakeSamples) -> None:
    part = source(make_samples([ticks(5)] * 40), 2)
    starts = []
    for batch in part.training(8, "random", np.random.default_rng(0), None):
        (frames,) = batch.views
        for sample in frames.unbind(1):
            first, second = (int(frame.nonzero()[0, 1]) for frame in sample)
            assert second == first + 1
            starts.append(first)
    assert set(starts) == {0, 1, 2, 3}


def test_random_crops_differ_from_epoch_to_epoch_only_by_their_stream(make_samples: MakeSamples) -> None:
    part = source(make_samples([ticks(5)] * 12), 2)

    def epoch(starts: np.random.Generator) -> list[int]:
        return [
            row for batch in part.training(4, "random", starts, None) for row in row_of_first_frame(next(batch.views))
        ]

    stream = np.random.default_rng(1)
    first, second = epoch(stream), epoch(stream)
    assert first != second
    assert epoch(np.random.default_rng(1)) == first


def test_evaluation_batches_keep_their_own_samples_when_all_are_taken_first(make_samples: MakeSamples) -> None:
    samples = make_samples([ticks(1), ticks(3)])
    batches = list(source(samples, 3).evaluation(1))
    assert [sum(float(frames.sum()) for frames in batch.views) for batch in batches] == [1, 3]


def test_a_thread_that_works_ahead_keeps_the_order_and_makes_a_few_at_most() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(7):
            made.append(number)
            yield number

    ahead_of = batches.ahead(items())
    assert next(ahead_of) == 0
    wait_until(lambda: len(made) == 3)
    assert list(ahead_of) == [1, 2, 3, 4, 5, 6]
    assert made == list(range(7))


def test_an_error_of_the_thread_is_raised_after_what_came_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError("in the thread")

    taken = []
    with pytest.raises(ZeroDivisionError, match="in the thread"):
        taken.extend(iter(batches.ahead(items()).__next__, None))
    assert next(batches.ahead(iter([5]))) == 5


def test_batches_made_ahead_equal_those_made_when_they_are_needed(
    make_samples: MakeSamples, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = source(make_samples([ticks(4 + number) for number in range(9)]), 3)

    def epoch() -> list[torch.Tensor]:
        starts, order = np.random.default_rng(1), np.random.default_rng(2)
        return [view.clone() for batch in part.training(2, "random", starts, order) for view in batch.views]

    plain = epoch()
    monkeypatch.setattr(batches, "ASYNCHRONOUS_DEVICES", ("cpu",))
    assert all(torch.equal(one, other) for one, other in zip(epoch(), plain, strict=True))


@pytest.mark.parametrize("binning", ["binary", "normalized"])
@pytest.mark.parametrize("kept", [0, 100, 1 << 20], ids=["none", "some", "all"])
def test_events_that_stay_on_a_device_give_the_frames_of_a_first_evaluation(
    make_samples: MakeSamples, monkeypatch: pytest.MonkeyPatch, binning: str, kept: int
) -> None:
    """A stretch is placed once if it may stay, and once an evaluation if not."""
    samples = make_samples([ticks(4 + number) for number in range(9)])
    placed = 0

    def place(*arguments: Any) -> NDArray[np.int64]:
        nonlocal placed
        placed += 1
        return place_events(*arguments)

    def evaluation(part: BatchSource) -> list[torch.Tensor]:
        clips = (clip for batch in part.evaluation(4, crops=2) for clip in batch.clips)
        return [frames.clone() for clip in clips for frames in clip.stretches(2 * 4 * 70)]

    plain = evaluation(source(samples, 3, binning))
    monkeypatch.setattr(batches, "place_events", place)
    monkeypatch.setattr(batches, "ASYNCHRONOUS_DEVICES", ("cpu",))
    monkeypatch.setattr(batches, "MAX_KEPT_BYTES", kept)
    part = BatchSource(samples, np.arange(9), FrameFormat(SMALL, 10, binning), 3, CPU, is_repeated=True)
    counts = []
    for _ in range(3):
        placed = 0
        frames = evaluation(part)
        assert len(frames) == len(plain)
        assert all(torch.equal(one, other) for one, other in zip(frames, plain, strict=True))
        counts.append(placed)
    stretches = len(plain)
    assert counts[0] == stretches
    assert counts[1] == counts[2]
    assert {0: counts[1] == stretches, 100: 0 < counts[1] < stretches, 1 << 20: counts[1] == 0}[kept]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


times_us = st.lists(st.integers(0, 5_000_000), min_size=1, max_size=60).map(lambda times: [0, *sorted(times)])


@given(times_us, st.integers(1, 40), st.integers(0, 3000))
def test_a_number_of_bins_divides_every_sample_whole(times: list[int], bins: int, start_us: int) -> None:
    events = np.array(times, np.uint32)
    address = np.arange(len(times), dtype=np.uint16) % 70
    sample = Sample("s", "r", "u", "S1", 0, "sign", start_us, address, events)
    samples = Samples([pq.read_table(pa.BufferReader(encode_samples([sample], SMALL, {})))])
    frames = FrameFormat(SMALL, time_bin_ms=30, binning="count", bins=bins)
    wanted = np.zeros((bins, 2, *SMALL))
    for time_us, place in zip(times, address, strict=True):
        row, column, polarity = np.unravel_index(int(place), (*SMALL, 2))
        wanted[time_us * bins // (max(times) + 1), polarity, row, column] += 1
    (batch,) = BatchSource(samples, np.arange(1), frames, None, CPU).evaluation(1)
    clip = next(batch.clips)
    np.testing.assert_array_equal(clip.frames()[:, 0].numpy(), wanted)
    in_stretches = [stretch.clone() for stretch in clip.stretches(3 * frames.values)]
    np.testing.assert_array_equal(torch.cat(in_stretches)[:, 0].numpy(), wanted)
    unchanged = Augmenter([lambda events, rng: events], np.random.default_rng(0))
    places = [place_events(samples, [Window(0, 0, bins)], frames, bins, augment) for augment in (None, unchanged)]
    np.testing.assert_array_equal(*places)


def test_samples_of_any_length_have_so_many_bins_and_are_counted_as_long_as_they_are(make_samples: MakeSamples) -> None:
    samples = make_samples([ticks(3), ticks(11)])
    frames = FrameFormat(SMALL, time_bin_ms=10, bins=4)
    part = BatchSource(samples, np.arange(2), frames, None, CPU)
    assert part.crop_bins == 4
    # 30 and 110 ms, and the µs in which their last events lie.
    assert part.seconds == pytest.approx(0.140002)
    assert BatchSource(samples, np.arange(2), FrameFormat(SMALL, 10), 5, CPU).seconds == pytest.approx(0.1)
