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
    ("STBP, ronichester", 0): [(64.97, 4.81), (71.47, 1.54)],
    ("STBP, ronichester, tuned", 0): [(75.78, 2.73)],
    ("SLAYER, ronichester", 0): [(54.3, 6.14), (61.41, 3.28)],
    ("SLAYER, ronichester, tuned", 0): [(66.40, 5.79)],
    ("DECOLLE, ronichester", 0): [(64.14, 3.61), (65.16, 2.86)],
    ("DECOLLE, ronichester, tuned", 0): [(75.12, 0.91)],
    ("SEW-type net", None): [(87.6, 1.5)],
}
ONE_SPLIT = {"EvT": [88.12, 87.45], "Spike-SLR": [89.47, 90.06], "EventRPG SEW-ResNet18": [91.59, 93.75]}
N_MNIST = {"STBP MLP 34×34×2-800-10": 98.78, "STBP CNN": 99.53, "SLAYER": 99.20, "PLIF": 99.61}
OTHERS = {
    ("SIREN", 93.33, "not stated"),
    ("TORE volumes, 3-D GoogLeNet", 83.05, "14 test signers"),
    ("SNN with hyperdimensional readout", 74.1, "not stated"),
    ("SEW-type net", 90.2, "41/9/9 signers"),
}
GESTURES = {
    ("PLIF", 97.57, "train-test"),
    ("PLIF", 96.53, "train-val-test"),
    ("SEW-ResNet", 97.92, ""),
    ("EventRPG", 96.53, "train-test"),
}


def test_every_figure_over_four_folds_is_there_with_its_ddof() -> None:
    figures = [figure for figure in load_published(published_file()) if figure.split == "4 folds"]
    assert {(figure.n, figure.std_over) for figure in figures} == {(4, "folds")}
    found = {(figure.method, figure.ddof, figure.set): (figure.mean, figure.std) for figure in figures}
    expected = {
        (*key, name): pair
        for key, pairs in FOUR_FOLD.items()
        for name, pair in zip(("full", "reduced"), pairs, strict=False)
    }
    assert found == expected
    assert len(figures) == len(expected)


def test_figures_of_other_splits_are_apart_and_only_one_has_a_deviation() -> None:
    figures = [figure for figure in load_published(published_file()) if figure.split != "4 folds"]
    one_split = {(name, pair[0], "full") for name, pair in ONE_SPLIT.items()}
    one_split |= {(name, pair[1], "reduced") for name, pair in ONE_SPLIT.items()}
    assert {(f.method, f.mean, f.set) for f in figures if f.split == "EvT's"} == one_split
    assert {
        (f.method, f.mean, f.split) for f in figures if f.dataset == "SL-Animals-DVS" and f.split != "EvT's"
    } == OTHERS
    official = [figure for figure in figures if figure.split == "official"]
    assert {f.method: f.mean for f in official if f.dataset == "N-MNIST"} == N_MNIST
    assert {(f.method, f.mean, f.protocol) for f in official if f.dataset == "DVSGesture"} == GESTURES
    assert len(figures) == len(one_split) + len(OTHERS) + len(N_MNIST) + len(GESTURES)
    assert [(f.mean, f.std, f.std_over) for f in figures if f.std is not None] == [(90.2, 0.9, "seeds")]


def test_figures_that_select_on_the_test_set_say_so_where_the_source_states_it() -> None:
    known = {(figure.method, figure.protocol) for figure in load_published(published_file()) if figure.protocol}
    best_test_epoch = {"STBP, paper", "EvT", "EventRPG SEW-ResNet18", "EventRPG", "PLIF"}
    apart = {"SEW-type net", "PLIF"}
    assert known == {(name, "train-test") for name in best_test_epoch} | {(name, "train-val-test") for name in apart}


def test_a_deviation_without_what_it_is_over_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "published.toml"
    file.write_text("[[published]]\nmethod='A'\ndataset='N-MNIST'\nset='x'\nsplit='official'\nmean=1.0\nstd=2.0\n")
    with pytest.raises(DataError, match=r"row 1: [\s\S]*std_over must be given with std"):
        load_published(file)


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
