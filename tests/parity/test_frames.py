"""Decoding, cutting and framing against the independent reader and Tonic's transforms."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sltune.events.crop import bins_of
from sltune.events.formats.aedat import encode_address, read_aedat, write_aedat
from sltune.events.frames import FrameFormat
from sltune.events.samples import Samples
from sltune.events.sources.slanimals.source import load_recording
from sltune.events.sources.tonic.source import read_nmnist
from sltune.events.store import Sample
from sltune.events.synthetic.recordings import WRAPPING
from sltune.training.batches import BatchSource
from tests import reference_impl as reference
from tests.parity.support import (
    CPU,
    DVS128,
    MODES,
    Counts,
    Signs,
    expected_start,
    in_memory,
    plain_counts,
    read_signs,
    sample_of,
    whole_frames,
    write_signs,
)

PIECES = 39
every_binning = pytest.mark.parametrize("binning", MODES)
every_downsample = pytest.mark.parametrize("downsample", [1, 2, 4])


def addresses(events: NDArray[np.void]) -> NDArray[np.uint16]:
    return encode_address(events["row"], events["column"], events["polarity"])


@pytest.fixture(scope="module")
def real_events(real_recording: Path) -> NDArray[np.void]:
    """The real recording as the independent reader decodes it."""
    return reference.decode_aedat(real_recording)


@pytest.fixture(scope="module")
def real_pieces(real_events: NDArray[np.void]) -> list[NDArray[np.void]]:
    """The real recording in pieces of about a second, of the same number of events each."""
    return np.array_split(real_events, PIECES)


@pytest.fixture(scope="module")
def real_samples(real_pieces: list[NDArray[np.void]]) -> Samples:
    return in_memory(
        [sample_of(addresses(piece), piece["time_us"], f"user{i:02d}_dc") for i, piece in enumerate(real_pieces)]
    )


@pytest.fixture(scope="module")
def real_counts(real_pieces: list[NDArray[np.void]]) -> Callable[[int], list[Counts]]:
    """Tonic's counts of each piece, by the factor of downsampling."""
    return functools.cache(lambda downsample: [plain_counts(piece, downsample) for piece in real_pieces])


@pytest.fixture(scope="module")
def sign_counts(signs: Signs) -> Callable[[int, int], Counts]:
    """Tonic's counts of a sign, by its place and the factor of downsampling."""
    return functools.cache(lambda place, downsample: plain_counts(signs.plain[place].events, downsample))


def test_a_real_recording_decodes_to_the_same_489834_events(
    real_recording: Path, real_events: NDArray[np.void]
) -> None:
    recording = read_aedat(real_recording)
    assert len(recording) == len(real_events) == 489_834
    expected = real_events["row"] * 256 + real_events["column"] * 2 + real_events["polarity"]
    np.testing.assert_array_equal(recording.address, expected + real_events["special"] * 2**15)
    np.testing.assert_array_equal(recording.time_us % 2**32, real_events["time_us"])


def test_a_whole_real_recording_has_tonics_frames(real_events: NDArray[np.void]) -> None:
    samples = in_memory([sample_of(addresses(real_events), real_events["time_us"])])
    frames = whole_frames(samples, 0, FrameFormat(DVS128, 30, "count"))
    assert (len(frames), frames.sum(dtype=np.int64), frames.max()) == (1327, 489_828, 5)
    np.testing.assert_array_equal(frames, plain_counts(real_events))


