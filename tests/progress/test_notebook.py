"""What a notebook shows of a call, in a stand-in for IPython."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from sltune.progress.board import Board, Line, TrialCell
from sltune.progress.notebook import display_for_call, in_notebook

BOARD = Board("a<b", ((0, 0),), "val", False, (Line("c0000", (TrialCell("done", 3, 3, 0.5),)),), 1, {"done": 1})


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the cell has shown at one time after the other."""
    shown: list[str] = []

    def display(picture: str, display_id: bool) -> Any:
        shown.append(picture)
        return SimpleNamespace(update=shown.append)

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))  # type: ignore[arg-type]
    return shown


def test_a_board_stands_below_the_cell_and_is_drawn_anew(drawn: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    display = display_for_call(progress=True)
    with display.boards([lambda lines: BOARD]):
        display.say("a [word] of :cat:")
    assert len(drawn) >= 2
    assert drawn[0].startswith("<pre")
    assert "a&lt;b" in drawn[-1]
    assert "50.0" in drawn[-1]
    assert capsys.readouterr() == ("a [word] of :cat:\n", "")


def test_what_is_no_notebook_is_told_from_one(drawn: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=SimpleNamespace))  # type: ignore[arg-type]
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_the_last_board_is_shown_where_a_call_is_stopped(drawn: list[str]) -> None:
    with suppress(KeyboardInterrupt), display_for_call(progress=True).boards([lambda lines: BOARD]):
        drawn.clear()
        raise KeyboardInterrupt
    assert drawn != []
