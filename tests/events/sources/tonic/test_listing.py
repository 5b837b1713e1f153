"""Names of classes, and datasets that list none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sltune.errors import DataError, UsageError
from sltune.events.sources.tonic.listing import Target, list_part, name_classes
from tests.events.conftest import refused


@pytest.mark.parametrize(
    ("declared", "targets", "expected"),
    [
        pytest.param(["cl", "he"], [1, 0, 1], (("cl", "he"), [1, 0, 1], True), id="indices"),
        pytest.param({"bird": 1, "cat": 0}, [1, 0], (("cat", "bird"), [1, 0], True), id="a mapping"),
        pytest.param(["b", "a", "c"], ["a", "c"], (("b", "a", "c"), [1, 2], True), id="names"),
        pytest.param(None, ["b", "a", "b"], (("a", "b"), [1, 0, 1], False), id="names alone"),
        pytest.param(None, [10, 9, 10], (("9", "10"), [1, 0, 1], False), id="numbers alone, by their size"),
        pytest.param(["x", "y"], [1, 2], (("1", "2"), [0, 1], False), id="a target beyond the names"),
        pytest.param(["x", "y"], [-1, 0], (("-1", "0"), [0, 1], False), id="a target below the names"),
        pytest.param({"x": 3, "y": 7}, [7, 3], (("3", "7"), [1, 0], False), id="a mapping to no indices"),
    ],
)
def test_classes_are_the_declared_ones_where_they_fit_the_targets(
    declared: object, targets: list[Target], expected: tuple[tuple[str, ...], list[int], bool]
) -> None:
    assert name_classes(declared, targets) == expected


def test_more_classes_than_a_label_has_room_for_are_refused() -> None:
    assert len(name_classes(None, list(range(256)))[0]) == 256
    with refused(DataError, "257 classes, 0 to 256; at most 256"):
        name_classes(None, list(range(257)))


class Listed(SimpleNamespace):
    """A dataset with two samples, as far as it tells of them."""

    location_on_system = "."
    folder_name = ""

    def __len__(self) -> int:
        return 2


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (Listed(data=["a", "b"]), "it lists no class for each of its samples"),
        (Listed(data=["a", "b"], targets=[0]), "it lists no class for each of its samples"),
        (Listed(data=["a", "b"], targets=[0, {"box": 1}]), "its targets are dict, not one class a sample"),
        (Listed(data=["a", "b"], targets=[0, 0.5]), "its targets are float, not one class a sample"),
        (Listed(data=["a", ("b", "c")], targets=[0, 1]), "its samples are tuple, neither files nor arrays"),
    ],
)
def test_a_dataset_without_one_class_a_sample_is_refused(dataset: Listed, reason: str) -> None:
    with refused(UsageError, f"tonic:Listed: cannot be imported: {reason}"):
        list_part(dataset, "", Path())


def test_a_listed_sample_knows_only_itself() -> None:
    dataset = Listed(data=["root/b/1.npy", "root/a/2.npy"], targets=[np.int64(5), 4], speakers=["x", "y"], bins=[1])
    first, second = list_part(dataset, "test-", Path("root"))
    assert (first.content, first.target, first.path, first.fields) == ("root/a/2.npy", 4, "a/2.npy", {"speakers": "y"})
    assert (second.sample_id, second.folder, second.target) == ("test-root-b-1", "root/b", 5)
    assert vars(first.dataset) == {"data": [], "targets": [], "speakers": [], "bins": [1]}
    assert dataset.data == ["root/b/1.npy", "root/a/2.npy"]
