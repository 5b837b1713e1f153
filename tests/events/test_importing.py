"""Import: idempotent, resumable, and clear about what is wrong."""

from __future__ import annotations

import csv
import hashlib
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sltune.errors import DataError, UsageError
from sltune.events.importing import Imported, import_source
from sltune.events.manifest import read_manifest
from sltune.events.samples import Samples
from sltune.events.source import Finding, Source, SourceFile
from sltune.events.sources.slanimals.source import open_slanimals
from sltune.events.sources.tonic.source import open_nmnist_folder
from sltune.events.store import Sample, file_sha256, read_table
from tests import small
from tests.events.conftest import ONE_OF_EACH_SESSION, TinyFolder, content, refused


def reused(seen: list[Imported]) -> list[bool]:
    """Say of each file, by name, whether it was left as it was; they are done in any order."""
    return [imported.reused for imported in sorted(seen, key=lambda imported: imported.name)]


def damage_recording(folder: Path, name: str) -> Path:
    file = folder / "recordings" / f"{name}.aedat"
    file.write_bytes(file.read_bytes()[:-1])
    return file


def test_an_import_reads_as_many_files_at_once_as_it_may_use_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    running, most = [0], [0]

    def load(signer: int) -> tuple[list[Sample], list[Finding]]:
        running[0] += 1
        most[0] = max(most[0], running[0])
        # Long enough for another one to begin.
        time.sleep(0.02)
        running[0] -= 1
        return [small.sample(signer, 0, 50)], []

    whole = small.source()
    files = tuple(replace(file, load=partial(load, signer)) for signer, file in enumerate(whole.files))
    import_source(replace(whole, files=files), tmp_path / "data")
    assert most == [1]


