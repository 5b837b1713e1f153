"""Tonic's datasets, written in their own layouts, as sources; nothing may be downloaded, unpacked or deleted."""

from __future__ import annotations

import os
import pickle
import random
import socket
import sys
import types
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from ray import cloudpickle

from sltune.errors import DataError, UsageError
from sltune.events.dataset import open_dataset
from sltune.events.importing import import_source
from sltune.events.listing import shards
from sltune.events.source import Source
from sltune.events.sources.tonic.source import open_nmnist_folder, open_tonic
from sltune.events.store import Sample
from tests.events.conftest import refused
from tests.events.sources.tonic.test_source import event, write

NAMES = ("ASLDVS", "CIFAR10DVS", "DVSGesture", "DVSLip", "NCALTECH101", "NMNIST", "POKERDVS")
INCOMPLETE = "Tonic's own check calls this incomplete; it holds {} samples"


@pytest.fixture(autouse=True)
def attempts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Fail on whatever would reach for the network, though Tonic or sltune may catch the error."""
    attempts = list[object]()

    def refuse(*args: object, **_: object) -> None:
        attempts.append(args)
        raise AssertionError("a download was tried")

    for place, name in (
        (socket.socket, "connect"),
        (socket, "getaddrinfo"),
        (urllib.request, "urlopen"),
        (urllib.request, "urlretrieve"),
    ):
        monkeypatch.setattr(place, name, refuse)
    yield attempts
    assert attempts == []


def save(root: Path, path: str, array: np.ndarray[Any, Any]) -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    np.save(root / path, array)
    return root / path


def save_gesture(root: Path, path: str, *rows: Sequence[int]) -> None:
    """Write rows of x, y, p and t in ms."""
    save(root, f"DVSGesture/ibmGesture{path}", np.array(rows or [(1, 0, 1, 3)]))


def load(source: Source) -> dict[str, Sample]:
    samples = dict[str, Sample]()
    for file in source.files:
        loaded, findings = file.load()
        assert findings == []
        samples |= {sample.sample_id: sample for sample in loaded}
    return samples


def parts(source: Source) -> dict[str, str]:
    return {name: sample.split for name, sample in load(source).items()}


def warnings(source: Source) -> list[str]:
    assert not any(finding.is_error for finding in source.findings)
    return [finding.text for finding in source.findings]


def listed(sample: Sample) -> tuple[str, int, str, list[int], int, list[int]]:
    return (
        *(sample.subject, sample.label, sample.gesture),
        *(sample.address.tolist(), sample.start_us, sample.time_us.tolist()),
    )


def test_nmnist_of_both_parts(tmp_path: Path) -> None:
    write(tmp_path, "NMNIST/Train/7/00042.bin", event(33, 2, 1, 100_000) + event(0, 33, 0, 100_007))
    write(tmp_path, "NMNIST/Test/0/00001.bin", event(1, 0, 1, 5))
    source = open_tonic("NMNIST", tmp_path)
    assert (source.name, source.synthetic, source.sensor) == ("NMNIST", False, (34, 34))
    assert source.classes[7] == "7 - seven"
    assert {name: listed(sample) for name, sample in load(source).items()} == {
        "train-7-00042": ("train-7-00042", 7, "7 - seven", [203, 2244], 100_000, [0, 7]),
        "test-0-00001": ("test-0-00001", 0, "0 - zero", [3], 5, [0]),
    }
    assert warnings(source) == [INCOMPLETE.format(1), INCOMPLETE.format(1)]
    assert parts(source) == {"train-7-00042": "train", "test-0-00001": "test"}


def test_a_part_alone_is_no_official_split(tmp_path: Path) -> None:
    write(tmp_path, "NMNIST/Test/0/00001.bin", event(1, 0, 1, 5))
    assert parts(open_tonic("NMNIST", tmp_path)) == {"test-0-00001": ""}


def test_gestures_of_both_parts_are_an_official_split_by_user(tmp_path: Path) -> None:
    for user in (2, 24):
        save_gesture(tmp_path, f"{'Train' if user < 24 else 'Test'}/user{user:02d}_led/0.npy")
    assert parts(open_tonic("DVSGesture", tmp_path)) == {"train-user02_led-0": "train", "test-user24_led-0": "test"}


def test_the_real_digits_are_those_of_the_folder_reader(nmnist_folder: Path) -> None:
    source = open_tonic("NMNIST", nmnist_folder)
    ours, folder = load(source), load(open_nmnist_folder(nmnist_folder))
    assert ours.keys() == {f"train-{name}" for name in folder}
    for name, sample in folder.items():
        assert np.array_equal(ours[f"train-{name}"].address, sample.address)
        assert np.array_equal(ours[f"train-{name}"].time_us, sample.time_us)
        assert (ours[f"train-{name}"].start_us, ours[f"train-{name}"].label) == (sample.start_us, sample.label)
    assert warnings(source) == ["holds no samples of the test part", INCOMPLETE.format(1000)]
    assert {str(finding.place) for finding in source.findings} == {
        str(nmnist_folder / "NMNIST/Test"),
        str(nmnist_folder / "NMNIST/Train"),
    }


def test_gestures_are_grouped_by_user(tmp_path: Path) -> None:
    """In a sensor 128 wide: (2·128 + 127)·2 + 1 and (127·128 + 0)·2 + 0; times are written in ms."""
    save_gesture(tmp_path, "Train/user02_fluorescent/0.npy", (127, 2, 1, 4), (0, 127, 0, 9))
    save_gesture(tmp_path, "Train/user02_lab/10.npy")
    save_gesture(tmp_path, "Test/user24_led/0.npy")
    source = open_tonic("DVSGesture", tmp_path)
    assert {name: listed(sample) for name, sample in load(source).items()} == {
        "train-user02_fluorescent-0": ("user02", 0, "Hand clapping", [767, 32512], 4000, [0, 5000]),
        "train-user02_lab-10": ("user02", 10, "Other gestures", [3], 3000, [0]),
        "test-user24_led-0": ("user24", 0, "Hand clapping", [3], 3000, [0]),
    }
    alone = "no fold can both train and test 1 classes that lie in one group only: Other gestures"
    assert warnings(source) == [INCOMPLETE.format(2), INCOMPLETE.format(1), alone]
    by_light = load(open_tonic("DVSGesture", tmp_path, "lighting"))
    assert [sample.subject for sample in by_light.values()] == ["fluorescent", "lab", "led"]
    by_path = load(open_tonic("DVSGesture", tmp_path, r"path:Gesture(\w+)/"))
    assert [sample.subject for sample in by_path.values()] == ["Train", "Train", "Test"]
    with refused(UsageError, 'did you mean "lighting"?', "offers users, lighting, folder, path:REGEX"):
        open_tonic("DVSGesture", tmp_path, "lightning")


def test_a_gesture_time_that_is_nan_is_an_error_of_that_sample(tmp_path: Path) -> None:
    save(tmp_path, "DVSGesture/ibmGestureTrain/user01_led/0.npy", np.array([[0.0, 0, 1, np.nan]]))
    save_gesture(tmp_path, "Train/user01_led/1.npy")
    samples, (finding,) = open_tonic("DVSGesture", tmp_path).files[0].load()
    assert [sample.sample_id for sample in samples] == ["train-user01_led-1"]
    assert finding.is_error
    assert "invalid value" in finding.text


def test_poker_cards_are_arrays_and_have_numbers_for_ids(tmp_path: Path) -> None:
    """Columns t, x, y, p; in a sensor 35 wide: (34·35 + 1)·2 + 1."""
    for path, time in (("train/sp/b", 3), ("train/sp/a", 2), ("train/cl/z", 1), ("test/he/a", 4)):
        save(tmp_path, f"POKERDVS/pips_{path}.npy", np.array([[time, 1, 34, 1]]))
    source = open_tonic("POKERDVS", tmp_path)
    assert (source.sensor, source.classes) == ((35, 35), ("cl", "he", "di", "sp"))
    assert {name: listed(sample) for name, sample in load(source).items()} == {
        "train-0": ("train-0", 0, "cl", [2383], 1, [0]),
        "train-1": ("train-1", 3, "sp", [2383], 2, [0]),
        "train-2": ("train-2", 3, "sp", [2383], 3, [0]),
        "test-0": ("test-0", 1, "he", [2383], 4, [0]),
    }
    assert source.files[0].size == 4 * 32
    before = source.files[0].sha256()
    save(tmp_path, "POKERDVS/pips_train/sp/b.npy", np.array([[3, 1, 33, 1]]))
    assert open_tonic("POKERDVS", tmp_path).files[0].sha256() != before


def test_spoken_words(tmp_path: Path) -> None:
    events = np.array([(5, 3, 1, 2), (7, 3, 0, 2)], dtype=[("t", "i4"), ("x", "i2"), ("p", "u1"), ("y", "i2")])
    save(tmp_path, "DVSLip/DVS-Lip/test/action/0.npy", events)
    source = open_tonic("DVSLip", tmp_path)
    assert (len(source.classes), source.sensor) == (100, (128, 128))
    assert {name: listed(sample) for name, sample in load(source).items()} == {
        "test-action-0": ("test-action-0", 1, "action", [519, 518], 5, [0, 2]),
    }


def test_signed_letters_are_matlab_columns_that_tonic_turns_over(tmp_path: Path) -> None:
    """Tonic's y is 179 − y; in a sensor 240 wide: (0·240 + 239)·2 + 1 and (179·240 + 0)·2, in 32 bits."""
    names = {"ts": [10, 30], "x": [239, 0], "y": [179, 0], "pol": [1, 0]}
    for letter in "ac":
        (tmp_path / "ASLDVS" / letter).mkdir(parents=True)
        columns = {name: np.array(values).reshape(-1, 1) for name, values in names.items()}
        scipy.io.savemat(tmp_path / f"ASLDVS/{letter}/{letter}_0001.mat", columns)
    source = open_tonic("ASLDVS", tmp_path)
    assert (source.sensor, len(source.classes)) == ((180, 240), 26)
    samples = load(source)
    assert {name: listed(sample) for name, sample in samples.items()} == {
        "a-a_0001": ("a-a_0001", 0, "a", [479, 85_920], 10, [0, 20]),
        "c-c_0001": ("c-c_0001", 2, "c", [479, 85_920], 10, [0, 20]),
    }
    assert samples["a-a_0001"].address.dtype == np.uint32


