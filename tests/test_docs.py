"""What the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "deploy").glob("*.md")),
    ROOT / "examples" / "README.md",
]
FILES = [
    f"/{file.relative_to(ROOT)}"
    for top in ("sltune", "tests", "benchmarks", "examples")
    for file in (ROOT / top).rglob("*.py")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`([\w/.]+\.py)\b", page.read_text())
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in FILES)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_way_from_a_space_file_to_a_record_is_short() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    walk = page[page.index("**A space file to a record.**") : page.index("These change or decide something.")]
    steps = re.findall(r"^(\d+)\. `", walk, re.MULTILINE)
    assert [int(step) for step in steps] == list(range(1, len(steps) + 1))
    assert 10 <= len(steps) <= 15
