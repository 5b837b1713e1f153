"""How Sphinx builds the site: `make docs`. Its pages are the Markdown files that code hosts show, too."""

from __future__ import annotations

import json
from pathlib import Path

from sltune import __version__

ROOT = Path(__file__).parents[1]

project, author, release = "sltune", "the sltune authors", __version__
copyright = "the sltune authors, GPL-3.0-or-later"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "sphinx_copybutton"]
# The whole tree is the source, so that links between the folders lead to pages.
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/reference/*.md",
    "deploy/*.md",
    "examples/README.md",
    "data/README.md",
    "benchmarks/results/*.md",
    "sltune/snn/cpu/README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
# A link to a folder or a file of code stays a link to the file; pages and headings that are missing are errors.
suppress_warnings = ["myst.header", "myst.strikethrough"]
nitpicky = False
autodoc_typehints = "description"
autodoc_member_order = "alphabetical"
autodoc_mock_imports: list[str] = []
html_theme = "furo"
html_title = f"sltune {release}"
html_show_sphinx = False
# No page asks another host for anything, neither when it is built nor when it is read.
html_theme_options = {"sidebar_hide_name": False}
copybutton_prompt_text = "$ "


def write_schemas(folder: Path) -> None:
    """Write the JSON schemas of what run folders hold, from the classes that check it."""
    from sltune.runs.info import RunInfo
    from sltune.runs.record import Record

    folder.mkdir(parents=True, exist_ok=True)
    for name, kind in (("record", Record), ("run", RunInfo)):
        text = json.dumps(kind.model_json_schema(), indent=1, sort_keys=True)
        (folder / f"{name}.schema.json").write_text(f"{text}\n", encoding="utf-8")


write_schemas(Path(__file__).parent / "reference" / "schemas")