def test_objects_are_named_by_folders_and_their_sensor_is_found(tmp_path: Path) -> None:
    """Tonic moves each sample into the corner: x 20 and 10 become 10 and 0, y 40 and 41 become 0 and 1."""
    write(tmp_path, "NCALTECH101/Caltech101/piano/image_0001.bin", event(20, 40, 1, 6) + event(10, 41, 0, 9))
    write(tmp_path, "NCALTECH101/Caltech101/ant/image_0001.bin", event(3, 7, 1, 6) + event(4, 12, 1, 7))
    write(tmp_path, "NCALTECH101/Caltech101/ant/image_0002.bin", event(3, 240, 1, 6))
    source = open_tonic("NCALTECH101", tmp_path)
    assert (source.sensor, source.classes) == ((6, 11), ("ant", "piano"))
    assert warnings(source) == [INCOMPLETE.format(3), "Tonic states no sensor; 11x6 pixels hold all events"]
    samples, (finding,) = source.files[0].load()
    assert {sample.sample_id: listed(sample)[1:] for sample in samples} == {
        "Caltech101-ant-image_0001": (0, "ant", [1, 113], 6, [0, 1]),
        "Caltech101-piano-image_0001": (1, "piano", [21, 22], 6, [0, 3]),
    }
    assert (finding.is_error, finding.lost) == (True, ("Caltech101-ant-image_0002",))
    assert "Tonic cannot read it: ValueError" in finding.text


