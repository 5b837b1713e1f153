"""Times in another unit and pixels of another sensor are warned of, and what cameras really record is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import ArrayLike

from sltune.errors import DataError
from sltune.events.formats.aedat import read_aedat, write_aedat
from sltune.events.importing import Task, encode_file, import_source
from sltune.events.plausible import ANY, DurationLimits, check_duration, check_events, check_rates
from sltune.events.source import Source, SourceFile
from sltune.events.sources.slanimals.source import MAX_RECORDING_US, SIGN, load_recording, open_slanimals
from sltune.events.sources.tonic.source import NMNIST_LIMITS, open_nmnist_folder, open_tonic
from sltune.events.store import Sample
from sltune.events.synthetic.recordings import SignersName, write_dataset
from tests.events.conftest import TinyFolder, refused
from tests.events.sources.tonic.test_source import event, write

NAME, DVS128 = "user00_indoor", (128, 128)
LENGTHS_S = (4.36, 0.88, 9.466)
"""Of the signs in turn: the mean, the least and the most of the published set."""
Change = Callable[[np.ndarray], np.ndarray]


def write_recording(
    folder: Path,
    times: Change = lambda us: us,
    address: Change = lambda address: address,
    lengths_s: Sequence[float] = LENGTHS_S,
) -> tuple[Path, Path]:
    """Write 19 signs of 1000 events with pauses of a second; all begins after the first half of the clock's range."""
    rng = np.random.default_rng(0)
    tags, parts_us, begin_us, count = ["class,startTime_ev,endTime_ev"], [], 2**31 + 7.0, 0
    for label in range(1, 20):
        length_us = lengths_s[label % 3] * 1e6
        pause_us = begin_us + np.arange(100) * 1e4
        parts_us += [pause_us, begin_us + 1e6 + np.linspace(0, length_us, 1000)]
        begin_us += 1e6 + length_us + 1000
        tags.append(f"{label},{count + 100},{count + 1100}")
        count += 1100
    time_us = np.rint(times(np.concatenate(parts_us))).astype(np.int64)
    folder.mkdir(parents=True, exist_ok=True)
    file, tag_file = folder / f"{NAME}.aedat", folder / f"{NAME}.csv"
    write_aedat(file, address(rng.integers(0, 2**15, count)), time_us)
    tag_file.write_text("\n".join(tags) + "\n")
    return file, tag_file


def said(folder: Path, **changes: Any) -> list[str]:
    """Return what is said of such a recording, without the name of its file."""
    path = write_recording(folder, **changes)[0]
    (file,) = open_slanimals(folder).files
    findings = encode_file(Task(file, DVS128, known=None)).findings
    assert not any(finding.is_error for finding in findings)
    return [str(finding).removeprefix(f"{path}").removeprefix(NAME) for finding in findings]


def test_lengths_of_the_published_set_are_not_warned_of(tmp_path: Path) -> None:
    assert said(tmp_path) == []


# The recording lasts 7 · 0.88 + 6 · (9.466 + 4.36) + 19 · 1.001 - 0.001 = 108.1 s.
@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param(
            lambda us: us * 0, ": lasts 0 s, as all of its 20,900 events have the same time; 19 signs take about 76 s"
        ),
        pytest.param(
            lambda us: us / 1e3, ": lasts 108.1 ms; 19 signs take about 76 s; are its times in ms instead of µs?"
        ),
        # Rounded to seconds, from 2147 to 2256.
        pytest.param(
            lambda us: us / 1e6, ": lasts 109 µs; 19 signs take about 76 s; are its times in s instead of µs?"
        ),
        pytest.param(lambda us: us / 300, ": lasts 360.4 ms; 19 signs take about 76 s; are its times in ms"),
        pytest.param(lambda us: us / 1e5, ": lasts 1.1 ms; 19 signs take about 76 s; are its times in s"),
    ],
    ids=["still", "ms", "s", "300 µs", "100 ms"],
)
def test_a_recording_that_is_too_short_is_warned_of_once_with_the_unit_that_would_fit(
    tmp_path: Path, times: Change, expected: str
) -> None:
    (text,) = said(tmp_path, times=times)
    assert text.startswith(expected)


