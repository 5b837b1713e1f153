"""What docs/data.md promises a lab: its own recordings, of several formats and people, from a listing to a table."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main
from sltune.events.dataset import open_dataset
from sltune.events.manifest import read_manifest
from tests.events.formats.writers import WRITERS, Events
from tests.tuning.clusters import ray_here

CLASSES = ("wave", "clap", "Größe zeigen", "nod", "point")
SESSIONS = ("morning", "after lunch", "")
SUBJECTS = 8
SAMPLE_US = 40_000
EVENTS = 60
"""In a sample: enough to tell which band of columns they lie in."""
MIXED: Mapping[str, str] = {"odd": "hdf5", "even": "aedat4"}


def recording(subject: int) -> Events:
    """Return what a camera of 128x128 pixels sees of a person: each sign in a band of columns of its own."""
    rng = np.random.default_rng(subject)
    count = EVENTS * len(CLASSES)
    sign = np.arange(count) // EVENTS
    x, y = 25 * sign + rng.integers(0, 25, count), rng.integers(0, 128, count)
    times = np.sort(rng.integers(0, SAMPLE_US, (len(CLASSES), EVENTS))) + SAMPLE_US * np.arange(len(CLASSES))[:, None]
    return Events(x.tolist(), y.tolist(), times.ravel().tolist(), (rng.random(count) < 0.5).tolist())


def write_lab(folder: Path, suffix_of: Callable[[int], str]) -> Path:
    """Write eight recordings and the listing that cuts five signs out of each; suffix_of: by the subject."""
    folder.mkdir()
    with (folder / "signs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "subject", "session", "start_us", "end_us"])
        for subject in range(SUBJECTS):
            name = f"p{subject:02d}.{suffix_of(subject)}"
            (folder / name).write_bytes(WRITERS[suffix_of(subject)](recording(subject)))
            for number, label in enumerate(CLASSES):
                start = number * SAMPLE_US
                row = (name, label, f"p{subject:02d}", SESSIONS[subject % 3], start, start + SAMPLE_US)
                writer.writerow(row)
    return folder / "signs.csv"


def mixed(subject: int) -> str:
    return MIXED["odd" if subject % 2 else "even"]


def sltune(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return result


def imported(listing: Path, *flags: object) -> Path:
    """Import all as recordings of one larger camera, whatever a format says of its own."""
    out = listing.parent / "data"
    sltune("import", listing, "--source", "table", "--out", out, "--sensor", "346x260", "-q", *flags)
    return out


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of a lab with recordings as AEDAT-4 and HDF5."""
    return imported(write_lab(tmp_path_factory.mktemp("lab") / "lab", mixed))


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_same_events_give_the_same_dataset_from_every_format(tmp_path: Path, lab: Path, suffix: str) -> None:
    unit = ("--time-unit", "us") if suffix in ("npy", "npz", "csv") else ()
    out = imported(write_lab(tmp_path / "lab", lambda _: suffix), *unit)
    same, other = read_manifest(lab), read_manifest(out)
    assert (other.fingerprint, other.classes, other.sensor) == (same.fingerprint, same.classes, same.sensor)


def test_what_is_imported_is_seen_by_inspect_and_show(lab: Path, tmp_path: Path) -> None:
    facts = json.loads(sltune("inspect", lab, "--verify", "--json").stdout)
    assert (facts["total"]["samples"], facts["total"]["recordings"]) == (40, 8)
    assert [part["name"] for part in facts["sessions"]] == ["after lunch", "morning"]
    assert [part["name"] for part in facts["classes"]] == sorted(CLASSES)
    assert facts["subjects"] == SUBJECTS
    sample = open_dataset(lab).samples.sample_id[2]
    sltune("show", lab, sample, "--out", tmp_path / "sign.png")
    sltune("show", lab, "--all", "--out", tmp_path / "signs.png")
    assert (tmp_path / "sign.png").stat().st_size > 1000


SPACE = """
[sampling]
time_bin_ms = 10
train_crop = "start"
train_crop_ms = 40
eval_crop_ms = "train"
size = "32x32"
[training]
epochs = 1
batch_size = 4
[evaluation]
folds = 2
"""


@pytest.mark.processes
def test_a_labs_set_goes_from_its_listing_to_a_table_that_no_format_changes(lab: Path, tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text(SPACE)
    plain = imported(write_lab(tmp_path / "lab", lambda _: "npy"), "--time-unit", "us")
    rows = []
    with ray_here(num_cpus=2):
        for name, data in (("mixed", lab), ("plain", plain)):
            run = ("--data", data, "--results", tmp_path, "--run", name, "--device", "cpu", "-q")
            sltune("evaluate", tmp_path / "space.toml", *run)
            (row,) = json.loads(sltune("report", tmp_path / name, "--format", "json").stdout)["rows"][:1]
            rows.append({key: value for key, value in row.items() if key != "run"})
    assert rows[0] == rows[1]
    assert (rows[0]["n"], rows[0]["sessions"]) == (2, ["after lunch", "morning"])
    assert 'sessions = ["after lunch", "morning"]' in (tmp_path / "mixed" / "space.toml").read_text()
    assert "# signs, sessions (after lunch, morning)" in sltune("report", tmp_path / "mixed").stdout


WHOLE = """
import sltune.events.listing.recordings as recordings
from sltune.cli.main import main
# Each recording has a file of its own.
recordings.SHARD_BYTES = 1
main()
"""
KILLED = (
    """
import os, signal
import sltune.events.importing as importing
store, stored = importing._store, []
def store_or_die(*arguments):
    if len(stored) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    stored.append(store(*arguments))
    return stored[-1]
importing._store = store_or_die
"""
    + WHOLE
)


@pytest.mark.processes
def test_an_import_of_a_listing_that_is_killed_goes_on(tmp_path: Path) -> None:
    listing = write_lab(tmp_path / "lab", lambda _: "npy")
    out = tmp_path / "killed"
    command = ("import", listing, "--source", "table", "--out", out, "--time-unit", "us", "--sensor", "128x128", "-q")
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, command)], check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = {file: file.stat().st_ino for file in (out / "recordings").iterdir()}
    assert len(kept) == 3
    assert not (out / "manifest.json").exists()
    assert subprocess.run([sys.executable, "-c", WHOLE, *map(str, command)], check=False).returncode == 0
    # A file that is written anew is another file of the same name.
    assert {file: file.stat().st_ino for file in kept} == kept
    assert read_manifest(out).samples == 40
