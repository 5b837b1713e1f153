"""Every plot becomes an SVG and a PNG that others read, always the same, without a display."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from sltune.report.all_plots import plots
from sltune.report.analysis.runs import load_runs
from sltune.report.plots.plot import DPI, Plot, pdf, png, svg, write_plots
from sltune.report.plots.style import COLUMN_INCHES, LOOKS, PAGE_INCHES, look
from tests.report.plotting import config, drawn, plot_named, search_records, write_epochs, write_search
from tests.written_runs import make_record, write_run

Spec = dict[str, Any]
TEXT = "{http://www.w3.org/2000/svg}text"
SPACE = "[neuron]\ndecay = { low = 0.1, high = 0.9 }\n"
EVERY = [
    "learning-curves", "accuracy-by-session", "accuracy-by-signer", "accuracy-over-sample-length", "search-history",
    "pareto-front", "fold-by-fold", "parameter-importance", "slices", "confusion-matrix-search-c0005",
    "confusion-matrix-ev-al", "confusion-matrix-percent-search-c0005", "confusion-matrix-percent-ev-al",
]  # fmt: skip


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A search and an evaluation that allow every plot; its name has what XML and TeX would stumble over."""
    folder = tmp_path_factory.mktemp("results")
    recordings = {
        f"user{user}": {
            "subject": f"participant-number-{user:03d}",
            "session": f"session-{user}",
            "correct": user,
            "samples": 4,
        }
        for user in range(1, 4)
    }
    # Numbers take most of the time; three beside each other show whether there is room for them.
    facts: Spec = {
        "confusion": sum(np.eye(19, k=k, dtype=int) * 20 for k in (-1, 0, 1)).tolist(),
        "recordings": recordings,
    }
    right = facts | {"confusion": np.diag(np.arange(1, 20)).tolist()}
    searched = [
        one
        for number in range(6)
        for one in search_records(number, {"neuron.decay": 0.1 + number / 10}, [number / 10] * 2, **right)
    ]
    search = write_search(folder / "search", SPACE, searched, best="c0005")
    own = config({"sampling.train_crop_ms": 900})
    evaluated = [make_record(fold, 0.5, config=own, synaptic_ops=2e6, **facts) for fold in range(2)]
    evaluation = write_run(folder / "ev<$&>al", evaluated)
    for run, trial in ((search, searched[-1]), (evaluation, evaluated[0])):
        write_epochs(run, trial, [(0.5, 1.0, 0.25), (0.4, 0.9, 0.5)])
    return [search, evaluation]


@pytest.fixture(scope="module")
def found(everything: list[Path]) -> dict[str, Plot]:
    return drawn(*everything)


@pytest.fixture(scope="module")
def sizes(everything: list[Path], found: dict[str, Plot]) -> list[Plot]:
    """Every plot as wide as it usually is, then as wide as one column."""
    return [*found.values(), *plots(load_runs(everything), COLUMN_INCHES)]


@pytest.fixture(scope="module")
def files(found: dict[str, Plot]) -> dict[str, tuple[str, bytes]]:
    """Every plot as an SVG, and then as a PNG."""
    return {name: (svg(plot), png(plot)) for name, plot in found.items()}


def test_all_plots_come_in_their_order(found: dict[str, Plot]) -> None:
    assert list(found) == EVERY


def test_every_plot_is_an_svg_with_its_text_and_a_png_of_its_size(
    found: dict[str, Plot], files: dict[str, tuple[str, bytes]]
) -> None:
    for plot in found.values():
        drawing, picture = files[plot.name]
        root = ElementTree.fromstring(drawing)
        texts = ["".join(element.itertext()) for element in root.iter(TEXT)]
        for axes in plot.figure.axes:
            words = {axes.get_xlabel(), axes.get_ylabel(), axes.get_title()} - {""}
            assert {word.splitlines()[0] for word in words} <= set(texts), plot.name
        image = Image.open(io.BytesIO(picture))
        inches = plot.figure.get_size_inches()
        assert image.size == pytest.approx([DPI * side for side in inches], abs=1)
        assert len(image.convert("L").getcolors() or []) > 10
        assert inches[0] <= PAGE_INCHES


def test_a_name_of_special_characters_is_shown_as_it_is(found: dict[str, Plot]) -> None:
    root = ElementTree.fromstring(svg(found["learning-curves"]))
    assert "ev<$&>al (1 of 2 trials)" in [" ".join(element.itertext()) for element in root.iter(TEXT)]


def test_every_plot_has_words_for_those_who_cannot_see_it(found: dict[str, Plot]) -> None:
    for plot in found.values():
        assert plot.alt.endswith(".")
        assert len(plot.alt) > 40
        assert plot.title
        assert not plot.title.endswith(".")


def test_nothing_is_cut_off_and_no_two_texts_overlap(sizes: list[Plot]) -> None:
    expect_room(sizes)


@pytest.mark.slow
def test_nothing_is_cut_off_or_overlaps_at_the_width_of_a_page(everything: list[Path]) -> None:
    wide = list(plots(load_runs(everything), PAGE_INCHES))
    assert {round(plot.figure.get_figwidth(), 2) for plot in wide} == {4.9, 7.16}
    expect_room(wide)


