"""Lists of anyone's split: what they may say, what is refused with file and line, and those that come with sltune."""

from __future__ import annotations

from pathlib import Path

import pytest

import sltune.events.splits.lists as module
from sltune.errors import DataError
from sltune.events.samples import RecordingInfo
from sltune.events.splits.lists import find_lists, read_lists
from sltune.events.splits.parts import Split
from sltune.events.splits.split import bound, left_out, lists_of, split_of
from sltune.settings.configuration import Configuration
from sltune.settings.space import parse_space
from tests.parity.test_folds import recordings_of

SESSIONS = {"a": "S1", "b": "S1", "c": "S2", "d": "S2"}
RECORDINGS = [
    RecordingInfo(f"{name}{number}", f"subject-{name}", session, "", (0, 1), (f"{name}{number}_1", f"{name}{number}_2"))
    for name, session in SESSIONS.items()
    for number in (1, 2)
]
WITH_VAL = Configuration.of({"evaluation.split": "list", "evaluation.split_lists": "x", "evaluation.folds": 1})
TRAIN_TEST = Configuration.of({**WITH_VAL.settings(), "evaluation.protocol": "train-test"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lists").mkdir()
    return tmp_path / "lists"


def write(folder: Path, **lists: str) -> Path:
    for name, text in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(text.split()) + "\n")
    return folder


def split(folder: Path, configuration: Configuration = TRAIN_TEST, fold: int = 0) -> Split:
    return split_of(configuration, RECORDINGS, fold, 0, lists=read_lists(folder))


def test_lines_name_recordings_subjects_or_all_samples_of_a_recording_and_parts_are_in_file_order(folder: Path) -> None:
    write(folder, trainlist1="subject-b a2 a1_1 a1_2", testlist1="subject-d c2 c1")
    assert split(folder) == Split(("a1", "a2", "b1", "b2"), (), ("c1", "c2", "d1", "d2"))


def test_a_list_may_have_comments_empty_lines_and_the_line_ends_of_windows(folder: Path) -> None:
    (folder / "trainlist1.txt").write_bytes(b"\xef\xbb\xbf# of a paper\r\n\r\n  a1 \r\n")
    (folder / "testlist1.txt").write_text("d1")
    assert split(folder) == Split(("a1",), (), ("d1",))


def test_a_validation_list_may_repeat_the_training_list_or_stand_beside_it(folder: Path) -> None:
    write(folder, trainlist1="subject-a subject-b", vallist1="subject-b", testlist1="d1")
    assert split(folder, WITH_VAL) == Split(("a1", "a2"), ("b1", "b2"), ("d1",))
    assert split(folder, WITH_VAL).validation == "given"
    write(folder, trainlist1="subject-a")
    assert split(folder, WITH_VAL) == Split(("a1", "a2"), ("b1", "b2"), ("d1",))
    assert split(folder) == Split(("a1", "a2", "b1", "b2"), (), ("d1",)), "nobody validates"


def test_without_a_validation_list_the_part_is_drawn_by_subject(folder: Path) -> None:
    write(folder, trainlist1="subject-a subject-b subject-c", testlist1="d1")
    found = split(folder, WITH_VAL)
    assert {name[0] for name in found.val} in ({"a"}, {"b"}, {"c"})
    assert sorted([*found.train, *found.val]) == ["a1", "a2", "b1", "b2", "c1", "c2"]
    assert found.validation == "subject"


def test_there_are_as_many_folds_as_lists(folder: Path) -> None:
    write(folder, trainlist1="subject-a", testlist1="d1", trainlist2="subject-d", testlist2="a1 b1")
    space = parse_space("evaluation.split = 'list'\nevaluation.split_lists = 'lists'", "space", (), folder.parent)
    assert bound(space, RECORDINGS).evaluation.folds == 2
    assert split(folder, fold=1) == Split(("d1", "d2"), (), ("a1", "b1"))


def test_recordings_in_no_list_are_named_and_those_of_other_sessions_are_not_looked_for(folder: Path) -> None:
    write(folder, trainlist1="subject-a c1", testlist1="b1 d1")
    said = "recordings in no part of the split are left out (3): b2, c2, d2"
    assert list(left_out(TRAIN_TEST, RECORDINGS, read_lists(folder))) == [said]
    settings = {**TRAIN_TEST.settings(), "evaluation.sessions": ("S1",)}
    first = Configuration.of(settings)
    assert split(folder, first) == Split(("a1", "a2"), (), ("b1",))
    assert list(left_out(first, RECORDINGS, read_lists(folder))) == [said.replace("3", "1").replace(", c2, d2", "")]


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"trainlist1": "a1 q1", "testlist1": "d1"}, "trainlist1.txt: line 2: 'q1' is no recording, subject or sample"),
        ({"trainlist1": "a1 bb", "testlist1": "d1"}, "trainlist1.txt: line 2: 'bb' .*"),
        (
            {"trainlist1": "a1 b1", "testlist1": "d1 b1"},
            "testlist1.txt: line 2: b1 is also in the train part, .*trainlist1.txt: line 2",
        ),
        (
            {"trainlist1": "a1", "vallist1": "d1", "testlist1": "subject-d"},
            "testlist1.txt: line 1: d1 is also in the val part, .*vallist1.txt: line 1",
        ),
        (
            {"trainlist1": "b1 a1", "testlist1": "d1 a2"},
            r"testlist1.txt: line 2: subject subject-a \(a2\) is also in the train part \(a1\), "
            ".*trainlist1.txt: line 2.*--group-by sample",
        ),
        (
            {"trainlist1": "a1 b1", "vallist1": "a2", "testlist1": "d1"},
            r"vallist1.txt: line 1: subject subject-a \(a2\) is also in the train part \(a1\)",
        ),
        (
            {"trainlist1": "a1 b1_2", "testlist1": "d1"},
            "trainlist1.txt: line 2: b1_2 is listed without b1_1 of the same recording, b1; .*list all of it",
        ),
        ({"trainlist1": "a1", "testlist1": ""}, "testlist1.txt: lists no recording$"),
        ({"trainlist1": "a1", "testlist1": "d1", "vallist1": ""}, "vallist1.txt: lists no recording$"),
        (
            {"trainlist1": "a1", "testlist1": "d1", "vallist1": "a1"},
            "trainlist1.txt: lists nobody beside the validation",
        ),
        ({"trainlist1": "a1"}, "testlist1.txt is missing; lists are counted from 1"),
        ({"trainlist2": "a1", "testlist2": "d1"}, "testlist1.txt is missing"),
        ({"testlist1": "a1"}, "has 0 training lists, but there must be 1 to 1000: trainlist1.txt, …"),
        ({"trainlist1": "a1", "testlist1": "d1", "vallist2": "a1"}, "vallist2.txt: belongs to no training list"),
    ],
)
def test_a_list_that_cannot_be_is_refused_with_file_and_line(folder: Path, lists: dict[str, str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        split(write(folder, **lists), WITH_VAL)


def test_a_list_of_other_sessions_alone_is_refused(folder: Path) -> None:
    write(folder, trainlist1="a1", testlist1="d1")
    first = Configuration.of({**TRAIN_TEST.settings(), "evaluation.sessions": ("S1",)})
    with pytest.raises(DataError, match=r"testlist1\.txt: lists no recording of the sessions that are used"):
        split(folder, first)


def test_a_list_that_is_no_text_is_refused_with_its_line(folder: Path) -> None:
    write(folder, testlist1="d1")
    (folder / "trainlist1.txt").write_bytes(b"a1\n\xff\n")
    with pytest.raises(DataError, match=r"trainlist1\.txt: line 2: byte 0xff is not UTF-8"):
        read_lists(folder)


def test_lists_are_looked_for_beside_the_space_file_and_in_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, trainlist1="a1", testlist1="d1")
    text = "evaluation.split = 'list'\nevaluation.split_lists = 'lists'"
    beside = lists_of(parse_space(text, "space", (), folder.parent))
    monkeypatch.chdir(folder.parent)
    here = lists_of(parse_space(text, "space"))
    assert beside is not None
    assert here is not None
    assert here.texts == beside.texts == {"trainlist1.txt": "a1\n", "testlist1.txt": "d1\n"}
    monkeypatch.chdir(folder)
    known = "lists: holds no trainlist1.txt, and no lists of that name come with sltune"
    with pytest.raises(
        DataError, match=f"evaluation.split_lists = {known}; those that do: sl-animals-evt, sl-animals-tore"
    ):
        lists_of(parse_space(text, "space"))


@pytest.mark.parametrize("place", ["tree", "wheel"])
def test_lists_that_come_with_sltune_are_found_in_a_wheel_and_in_a_source_tree(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "sltune" / "events" / "splits"
    lists = (package if place == "wheel" else tmp_path) / "split_lists" / "mine"
    lists.mkdir(parents=True)
    (lists / "trainlist1.txt").touch()
    monkeypatch.setattr(module, "__file__", str(package / "lists.py"))
    assert find_lists("mine", []) == lists


def shipped(name: str, *sessions: str) -> Split:
    values = {"evaluation.split": "list", "evaluation.split_lists": name, "evaluation.folds": 1}
    values |= {"evaluation.protocol": "train-test", "evaluation.sessions": sessions}
    recordings = recordings_of(("S1", "S2", "S3", "S4"))
    return split_of(Configuration.of(values), recordings, 0, 0, lists=read_lists(find_lists(name, [])))


def test_the_split_of_evt_has_44_and_15_signers_and_31_and_11_without_s3() -> None:
    """The same shares of every session as a split that is stratified by session, which EvT's is."""
    full, reduced = shipped("sl-animals-evt", "S1", "S2", "S3", "S4"), shipped("sl-animals-evt", "S1", "S2", "S4")
    assert (len(full.train), len(full.test)) == (44, 15)
    assert (len(reduced.train), len(reduced.test)) == (31, 11)
    assert reduced.test == tuple(name for name in full.test if "indoor" not in name)
    counts = {session: sum(session in name for name in full.test) for session in ("imse", "dc", "indoor", "sunlight")}
    assert counts == {"imse": 3, "dc": 6, "indoor": 4, "sunlight": 2}
    assert {full.test[0], full.test[-1]} == {"user10_indoor", "user57_dc"}


def test_the_split_of_tore_has_14_test_signers() -> None:
    split = shipped("sl-animals-tore", "S1", "S2", "S3", "S4")
    users = [int(name[4:6]) for name in split.test]
    assert users == [14, 15, 16, 17, 23, 24, 33, 34, 54, 55, 56, 57, 58, 59]
    assert len(split.train) == 45
