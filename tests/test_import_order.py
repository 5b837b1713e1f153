"""Imports point one way, so that the tree reads in the order in which data flows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sltune"
# A module may import its own level and those below it, never those above or beside.
LEVELS = [
    {"cli", "cli_data", "cli_report", "cli_runs", "demo", "importer", "options", "options_data"},
    {"report", "tuning"},
    {"training"},
    {"snn", "events"},
    {"standings"},
    {"space", "convert", "search", "distributions"},
    {"domains", "news"},
    {"record", "run_info", "epochs", "confirmation"},
    {"config"},
    {"schema", "augmentations", "files", "locks", "board", "metrics", "places"},
    {"errors", "attendant", "limits", "streams", "wording"},
]
FORBIDDEN = {
    "events": {"torch", "ray", "optuna"},
    "snn": {"ray", "optuna", "tonic", "pydantic"},
    "training": {"ray", "optuna", "tonic", "pydantic"},
    "report": {"torch", "ray"},
}
BESIDE = [("report", "tuning"), ("snn", "events")]


def level(part: str) -> int:
    return next(index for index, parts in enumerate(LEVELS) if part in parts)


def imports(file: Path) -> Iterator[str]:
    """Give every module that a file imports, those within functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert node.module is not None
            yield node.module


MODULES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_only_its_own_level_and_those_below(file: Path) -> None:
    part = part_of(file)
    for name in imports(file):
        top, *rest = name.split(".")
        assert top not in FORBIDDEN.get(part, set()), f"{part} must not import {top}"
        if top == "sltune" and rest and rest[0] != part:
            assert level(rest[0]) >= level(part), f"{file} imports {name}, which lies above it"
            assert not any({part, rest[0]} == set(pair) for pair in BESIDE), f"{file} imports {name}, beside it"


def test_only_tuning_imports_ray_and_only_tonic_source_imports_tonic() -> None:
    users = {
        library: {
            str(file.relative_to(PACKAGE)) for file in MODULES if library in (i.split(".")[0] for i in imports(file))
        }
        for library in ("ray", "tonic")
    }
    assert all(user.startswith("tuning/") for user in users["ray"])
    assert users["tonic"] == {"events/tonic_source.py"}


def test_packages_are_empty_at_their_own_level() -> None:
    assert all(not file.read_text() for file in PACKAGE.glob("*/__init__.py"))


def test_only_files_of_weights_are_unpickled_and_only_by_torch_under_guard() -> None:
    unpicklers = {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}
    assert [file.name for file in MODULES if unpicklers & set(imports(file))] == ["weights.py"]
    calls = [
        (file.name, ast.unparse(node))
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("torch.load", "np.load", "pickle.load", "pickle.loads", "pd.read_pickle")
    ]
    assert [name for name, _ in calls] == ["weights.py"]
    assert all("weights_only=True" in call for _, call in calls)