@every_binning
@every_downsample
def test_crops_of_a_real_recording_have_tonics_frames(
    real_counts: Callable[[int], list[Counts]], real_samples: Samples, binning: str, downsample: int
) -> None:
    counts = real_counts(downsample)
    lengths = sorted(map(len, counts))
    steps = lengths[PIECES // 2]
    assert lengths[0] < steps < lengths[-1], "some pieces must be padded and some cropped"
    assert_crops_equal(real_samples, counts, steps, FrameFormat(DVS128, 30, binning, downsample))


@every_binning
@every_downsample
@pytest.mark.parametrize("steps", [17, 145])
def test_crops_of_synthetic_signs_have_tonics_frames(
    signs: Signs, sign_counts: Callable[[int, int], Counts], binning: str, downsample: int, steps: int
) -> None:
    first_of_session = [signs.names.index(name) * 7 for name in signs.names[::2]]
    signs_at = [place + row for place, row in zip(first_of_session, (0, 1, 3, 6), strict=True)]
    counts = [sign_counts(place, downsample) for place in signs_at]
    assert_crops_equal(signs.samples, counts, steps, FrameFormat(DVS128, 30, binning, downsample), signs_at)


def assert_crops_equal(
    samples: Samples, counts: Sequence[Counts], steps: int, frames: FrameFormat, indices: Sequence[int] | None = None
) -> None:
    """Compare random crops, and those from the start, of the samples at the indices, all in one batch."""
    source = BatchSource(samples, np.array(indices or range(len(counts))), frames, steps, CPU)
    rng = np.random.default_rng(5)
    starts = [expected_start("random", len(sample), steps, rng) for sample in counts]
    training = source.training(len(counts), "random", np.random.default_rng(5), None)
    for batches, firsts in ((training, starts), (source.evaluation(len(counts)), [0] * len(counts))):
        (batch,) = batches
        (view,) = batch.views
        for slot, (sample, first) in enumerate(zip(counts, firsts, strict=True)):
            expected = reference.bin_values(reference.crop(sample, first, steps), MODES[frames.binning])
            np.testing.assert_array_equal(view[:, slot].numpy(), expected)


def test_every_synthetic_sign_has_tonics_frames(signs: Signs) -> None:
    for index, counts in enumerate(signs.counts):
        np.testing.assert_array_equal(whole_frames(signs.samples, index, FrameFormat(DVS128, 30, "count", 4)), counts)


def test_a_crop_without_events_stays_zero_when_normalized() -> None:
    # 20 bins of 10 ms, of which only the first and the last hold an event: crops start at 0, 7 and 15.
    samples = in_memory([sample_of(np.array([4, 8, 8], np.uint16), np.array([0, 195_000, 200_000]))])
    source = BatchSource(samples, np.array([0]), FrameFormat(DVS128, 10, "normalized"), 5, CPU)
    (batch,) = source.evaluation(1, crops=3)
    assert [float(view.sum()) for view in batch.views] == [1.0, 0.0, 1.0]


def test_signs_are_cut_where_the_tags_say(signs: Signs) -> None:
    # The simulator starts recordings of users with an odd number, here five of eight, above 2³¹ µs.
    assert sum(sample.events["time_us"][0] >= 2**31 for sample in signs.plain) == 5 * 7
    assert_same_events(signs.samples, signs.plain)


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Signs:
    """The recording in the midst of which the clock wraps: within a sign, after three others and before three more."""
    folder = tmp_path_factory.mktemp("wrapped")
    write_signs(folder, [WRAPPING])
    return read_signs(folder, [WRAPPING])


def test_signs_are_cut_where_the_tags_say_when_the_clock_wraps(wrapped: Signs) -> None:
    assert [wraps_within(sample) for sample in wrapped.plain] == [False] * 3 + [True] + [False] * 3
    assert_same_events(wrapped.samples, wrapped.plain)


@pytest.mark.parametrize("time_bin_ms", [1, 30])
def test_signs_after_a_wrap_of_the_clock_have_the_frames_of_their_raw_times(wrapped: Signs, time_bin_ms: int) -> None:
    for index, sample in enumerate(wrapped.plain):
        if not wraps_within(sample):
            expected = plain_counts(sample.events, 4, time_bin_ms)
            shown = whole_frames(wrapped.samples, index, FrameFormat(DVS128, time_bin_ms, "count", 4))
            np.testing.assert_array_equal(shown, expected)


def test_a_sign_within_which_the_clock_wraps_counts_on_where_the_predecessor_has_one_frame(wrapped: Signs) -> None:
    (sample,) = filter(wraps_within, wrapped.plain)
    assert len(plain_counts(sample.events, 4)) == 1
    counting_on = sample.events.copy()
    counting_on["time_us"] = reference.counted_on(sample.events["time_us"])
    expected = plain_counts(counting_on, 4)
    assert len(expected) > 50
    shown = whole_frames(wrapped.samples, wrapped.plain.index(sample), FrameFormat(DVS128, 30, "count", 4))
    np.testing.assert_array_equal(shown, expected)


def wraps_within(sample: reference.PlainSample) -> bool:
    return bool((np.diff(sample.events["time_us"]) < 0).any())


@pytest.mark.parametrize("before_us", [620_000, 2**32 - 50])
def test_an_event_before_a_wrap_of_the_clock_does_not_move_the_frames_after_it(tmp_path: Path, before_us: int) -> None:
    """After the first, at ms 620, the others are at ms 30, 70 and 100 from it: in bins 0, 1, 2 and past the last."""
    recording, tags = tmp_path / "user35_dc.aedat", tmp_path / "user35_dc.csv"
    write_aedat(recording, [0, 0, 2, 4, 6], [before_us, 620_900, 650_700, 690_000, 720_000])
    tags.write_text("class,startTime_ev,endTime_ev\n1,1,5\n")
    frames = whole_frames(in_memory(load_recording(recording, tags)[0]), 0, FrameFormat(DVS128, 30, "count"))
    assert frames.nonzero()[0].tolist() == [0, 1, 2]
    assert frames[:, 0, 0, :3].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def assert_same_events(samples: Samples, plain: Sequence[reference.PlainSample]) -> None:
    """Compare all but times beyond 2³², which the reference does not unwrap."""
    assert samples.sample_id == [f"{sample.recording}_{sample.tag_row + 1:02d}" for sample in plain]
    assert samples.recording == [sample.recording for sample in plain]
    assert samples.label.tolist() == [sample.label for sample in plain]
    for index, sample in enumerate(plain):
        address, time_us = samples.events(index)
        np.testing.assert_array_equal(address, addresses(sample.events))
        np.testing.assert_array_equal(time_us, (sample.events["time_us"] - sample.events["time_us"][0]) % 2**32)


@pytest.mark.parametrize("digit", range(10))
def test_digits_have_tonics_frames(nmnist_folder: Path, digit: int) -> None:
    file = min((nmnist_folder / "NMNIST" / "Train" / str(digit)).glob("*.bin"))
    columns = np.fromfile(file, dtype=np.uint8).reshape(-1, 5).astype(np.int64).T
    time_us = (columns[2] % 128) * 2**16 + columns[3] * 2**8 + columns[4]
    expected = reference.tonic_frames(columns[1], columns[0], columns[2] // 128, time_us, 20, sensor=34)
    sample = read_nmnist(file)
    assert sample.label == digit
    samples = in_memory([sample], (34, 34))
    np.testing.assert_array_equal(whole_frames(samples, 0, FrameFormat((34, 34), 20, "count")), expected)


@given(
    start_us=st.integers(0, 2**32 - 1),
    turns=st.integers(0, 2**30),
    steps_us=st.lists(st.one_of(st.integers(0, 3000), st.integers(0, 60_000)), max_size=12),
    bin_ms=st.integers(1, 100),
    seed=st.integers(0, 99),
)
@example(start_us=999, turns=0, steps_us=[1, 999, 1000], bin_ms=1, seed=0)  # the cut to ms comes before the alignment
@example(start_us=0, turns=0, steps_us=[29_999, 30_001], bin_ms=30, seed=0)  # a last event on the edge is dropped
@example(start_us=1999, turns=0, steps_us=[28_001], bin_ms=30, seed=0)
@example(start_us=2**31, turns=0, steps_us=[10, 10], bin_ms=100, seed=0)  # shorter than one bin: all in one frame
@example(start_us=7, turns=0, steps_us=[], bin_ms=30, seed=0)
@example(start_us=999, turns=1, steps_us=[1], bin_ms=1, seed=0)  # after a wrap, ms begin where they did
@example(start_us=2**32 - 1, turns=0, steps_us=[705, 1000], bin_ms=1, seed=0)  # and within a sample they count on
def test_any_sample_has_tonics_frames(start_us: int, turns: int, steps_us: list[int], bin_ms: int, seed: int) -> None:
    """start_us is what the clock of 32 bits says at the first event, after so many turns."""
    time_us = np.array(list(itertools.accumulate(steps_us, initial=start_us)), dtype=np.int64)
    rng = np.random.default_rng(seed)
    row, column = rng.integers(0, 8, (2, len(time_us)))
    polarity = rng.integers(0, 2, len(time_us))
    sample = sample_of(((row * 8 + column) * 2 + polarity).astype(np.uint16), time_us + turns * 2**32)
    samples = in_memory([sample], (8, 8))
    counting_on = reference.counted_on(time_us % 2**32)
    expected = reference.tonic_frames(row, column, polarity, counting_on, bin_ms, sensor=8)
    assert bins_of(samples.last_ms(0), bin_ms) == len(expected)
    np.testing.assert_array_equal(whole_frames(samples, 0, FrameFormat((8, 8), bin_ms, "count")), expected)


@given(
    bins=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    steps=st.integers(1, 30),
    crop=st.sampled_from(["start", "random", "random-predecessor"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_crops_start_where_the_rule_says(bins: list[int], steps: int, crop: str, seed: int) -> None:
    samples = in_memory([bin_markers(count) for count in bins], (8, 8))
    source = BatchSource(samples, np.arange(len(bins)), FrameFormat((8, 8), 1, "count"), steps, CPU)
    (batch,) = source.training(len(bins), crop, np.random.default_rng(seed), None)  # type: ignore[arg-type]
    view = next(batch.views).numpy()
    rng = np.random.default_rng(seed)
    for slot, count in enumerate(bins):
        start = expected_start(crop, count, steps, rng)
        markers = np.argmax(view[:, slot].reshape(steps, -1), axis=1)
        shown = min(steps, count - start)
        np.testing.assert_array_equal(markers[:shown], np.arange(start, start + shown))
        assert view[shown:, slot].sum() == 0


def bin_markers(bins: int) -> Sample:
    """A sample at 8×8 whose only event in bin i of 1 ms is at place i of a frame; one more closes the last bin."""
    place = np.arange(bins + 1)
    polarity, row, column = np.unravel_index(place, (2, 8, 8))
    return sample_of(((row * 8 + column) * 2 + polarity).astype(np.uint16), place * 1000)


def test_random_starts_are_uniform_and_the_predecessors_leave_the_last_out() -> None:
    samples = in_memory([bin_markers(12)], (8, 8))
    source = BatchSource(samples, np.zeros(1, np.int64), FrameFormat((8, 8), 1, "count"), 4, CPU)
    for crop, last in (("random", 8), ("random-predecessor", 7)):
        rng = np.random.default_rng(11)
        drawn = [
            int(next(batch.views)[0].argmax())
            for _ in range(900)
            for batch in source.training(1, crop, rng, None)  # type: ignore[arg-type]
        ]
        counts = np.bincount(drawn)
        assert len(counts) == last + 1
        # 26.1 is what chi-square with 8 degrees of freedom exceeds once in 1000.
        expected = 900 / (last + 1)
        assert ((counts - expected) ** 2 / expected).sum() < 26.1
