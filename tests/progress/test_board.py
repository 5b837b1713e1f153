"""The board as text: every cell by hand, and no line wider or more lines than the terminal has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sltune.progress.board import ASCII_SYMBOLS, STATES, STYLES, SYMBOLS, Board, Line, TrialCell, render

FOLDS = tuple((0, fold) for fold in range(4))
CELLS = (
    TrialCell("done", accuracy=0.875, test=0.7),
    TrialCell("running", 12, 400, 0.5),
    TrialCell("running", 0, 400),
    TrialCell(),
    TrialCell("pruned"),
    TrialCell("failed"),
    TrialCell("diverged"),
    TrialCell("unfinished", 3, 400, 0.25),
)


def board(cells: tuple[TrialCell, ...] = CELLS[:4], **more: object) -> Board:
    counts = {state: sum(cell.state == state for cell in cells) for state in STATES}
    steps = tuple((place // 4, place % 4) for place in range(len(cells)))
    plain = Board("run", steps, "val", False, (Line("c0000", cells),), 1, counts)
    return replace(plain, **more)  # type: ignore[arg-type]


def lines(board: Board, width: int = 80, height: int = 23, ascii_only: bool = False) -> list[str]:
    return render(board, width, height, ascii_only).plain.split("\n")


def test_four_folds_at_80_columns() -> None:
    # 6 for the name, 7 for the mean, and 67 // 4 = 16 for each fold.
    assert lines(board(facts=(("a", "b"), ("c",)))) == [
        "run",
        "      fold 0          fold 1          fold 2          fold 3            val %",
        "c0000 ✓ 87.5 %        ▸ 12/400  50.0  ▸ running       · waiting          87.5",
        "✓ 1 done   ▸ 2 running   · 1 waiting",
        "a · b",
        "c",
    ]


def test_all_states_have_words_where_there_is_space_and_a_symbol_where_there_is_none() -> None:
    wide = lines(board(), 120)[2] + lines(board(CELLS[4:]), 120)[2]
    for word in ("✓ 87.5 %", "▸ 12/400", "· waiting", "– pruned", "✗ failed", "∞ diverged", "‖ 3/400"):
        assert word in wide
    several = replace(board(CELLS), lines=tuple(Line(f"c{number:04d}", CELLS) for number in range(9)))
    narrow = lines(several, 6 + 7 + 8 * 3, height=12)
    # Numbers are per cent: of samples that are right, and of epochs that have ended (12 of 400 are 3).
    assert narrow[3] == "c0000 ✓88▸3  ▸  ·  –  ✗  ∞ ‖0    87.5"
    tight = lines(several, 6 + 7 + 8, height=12)
    assert tight[3] == "c0000 ✓▸▸·–✗∞‖   87.5"
    assert lines(several, 6 + 7 + 8, height=12, ascii_only=True)[3] == "c0000 +>>.-x~=   87.5"


def test_no_state_is_told_by_colour_alone() -> None:
    assert set(STATES) == set(SYMBOLS) == set(ASCII_SYMBOLS) == set(STYLES)
    assert len(set(SYMBOLS.values())) == len(set(ASCII_SYMBOLS.values())) == len(STATES)


def test_folds_and_seeds_are_columns_side_by_side_or_rows_of_seeds_by_what_fits() -> None:
    cells = tuple(TrialCell("done", accuracy=0.5 + place / 100) for place in range(20))
    one = board(cells)
    # One configuration has space for a row of each seed.
    assert lines(one)[1:4] == [
        "         fold 0          fold 1          fold 2          fold 3            val %",
        "c0000 s0 ✓ 50.0 %        ✓ 51.0 %        ✓ 52.0 %        ✓ 53.0 %           59.5",
        "      s1 ✓ 54.0 %        ✓ 55.0 %        ✓ 56.0 %        ✓ 57.0 %",
    ]
    many = replace(one, lines=tuple(Line(f"c{number:04d}", cells) for number in range(24)), begun=100)
    drawn = lines(many)
    assert drawn[1:4] == [
        "      seed 0      seed 1      seed 2      seed 3      seed 4",
        "      f0 f1 f2 f3 f0 f1 f2 f3 f0 f1 f2 f3 f0 f1 f2 f3 f0 f1 f2 f3   val %",
        "c0000 ✓50✓51✓52✓53✓54✓55✓56✓57✓58✓59✓60✓61✓62✓63✓64✓65✓66✓67✓68✓69   59.5",
    ]
    # 23 lines less title, header, the remark and the counts.
    assert drawn[3 + 18 :] == ["… and 82 more · ✓ % right · ▸ % of epochs", "✓ 20 done"]


def test_many_folds_go_on_in_a_second_row() -> None:
    cells = tuple(TrialCell("done", accuracy=0.5) for _ in range(61))
    many = replace(board(cells), steps=tuple((0, fold) for fold in range(61)), shows_test=True)
    # 80 columns less the name, the seed and two means.
    assert lines(many)[2:4] == ["c0000 s0 " + "✓" * 57 + "   50.0", "      s0 ✓✓✓✓"]


def test_test_accuracy_has_a_column_only_where_it_may_be_shown() -> None:
    assert lines(board(shows_test=True))[1].endswith("val % test %")
    assert lines(board(shows_test=True))[2].endswith("87.5   70.0")
    assert "test" not in "".join(lines(board(title="x")))
    assert "70" not in "".join(lines(board(title="x")))


def test_configurations_stand_in_the_order_of_their_numbers_and_the_best_stands_out() -> None:
    names = ("c10000", "c0002", "c0001")
    several = board(best="c0002")
    text = render(replace(several, lines=tuple(Line(name, CELLS[:4]) for name in names), begun=9), 80, 23)
    assert [line[:6] for line in text.plain.split("\n")[2:5]] == ["c0001 ", "c0002 ", "c10000"]
    assert "… and 6 more" in text.plain
    best = text.plain.index("c0002")
    assert any("bold green" in str(span.style) and span.start <= best < span.end for span in text.spans)


def test_a_long_name_keeps_both_of_its_ends() -> None:
    title = lines(board(title="begin" + "x" * 200 + "end"))[0]
    assert (len(title), title[:5], title[-3:]) == (80, "begin", "end")


@given(
    st.integers(30, 200), st.integers(8, 60), st.integers(1, 6), st.integers(1, 60), st.integers(0, 80), st.booleans()
)
def test_a_board_never_exceeds_its_terminal(
    width: int, height: int, seeds: int, folds: int, configurations: int, shows_test: bool
) -> None:
    steps = tuple((seed, fold) for seed in range(seeds) for fold in range(folds))
    cells = tuple(CELLS[place % len(CELLS)] for place in range(len(steps)))
    shown = tuple(Line(f"c{number:04d}", cells) for number in range(min(configurations, height)))
    counts = dict.fromkeys(STATES, 100_000)
    facts = (("x" * 70, "y" * 30), ("z" * 300,))
    large = Board("n" * 90, steps, "val", shows_test, shown, configurations, counts, "", facts)
    drawn = lines(large, width, height)
    assert max(map(len, drawn)) <= width
    assert len(drawn) <= height


@pytest.mark.parametrize("height", [8, 12, 23])
def test_a_row_is_there_however_low_the_terminal(height: int) -> None:
    assert any(line.startswith("c0000") for line in lines(board(facts=(("x" * 80,),) * 30), height=height))
