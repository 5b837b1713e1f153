"""The published figures, against the figures as the sources print them."""

from __future__ import annotations

from pathlib import Path

import pytest

import sltune.report.analysis.published as module
from sltune.errors import DataError
from sltune.report.analysis.published import load_published, published_file

# method: (mean, std) of the full and of the reduced set, with the ddof of the source
FOUR_FOLD = {
    ("STBP, paper", 1): [(56.20, 1.52), (71.45, 1.74)],
    ("SLAYER, paper", 1): [(60.09, 4.58), (78.03, 3.08)],
    ("DECOLLE, paper", 1): [(70.6, 7.8), (77.6, 6.5)],
    ("STBP, predecessor", 0): [(64.97, 4.81), (71.47, 1.54)],
    ("STBP, predecessor, optimised", 0): [(75.78, 2.73)],
    ("SLAYER, predecessor", 0): [(54.3, 6.14), (61.41, 3.28)],
    ("SLAYER, predecessor, optimised", 0): [(66.40, 5.79)],
    ("DECOLLE, predecessor", 0): [(64.14, 3.61), (65.16, 2.86)],
    ("DECOLLE, predecessor, optimised", 0): [(75.12, 0.91)],
    ("SEW-type net", None): [(87.6, 1.5)],
}
ONE_SPLIT = {"EvT": [88.12, 87.45], "Spike-SLR": [89.47, 90.06], "EventRPG SEW-ResNet18": [91.59, 93.75]}
N_MNIST = {"STBP MLP 34×34×2-800-10": 98.78, "STBP CNN": 99.53, "SLAYER": 99.20}


def test_every_figure_over_four_folds_is_there_with_its_ddof() -> None:
    figures = [figure for figure in load_published(published_file()) if figure.n == 4]
    found = {(figure.method, figure.ddof, figure.set): (figure.mean, figure.std) for figure in figures}
    expected = {
        (*key, name): pair
        for key, pairs in FOUR_FOLD.items()
        for name, pair in zip(("full", "reduced"), pairs, strict=False)
    }
    assert found == expected
    assert len(figures) == len(expected)


def test_figures_of_one_split_and_of_n_mnist_have_no_deviation() -> None:
    figures = [figure for figure in load_published(published_file()) if figure.n != 4]
    one_split = {(name, pair[0], "full") for name, pair in ONE_SPLIT.items()}
    one_split |= {(name, pair[1], "reduced") for name, pair in ONE_SPLIT.items()}
    assert {(f.method, f.mean, f.set) for f in figures if f.n == 1} == one_split
    assert {f.method: f.mean for f in figures if f.n is None} == N_MNIST
    assert all(f.std is None and f.ddof is None for f in figures)


def test_the_protocol_is_given_only_where_the_source_states_it() -> None:
    known = {(figure.method, figure.protocol) for figure in load_published(published_file()) if figure.protocol}
    assert known == {("STBP, paper", "train-test")}


@pytest.mark.parametrize(
    ("place", "name"), [("wheel/sltune/report/analysis", ""), ("tree/results", "tree/sltune/report/analysis")]
)
def test_figures_are_found_in_a_wheel_and_in_a_source_tree(
    place: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "published.toml").touch()
    monkeypatch.setattr(module, "__file__", str(tmp_path / (name or place) / "published.py"))
    assert published_file() == tmp_path / place / "published.toml"


def test_missing_figures_are_an_error_that_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "__file__", str(tmp_path / "sltune" / "report" / "analysis" / "published.py"))
    with pytest.raises(DataError, match=r"sltune/report/analysis/published\.toml: the published figures are missing"):
        published_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[published]]\nmethod = 'A'\n", r"row 1: .*"),
        ("[[published]]\nmethod='A'\ndataset='N-MNIST'\nset='x'\nmean=1.0\nddof=2\n", r"row 1: [\s\S]*ddof"),
        ("rows = 1", "no list of"),
        ("= 1", "no list of"),
    ],
)
def test_a_wrong_row_is_named(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "published.toml"
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        load_published(file)