def test_an_import_gives_every_sample_and_a_manifest_that_adds_up(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(events=1000, sample_ms=600), tmp_path / "data"
    seen = list[Imported]()
    manifest = import_source(open_slanimals(source), out, done=seen.append)
    assert read_manifest(out) == manifest
    assert (manifest.name, manifest.synthetic, manifest.sensor) == ("SL-Animals-DVS", False, (128, 128))
    assert [file.file for file in manifest.files] == [f"recordings/{name}.parquet" for name in ONE_OF_EACH_SESSION]
    assert [file.recordings for file in manifest.files] == [(name,) for name in ONE_OF_EACH_SESSION]
    assert {(file.samples, file.events) for file in manifest.files} == {(19, 19_000)}
    assert manifest.durations_ms == {"min": 599.4, "mean": 599.4, "std": 0.0, "max": 599.4}
    assert manifest.warnings == ()
    assert reused(seen) == [False] * 4
    tables = [read_table(out / file.file, file.sha256) for file in manifest.files]
    samples = Samples(tables)
    expected = [sample for file in open_slanimals(source).files for sample in file.load()[0]]
    for index, sample in enumerate(expected):
        address, time_us = samples.events(index)
        assert np.array_equal(address, sample.address)
        assert np.array_equal(time_us, sample.time_us)


def test_a_second_import_does_nothing_again_and_changes_no_byte(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(events=20), tmp_path / "data"
    import_source(open_slanimals(source), out)
    before = content(out)
    stamps = [file.stat().st_mtime_ns for file in sorted(out.glob("recordings/*"))]
    seen = list[Imported]()
    import_source(open_slanimals(source), out, done=seen.append)
    assert reused(seen) == [True] * 4
    # Samples of 20 events are warned of; a file that was done before keeps its warnings.
    assert {len(imported.findings) for imported in seen} == {19}
    assert content(out) == before
    assert [file.stat().st_mtime_ns for file in sorted(out.glob("recordings/*"))] == stamps


@pytest.mark.parametrize("part", ["recordings/user25_imse.aedat", "tags/user25_imse.csv"])
def test_only_what_changed_is_done_again(tiny_folder: TinyFolder, tmp_path: Path, part: str) -> None:
    source, out = tiny_folder(events=20), tmp_path / "data"
    first = import_source(open_slanimals(source), out)
    other = tiny_folder(names=("user25_imse",), events=21, seed=1, path="other")
    for folder in ("recordings/user25_imse.aedat", "tags/user25_imse.csv"):
        (source / folder).write_bytes((other / folder).read_bytes())
        if folder == part:
            break
    seen = list[Imported]()
    second = import_source(open_slanimals(source), out, done=seen.append, skip_bad=True)
    assert reused(seen) == [True, True, False, True]
    assert second.fingerprint != first.fingerprint


def test_the_fingerprint_does_not_depend_on_names_of_files_or_their_order(tmp_path: Path) -> None:
    def source(order: list[int], prefix: str) -> Source:
        def file(number: int) -> SourceFile:
            events = np.array([number], np.uint16), np.zeros(1, np.uint32)
            sample = Sample(f"s{number}", f"r{number}", f"u{number}", "S1", 0, "cat", 0, *events)
            return SourceFile(f"{prefix}{number}", lambda: str(number), lambda: ([sample], []))

        return Source("SL-Animals-DVS", False, (128, 128), ("cat",), tuple(file(number) for number in order))

    one = import_source(source([0, 1, 2], "a"), tmp_path / "one")
    other = import_source(source([2, 0, 1], "b"), tmp_path / "other")
    less = import_source(source([2, 0], "b"), tmp_path / "less")
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != less.fingerprint


def test_all_that_is_wrong_is_named_at_once_and_no_manifest_is_written(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(events=1000), tmp_path / "data"
    damaged = damage_recording(source, "user18_sunlight")
    tags = source / "tags" / "user35_dc.csv"
    tags.write_text(tags.read_text().replace("\n19,", "\n99,"))
    with refused(
        DataError,
        f"{damaged}: truncated",
        f"{tags} row 19: class=99: only 1…19 exist",
        f"{tags}: class 19 (zebra) is missing",
    ):
        import_source(open_slanimals(source), out)
    assert not (out / "manifest.json").exists()


def test_skip_bad_leaves_out_what_cannot_be_read_and_names_it(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(events=1000), tmp_path / "data"
    damaged = damage_recording(source, "user00_indoor")
    tags = source / "tags" / "user35_dc.csv"
    tags.write_text(tags.read_text().replace("\n19,", "\nbad,"))
    for _ in range(2):
        manifest = import_source(open_slanimals(source), out, skip_bad=True)
        # The last sign of the recording that was cut short ends with the event that is missing.
        assert [file.samples for file in manifest.files] == [18, 19, 19, 18]
        assert manifest.warnings[0].startswith(f"{damaged}: truncated: 7 bytes")
        assert "user00_indoor.csv row 19: startTime_ev=18133, endTime_ev=19133: out of range" in manifest.warnings[1]
        assert manifest.warnings[2].startswith(f"{tags} row 19: class='bad'")
        assert manifest.warnings[3] == f"{tags}: class 19 (zebra) is missing"
        assert len(manifest.warnings) == 4
        assert [(left.name, left.reason) for left in manifest.left_out] == [
            ("user00_indoor_19", manifest.warnings[1]),
            ("user35_dc_19", manifest.warnings[2]),
        ]
        with open(out / "warnings.csv", newline="", encoding="utf-8") as table:
            rows = list(csv.DictReader(table))
        assert [f"{row['place']}: {row['text']}" for row in rows] == list(manifest.warnings)
        assert {row["severity"] for row in rows} == {"error"}
        assert [row["left_out"] for row in rows] == ["", "user00_indoor_19", "user35_dc_19", ""]


def test_a_recording_without_a_single_good_sample_is_left_out(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(events=1000), tmp_path / "data"
    tags = source / "tags" / "user35_dc.csv"
    tags.write_text("class,startTime_ev,endTime_ev\n1,0,99999999\n")
    manifest = import_source(open_slanimals(source), out, skip_bad=True)
    assert len(manifest.files) == 3
    assert len(manifest.warnings) == 18 + 1 + 1
    assert [left.name for left in manifest.left_out] == ["user35_dc_01", "user35_dc"]


def test_nothing_left_to_import_is_an_error(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source = tiny_folder(names=("user00_indoor",), events=1)
    damaged = source / "recordings" / "user00_indoor.aedat"
    damaged.write_bytes(b"rubbish")
    with refused(DataError, "nothing could be imported", f"{damaged}: not an AEDAT-2.0 file"):
        import_source(open_slanimals(source), tmp_path / "data", skip_bad=True)


def test_strict_takes_warnings_for_errors_also_on_a_second_import(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(names=("user00_indoor",), events=999), tmp_path / "data"
    for skip_bad in (False, True):
        with refused(DataError, "sample user00_indoor_19: holds only 999 events"):
            import_source(open_slanimals(source), out, strict=True, skip_bad=skip_bad)
        assert not (out / "manifest.json").exists()
    assert len(import_source(open_slanimals(source), out).warnings) == 19
    with refused(DataError, "sample user00_indoor_19: holds only 999 events"):
        import_source(open_slanimals(source), out, strict=True)


def test_a_source_that_became_unreadable_leaves_the_dataset_as_it_was(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(names=("user00_indoor", "user05_indoor")), tmp_path / "data"
    manifest = import_source(open_slanimals(source), out)
    (source / "recordings" / "user05_indoor.aedat").write_bytes(b"#!AER-DAT2.0\r\n")
    with refused(DataError, "user05_indoor.aedat", "no events after the header"):
        import_source(open_slanimals(source), out)
    assert read_manifest(out) == manifest


def test_a_dataset_of_another_source_is_not_replaced(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    manifest = import_source(open_slanimals(tiny_folder()), tmp_path / "data")
    digits = Source("N-MNIST", False, (34, 34), ("0",), ())
    with refused(
        UsageError, "holds SL-Animals-DVS of 128×128 pixels; choose another --out for N-MNIST of 34×34 pixels"
    ):
        import_source(digits, tmp_path / "data")
    assert read_manifest(tmp_path / "data") == manifest


def test_synthetic_recordings_do_not_replace_real_ones(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    manifest = import_source(open_slanimals(tiny_folder()), tmp_path / "data")
    source = replace(open_slanimals(tiny_folder()), synthetic=True)
    with refused(
        UsageError, "holds SL-Animals-DVS of 128×128 pixels; choose another --out for synthetic SL-Animals-DVS"
    ):
        import_source(source, tmp_path / "data")
    assert read_manifest(tmp_path / "data") == manifest


def test_files_of_recordings_that_are_gone_are_removed(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(names=("user00_indoor", "user05_indoor")), tmp_path / "data"
    import_source(open_slanimals(source), out)
    (source / "recordings" / "user05_indoor.aedat").unlink()
    (source / "tags" / "user05_indoor.csv").unlink()
    import_source(open_slanimals(source), out)
    assert [file.name for file in (out / "recordings").iterdir()] == ["user00_indoor.parquet"]


def test_strict_lets_a_clean_source_pass(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    assert import_source(open_slanimals(tiny_folder(events=1000)), tmp_path / "data", strict=True).warnings == ()


def test_at_most_20_errors_are_shown_and_the_rest_are_counted(tmp_path: Path) -> None:
    events = np.zeros(1, np.uint16), np.zeros(1, np.uint32)
    sample = Sample("s", "r", "u", "S1", 0, "cat", 0, *events)
    found = [Finding(f"row {row}", "odd", is_error=True) for row in range(1, 24)]
    file = SourceFile("a", lambda: "0", lambda: ([sample], found))
    with refused(DataError, "row 1: odd", "row 20: odd", "… and 3 more"):
        import_source(Source("x", False, (128, 128), ("cat",), (file,)), tmp_path / "one")
    with pytest.raises(DataError) as caught:
        import_source(
            Source("x", False, (128, 128), ("cat",), (SourceFile("a", lambda: "0", lambda: ([], found)),)),
            tmp_path / "two",
        )
    assert len(str(caught.value).splitlines()) == 21


def test_real_digits_are_imported_as_they_are(tmp_path: Path, nmnist_folder: Path) -> None:
    manifest = import_source(open_nmnist_folder(nmnist_folder), tmp_path / "data")
    assert (sum(file.samples for file in manifest.files), manifest.sensor) == (1000, (34, 34))
    samples = Samples([read_table(tmp_path / "data" / file.file, file.sha256) for file in manifest.files])
    path = sorted((nmnist_folder / "NMNIST/Train/7").glob("*.bin"))[3]
    raw = np.fromfile(path, dtype=np.uint8).reshape(-1, 5).astype(int)
    address, time_us = samples.events(samples.sample_id.index(f"7-{path.stem}"))
    times = raw[:, 2] % 128 * 65536 + raw[:, 3] * 256 + raw[:, 4]
    order = np.argsort(times, kind="stable")
    assert np.array_equal(address, (raw[:, 1] * 68 + raw[:, 0] * 2 + raw[:, 2] // 128)[order])
    assert np.array_equal(time_us, (times - times.min())[order])


class Killed(BaseException):
    """As a signal would end it."""


@pytest.mark.parametrize("after", [1, 3, 4])
def test_a_killed_import_leaves_no_manifest_and_is_finished_by_the_next(
    tiny_folder: TinyFolder, tmp_path: Path, after: int
) -> None:
    source, out = tiny_folder(events=20), tmp_path / "data"
    import_source(open_slanimals(source), tmp_path / "undisturbed")
    done = list[Imported]()

    def die(imported: Imported) -> None:
        done.append(imported)
        if len(done) == after:
            raise Killed

    with pytest.raises(Killed):
        import_source(open_slanimals(source), out, done=die)
    assert not (out / "manifest.json").exists()
    assert len(list(out.glob("recordings/*"))) == after
    again = list[Imported]()
    import_source(open_slanimals(source), out, done=again.append)
    assert sum(reused(again)) == after
    assert content(out) == content(tmp_path / "undisturbed")


def test_an_import_killed_over_an_older_dataset_leaves_no_manifest(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    out = tmp_path / "data"
    import_source(open_slanimals(tiny_folder(events=20)), out)

    def die(_: Imported) -> None:
        raise Killed

    with pytest.raises(Killed):
        import_source(open_slanimals(tiny_folder(events=21, path="other")), out, done=die)
    assert not (out / "manifest.json").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_damaged_file_of_a_dataset_is_made_anew(tiny_folder: TinyFolder, tmp_path: Path, share: float) -> None:
    source, out = tiny_folder(events=1000), tmp_path / "data"
    import_source(open_slanimals(source), out)
    whole = content(out)
    file = out / "recordings" / "user25_imse.parquet"
    changed = bytearray(file.read_bytes())
    changed[int(share * len(changed))] ^= 0x41
    file.write_bytes(changed)
    seen = list[Imported]()
    import_source(open_slanimals(source), out, done=seen.append)
    assert reused(seen) == [True, True, False, True]
    assert content(out) == whole


def test_a_truncated_file_is_made_anew_even_without_a_manifest(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(events=20), tmp_path / "data"
    import_source(open_slanimals(source), out)
    whole = content(out)
    (out / "manifest.json").unlink()
    file = out / "recordings" / "user25_imse.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    import_source(open_slanimals(source), out)
    assert content(out) == whole


def test_a_damaged_manifest_does_not_hinder_an_import(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(events=20), tmp_path / "data"
    import_source(open_slanimals(source), out)
    whole = content(out)
    (out / "manifest.json").write_text("{")
    import_source(open_slanimals(source), out)
    assert content(out) == whole


def test_a_recording_that_left_the_source_leaves_the_manifest(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(events=20), tmp_path / "data"
    import_source(open_slanimals(source), out)
    for file in (source / "recordings" / "user18_sunlight.aedat", source / "tags" / "user18_sunlight.csv"):
        file.unlink()
    manifest = import_source(open_slanimals(source), out)
    assert [file.recordings for file in manifest.files] == [("user00_indoor",), ("user25_imse",), ("user35_dc",)]


@pytest.mark.parametrize("stranger", ["thesis.tex", "recordings/take1.wav", "recordings/user00_indoor.aedat"])
def test_a_folder_with_other_things_in_it_is_refused_and_kept(
    tiny_folder: TinyFolder, tmp_path: Path, stranger: str
) -> None:
    source, out = tiny_folder(events=1), tmp_path / "mine"
    for name in (stranger, "manifest.json"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text('{"name": "my web page"}')
    before = content(out)
    with refused(UsageError, out, "is not a dataset of sltune", stranger, "choose another --out"):
        import_source(open_slanimals(source), out)
    assert content(out) == before


def test_the_source_itself_is_refused_as_out(tiny_folder: TinyFolder) -> None:
    source = tiny_folder(events=1)
    before = content(source)
    with refused(UsageError, source, "is not a dataset of sltune"):
        import_source(open_slanimals(source), source)
    assert content(source) == before


def test_notes_beside_a_dataset_do_not_hinder_an_import(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(events=20), tmp_path / "data"
    import_source(open_slanimals(source), out)
    (out / "README.txt").write_text("recorded in spring")
    import_source(open_slanimals(source), out)
    assert (out / "README.txt").read_text() == "recorded in spring"


def test_a_file_in_the_place_of_out_is_refused(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, file = open_slanimals(tiny_folder(events=1)), tmp_path / "file"
    file.touch()
    with refused(UsageError, file, "is a file", "--out names a folder"):
        import_source(source, file)
    with refused(UsageError, file / "data", "cannot be written", "Not a directory"):
        import_source(source, file / "data")


def test_a_folder_that_cannot_be_written_is_refused(tiny_folder: TinyFolder) -> None:
    """Nobody can make a folder there, not even root."""
    with refused(UsageError, "/proc/sltune", "cannot be written"):
        import_source(open_slanimals(tiny_folder(events=1)), Path("/proc/sltune"))


def test_a_manifest_that_cannot_be_withdrawn_is_refused(
    tiny_folder: TinyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tiny_folder(events=20), tmp_path / "data"
    import_source(open_slanimals(source), out)
    tiny_folder(names=("user25_imse",), events=20, seed=1)

    def deny(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", deny)
    with refused(UsageError, out, "cannot be written", "Permission denied"):
        import_source(open_slanimals(source), out)


IMPORT = """
import sys
from pathlib import Path
from sltune.errors import SltuneError
from sltune.events.importing import import_source
from sltune.events.sources.slanimals.source import open_slanimals
try:
    import_source(open_slanimals(Path(sys.argv[1])), Path(sys.argv[2]))
except SltuneError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_disk_that_is_full_ends_with_a_plain_error_and_no_debris(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: a recording's samples do not fit into 20 kB."""
    source, out = tiny_folder(names=("user00_indoor",), events=1000), tmp_path / "data"
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT, source, out],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert (ended.returncode, ended.stderr) == (2, "")
    assert ended.stdout.startswith(f"{out / 'recordings' / 'user00_indoor.parquet'}: cannot be written: ")
    assert content(out) == {}


def test_stored_hashes_are_those_of_the_files(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    source, out = tiny_folder(events=20), tmp_path / "data"
    manifest = import_source(open_slanimals(source), out)
    for stored, name in zip(manifest.files, ONE_OF_EACH_SESSION, strict=True):
        assert stored.sha256 == file_sha256(out / stored.file)
        recording, tags = source / "recordings" / f"{name}.aedat", source / "tags" / f"{name}.csv"
        assert stored.source_sha256 == hashlib.sha256(recording.read_bytes() + tags.read_bytes()).hexdigest()
        assert pq.read_metadata(out / stored.file).num_row_groups == 1


@pytest.mark.parametrize("is_parquet", [True, False])
def test_files_that_no_import_wrote_are_never_deleted(
    tiny_folder: TinyFolder, tmp_path: Path, is_parquet: bool
) -> None:
    out, mine = tmp_path / "data", tmp_path / "data" / "recordings" / "mine.parquet"
    mine.parent.mkdir(parents=True)
    if is_parquet:
        pq.write_table(pa.table({"a": [1]}), mine)
    else:
        mine.write_bytes(b"notes")
    before = content(out)
    with refused(UsageError, f"{out}: holds recordings/mine.parquet, which sltune did not write; choose another --out"):
        import_source(open_slanimals(tiny_folder(events=20)), out)
    assert content(out) == before


def test_a_file_that_cannot_be_replaced_leaves_the_dataset_whole(
    tiny_folder: TinyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tiny_folder(events=20), tmp_path / "data"
    import_source(open_slanimals(source), out)
    before = content(out)
    # The same recording with other events.
    tiny_folder(names=("user25_imse",), events=20, seed=1)

    opened = os.fdopen

    def full_disk(descriptor: int, mode: str) -> IO[Any]:
        if mode == "rb":
            return opened(descriptor, mode)
        os.close(descriptor)
        return open("/dev/full", "wb")

    with monkeypatch.context() as patched, refused(UsageError, "user25_imse.parquet: cannot be written: No space"):
        patched.setattr(os, "fdopen", full_disk)
        import_source(open_slanimals(source), out)
    assert content(out) == before
    assert read_manifest(out).samples == 4 * 19


@pytest.mark.parametrize("place", ["recordings", "manifest.json", "warnings.csv", "recordings/{name}.parquet"])
def test_an_import_follows_no_link_in_its_folder(tiny_folder: TinyFolder, tmp_path: Path, place: str) -> None:
    """A dataset may have been handed on with links that lead to files of whoever imports into it again."""
    source, out, mine = tiny_folder(events=100), tmp_path / "data", tmp_path / "mine"
    mine.mkdir()
    import_source(open_slanimals(source), out)
    link = out / place.format(name=ONE_OF_EACH_SESSION[0])
    link.rename(mine / "kept")
    link.symlink_to(mine / "kept")
    damage_recording(source, ONE_OF_EACH_SESSION[1])
    before = {file: file.read_bytes() for file in mine.rglob("*") if file.is_file()}
    with pytest.raises((UsageError, DataError)):
        import_source(open_slanimals(source), out)
    assert {file: file.read_bytes() for file in mine.rglob("*") if file.is_file()} == before
    # What is left out is written to warnings.csv, and the manifest is written anew.
    if place == "recordings":
        with pytest.raises(UsageError, match="recordings: is a link"):
            import_source(open_slanimals(source), out, skip_bad=True)
    else:
        import_source(open_slanimals(source), out, skip_bad=True)
    assert {file: file.read_bytes() for file in mine.rglob("*") if file.is_file()} == before
