from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sltune.errors import UsageError
from sltune.events.formats.aedat import Recording, read_aedat
from sltune.events.synthetic.body import Edges, edges_of
from sltune.events.synthetic.gestures import GESTURES, Gesture
from sltune.events.synthetic.hands import REST, Hands, hands_of
from sltune.events.synthetic.recordings import (
    draw_duration_us,
    recording_names,
    simulate_recording,
    write_dataset,
)
from sltune.events.synthetic.sensor import SESSIONS, flicker_keys, signal_keys
from sltune.events.synthetic.signers import Signer, draw_signer
from sltune.events.synthetic.takes import draw_take

Tags = NDArray[np.int64]

FIVE = ["user00_indoor", "user18_sunlight", "user25_imse", "user35_dc", "user36_dc"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five recordings: one of each session, and the second of S2, whose times wrap."""
    out = tmp_path_factory.mktemp("synthetic") / "dataset"
    write_dataset(out, recordings=5, seed=0, signers="similar")
    return out


@pytest.fixture(scope="module")
def recordings(dataset: Path) -> dict[str, Recording]:
    return {name: read_aedat(dataset / "recordings" / f"{name}.aedat") for name in FIVE}


@pytest.fixture(scope="module")
def tags(dataset: Path) -> dict[str, Tags]:
    tables = {}
    for name in FIVE:
        with open(dataset / "tags" / f"{name}.csv", newline="") as file:
            header, *rows = csv.reader(file)
        assert header == ["class", "startTime_ev", "endTime_ev"]
        tables[name] = np.array(rows, dtype=np.int64)
    return tables


def signer(**changes: object) -> Signer:
    """A right-handed signer of size 1 who sits upright and still in the middle of the picture."""
    still = Signer(1.0, (64.0, 80.0), 0.0, False, 1.0, 1.0, (0.0, 0.0), 0.5, (0.0, 0.25))
    return replace(still, **changes)  # type: ignore[arg-type]


# names


def test_59_recordings_have_the_names_of_the_dataset() -> None:
    users = {
        "indoor": [*range(4), *range(5, 18)],
        "sunlight": range(18, 25),
        "imse": range(25, 35),
        "dc": range(35, 60),
    }
    assert recording_names(59) == [f"user{user:02d}_{suffix}" for suffix, some in users.items() for user in some]


@given(st.integers(1, 58))
def test_more_recordings_keep_the_names_of_fewer(recordings: int) -> None:
    fewer, more = recording_names(recordings), recording_names(recordings + 1)
    assert len(fewer) == recordings
    assert len(set(more) - set(fewer)) == 1


@given(st.integers(4, 59))
def test_from_four_recordings_on_every_session_has_its_share(recordings: int) -> None:
    suffixes = [name.split("_")[1] for name in recording_names(recordings)]
    for session in SESSIONS:
        share = recordings * len(session.users) / 59
        assert max(1, share - 1) <= suffixes.count(session.suffix) <= max(1, share + 1)


@pytest.mark.parametrize("recordings", [0, -1, 60])
def test_a_number_of_recordings_that_the_dataset_has_not_is_refused(tmp_path: Path, recordings: int) -> None:
    with pytest.raises(UsageError, match=f"1 to 59.*got {recordings}"):
        write_dataset(tmp_path / "out", recordings)
    assert not (tmp_path / "out").exists()


# files


def test_the_files_are_those_of_the_dataset_and_no_others(dataset: Path) -> None:
    found = sorted(str(file.relative_to(dataset)) for file in dataset.rglob("*") if file.is_file())
    assert found == sorted([f"recordings/{name}.aedat" for name in FIVE] + [f"tags/{name}.csv" for name in FIVE])


def test_the_header_says_that_a_recording_is_synthetic_and_how_it_was_made(recordings: dict[str, Recording]) -> None:
    for recording in recordings.values():
        assert "synthetic: sltune synth --signers similar --seed 0" in recording.header


def test_reading_back_gives_what_was_simulated(recordings: dict[str, Recording], tags: dict[str, Tags]) -> None:
    simulated = simulate_recording("user18_sunlight", seed=0)
    written = recordings["user18_sunlight"]
    np.testing.assert_array_equal(written.address, simulated.address)
    np.testing.assert_array_equal(written.time_us, simulated.time_us)
    np.testing.assert_array_equal(tags["user18_sunlight"], simulated.tags)


def test_the_same_seed_gives_the_same_bytes_however_many_recordings_are_written(dataset: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, int]] = []

    def hear(name: str, events: int) -> None:
        heard.append((name, events))

    write_dataset(tmp_path, recordings=1, seed=0, progress=hear, signers="similar")
    for file in ("recordings/user35_dc.aedat", "tags/user35_dc.csv"):
        assert (tmp_path / file).read_bytes() == (dataset / file).read_bytes()
    assert heard == [("user35_dc", len(read_aedat(tmp_path / "recordings" / "user35_dc.aedat")))]


def test_another_seed_or_name_gives_other_events() -> None:
    first = simulate_recording("user19_sunlight", 0, GESTURES[:1])
    for other in (
        simulate_recording("user19_sunlight", 1, GESTURES[:1]),
        simulate_recording("user20_sunlight", 0, GESTURES[:1]),
    ):
        assert not np.array_equal(first.address[:1000], other.address[:1000])


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=f"{tmp_path} is not an empty folder"):
        write_dataset(tmp_path, recordings=1)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seed must be 0 or more, but got -1"):
        write_dataset(tmp_path, recordings=1, seed=-1)


# times and tags


def test_times_never_go_backwards(recordings: dict[str, Recording]) -> None:
    for recording in recordings.values():
        assert (np.diff(recording.time_us.astype(np.int64)) >= 0).all()


def test_some_recordings_start_above_2_to_the_31_and_one_passes_2_to_the_32(recordings: dict[str, Recording]) -> None:
    above = {name for name, recording in recordings.items() if recording.time_us[0] >= 1 << 31}
    assert above == {"user25_imse", "user35_dc", "user36_dc"}
    wrapping = recordings["user36_dc"].time_us
    assert wrapping[0] < 1 << 32 < wrapping[-1]


def test_a_file_with_wrapping_times_holds_them_modulo_2_to_the_32(dataset: Path) -> None:
    raw = (dataset / "recordings" / "user36_dc.aedat").read_bytes()
    body = raw[raw.index(b"#End Of ASCII Header\r\n") + 22 :]
    time_us = np.frombuffer(body, dtype=">u4")[1::2].astype(np.int64)
    assert np.count_nonzero(np.diff(time_us) < 0) == 1


def test_each_class_is_signed_once_and_in_order_with_events_between_the_signs(
    recordings: dict[str, Recording], tags: dict[str, Tags]
) -> None:
    for name, table in tags.items():
        assert table[:, 0].tolist() == list(range(1, 20))
        bounds = [0, *table[:, 1:].ravel(), len(recordings[name])]
        assert (np.diff(bounds) > 0).all()


def test_signs_last_between_880_and_9466_ms(recordings: dict[str, Recording], tags: dict[str, Tags]) -> None:
    for name, table in tags.items():
        time_us = recordings[name].time_us.astype(np.int64)
        duration_ms = (time_us[table[:, 2] - 1] - time_us[table[:, 1]]) / 1000
        assert duration_ms.min() >= 880
        assert duration_ms.max() <= 9466


def test_durations_are_distributed_as_in_the_dataset() -> None:
    rng = np.random.default_rng(0)
    duration_ms = np.array([draw_duration_us(rng) for _ in range(20_000)]) / 1000
    # The standard error is 8 ms; the cuts lie 2.9 and 4.3 deviations away and move both figures by less than 20.
    assert duration_ms.mean() == pytest.approx(4360, abs=45)
    assert duration_ms.std() == pytest.approx(1189, abs=45)


@pytest.mark.parametrize(
    ("name", "rate_hz"),
    [("user25_imse", 41e3), ("user35_dc", 32e3), ("user00_indoor", 83e3), ("user18_sunlight", 12e3)],
)
def test_sessions_have_the_event_rates_of_the_paper(
    recordings: dict[str, Recording], tags: dict[str, Tags], name: str, rate_hz: float
) -> None:
    time_us = recordings[name].time_us.astype(np.int64)
    _, start, end = tags[name].T
    seconds = (time_us[end - 1] - time_us[start]).sum() * 1e-6
    assert (end - start).sum() / seconds == pytest.approx(rate_hz, rel=0.15)


# what moves


def one_edge(move_x: float) -> Edges:
    """A vertical edge of 20 pixels at x = 50, with the body on its left, that moves sideways once."""
    values = (50.0, 40.0, 0.0, 20.0, move_x, 0.0, 20.0 * move_x)
    return Edges(*(np.array([[value]], dtype=np.float32) for value in values))


@pytest.mark.parametrize(("move_x", "polarity", "left"), [(10.0, 0, 50), (-10.0, 1, 40)])
def test_a_bright_edge_sends_on_events_where_it_advances_and_off_events_where_it_leaves(
    move_x: float, polarity: int, left: int
) -> None:
    keys = signal_keys(np.random.default_rng(0), one_edge(move_x), gain=2.0, start_us=1000)
    address, time_us = keys & 0xFFFF, keys >> 16
    assert len(keys) == 400  # 2 events for each of 20 · 10 pixels
    assert set(address & 1) == {polarity}
    x, y = 127 - ((address >> 1) & 127), address >> 8
    assert (x >= left - 1).all()
    assert (x <= left + 10).all()
    assert (y >= 39).all()
    assert (y <= 60).all()
    assert (time_us >= 1000).all()
    assert (time_us < 9000).all()
    assert np.corrcoef(x, time_us)[0, 1] * np.sign(move_x) > 0.95


def test_edges_outside_the_picture_send_nothing() -> None:
    edges = one_edge(10.0)._replace(x=np.full((1, 1), 140, dtype=np.float32))
    assert len(signal_keys(np.random.default_rng(0), edges, gain=2.0, start_us=0)) == 0


@given(st.sampled_from(GESTURES), st.integers(0, 2**32), st.integers(880_000, 9_466_000))
def test_hands_rest_before_and_after_a_sign_and_are_up_in_the_middle(
    gesture: Gesture, seed: int, duration_us: int
) -> None:
    rng = np.random.default_rng(seed)
    time_us = np.array([-500_000, 0, duration_us // 2, duration_us, duration_us + 500_000])
    signer = draw_signer(rng)
    hands = hands_of(gesture, signer, draw_take(rng, duration_us, gesture, signer), time_us)
    for step in (0, 1, 3, 4):
        np.testing.assert_allclose(hands.wrist[step], REST, atol=1e-3)
    assert hands.wrist[2, 0, 1] > REST[0, 1] + 5


def test_a_left_handed_signer_is_the_mirror_image_of_a_right_handed_one() -> None:
    time_us = np.array([0, 8000])
    wrist = np.array([[(-20, -20), (25, -64)], [(-15, -12), (25, -64)]], dtype=np.float32)
    still = np.zeros((2, 2), dtype=np.float32)
    hands = Hands(wrist, still + 1, still + np.float32(0.2), head=still)
    right, left = (edges_of(hands, signer(mirrored=mirrored), time_us) for mirrored in (False, True))
    for edges in (right, left):
        assert np.abs(edges.swept).max() > 1
    middles = [
        sorted(zip((sign * (edges.x + edges.along_x / 2 - 64)).ravel(), np.abs(edges.swept).ravel(), strict=True))
        for sign, edges in ((1, right), (-1, left))
    ]
    arms = [np.array([pair for pair in some if pair[1] > 1e-3]) for some in middles]
    np.testing.assert_allclose(arms[0], arms[1], atol=1e-3)


def test_neon_light_sends_on_and_off_events_in_turns_a_hundred_times_a_second() -> None:
    indoor = next(session for session in SESSIONS if session.suffix == "indoor")
    keys = flicker_keys(np.random.default_rng(0), indoor, 3_000_000)
    time_us, off = keys >> 16, (keys & 1).astype(bool)
    assert len(keys) == pytest.approx(83_000 * 0.4 * 3, rel=0.05)
    np.testing.assert_array_equal(time_us % 10_000 >= 5000, off)
    assert off.mean() == pytest.approx(0.5, abs=0.02)
    assert time_us.min() >= 0
    assert time_us.max() < 3_000_000
