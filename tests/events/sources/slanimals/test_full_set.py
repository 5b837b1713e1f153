"""What is said where a folder claims to be the full set and is not what was published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sltune.events.importing import import_source
from sltune.events.sources.slanimals.full_set import RECORDINGS, SAMPLES, check_durations, check_recordings
from sltune.events.sources.slanimals.source import open_slanimals
from tests.events.conftest import TinyFolder

DATA = Path(__file__).parents[4] / "data"


def published_durations() -> np.ndarray:
    """1121 durations whose statistics are the published ones: both ends, and the rest at two values around the mean."""
    inner = SAMPLES - 2
    mean = (4360 * SAMPLES - 880 - 9466) / inner
    square = 1189**2 * SAMPLES - (880 - 4360) ** 2 - (9466 - 4360) ** 2 - inner * (mean - 4360) ** 2
    half = inner // 2
    spread = np.sqrt(square / (2 * half))
    return np.array([880, 9466, *[mean - spread] * half, *[mean + spread] * half, *[mean] * (inner - 2 * half)])


def test_the_recordings_are_those_of_the_file_lists() -> None:
    assert set(RECORDINGS) == set((DATA / "filelist.txt").read_text().split())
    assert len(RECORDINGS) == 59
    assert "user04_indoor" not in RECORDINGS


def test_the_published_set_has_nothing_to_say() -> None:
    assert check_recordings("x", RECORDINGS) == []
    assert check_durations("x", RECORDINGS, published_durations()) == []


def test_the_reduced_set_and_smaller_ones_claim_nothing() -> None:
    reduced = (DATA / "filelist_excludingS3.txt").read_text().split()
    for names in (reduced, RECORDINGS[:3], ["user99_dc"]):
        assert check_recordings("x", names) == []
        assert check_durations("x", names, np.array([1.0])) == []


def test_missing_and_strange_recordings_are_named_by_session() -> None:
    names = [name for name in RECORDINGS if name not in ("user07_indoor", "user36_dc", "user40_dc")]
    texts = [str(finding) for finding in check_recordings("set", [*names, "user04_indoor"])]
    assert texts == [
        "set: 23 of 25 recordings of dc; missing: user36_dc, user40_dc",
        "set: 16 of 17 recordings of indoor; missing: user07_indoor",
        "set: not in the published set: user04_indoor",
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda ms: ms[1:], "1120 samples; the published set has 1121"),
        (lambda ms: np.where(ms == 880, 877, ms), "min of durations 877 ms; published: 880 ms"),
        (lambda ms: np.where(ms == 9466, 9500, ms), "max of durations 9500 ms; published: 9466 ms"),
        (lambda ms: np.where((ms > 880) & (ms < 9466), ms + 10, ms), "mean of durations 4370 ms; published: 4360 ms"),
    ],
)
def test_other_numbers_and_durations_are_said(change: object, text: str) -> None:
    findings = check_durations("x", RECORDINGS, change(published_durations()))  # type: ignore[operator]
    assert text in [finding.text for finding in findings]


def test_an_import_of_all_59_recordings_says_how_they_differ(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    names = [name for name in RECORDINGS if name != "user00_indoor"]
    manifest = import_source(open_slanimals(tiny_folder(names=[*names, "user04_indoor"], events=5)), tmp_path / "data")
    said = [warning for warning in manifest.warnings if "events" not in warning]
    assert [text.rpartition(": ")[2] for text in said[:2]] == ["user00_indoor", "user04_indoor"]
    assert any("min of durations 480 ms; published: 880 ms" in text for text in said)
    assert not any("samples; the published set" in text for text in said), "59 recordings of 19 signs are 1121"