def test_times_in_ns_are_warned_of(tmp_path: Path) -> None:
    """Here of signs of at most 4.2 s, as those of more than 4.3 s do not fit in 32 bits, which is an error."""
    texts = said(tmp_path, times=lambda us: (us - 2**31) * 1e3, lengths_s=(2.0, 0.88, 4.2))
    # 6 · (2 + 4.2) + 7 · 0.88 + 19 · 1.001 - 0.001 = 62.4 s.
    assert texts[0] == ": lasts 17.3 hours; 19 signs take about 76 s; are its times in ns instead of µs?"
    hint = "; a sign takes about 4 s; are its times in ns instead of µs?"
    assert texts[1] == f" sample {NAME}_01: lasts 880.0 s{hint}"
    assert texts[2] == f" sample {NAME}_02: lasts 1.2 hours{hint}"
    assert len(texts) == 1 + 19


def test_a_single_sample_that_stands_still_or_is_short_or_long_is_warned_of(tmp_path: Path) -> None:
    def change(us: np.ndarray) -> np.ndarray:
        us[100:1100] = us[100]
        us[1200:2200] = us[1200] + np.arange(1000) * 10
        us[2300:] += 40e6 * (np.arange(len(us) - 2300) > 500)
        return us

    assert said(tmp_path, times=change) == [
        f" sample {NAME}_01: lasts 0 s, as all of its 1,000 events have the same time; a sign takes about 4 s",
        f" sample {NAME}_02: lasts 10.0 ms; a sign takes about 4 s; are its times in ms instead of µs?",
        f" sample {NAME}_03: lasts 44.4 s; a sign takes about 4 s",
    ]


@pytest.mark.parametrize(
    ("address", "rows", "columns", "said_more"),
    [
        pytest.param(lambda address: address & 0x03FF, 4, 128, "of a cochlea do so: is it a recording of sound?",
                     id="a cochlea's 64 channels of 8 kinds"),
        pytest.param(lambda address: address & 0x7F07, 128, 4, "was it another sensor", id="few columns"),
        pytest.param(lambda address: address & 0x0F1F, 16, 16, "was it another sensor", id="few of both"),
    ],
)  # fmt: skip
def test_events_of_few_rows_or_columns_are_warned_of(
    tmp_path: Path, address: Change, rows: int, columns: int, said_more: str
) -> None:
    (text,) = said(tmp_path, address=address)
    assert text.startswith(f": the events fill {rows} of 128 rows and {columns} of 128 columns; ")
    assert said_more in text


def test_events_of_a_quarter_of_the_rows_are_not_warned_of(tmp_path: Path) -> None:
    assert said(tmp_path, address=lambda address: address & 0x1F7F) == []


def events_of(row: ArrayLike, column: ArrayLike, polarity: ArrayLike, recording: str = "x", side: int = 128) -> Sample:
    address = (np.asarray(row) * side + column) * 2 + polarity
    return Sample(
        recording, recording, "u", "", 0, "cat", 0, address.astype(np.uint16), np.zeros(len(address), np.uint32)
    )


def warned(*samples: Sample, side: int = 128) -> list[str]:
    return [str(finding) for finding in check_events(samples, (side, side))]


