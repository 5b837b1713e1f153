"""What is cited: sltune in this version, and every method that its reports name."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from click.testing import CliRunner

from sltune import __version__
from sltune.cli.main import main
from sltune.report.writing.references import REFERENCES

ROOT = Path(__file__).parents[2]


def test_the_entries_are_those_of_sltune_and_of_all_methods() -> None:
    said = CliRunner().invoke(main, ["cite"]).stdout
    keys = re.findall(r"^@(?:misc|article|inproceedings)\{([\w-]+),$", said, re.MULTILINE)
    assert keys == ["sltune", *REFERENCES]
    assert f"note = {{Version {__version__}}}" in said
    # Every brace is closed.
    assert said.count("{") == said.count("}")


def test_the_citation_file_is_that_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == __version__
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert cited["title"] in CliRunner().invoke(main, ["cite"]).stdout.replace("{{", "").replace("}}", "")
