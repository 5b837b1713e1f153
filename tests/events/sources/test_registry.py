"""What --source takes: each kind, what goes with it, and what is said of everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sltune.errors import DataError, UsageError
from sltune.events.source import Source
from sltune.events.sources import registry
from sltune.events.sources.registry import KINDS, ImportOptions, SourceKind, open_source, source_help
from tests import small
from tests.events.conftest import refused

HERE = Path("here")


@pytest.mark.parametrize(
    ("kind", "place", "flags", "parts"),
    [
        ("mars", HERE, {}, ("slanimals, table, folders, nmnist-folder, tonic:NAME or FILE.py:NAME", "'mars'")),
        ("tonic", HERE, {}, ("tonic:NAME", "'tonic'")),
        ("slanimals:x", HERE, {}, ("tonic:NAME", "'slanimals:x'")),
        ("slanimals", HERE, {"root": HERE}, ("--root", "--source table or tonic:NAME only", "slanimals")),
        (
            "nmnist-folder",
            HERE,
            {"group_by": "users"},
            ("--group-by", "table or folders or tonic:NAME only", "nmnist"),
        ),
        ("slanimals", None, {}, ("--source slanimals needs SRC",)),
        ("tonic:DVSGesture", None, {}, ("--source tonic:DVSGesture needs --root DIR",)),
        ("table", None, {"root": HERE}, ("--source table needs SRC, the CSV or Parquet file",)),
        ("tonic:NMNIST", HERE, {"sensor": "34x34"}, ("--sensor goes with --source table or folders only",)),
    ],
)
def test_what_does_not_go_together_is_refused(
    kind: str, place: Path | None, flags: dict[str, Any], parts: tuple[str, ...]
) -> None:
    with refused(UsageError, *parts):
        open_source(ImportOptions(kind, **flags), place)


@pytest.mark.parametrize("kind", ["slanimals", "nmnist-folder", "tonic:NMNIST"])
def test_every_kind_looks_at_the_place(kind: str, tmp_path: Path) -> None:
    with refused(DataError, tmp_path):
        open_source(ImportOptions(kind), tmp_path)


def test_a_kind_that_is_entered_is_opened_and_stands_in_the_help(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_shelf(name: str, place: Path, options: ImportOptions) -> Source:
        assert (name, place, options.group_by) == ("gestures", HERE, "signer")
        return small.source()

    kind = SourceKind(open_shelf, "shelf:NAME", "films on a shelf", flags=("--group-by",))
    monkeypatch.setattr(registry, "KINDS", {**KINDS, "shelf": kind})
    assert open_source(ImportOptions("shelf:gestures", group_by="signer"), HERE).name == "two sides"
    assert source_help().endswith(", shelf:NAME (films on a shelf) or FILE.py:NAME (a reader of yours).")