def test_a_byte_that_tonic_would_pass_over_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, "NMNIST/Train/7/1.bin", event(1, 1, 1, 5) + b"\1")
    samples, (finding,) = open_tonic("NMNIST", tmp_path).files[0].load()
    assert samples == []
    assert str(finding) == f"{file}: truncated: 6 bytes are no positive multiple of 5"


class Decoder:
    """Stands in for the package aedat, which reads AEDAT4 for Tonic."""

    def __init__(self, file: str) -> None:
        self.time = int(Path(file).read_text())

    def id_to_stream(self) -> dict[int, dict[str, str]]:
        return {0: {"type": "frame"}, 1: {"type": "events"}}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        fields = [("t", np.uint64), ("x", np.uint16), ("y", np.uint16), ("on", bool)]
        yield {"stream_id": 1, "events": np.array([(self.time, 127, 2, True)], dtype=fields)}


def write_pictures(root: Path) -> None:
    for number, name in enumerate(["truck", "airplane"]):
        write(root, f"CIFAR10DVS/{name}/cifar10_{name}_{number}.aedat4", str(10**15 + number).encode())


def test_pictures_in_aedat4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the layout is Tonic's: the package that decodes AEDAT4 is replaced."""
    write_pictures(tmp_path)
    monkeypatch.setitem(sys.modules, "aedat", types.SimpleNamespace(Decoder=Decoder))
    assert {name: listed(sample)[1:] for name, sample in load(open_tonic("CIFAR10DVS", tmp_path)).items()} == {
        "airplane-cifar10_airplane_1": (0, "airplane", [767], 10**15 + 1, [0]),
        "truck-cifar10_truck_0": (9, "truck", [767], 10**15, [0]),
    }


