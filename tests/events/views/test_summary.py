"""What a summary says of a dataset, against figures worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sltune.errors import DataError
from sltune.events.dataset import open_dataset
from sltune.events.importing import import_source
from sltune.events.source import Finding, Source, SourceFile
from sltune.events.store import Sample
from sltune.events.verify import Verified
from sltune.events.views.summary import Summary, list_samples, summarize
from tests import small

CLASSES = ("cat", "dog", "[bold]cow")


def sample(name: str, session: str, label: int, time_us: Sequence[int]) -> Sample:
    return Sample(
        sample_id=f"{name}_{label + 1:02d}",
        recording=name,
        subject=name.split("_", maxsplit=1)[0],
        session=session,
        label=label,
        gesture=CLASSES[label],
        start_us=0,
        address=np.zeros(len(time_us), np.uint16),
        time_us=np.array(time_us, np.uint32),
    )


def file(name: str, samples: list[Sample], findings: Sequence[Finding] = ()) -> SourceFile:
    return SourceFile(name, lambda: name, lambda: (samples, list(findings)))


def summary_of(root: Path, *files: SourceFile, synthetic: bool = False) -> Summary:
    import_source(Source("toy", synthetic, (4, 6), CLASSES, files), root, skip_bad=True)
    return summarize(open_dataset(root))


@pytest.fixture
def toy(tmp_path: Path) -> Summary:
    """Two sessions: durations of 1000, 2000 and 3000 ms with 2, 4 and 3 events; one sample goes backwards."""
    return summary_of(
        tmp_path / "toy",
        file(
            "user00_a",
            [sample("user00_a", "S1", 0, [0, 1_000_000]), sample("user00_a", "S1", 1, [0, 9, 8, 2_000_000])],
        ),
        file("user00_b", [sample("user00_b", "S2", 0, [0, 1, 3_000_000])]),
    )


def test_counts_means_and_rates_are_those_worked_out_by_hand(toy: Summary) -> None:
    assert (toy.subjects, toy.backward) == (1, 1)
    total = toy.total
    assert (total.recordings, total.samples, total.events) == (2, 3, 9)
    assert total.events_per_sample == 3
    assert total.events_per_second == pytest.approx(9 / 6)
    # Of 1000, 2000, 3000: mean 2000, deviations −1000, 0, 1000, so √(2/3) · 1000 with ddof 0.
    assert total.durations_ms == pytest.approx({"mean": 2000, "std": 816.4966, "min": 1000, "max": 3000})
    s1, s2 = toy.sessions
    assert (s1.name, s1.recordings, s1.samples, s1.events) == ("S1", 1, 2, 6)
    assert s1.events_per_second == pytest.approx(6 / 3)
    assert s1.durations_ms == pytest.approx({"mean": 1500, "std": 500, "min": 1000, "max": 2000})
    assert (s2.name, s2.samples, s2.durations_ms["std"]) == ("S2", 1, 0)


def test_every_class_has_a_row_also_one_without_samples(toy: Summary) -> None:
    cat, dog, cow = toy.classes
    assert (cat.samples, cat.events, cat.durations_ms["mean"]) == (2, 5, 2000)
    assert (dog.samples, dog.events_per_second) == (1, 2)
    assert (cow.name, cow.samples, cow.events_per_sample, cow.events_per_second) == ("[bold]cow", 0, None, None)


def test_the_text_shows_all_of_it_within_80_columns(toy: Summary) -> None:
    lines = toy.to_text(80).splitlines()
    assert lines[0] == "toy"
    assert "  sensor       6 × 4 pixels (width × height)" in lines
    assert "  orientation  upright, as stored" in lines
    assert "  samples      3, 1 with times that go backwards" in lines
    assert "S1                1        2         3   0.0  1500 ±  500  1000 –  2000" in lines
    assert "all               2        3         3   0.0  2000 ±  816  1000 –  3000" in lines
    assert any(line.split() == ["[bold]cow", "0", "–", "–", "–"] for line in lines)
    assert lines[-2:] == ["warnings: none", "left out: none"]
    assert max(len(line) for line in lines if str(toy.root) not in line) <= 80


def test_long_names_are_folded_and_numbers_stay_whole(tmp_path: Path) -> None:
    name = "a-session-whose-name-is-as-wide-as-the-whole-table-and-more"
    summary = summary_of(tmp_path / "long", file("user00_a", [sample("user00_a", name, 0, [0, 123_456_000])]))
    lines = [line for line in summary.to_text(80).splitlines() if str(summary.root) not in line]
    assert max(map(len, lines)) <= 80
    first = next(number for number, line in enumerate(lines) if line.startswith("a-sess"))
    assert lines[first].split()[1:] == ["1", "1", "2", "0.0", "123456", "±", "0", "123456", "–", "123456"]
    folded = [lines[first].split()[0], *lines[first + 1 : lines.index("", first)]]
    assert "".join(part.strip() for part in folded) == name


def test_a_dataset_without_sessions_has_one_row(tmp_path: Path) -> None:
    summary = summary_of(tmp_path / "digits", file("shard", [sample("0-1", "", 0, [0, 5]), sample("1-2", "", 1, [0])]))
    assert summary.sessions == ()
    rows = [line for line in summary.to_text(80).splitlines() if line.startswith("all ")]
    assert len(rows) == 1
    assert rows[0].split()[:4] == ["all", "2", "2", "2"]


def test_a_single_session_is_not_repeated_as_a_total(dataset: Path) -> None:
    lines = summarize(open_dataset(dataset)).to_text(80).splitlines()
    assert [line.split()[:3] for line in lines if line.startswith(("S3", "all"))] == [["S3", "8", "48"]]


def test_synthetic_data_are_called_so_in_the_first_line(dataset: Path) -> None:
    assert summarize(open_dataset(dataset)).to_text(80).startswith("two sides, SYNTHETIC data\n")


def test_a_sample_that_lasts_no_time_has_no_rate(tmp_path: Path) -> None:
    summary = summary_of(tmp_path / "short", file("user00_a", [sample("user00_a", "S1", 0, [0, 0])]))
    assert summary.total.events_per_second is None
    assert json.loads(summary.to_json())["total"]["events_per_second"] is None


def test_ten_findings_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    findings = [
        *(Finding(f"tags row {row}", "is odd") for row in range(12)),
        Finding("tags row 99", "is lost", is_error=True, lost=("user00_a_99",)),
    ]
    root = tmp_path / "odd"
    summary = summary_of(root, file("user00_a", [sample("user00_a", "S1", 0, [0, 1])], findings))
    lines = summary.to_text(80).splitlines()
    start = lines.index("warnings: 12")
    assert lines[start + 1 : start + 11] == [f"  tags row {row}: is odd" for row in range(10)]
    assert lines[start + 11] == f"  … and 2 more; see {root / 'warnings.csv'}"
    # What was left out stands below, not among the warnings as well.
    assert lines[start + 12 :] == ["left out: 1", "  user00_a_99 (tags row 99: is lost)"]


def test_json_has_the_same_facts_and_the_bytes_of_the_files(dataset: Path) -> None:
    values = json.loads(summarize(open_dataset(dataset), Verified(8, 48)).to_json())
    size = sum(path.stat().st_size for path in (dataset / "recordings").iterdir())
    assert (values["name"], values["synthetic"], values["subjects"]) == ("two sides", True, 8)
    assert values["sensor"] == {"height": 16, "width": 16}
    assert values["total"]["events"] == 8 * 6 * 400
    assert values["bytes"] == size
    assert values["bytes_per_event"] == pytest.approx(size / 19_200)
    assert [part["name"] for part in values["classes"]] == list(small.CLASSES)
    assert f"{size / 1e3:.1f} kB, {size / 19_200:.2f} bytes an event" in summarize(open_dataset(dataset)).to_text(80)
    assert values["verified"] == {"files": 8, "samples": 48}


def test_no_events_are_read(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("events were read")

    monkeypatch.setattr("sltune.events.samples._flat_list", refuse)
    opened = open_dataset(dataset)
    assert "48" in summarize(opened).to_text(80)
    assert len(list_samples(opened, as_json=False).splitlines()) == 48


def test_samples_are_listed_one_a_line_or_as_json(toy: Summary) -> None:
    opened = open_dataset(toy.root)
    assert list_samples(opened, as_json=False).splitlines() == [
        "user00_a_01  cat    1,000.0 ms           2 events",
        "user00_a_02  dog    2,000.0 ms           4 events",
        "user00_b_01  cat    3,000.0 ms           3 events",
    ]
    assert json.loads(list_samples(opened, as_json=True))[1] == {
        "sample_id": "user00_a_02",
        "gesture": "dog",
        "duration_ms": 2000.0,
        "events": 4,
    }


def test_a_dataset_without_samples_is_told(dataset: Path) -> None:
    manifest = json.loads((dataset / "manifest.json").read_text())
    (dataset / "manifest.json").write_text(json.dumps({**manifest, "files": []}))
    with pytest.raises(DataError, match="holds no samples"):
        summarize(open_dataset(dataset))
