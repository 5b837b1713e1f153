"""Imports point one way, from folder to folder, so that the tree reads in the order in which data flows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sltune"
# A folder may import those that follow it, never those before it.
FOLDERS = [
    "cli",
    "cli.options",
    "submission",
    "api",
    "tuning",
    "tuning.execution",
    "tuning.doctor",
    "tuning.cluster",
    "tuning.campaign",
    "tuning.final",
    "tuning.trial",
    "progress",
    "report.publishing",
    "report",
    "report.plots",
    "report.writing",
    "report.tables",
    "report.analysis",
    "report.inference",
    "training.checks",
    "training",
    "events.views",
    "events.splits",
    "events.synthetic",
    "events.sources",
    "events.sources.slanimals",
    "events.sources.tonic",
    "events.listing",
    "events",
    "events.augmentations",
    "events.formats",
    "events.formats.decoders",
    "runs.health",
    "runs",
    "settings",
    "extensions",
    "export",
    "snn",
    "snn.cpu",
    "snn.cuda",
    "snn.neurons",
    "system",
    "errors",
    "wording",
]
# Neither of two may import the other, wherever they stand above.
APART = [("report", "tuning"), ("report", "training"), ("snn", "events"), ("snn.cpu", "snn.cuda")]
# Libraries that a folder must do without, where other processes or machines lack them or start faster so.
FORBIDDEN = {
    "events": {"torch", "ray", "optuna"},
    "snn": {"ray", "optuna", "tonic", "pydantic"},
    "training": {"ray", "optuna", "tonic", "pydantic"},
    "report": {"torch", "ray"},
    "runs": {"torch", "ray", "optuna"},
    "tuning.campaign": {"ray"},
    "tuning.trial": {"ray"},
    "tuning.final": {"ray", "optuna"},
}
MODULES = sorted(file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE or file.stem in FOLDERS)


def folder_of(module: str) -> str:
    """Return the folder of a dotted name below sltune; of a name in a module, that of the module."""
    parts = module.split(".")
    folders = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next(folder for folder in folders if folder in FOLDERS)


def within(folder: str, other: str) -> bool:
    return f"{folder}.".startswith(f"{other}.")


def imports(file: Path) -> Iterator[str]:
    """Give every name that a file imports, those within functions too: ``sltune.runs.record.Record``."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_only_its_own_folder_and_those_that_follow(file: Path) -> None:
    place = file.relative_to(PACKAGE).with_suffix("")
    folder = folder_of(".".join(place.parts))
    forbidden = set[str]().union(*(libraries for name, libraries in FORBIDDEN.items() if within(folder, name)))
    for name in imports(file):
        top, _, rest = name.partition(".")
        assert top not in forbidden, f"{folder} must not import {top}"
        if top == "sltune" and rest != "__version__":
            other = folder_of(rest)
            assert FOLDERS.index(other) >= FOLDERS.index(folder), f"{file} imports {name}, which lies above it"
            for pair in APART:
                one = [side for side in pair if within(folder, side)]
                two = [side for side in pair if within(other, side)]
                assert not one or not two or one == two, f"{file} imports {name}, beside it"


def test_folders_have_room() -> None:
    """Somebody who looks for a thing should see at once where it may lie."""
    for folder in {PACKAGE, *(file.parent for file in MODULES)}:
        modules = [file.name for file in folder.glob("*.py") if not file.name.startswith("__")]
        most = 3 if folder == PACKAGE else 12
        assert len(modules) <= most, f"{folder}: {modules}"


def test_only_tuning_imports_ray_and_only_one_module_imports_tonic() -> None:
    users = {
        library: {
            str(file.relative_to(PACKAGE)) for file in MODULES if library in (i.split(".")[0] for i in imports(file))
        }
        for library in ("ray", "tonic")
    }
    assert all(user.startswith("tuning/") for user in users["ray"])
    assert users["tonic"] == {"events/sources/tonic/source.py"}


def test_only_files_of_weights_are_unpickled_and_only_by_torch_under_guard() -> None:
    unpicklers = {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}
    assert [file.name for file in MODULES if unpicklers & {i.split(".")[0] for i in imports(file)}] == ["weights.py"]
    calls = [
        (file.name, ast.unparse(node))
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("torch.load", "np.load", "pickle.load", "pickle.loads", "pd.read_pickle")
    ]
    assert [name for name, _ in calls] == ["weights.py"]
    assert all("weights_only=True" in call for _, call in calls)


def test_every_folder_is_described_where_one_looks_for_it() -> None:
    documentation = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    for folder in FOLDERS:
        file = PACKAGE / folder.replace(".", "/") / "__init__.py"
        if file.exists():
            line = ast.get_docstring(ast.parse(file.read_text()))
            assert f"| `{folder.replace('.', '/')}/` | {line} |" in documentation


def test_modules_and_functions_can_be_read_at_one_go() -> None:
    """A kernel is one loop over time, and its steps share too much to be cut."""
    long = []
    for file in PACKAGE.rglob("*.py"):
        name, text = str(file.relative_to(PACKAGE)), file.read_text()
        if len(text.splitlines()) > 300:
            long.append(name)
        if file.stem.startswith("kernels") or file.parent.name == "kernels":
            continue
        long += [
            f"{name}: {node.name}"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None
            if node.end_lineno - node.lineno >= 45
        ]
    assert long == []
