"""Laws that every split keeps, independent implementations by scikit-learn, and draws that no machine may change."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold, train_test_split

from sltune.errors import ConfigError, DataError
from sltune.events.samples import RecordingInfo
from sltune.events.splits.lists import Lists, parse_lists
from sltune.events.splits.parts import Split
from sltune.events.splits.split import bound, left_out, split_of
from sltune.settings.configuration import Configuration
from sltune.settings.space import Space, parse_space
from tests.parity.test_folds import ALL, recordings_of

PROTOCOLS = ["train-val-test", "train-test"]


def recording(subject: int, number: int, labels: Sequence[int], split: str = "") -> RecordingInfo:
    name = f"rec{subject:02d}-{number}"
    samples = tuple(f"{name}-{place}" for place in range(len(labels)))
    return RecordingInfo(name, f"subject{subject:02d}", "", split, tuple(labels), samples)


@st.composite
def datasets(draw: st.DrawFn) -> list[RecordingInfo]:
    """Draw 4 to 12 subjects with 1 to 3 recordings of 1 to 4 samples, each subject in an official part or in none."""
    recordings = []
    for subject in range(draw(st.integers(4, 12))):
        part = draw(st.sampled_from(["train", "train", "val", "test", ""]))
        for number in range(draw(st.integers(1, 3))):
            labels = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
            recordings.append(recording(subject, number, labels, part))
    return draw(st.permutations(recordings))


@st.composite
def lists_of(draw: st.DrawFn, recordings: Sequence[RecordingInfo]) -> Lists:
    """Draw lists in which every subject is in one part or in none, named by recordings, subjects or samples."""
    subjects = sorted({one.subject for one in recordings})
    texts = {}
    for number in range(1, draw(st.integers(1, 3)) + 1):
        parts: dict[str, list[str]] = {"train": [], "val": [], "test": [], "": []}
        for subject in subjects:
            own = [one for one in recordings if one.subject == subject]
            names = {
                "subject": [subject],
                "recordings": [one.name for one in own],
                "samples": [sample for one in own for sample in one.sample_ids],
            }
            part = draw(st.sampled_from(["train", "train", "val", "test", ""]))
            parts[part] += names[draw(st.sampled_from([*names]))]
        for part in ("train", "test", *(["val"] if parts["val"] else [])):
            names_of_part = parts["train"] + parts["val"] if part == "train" else parts[part]
            texts[f"{part}list{number}.txt"] = "# made up\n\n" + "".join(f" {name}\r\n" for name in names_of_part)
    return parse_lists(Path("lists"), texts)


def splits_of(space: Space, recordings: Sequence[RecordingInfo], seed: int, lists: Lists | None) -> list[Split]:
    configuration = space.configuration()
    folds = range(configuration.evaluation.folds)
    return [split_of(configuration, recordings, fold, seed, lists=lists) for fold in folds]


def check_law(space: Space, recordings: Sequence[RecordingInfo], seed: int, lists: Lists | None = None) -> None:
    """No subject is in two parts, and every recording is in one part or said to be left out."""
    subject = {one.name: one.subject for one in recordings}
    tested: list[str] = []
    missing: set[str] = set()
    for split in splits_of(space, recordings, seed, lists):
        names = [*split.train, *split.val, *split.test]
        parts = [{subject[name] for name in part} for part in (split.train, split.val, split.test)]
        assert len(names) == len(set(names))
        assert sum(map(len, parts)) == len(set.union(*parts)), "a subject is in two parts"
        assert split.train
        assert split.test
        assert bool(split.val) == (space.evaluation.protocol == "train-val-test")
        tested += split.test
        missing |= subject.keys() - set(names)
    said = " ".join(left_out(space.configuration(), recordings, lists))
    assert bool(missing) == bool(said)
    if len(missing) <= 5:
        assert all(name in said for name in missing)
    if space.evaluation.split not in ("official", "list"):
        assert sorted(tested) == sorted(subject), "each recording is tested in one fold"
    assert splits_of(space, recordings, seed, lists) == splits_of(space, recordings, seed, lists)


KINDS = ["folds", "stratified", "official", "leave-one-subject-out", "list"]
given_anything = given(
    recordings=datasets(), seed=st.integers(0, 2**31), protocol=st.sampled_from(PROTOCOLS), data=st.data()
)


@given_anything
@settings(max_examples=10)
@pytest.mark.parametrize("kind", KINDS)
def test_no_subject_is_in_two_parts_and_nobody_is_lost(
    kind: str, recordings: list[RecordingInfo], seed: int, protocol: str, data: st.DataObject
) -> None:
    check_any(kind, recordings, seed, protocol, data)


@given_anything
@settings(max_examples=300)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_no_subject_is_in_two_parts_of_many_datasets(
    kind: str, recordings: list[RecordingInfo], seed: int, protocol: str, data: st.DataObject
) -> None:
    check_any(kind, recordings, seed, protocol, data)


def check_any(kind: str, recordings: list[RecordingInfo], seed: int, protocol: str, data: st.DataObject) -> None:
    lists = data.draw(lists_of(recordings)) if kind == "list" else None
    more = "\nsplit_lists = 'lists'" if lists else ""
    folds = {"folds": "\nfolds = 3", "stratified": "\nfolds = 2"}.get(kind, "")
    text = f"[evaluation]\nprotocol = '{protocol}'\nsplit = '{kind}'{folds}{more}"
    space = parse_space(text, "space")
    try:
        if lists is not None:
            # The folder is not there.
            space = Space({**space.settings, "evaluation.folds": len(lists.folds)})
        else:
            space = bound(space, recordings)
        splits_of(space, recordings, seed, lists)
    except DataError:
        # An empty part, or too few subjects: refused, which the tests below look at.
        assume(False)
    check_law(space, recordings, seed, lists)


def evaluation(**values: object) -> Configuration:
    return Configuration.of({f"evaluation.{name}": value for name, value in values.items()})  # type: ignore[misc]


def labelled(sessions: Sequence[str] = ALL) -> list[RecordingInfo]:
    """The recordings of SL-Animals-DVS, each with its 19 samples; some lack their last classes."""
    return [
        RecordingInfo(one.name, one.subject, one.session, "", tuple(range(19 - place % 4)))
        for place, one in enumerate(recordings_of(sessions))
    ]


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("folds", [2, 4, 7])
def test_stratified_folds_are_scikit_learns_over_samples_grouped_by_subject(folds: int, seed: int) -> None:
    recordings = labelled()
    labels = np.array([label for one in recordings for label in one.labels])
    groups = np.array([one.subject for one in recordings for _ in one.labels])
    expected = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(groups, labels, groups)
    configuration = evaluation(split="stratified", folds=folds, protocol="train-test")
    for fold, (train, test) in enumerate(expected):
        split = split_of(configuration, recordings, fold, seed)
        assert {name[:6] for name in split.test} == set(groups[test])
        assert {name[:6] for name in split.train} == set(groups[train])
        assert list(split.test) == sorted(split.test), "in file order"


def test_leave_one_subject_out_is_scikit_learns_with_a_validation_part_of_the_others() -> None:
    recordings = labelled()
    groups = [one.subject for one in recordings]
    expected = list(LeaveOneGroupOut().split(groups, groups=groups))
    space = bound(parse_space("evaluation.split = 'leave-one-subject-out'", "space"), recordings)
    assert space.evaluation.folds == len(expected) == 59
    for fold, (others, (tested,)) in enumerate(expected):
        split = split_of(space.configuration(), recordings, fold, 3)
        names = [recordings[place].name for place in others]
        train, val = train_test_split(names, test_size=0.15, random_state=4)
        assert split == Split(tuple(train), tuple(val), (recordings[tested].name,))
        assert split.validation == "subject"


def digest(splits: Sequence[Split]) -> str:
    parts = [[split.train, split.val, split.test] for split in splits]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("folds", "e401e0328398647d"),
        ("stratified", "88755515db4110ea"),
        ("leave-one-subject-out", "466d406741a3c1fc"),
        ("official", "95d1030b5a84c5d6"),
    ],
)
def test_the_same_seed_gives_the_same_split_on_every_machine(kind: str, expected: str) -> None:
    """Written down once, with scikit-learn 1.9.1 on Linux: other versions and machines must draw the same."""
    recordings = [
        RecordingInfo(one.name, one.subject, one.session, "test" if place % 4 == 0 else "train", one.labels)
        for place, one in enumerate(labelled())
    ]
    space = bound(parse_space(f"evaluation.split = '{kind}'", "space"), recordings)
    assert digest(splits_of(space, recordings, 0, None)) == expected


def test_plain_folds_of_sl_animals_are_those_of_every_version() -> None:
    split = split_of(evaluation(), recordings_of(ALL), 0, 0)
    assert " ".join(split.test) == (
        "user02_indoor user05_indoor user11_indoor user12_indoor user23_sunlight user27_imse user29_imse user31_imse "
        "user34_imse user35_dc user36_dc user41_dc user42_dc user44_dc user47_dc"
    )
    assert split.validation == ""


def official(*parts: tuple[int, str]) -> list[RecordingInfo]:
    return [recording(subject, number, [0, 1], part) for number, (subject, part) in enumerate(parts)]


MANY = official(*((subject, "train") for subject in range(8)), (8, "test"), (9, "test"))


def test_official_parts_are_one_fold_whose_validation_part_is_drawn_from_the_training_part() -> None:
    split = split_of(evaluation(split="official", folds=1), MANY, 0, 0)
    names = [one.name for one in MANY]
    train, val = train_test_split(names[:8], test_size=0.15, random_state=1)
    assert split == Split(tuple(train), tuple(val), tuple(names[8:]))
    assert split.validation == "subject"
    whole = split_of(evaluation(split="official", folds=1, protocol="train-test"), MANY, 0, 0)
    assert whole == Split(tuple(names[:8]), (), tuple(names[8:]))
    assert bound(parse_space("evaluation.split = 'official'", "space"), MANY).evaluation.folds == 1


def test_an_official_validation_part_is_taken_as_it_is_and_trains_where_nothing_validates() -> None:
    recordings = official((0, "train"), (1, "val"), (2, "test"))
    names = [one.name for one in recordings]
    split = split_of(evaluation(split="official", folds=1), recordings, 0, 0)
    assert split == Split((names[0],), (names[1],), (names[2],))
    assert split.validation == "given"
    whole = split_of(evaluation(split="official", folds=1, protocol="train-test"), recordings, 0, 0)
    assert whole == Split((names[0], names[1]), (), (names[2],))


def test_without_subjects_validation_is_drawn_by_sample_or_recording_and_says_so() -> None:
    digits = [RecordingInfo(f"d{n}", f"d{n}", "", "train" if n < 8 else "test", (n,), (f"d{n}",)) for n in range(10)]
    assert split_of(evaluation(split="official", folds=1), digits, 0, 0).validation == "sample"
    files = [RecordingInfo(one.name, one.name, "", one.split, (0, 1), ("a", "b")) for one in digits]
    assert split_of(evaluation(split="official", folds=1), files, 0, 0).validation == "recording"
    large = [
        RecordingInfo(f"{one.name}-{n}", one.name, "", one.split, (0, 1), ("c", "d")) for one in files for n in "23"
    ]
    assert split_of(evaluation(split="official", folds=1), [*files, *large], 0, 0).validation == "recording"


@pytest.mark.parametrize(
    ("recordings", "said"),
    [
        (official((0, "train"), (1, "")), "no recording of the dataset is in its test part; import it again"),
        (official((0, "test"), (1, "")), "no recording of the dataset is in its train part"),
        (
            official((0, "train"), (1, "train"), (1, "test")),
            r"subject subject01 is in the train and in the test part \(rec01-1 and rec01-2\); no subject .*--group-by",
        ),
        (official((0, "train"), (0, "val"), (1, "test")), "subject subject00 is in the train and in the val part"),
        (official((0, "val"), (1, "train"), (0, "test")), "subject subject00 is in the val and in the test part"),
    ],
)
def test_official_parts_that_cannot_be_are_refused_with_the_subject(recordings: list[RecordingInfo], said: str) -> None:
    with pytest.raises(DataError, match=said):
        split_of(evaluation(split="official", folds=1), recordings, 0, 0)


def test_recordings_in_no_official_part_are_named() -> None:
    recordings = [*MANY, recording(11, 0, [0]), recording(12, 0, [1])]
    said = list(left_out(evaluation(split="official", folds=1), recordings))
    assert said == ["recordings in no part of the split are left out (2): rec11-0, rec12-0"]


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("evaluation.split = 'official'\nevaluation.folds = 4", ConfigError, "evaluation.folds = 4: .* has 1 here"),
        (
            "evaluation.split = 'leave-one-subject-out'\nevaluation.folds = 9",
            ConfigError,
            'evaluation.split = "leave-one-subject-out" has 10 here; leave folds out, or set 0',
        ),
        (
            "evaluation.split = 'leave-one-subject-out'\nneuron.decay = { low = 0.1, high = 0.2 }\n"
            "search.trainings = 8",
            ConfigError,
            "search.trainings = 8: one configuration alone takes 10",
        ),
    ],
)
def test_a_number_of_folds_that_a_split_does_not_have_is_refused(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        bound(parse_space(text, "space"), MANY)


def test_more_folds_than_may_be_are_refused() -> None:
    many = [RecordingInfo(str(number), str(number), "") for number in range(1001)]
    with pytest.raises(DataError, match="the dataset has 1,001 subjects; at most 1000 folds are possible"):
        bound(parse_space("evaluation.split = 'leave-one-subject-out'", "space"), many)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("evaluation.folds = 0", "a cross-validation takes at least 2 folds"),
        ("evaluation.split = 'stratified'\nevaluation.folds = 1", "a cross-validation takes at least 2 folds"),
        ("evaluation.split = 'list'", "name their folder in split_lists"),
        ("evaluation.split_lists = 'x'", 'go with split = "list"'),
    ],
)
def test_settings_of_a_split_that_do_not_go_together_are_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_space(text, "space")


@pytest.mark.parametrize(
    ("recordings", "folds", "said"),
    [
        (MANY[:3], 4, "4 folds need at least 4 subjects, but the dataset has 3"),
        ([recording(n, 0, [n]) for n in range(6)], 4, "need a class of 4 samples; the largest has 1"),
    ],
)
def test_too_few_subjects_or_samples_for_stratified_folds_are_refused(
    recordings: list[RecordingInfo], folds: int, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        split_of(evaluation(split="stratified", folds=folds), recordings, 0, 0)


def test_spaces_and_records_without_a_split_stay_as_they_were() -> None:
    assert "split = " not in parse_space("", "space").to_toml()
    assert not {"split", "split_lists"} & Configuration().model_dump(mode="json")["evaluation"].keys()
    space = parse_space("evaluation.split = 'leave-one-subject-out'", "space")
    assert parse_space(space.to_toml(), "space") == space
    assert space.evaluation.folds == 0