def test_a_package_that_tonic_needs_and_does_not_find_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path)
    monkeypatch.setitem(sys.modules, "aedat", None)
    samples, findings = open_tonic("CIFAR10DVS", tmp_path).files[0].load()
    assert samples == []
    assert [finding.text for finding in findings] == [
        "cannot be read without the package aedat, which is not installed"
    ] * 2


@pytest.fixture
def all_131_cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stands in for the package dv, without which Tonic's module cannot be imported."""

    class File:
        def __init__(self, file: str) -> None:
            self.times = [int(time) for time in Path(file).read_text().split()]

        def __enter__(self) -> File:
            return self

        def __exit__(self, *_: object) -> None: ...

        def _read_event_v2(self) -> list[types.SimpleNamespace]:
            return [types.SimpleNamespace(timestamp=time, x=1, y=0, polarity=1) for time in self.times]

    monkeypatch.setitem(sys.modules, "dv", types.SimpleNamespace(LegacyAedatFile=File))
    yield
    sys.modules.pop("tonic.datasets.pokerdvs131", None)


@pytest.mark.usefixtures("all_131_cards")
def test_all_131_cards_are_cut_at_pauses_and_never_downloaded(tmp_path: Path) -> None:
    """Tonic cuts where 20 ms pass without an event, and deals the classes in turn."""
    for number in (1, 2):
        write(tmp_path, f"cards_{number}.aedat", b"100 200 50000 90000")
    with refused(DataError, tmp_path, "holds no cards_3.aedat", "downloads and unpacks nothing"):
        open_tonic("POKERDVS131", tmp_path)
    write(tmp_path, "cards_3.aedat", b"7")
    source = open_tonic("POKERDVS131", tmp_path)
    assert source.classes == ("cl", "he", "di", "sp")
    assert {name: listed(sample)[1:] for name, sample in load(source).items()} == {
        "0": (0, "cl", [3, 3], 100, [0, 100]),
        "1": (0, "cl", [3, 3], 100, [0, 100]),
        "2": (0, "cl", [3], 7, [0]),
        "3": (1, "he", [3], 50_000, [0]),
        "4": (1, "he", [3], 50_000, [0]),
        "5": (2, "di", [3], 90_000, [0]),
        "6": (2, "di", [3], 90_000, [0]),
    }


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("NMIST", ["has no such dataset", 'did you mean "NMNIST"?']),
        ("nmnist", ["has no such dataset", 'did you mean "NMNIST"?']),
        ("Dataset", ["has no such dataset"]),
        ("SHD", ["its events have no y"]),
        ("SSC", ["its events have no y"]),
        ("NTIDIGITS18", ["its events have no y"]),
        ("SMNIST", ["its events have no y"]),
        ("DSEC", ["it is read by split and data_selection"]),
        ("MVSEC", ["it is read by scene"]),
        ("TUMVIE", ["it is read by recording"]),
        ("DAVISDATA", ["it is read by recording"]),
        ("VPR", ["not one class a sample"]),
        ("EBSSA", ["not one class a sample"]),
        ("NERDD", ["not one class a sample"]),
        ("ThreeET_Eyetracking", ["not one class a sample"]),
    ],
)
def test_what_cannot_be_imported_is_refused_with_the_reason(tmp_path: Path, name: str, parts: list[str]) -> None:
    with refused(UsageError, f"tonic:{name}: ", "those that can be imported: ASLDVS", *NAMES, *parts):
        open_tonic(name, tmp_path)


