"""Every example in a docstring of the API works as it stands, in a folder with a dataset, a space file and two runs."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import sltune

MODULES = [f"sltune.api.{file.stem}" for file in sorted((Path(sltune.__file__).parent / "api").glob("[a-z]*.py"))]
FINDER = doctest.DocTestFinder(exclude_empty=True)
EXAMPLES = [test for name in MODULES for test in FINDER.find(import_module(name)) if test.examples]


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name.removeprefix("sltune.api."))
def test_an_example_does_what_it_says(example: doctest.DocTest) -> None:
    example.globs = {}
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=said.append)
    assert not said, "".join(said)


def test_every_function_that_is_offered_has_an_example() -> None:
    shown = {example.name.split(".")[-1] for example in EXAMPLES}
    assert {name for name in sltune.__all__ if name[0].islower()} - shown == {"errors", "load_records"}