def test_of_a_long_recording_it_is_enough_to_look_at_some_events() -> None:
    """Here its rows are read in turn, so that every 128th event is of the same one."""
    turn = np.arange(1 << 18)
    assert warned(events_of(turn % 128, turn // 128 % 128, turn % 3 % 2)) == []
    assert warned(events_of(turn % 31, turn // 128 % 128, turn % 3 % 2)) == [
        "x: the events fill 31 of 128 rows and 128 of 128 columns; a camera's fill nearly all; was it another sensor, "
        "or are the addresses damaged?"
    ]


@pytest.mark.parametrize(("share", "is_hot"), [(0.006, False), (0.02, True), (0.5, True)])
@pytest.mark.parametrize("events", [3000, 300_000])
def test_a_pixel_with_more_than_one_per_cent_of_the_events_is_warned_of(
    events: int, share: float, is_hot: bool
) -> None:
    rng = np.random.default_rng(1)
    row, column, polarity = rng.integers(0, 128, events), rng.integers(0, 128, events), rng.integers(0, 2, events)
    row[: int(share * events)], column[: int(share * events)] = 100, 3
    texts = warned(events_of(row, column, polarity))
    assert len(texts) == is_hot
    if is_hot:
        assert "% of the events are of the pixel in column 3 and row 100; is it hot?" in texts[0]
        assert abs(float(texts[0].split()[1].rstrip("%")) / 100 - share) < 0.01


def test_several_hot_pixels_are_counted() -> None:
    rng = np.random.default_rng(1)
    row, column = rng.integers(0, 128, 100_000), rng.integers(0, 128, 100_000)
    row[:9000], column[:9000] = 5, np.arange(9000) % 3
    (text,) = warned(events_of(row, column, row % 2))
    assert "and row 5, and 2 more alike; is it hot?" in text


def test_where_there_are_few_pixels_large_shares_are_no_sign_of_a_hot_one() -> None:
    """Of 64 pixels each has 1.6 %, and some have twice as much."""
    turn = np.arange(100_000)
    row = np.where(turn % 5, turn % 8, 3)
    assert warned(events_of(row, turn // 8 % 8, turn % 3 % 2, side=8), side=8) == []


def test_a_single_polarity_is_warned_of() -> None:
    turn = np.arange(20_000)
    row, column = turn % 128, turn // 128 % 128
    for polarity in (0, 1):
        text = f"x: all events have polarity {polarity}; was the other one lost in a conversion?"
        assert warned(events_of(row, column, np.full(20_000, polarity))) == [text]
    assert warned(events_of(row[:999], column[:999], np.zeros(999, int))) == []


def test_short_recordings_of_a_file_are_judged_together() -> None:
    turn = np.arange(4000)
    digits = [events_of(turn % 128, turn // 128 % 128, np.zeros(4000, int), f"digit{n:02d}") for n in range(30)]
    assert warned(*digits) == [
        f"digit{first} to digit{last}: all events have polarity 0; was the other one lost in a conversion?"
        for first, last in (("00", "12"), ("13", "25"), ("26", "29"))
    ]


def test_a_recording_is_judged_once_where_samples_of_several_alternate() -> None:
    turn = np.arange(60_000)
    samples = [events_of(turn % 128, turn // 128 % 128, np.zeros(60_000, int), name) for name in "abab"]
    texts = [text.partition(":")[0] for text in warned(*samples)]
    assert texts == ["a", "b"]


def rates_of(*events: int, duration_us: int = 1_000_000) -> list[str]:
    table = pa.table(
        {
            "recording": [f"r{number}" for number in range(len(events)) for _ in range(2)],
            "events": [half for number in events for half in (number // 2, number - number // 2)],
            "duration_us": [duration_us // 2] * (2 * len(events)),
        }
    )
    return [str(finding) for finding in check_rates(table)]


def test_a_recording_with_a_rate_far_from_the_median_is_warned_of() -> None:
    usual = [5_000, 7_000, 12_000, 40_000, 84_000]
    assert rates_of(*usual) == []
    assert rates_of(*usual, 12_000 * 19, 12_000 // 19) == []
    texts = rates_of(*usual, 12_000 * 21, 12_000 // 21)
    assert [text.partition("; ")[0] for text in texts] == [
        "r5: 252,000 events a second, the median is 12,000",
        "r6: 571 events a second, the median is 12,000",
    ]
    assert rates_of(5, 12_000, 12_000 * 100, 12_000) == []
    assert rates_of(*usual, duration_us=0) == []


def test_the_import_warns_of_rates_and_of_the_cameras_own_pixels(tmp_path: Path) -> None:
    """Also where pixels are merged, a hot one is that of the camera."""
    rng = np.random.default_rng(1)

    def file(number: int) -> SourceFile:
        row, column, polarity = rng.integers(0, 128, 20_000), rng.integers(0, 128, 20_000), rng.integers(0, 2, 20_000)
        if number == 2:
            row[:800], column[:800] = 100, 3
        sample = events_of(row, column, polarity, f"r{number}")
        time_us = np.sort(rng.integers(0, 50_000 if number == 4 else 2_000_000, 20_000)).astype(np.uint32)
        time_us[0] = 0
        return SourceFile(f"r{number}", lambda: "x", lambda: ([replace(sample, time_us=time_us)], []))

    source = Source("mine", False, DVS128, ("cat",), tuple(map(file, range(6))), downsample=4)
    hot, rate = import_source(source, tmp_path / "data").warnings
    assert hot.startswith("r2: 4.")
    assert "are of the pixel in column 3 and row 100; is it hot?" in hot
    assert rate.startswith("r4: 400,")
    with refused(DataError, hot, rate):
        import_source(source, tmp_path / "data", strict=True)


def test_a_recording_without_pixel_events_has_an_error_of_its_own(tmp_path: Path) -> None:
    file, tag_file = write_recording(tmp_path, address=lambda address: address | 0x8000)
    texts = [finding.text for finding in load_recording(file, tag_file)[1]]
    assert texts == [*["holds no pixel event"] * 19, "20900 special events are counted by the tags and then dropped"]


def test_strict_makes_an_error_of_it(tmp_path: Path) -> None:
    write_recording(tmp_path / "src", times=lambda us: us / 1e3)
    assert len(import_source(open_slanimals(tmp_path / "src"), tmp_path / "data").warnings) == 1
    with refused(DataError, f"{NAME}.aedat: lasts 108.1 ms"):
        import_source(open_slanimals(tmp_path / "src"), tmp_path / "data", strict=True)


@pytest.mark.parametrize("signers", ["similar", "varied"])
def test_synthetic_recordings_are_not_warned_of(tmp_path: Path, signers: SignersName) -> None:
    write_dataset(tmp_path, recordings=1, seed=0, signers=signers)
    assert warnings_of(open_slanimals(tmp_path)) == []


def test_samples_of_the_tests_are_not_warned_of(tiny_folder: TinyFolder) -> None:
    """600 ms each, and 11.5 s for 19 of them."""
    assert warnings_of(open_slanimals(tiny_folder(names=[NAME]))) == []


def test_the_real_recording_is_not_warned_of(real_recording: Path) -> None:
    """MovingDarkBox lasts 39.8 s; it is no recording of signs, but one of a DVS128."""
    recording = read_aedat(real_recording)
    span = DurationLimits(19 * SIGN.min_us, MAX_RECORDING_US, "19 signs")
    assert recording.duration_us == pytest.approx(39.8e6, rel=0.01)
    assert check_duration("x", recording.duration_us, len(recording), span) == []
    assert warned(events_of(recording.address >> 8, recording.address >> 1 & 127, recording.address & 1)) == []


def warnings_of(source: Source) -> list[str]:
    """Return what an import would say of each file of a source."""
    found = (encode_file(Task(file, source.sensor, known=None)).findings for file in source.files)
    return [str(finding) for findings in found for finding in findings]


def digits(folder: Path, *us: int) -> list[str]:
    """Return what is said of a digit with events at these times, as the folder's source and as Tonic's."""
    write(folder, "NMNIST/Train/7/1.bin", b"".join(event(1, 1, 1, time) for time in us))
    return [said_of(source) for source in (open_nmnist_folder(folder), open_tonic("NMNIST", folder))]


def said_of(source: Source) -> str:
    return " ".join(finding.text for file in source.files for finding in file.load()[1])


@pytest.mark.parametrize(
    ("us", "expected"),
    [
        pytest.param(range(0, 336_000, 1000), "", id="as published"),
        pytest.param(range(336), "lasts 335 µs; a sample of N-MNIST lasts about 0.3 s; are its times in ms", id="ms"),
        pytest.param(range(0, 8_000_001, 20_000), "lasts 8.0 s; a sample of N-MNIST lasts about 0.3 s", id="too long"),
    ],
)
def test_of_n_mnist_the_limits_are_its_own_and_of_tonic_there_are_none(
    tmp_path: Path, us: range, expected: str
) -> None:
    folder, tonic = digits(tmp_path, *us)
    assert folder.startswith(expected)
    assert (folder == "") == (expected == "")
    assert tonic == ""


def test_times_that_stand_still_are_warned_of_whatever_the_source(tmp_path: Path) -> None:
    still = "lasts 0 s, as all of its 12 events have the same time; "
    assert digits(tmp_path, *[5] * 12) == [still + NMNIST_LIMITS.usual, still + ANY.usual]


def test_the_real_digits_are_not_warned_of(nmnist_folder: Path) -> None:
    source = open_nmnist_folder(nmnist_folder)
    assert warnings_of(source) == []
    samples = source.files[0].load()[0]
    hot = [replace(sample, address=np.append(sample.address, np.full(300, 777, np.uint16))) for sample in samples[:13]]
    assert "pixel in column 14 and row 11; is it hot?" in str(check_events(hot, source.sensor)[0])


def test_of_a_few_events_the_duration_tells_nothing() -> None:
    span = DurationLimits(1000, 2000, "it lasts 1.5 ms")
    assert check_duration("x", 0, 9, span) == []
    assert len(check_duration("x", 0, 10, span)) == 1
    assert [check_duration("x", us, 10, span) for us in (1000, 2000)] == [[], []]
    assert [len(check_duration("x", us, 10, span)) for us in (999, 2001)] == [1, 1]