def expect_room(found: Iterable[Plot]) -> None:
    for plot in found:
        plot.figure.draw_without_rendering()
        boxes = [(name, box, box.padded(-1)) for name, box in _text_boxes(plot)]
        width, height = plot.figure.bbox.size
        for name, box, _ in boxes:
            assert box.x0 >= -1, (plot.name, name)
            assert box.y0 >= -1, (plot.name, name)
            assert box.x1 <= width + 1, (plot.name, name)
            assert box.y1 <= height + 1, (plot.name, name)
        for place, (name, _, inner) in enumerate(boxes):
            for other, _, another in boxes[place + 1 :]:
                assert not inner.overlaps(another), (plot.name, name, other)


def _text_boxes(plot: Plot) -> list[tuple[str, Any]]:
    """Return where the visible texts of the axes stand, in pixels of the figure."""
    found = []
    for axes in plot.figure.axes:
        x, y = (sorted(limits) for limits in (axes.get_xlim(), axes.get_ylim()))
        ticks = [
            tick.label1
            for axis, (low, high) in ((axes.xaxis, x), (axes.yaxis, y))
            for tick in axis.get_major_ticks()
            if low <= tick.get_loc() <= high and tick.label1.get_visible()
        ]
        texts = [*ticks, axes.xaxis.label, axes.yaxis.label, axes.title, *axes.texts]
        found += [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    legends = [text for legend in plot.figure.legends for text in legend.get_texts()]
    return found + [(text.get_text(), text.get_window_extent()) for text in legends]


def test_texts_have_8_points_whatever_the_width(sizes: list[Plot]) -> None:
    """Only the numbers within a matrix may be smaller, as long as they can be read."""
    for plot in sizes:
        for axes in plot.figure.axes:
            ticks = [*axes.get_xticklabels(), *axes.get_yticklabels()]
            assert {text.get_fontsize() for text in (*ticks, axes.xaxis.label, axes.yaxis.label, axes.title)} == {8}
            assert all(text.get_fontsize() >= 6 for text in axes.texts)
    assert {round(plot.figure.get_figwidth(), 2) for plot in sizes[len(EVERY) :]} == {3.45}


def test_fonts_are_embedded_as_truetype(found: dict[str, Plot]) -> None:
    content = pdf(found["accuracy-by-session"])
    assert content.startswith(b"%PDF")
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert pdf(found["accuracy-by-session"]) == content


def test_series_differ_without_their_colours(found: dict[str, Plot]) -> None:
    """Also where they are printed in shades of grey."""
    looks = [(one.marker, one.line) for one in (look(number) for number in range(2 * len(LOOKS)))]
    assert len({marker for marker, _ in looks[: len(LOOKS)]}) == len({line for _, line in looks[: len(LOOKS)]}) == 7
    curves = found["learning-curves"].figure.axes[0].lines
    named = [line for line in curves if not str(line.get_label()).startswith(("_", "chance"))]
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in named}) == len(named) == 2  # type: ignore[attr-defined]


def test_what_is_drawn_twice_is_the_same_to_the_byte_whichever_file_is_made_first(
    everything: list[Path], files: dict[str, tuple[str, bytes]]
) -> None:
    for (drawing, picture), again in zip(files.values(), plots(load_runs(everything)), strict=True):
        assert (png(again), svg(again)) == (picture, drawing), again.name


def test_files_that_were_made_before_change_none_that_are_made_later(
    found: dict[str, Plot], files: dict[str, tuple[str, bytes]]
) -> None:
    for name, plot in found.items():
        assert (svg(plot), png(plot)) == files[name], name


PROGRAM = """
import hashlib, sys
from pathlib import Path
from sltune.report.all_plots import plots
from sltune.report.plots.plot import svg
from sltune.report.analysis.runs import load_runs
for plot in plots(load_runs([Path(name) for name in sys.argv[1:]])):
    print(plot.name, hashlib.sha256(svg(plot).encode()).hexdigest())
print(sorted({"torch", "ray", "matplotlib.pyplot", "sltune.tuning"} & sys.modules.keys()))
"""


@pytest.mark.processes
def test_another_process_draws_the_same_without_pyplot_torch_and_ray(
    everything: list[Path], files: dict[str, tuple[str, bytes]]
) -> None:
    """One whose sets have another order."""
    other = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, everything)],
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path), "HOME": str(everything[0])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    own = [f"{name} {hashlib.sha256(drawing.encode()).hexdigest()}" for name, (drawing, _) in files.items()]
    assert other.stdout.splitlines() == [*own, "[]"]


def test_settings_of_matplotlib_change_neither_the_plots_nor_outlast_them(everything: list[Path]) -> None:
    expected = svg(plot_named("learning-curves", everything[1]))
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        for plot in plots(load_runs(everything[1:])):
            assert dict(matplotlib.rcParams) == before
            if plot.name == "learning-curves":
                assert svg(plot) == expected
        assert dict(matplotlib.rcParams) == before


def test_files_are_written_by_the_name_of_their_plot(found: dict[str, Plot], tmp_path: Path) -> None:
    slices = found["slices"]
    files = write_plots(tmp_path / "report" / "plots", [slices, found["fold-by-fold"]])
    assert [file.name for file in files] == [
        f"{name}.{suffix}" for name in ("slices", "fold-by-fold") for suffix in ("pdf", "svg", "png")
    ]
    assert files[2].read_bytes() == png(slices)
    assert files[1].read_text(encoding="utf-8") == svg(slices)
    assert sorted(files[0].parent.iterdir()) == sorted(files)
