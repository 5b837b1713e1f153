"""The notebook in examples/ runs from its first cell to its last, in a kernel; minutes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def shown(cell: Any, kind: str) -> str:
    """Return what a cell shows, of one MIME type."""
    return "".join(str(output["data"].get(kind, "")) for output in cell["outputs"] if "data" in output)


def test_the_notebook_runs_and_shows_boards_tables_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat, client = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    # Tests' own Ray has set them, and the kernel would take them for its own.
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    by_call = {cell["source"].splitlines()[-1]: cell for cell in cells}
    assert "SYNTHETIC" in shown(by_call["dataset"], "text/html")
    assert "data:image/png;base64," in shown(by_call["sample"], "text/html")
    board, table = (shown(by_call["run"], kind) for kind in ("text/html", "text/plain"))
    assert "4 done" in board
    assert "<table>" in board
    assert "test" in table
    assert "<iframe srcdoc=" in shown(by_call["confirmed.show()"], "text/html")
