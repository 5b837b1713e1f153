"""The code of docs/python.md does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_blocks_of_the_page_can_be_run_one_after_the_other(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {}
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)):
        exec(compile(block, f"block {number} of {PAGE.name}", "exec"), names)
    said = capsys.readouterr().out
    assert "48 left user00 S3\n" in said
    assert "torch.Size([10, 2, 16, 16])\n" in said
    assert "results/first: this run exists" in said