def test_a_dataset_whose_own_package_is_absent_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sys.modules.pop("tonic.datasets.pokerdvs131", None)
    monkeypatch.setitem(sys.modules, "dv", None)
    with refused(UsageError, "tonic:POKERDVS131: cannot be imported without the package dv"):
        open_tonic("POKERDVS131", tmp_path)


ARCHIVES = (
    *("NMNIST/train.zip", "DVSGesture/ibmGestureTrain.tar.gz", "POKERDVS/pips_train.tar.gz", "DVSLip/DVS-Lip.zip"),
    *("ASLDVS/ASLDVS.zip", "CIFAR10DVS/CIFAR10DVS.zip", "NCALTECH101/N-Caltech101-archive.zip"),
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("with_archives", [False, True])
def test_absent_data_are_neither_downloaded_nor_unpacked_but_named(
    tmp_path: Path, name: str, with_archives: bool
) -> None:
    for archive in ARCHIVES if with_archives else ():
        write(tmp_path, archive, b"an archive")
    before = sorted(tmp_path.rglob("*"))
    with refused(DataError, tmp_path / name, "no samples", "looked in", "sltune downloads and unpacks nothing"):
        open_tonic(name, tmp_path)
    with refused(DataError, tmp_path / "absent", "no samples"):
        open_tonic(name, tmp_path / "absent")
    with refused(DataError, "--root is the folder above it"):
        open_tonic(name, tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("DVSGesture", "DVSGesture/ibmGestureTrain/anna_led/0.npy"),
        ("DVSGesture", "DVSGesture/ibmGestureTrain/user01_led/first.npy"),
        ("DVSLip", "DVSLip/DVS-Lip/train/xylophone/0.npy"),
        ("POKERDVS", "POKERDVS/pips_train/sp/empty.npy"),
        ("CIFAR10DVS", "CIFAR10DVS/unicorn/0.aedat4"),
    ],
)
def test_a_folder_that_tonic_cannot_list_is_refused_in_one_line(tmp_path: Path, name: str, path: str) -> None:
    write(tmp_path, path, b"")
    with refused(DataError, tmp_path / name, "Tonic cannot list the samples: "):
        open_tonic(name, tmp_path)
    with pytest.raises(DataError) as caught:
        open_tonic(name, tmp_path)
    assert "\n" not in str(caught.value)


