"""Groups of samples that folds keep together."""

from __future__ import annotations

import pytest

from sltune.errors import UsageError
from sltune.events.listing.grouping import group
from sltune.events.sources.tonic.listing import Entry
from tests.events.conftest import refused


def entry(path: str, **fields: object) -> Entry:
    name = path.removesuffix(".npy").replace("/", "-")
    return Entry(None, path, 0, name, path, path.rpartition("/")[0], fields)


FILES = [
    entry("user02_lab/0.npy", users=2, lighting="lab"),
    entry("user02_led/1.npy", users=2, lighting="led"),
    entry("user11_lab/0.npy", users=11, lighting="lab"),
    entry("user11_led/1.npy", users=11, lighting="led"),
]
LABELS = [0, 1, 1, 0]
OFFER = "the dataset offers users, lighting, folder, path:REGEX, sample"


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        (None, ["user02", "user02", "user11", "user11"]),
        ("users", ["user02", "user02", "user11", "user11"]),
        ("lighting", ["lab", "led", "lab", "led"]),
        ("sample", ["user02_lab-0", "user02_led-1", "user11_lab-0", "user11_led-1"]),
        ("folder", ["user02_lab", "user02_led", "user11_lab", "user11_led"]),
        (r"path:user(\d+)", ["02", "02", "11", "11"]),
        ("path:_(l[a-z]+)/", ["lab", "led", "lab", "led"]),
    ],
)
def test_samples_are_grouped_by_what_the_dataset_or_the_path_says(group_by: str | None, expected: list[str]) -> None:
    assert group(FILES, LABELS, group_by) == (expected, [])


def test_without_users_each_sample_is_alone() -> None:
    files = [entry("a/1.npy"), entry("b/1.npy")]
    assert group(files, [0, 1], None) == (["a-1", "b-1"], [])


@pytest.mark.parametrize(
    ("group_by", "parts"),
    [
        ("user", ["there is no such field", 'did you mean "users"?', OFFER]),
        ("targets", ["holds the classes", OFFER]),
        ("label", ["holds the classes", OFFER]),
        ("path:user[", ["is not a regular expression", "unterminated"]),
        ("path:user", ["has no group in parentheses", "the first path is user02_lab/0.npy"]),
        ("path:user1(.)", ["does not match user02_lab/0.npy"]),
        ("path:user02|(user11)", ["does not match user02_lab/0.npy"]),
    ],
)
def test_what_tells_no_group_is_refused_with_what_would(group_by: str, parts: list[str]) -> None:
    with refused(UsageError, f"--group-by {group_by}: ", *parts):
        group(FILES, LABELS, group_by)


def test_without_the_field_that_is_named_nobody_is_grouped_by_another() -> None:
    with refused(UsageError, "--group-by users: there is no such field", "the dataset offers folder, "):
        group([entry("a/1.npy"), entry("b/1.npy")], [0, 1], "users")
    with refused(UsageError, "--group-by users: there is no such field"):
        group([entry("a/1.npy", subject="x"), entry("b/1.npy", subject="y")], [0, 1], "users", "subject")


def test_a_field_that_some_samples_lack_is_named_with_one_of_these() -> None:
    with refused(
        UsageError, "--group-by light: sample b-1 has none; fill it in for every sample", "the dataset offers"
    ):
        group([entry("a/1.npy", light="led"), entry("b/1.npy")], [0, 1], "light")


def test_paths_are_not_offered_where_there_are_none() -> None:
    arrays = [Entry(None, None, 0, name, "", "", {}) for name in "ab"]
    for field, reason in (("folder", "no files of their own"), ("path:(.)", "no files of their own"), ("x", "no such")):
        with refused(UsageError, reason, "the dataset offers sample"):
            group(arrays, [0, 1], field)


def test_groups_that_are_the_classes_are_refused() -> None:
    with refused(UsageError, "--group-by lighting: each group is one class", OFFER):
        group(FILES, [0, 1, 0, 1], "lighting")


def test_a_class_that_lies_in_one_group_only_is_named() -> None:
    assert group(FILES, [0, 2, 1, 1], "lighting") == (["lab", "led", "lab", "led"], [0, 2])
    assert group(FILES, [0, 0, 1, 1], None) == (["user02", "user02", "user11", "user11"], [0, 1])
