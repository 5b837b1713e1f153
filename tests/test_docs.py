"""What the documentation names is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sltune.cli.main import main

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


def test_the_site_lists_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    listed = set(re.findall(r"^(?:.*<)?([\w./-]+)>?$", index, re.MULTILINE))
    for folder, prefix in (("docs", ""), ("docs/reference", "reference/"), ("deploy", "../deploy/")):
        for page in (ROOT / folder).glob("*.md"):
            assert page.stem == "index" or f"{prefix}{page.stem}" in listed, page


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links, as code hosts do it."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", head.strip().lower())).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        other = page.parent / target if target else page
        if other.suffix == ".md":
            assert anchor in anchors(other), f"{target}#{anchor}"


def commands(page: Path) -> list[list[str]]:
    """Return the sltune commands in a page's blocks of code, and in README's tables, without comments and shell."""
    found, text = [], page.read_text()
    blocks = re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if page == ROOT / "README.md":
        blocks += re.findall(r"`(sltune [^`]+)`", text)
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(("sltune ", "$ sltune ")):
                # What follows in two columns, and what a shell does with the output.
                words = re.split(r"\s{2,}\S|\s[|>]\s|\s#\s", line.removeprefix("$ "))[0]
                found.append(shlex.split(words)[1:])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_verbs_options_and_arguments_that_there_are(page: Path) -> None:
    for words in commands(page):
        verb, *rest = words
        command = main.commands.get(verb)
        assert command is not None, words
        given = [word for word in rest if word not in ("…", "...")]
        if "--help" in given or not given:
            continue
        with command.make_context(verb, given, resilient_parsing=False) as context:
            assert context.params is not None