def test_folds_are_the_same_on_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tonic lists files in the order in which the file system has them."""
    for word in ("years", "action", "banks"):
        for number in (2, 10, 1):
            events = np.array([(number, 0, 0, 1)], dtype=[("t", int), ("x", int), ("y", int), ("p", int)])
            save(tmp_path, f"DVSLip/DVS-Lip/train/{word}/{number}.npy", events)
            save_gesture(tmp_path, f"Test/user0{number % 9}_led/{number}.npy", (number, 0, 1, 1))
            save(tmp_path, f"POKERDVS/pips_test/{'sp' if word == 'years' else 'cl'}/{word}{number}.npy",
                 np.array([[number, 0, 0, 1]]))  # fmt: skip
    names = ("DVSLip", "DVSGesture", "POKERDVS")
    before = [open_tonic(name, tmp_path) for name in names]
    walk, listdir, draw = os.walk, os.listdir, random.Random(3)

    def shuffled(*args: Any, **options: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for path, folders, files in walk(*args, **options):
            draw.shuffle(folders)
            draw.shuffle(files)
            yield path, folders, files

    monkeypatch.setattr(os, "walk", shuffled)
    monkeypatch.setattr(os, "listdir", lambda path: draw.sample(listdir(path), len(listdir(path))))
    for _ in range(5):
        for name, source in zip(names, before, strict=True):
            again = open_tonic(name, tmp_path)
            assert [file.sha256() for file in again.files] == [file.sha256() for file in source.files]
            assert [(key, listed(value)) for key, value in load(again).items()] == [
                (key, listed(value)) for key, value in load(source).items()
            ]


def test_files_of_one_name_in_one_part_have_numbers_for_ids(tmp_path: Path) -> None:
    for path in ("a-b/c", "a/b-c"):
        write(tmp_path, f"NCALTECH101/{path}.bin", event(1, 1, 1, 5))
    samples = load(open_tonic("NCALTECH101", tmp_path))
    assert {name: sample.gesture for name, sample in samples.items()} == {"0": "a-b", "1": "a"}


def test_a_shard_goes_to_another_process_without_the_lists_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 1)
    for gesture in (3, 4):
        save_gesture(tmp_path, f"Train/user02_led/{gesture}.npy")
    first, second = open_tonic("DVSGesture", tmp_path).files
    content = cloudpickle.dumps(first)
    assert b"user02_led/3.npy" in content
    assert b"user02_led/4.npy" not in content
    again = pickle.loads(content)
    assert again.sha256() == first.sha256() != second.sha256()
    assert listed(again.load()[0][0]) == listed(first.load()[0][0])


def test_gestures_are_imported_and_read_back(tmp_path: Path) -> None:
    for user in (1, 2, 3):
        for gesture in (0, 1):
            save_gesture(tmp_path, f"Train/user0{user}_led/{gesture}.npy", (user, gesture, 1, 7), (0, 0, 0, 5))
    save(tmp_path, "DVSGesture/ibmGestureTrain/user03_led/2.npy", np.zeros((0, 4)))
    source = open_tonic("DVSGesture", tmp_path)
    with refused(DataError, "user03_led/2.npy: holds no events"):
        import_source(source, tmp_path / "strict")
    manifest = import_source(source, tmp_path / "data", skip_bad=True)
    assert [left.name for left in manifest.left_out] == ["train-user03_led-2"]
    dataset = open_dataset(tmp_path / "data")
    assert (dataset.manifest.name, dataset.manifest.sensor, len(dataset.samples)) == ("DVSGesture", (128, 128), 6)
    assert {info.subject for info in dataset.samples.recordings()} == {"user01", "user02", "user03"}
    assert {info.session for info in dataset.samples.recordings()} == {""}
    index = dataset.samples.sample_id.index("train-user02_led-1")
    address, time_us = dataset.samples.events(index)
    assert (address.tolist(), time_us.tolist()) == ([0, (128 + 2) * 2 + 1], [0, 2000])
    assert dataset.samples.label[index] == 1
    again = list[bool]()
    import_source(open_tonic("DVSGesture", tmp_path), tmp_path / "data", False, True, lambda f: again.append(f.reused))
    assert again == [True]


@pytest.mark.parametrize(("name", "path"), [("DVSGesture", "ibmGestureTrain/user01/0.npy"), ("POKERDVS", "club.npy")])
def test_a_named_pipe_among_the_files_is_refused_before_tonic_opens_it(tmp_path: Path, name: str, path: str) -> None:
    pipe = tmp_path / name / path
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    with refused(DataError, f"{pipe}: is a device, pipe or socket, not a plain file"):
        open_tonic(name, tmp_path)
