"""Plots of searches: what is drawn, against values worked out by hand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from sltune.report.analysis import importance
from sltune.report.plots import slices as slices_module
from sltune.report.plots.plot import Plot, svg
from tests.report.plotting import config, dots, drawn, labels, line, plot_named, search_records, write_search
from tests.written_runs import make_record, write_run

Spec = dict[str, Any]
SPACE = """
[sampling]
train_crop_ms = { low = 300, high = 3000, step = 30 }
train_crop = { choices = ["random", "start"] }
eval_crops = { choices = [1, 4], when = { "sampling.train_crop" = "random" } }
[neuron]
decay = { low = 0.1, high = 0.9 }
[training]
learning_rate = { low = 1e-4, high = 1e-2, log = true }
[search]
constraints = { max_synaptic_ops = 1e9 }
"""


def settings(number: int) -> dict[str, Any]:
    """Return the values of configuration ``number``, all but the decay without any meaning."""
    values: dict[str, Any] = {
        "sampling.train_crop_ms": 300 + 30 * (7 * number % 10),
        "sampling.train_crop": ["random", "start"][number % 2],
        "neuron.decay": 0.1 + 0.08 * number,
        "training.learning_rate": 10 ** (-4 + (3 * number % 8) / 4),
    }
    return values if number % 2 else values | {"sampling.eval_crops": [1, 4][number // 2 % 2]}


def complete(number: int, mean: float, **facts: Any) -> list[Spec]:
    return search_records(number, settings(number), [mean - 0.05, mean + 0.05], **facts)


def ended(number: int, status: str, *done: float) -> list[Spec]:
    """Return the records of a configuration that ended with a status after some folds."""
    last = make_record(len(done), config_id=f"c{number:04d}", status=status, config=config(settings(number)))
    return [*search_records(number, settings(number), done), last]


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five complete configurations, one of which costs too much, two pruned, two that failed and one under way."""
    records = [
        *complete(0, 0.40, synaptic_ops=4e6), *complete(1, 0.30, synaptic_ops=1e6), *ended(2, "pruned", 0.2),
        *complete(3, 0.60, synaptic_ops=8e6), *ended(4, "failed", 0.9), *ended(5, "pruned"),
        *complete(6, 0.95, synaptic_ops=2e9), *ended(7, "diverged"), *complete(8, 0.55, synaptic_ops=2e7),
        *search_records(9, settings(9), [0.99]),
    ]  # fmt: skip
    return write_search(tmp_path_factory.mktemp("results") / "search", SPACE, records, best="c0003")


@pytest.fixture(scope="module")
def found(search: Path) -> dict[str, Plot]:
    """The plots of that search, drawn once."""
    return drawn(search)


def test_the_history_has_every_mean_and_the_best_so_far(found: dict[str, Plot]) -> None:
    plot = found["search-history"]
    axes = plot.figure.axes[0]
    assert np.array(dots(axes, "complete")) == pytest.approx(np.array([(0, 40), (1, 30), (3, 60), (8, 55)]))
    assert np.array(dots(axes, "complete, too many operations")) == pytest.approx(np.array([(6, 95)]))
    assert np.array(dots(axes, "pruned, mean of the folds it has")) == pytest.approx(np.array([(2, 20)]))
    assert [x for x, _ in line(axes, "failed or diverged")] == [4, 7]
    assert [x for x, _ in line(axes, "pruned within its first fold")] == [5]
    assert np.array(line(axes, "best so far")) == pytest.approx(np.array([(0, 40), (3, 60), (9, 60)]))
    (step,) = (one for one in axes.lines if one.get_label() == "best so far")
    assert step.get_drawstyle() == "steps-post"
    assert "10 configurations, 5 complete, 2 pruned, 1 failed, 1 diverged, 1 paused" in plot.alt
    assert "went from 40.0 % to 60.0 % by configuration 3" in plot.alt


def test_marks_without_a_mean_stand_below_all_means(found: dict[str, Plot]) -> None:
    axes = found["search-history"].figure.axes[0]
    low, high = axes.get_ylim()
    (strip,) = axes.patches
    marks = [y for label in ("failed", "pruned within") for _, y in line(axes, label)]
    # The lowest mean is 20.
    assert max(marks) < strip.get_height() < (20 - low) / (high - low)  # type: ignore[attr-defined]


def test_a_history_needs_two_configurations_and_a_search(tmp_path: Path) -> None:
    one = write_search(tmp_path / "one", SPACE, complete(0, 0.4))
    evaluation = write_run(tmp_path / "evaluation", [*complete(0, 0.4), *complete(1, 0.4)])
    assert not [name for name in drawn(one, evaluation) if name.startswith("search-history")]


def test_two_searches_have_a_history_each(search: Path, tmp_path: Path) -> None:
    other = write_search(tmp_path / "other", SPACE, [*complete(0, 0.4), *complete(1, 0.5)])
    found = [plot for name, plot in drawn(search, other).items() if name.startswith("search-history")]
    assert [plot.name for plot in found] == ["search-history-search-c0003", "search-history-other-c0001"]
    assert [plot.title for plot in found] == ["Search history: search/c0003", "Search history: other/c0001"]


def test_importances_are_bars_in_their_order_that_sum_to_100_percent(found: dict[str, Plot]) -> None:
    plot = found["parameter-importance"]
    axes = plot.figure.axes[0]
    widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
    assert sum(widths) == pytest.approx(100)
    assert widths == sorted(widths, reverse=True)
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert set(names) == {"train_crop_ms", "train_crop", "decay", "learning_rate"}
    assert [text.get_text() for text in axes.texts] == [f"{width:.1f}" for width in widths]
    assert plot.title == "Parameter importance (fANOVA), 6 configurations: too few to rely on"
    assert "used: 6." in plot.alt


def test_importances_of_some_configurations_say_of_how_many(search: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "MAX_CONFIGURATIONS", 4)
    plot = plot_named("parameter-importance", search)
    assert plot.title == "Parameter importance (fANOVA), 4 of 6 configurations: too few to rely on"
    assert "used: 4 of the 6" in plot.alt


def test_slices_show_complete_and_pruned_over_the_values_the_most_important_first(found: dict[str, Plot]) -> None:
    axes = {one.get_title(): one for one in found["slices"].figure.axes}
    order = [tick.get_text() for tick in found["parameter-importance"].figure.axes[0].get_yticklabels()]
    assert list(axes) == [*order, "eval_crops"]
    expected = [(0.1 + 0.08 * number, y) for number, y in ((0, 40), (1, 30), (3, 60), (6, 95), (8, 55))]
    assert np.array(dots(axes["decay"], "complete")) == pytest.approx(np.array(expected))
    assert dots(axes["decay"], "pruned, mean of the folds it has") == [(pytest.approx(0.26), pytest.approx(20))]
    assert dots(axes["decay"], "best") == [(pytest.approx(0.34), pytest.approx(60))]
    assert (axes["decay"].get_xscale(), axes["learning_rate"].get_xscale()) == ("linear", "log")


def test_categories_stand_apart_and_a_conditional_value_only_where_it_was_drawn(found: dict[str, Plot]) -> None:
    axes = {one.get_title(): one for one in found["slices"].figure.axes}
    crops = axes["train_crop"]
    assert [tick.get_text() for tick in crops.get_xticklabels()] == ["random", "start"]
    assert [(round(x), round(y)) for x, y in dots(crops, "complete")] == [(0, 40), (1, 30), (1, 60), (0, 95), (0, 55)]
    # Configurations 0, 6 and 8 had random crops; the best, 3, has no value.
    assert [(round(x), round(y)) for x, y in dots(axes["eval_crops"], "complete")] == [(0, 40), (1, 95), (0, 55)]
    assert not [one for one in axes["eval_crops"].collections if one.get_label() == "best"]


def test_at_most_nine_parameters_are_sliced(search: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices_module, "MAX_SLICES", 2)
    plots = drawn(search)
    order = [tick.get_text() for tick in plots["parameter-importance"].figure.axes[0].get_yticklabels()]
    assert [axes.get_title() for axes in plots["slices"].figure.axes] == order[:2]


def test_without_a_space_file_there_are_neither_importances_nor_slices(search: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(search, tmp_path / "search")
    (copy / "space.toml").unlink()
    assert not {"parameter-importance", "slices"} & drawn(copy).keys()


def test_the_front_has_what_no_other_beats_and_keeps_the_constraints(found: dict[str, Plot]) -> None:
    plot = found["pareto-front"]
    axes = plot.figure.axes[0]
    every = [(4e6, 40), (1e6, 30), (8e6, 60), (2e9, 95), (2e7, 55)]
    assert np.array(dots(axes, "search")) == pytest.approx(np.array(every))
    front = [(1e6, 30), (4e6, 40), (8e6, 60), (2e9, 60)]
    assert np.array(line(axes, "Pareto front")) == pytest.approx(np.array(front))
    assert dots(axes, "chosen") == [(8e6, pytest.approx(60))]
    assert axes.get_xscale() == "log"
    assert "5 complete configurations, 3 of them on the Pareto front" in plot.alt


def test_runs_share_a_front_only_where_data_folds_and_seeds_are_the_same(search: Path, tmp_path: Path) -> None:
    same = write_run(tmp_path / "same", complete(0, 0.7, synaptic_ops=5e6))
    # Of another configuration: with the same one, both would be pooled.
    other_seed = write_run(tmp_path / "other", complete(1, 0.8, synaptic_ops=5e6, seed=1))
    other_data = write_run(tmp_path / "data", complete(0, 0.8, synaptic_ops=5e6, dataset={"fingerprint": "e" * 64}))
    axes = plot_named("pareto-front", search, same, other_seed, other_data).figure.axes[0]
    assert labels(axes) == ["search", "same", "Pareto front", "chosen"]
    assert np.array(line(axes, "Pareto front"))[1:3] == pytest.approx(np.array([(4e6, 40), (5e6, 70)]))


def test_one_configuration_has_no_front(tmp_path: Path) -> None:
    assert "pareto-front" not in drawn(write_run(tmp_path / "run", complete(0, 0.7, synaptic_ops=5e6)))


def test_operations_of_one_order_of_magnitude_have_a_linear_axis(tmp_path: Path) -> None:
    records = [*complete(0, 0.4, synaptic_ops=2e6), *complete(1, 0.5, synaptic_ops=1.9e7)]
    axes = plot_named("pareto-front", write_search(tmp_path / "run", SPACE, records)).figure.axes[0]
    assert axes.get_xscale() == "linear"


def test_a_search_shows_validation_alone_over_the_length_and_joins_nothing(found: dict[str, Plot]) -> None:
    axes = found["accuracy-over-sample-length"].figure.axes[0]
    lines = {str(one.get_label()): one[0] for one in axes.containers}
    assert list(lines) == ["validation, random crops, search", "validation, start crops, search"]
    # 300 + 30 · (7 · number mod 10) for the complete ones with crops at the start, 1 and 3
    start = lines["validation, start crops, search"]
    assert np.asarray(start.get_xydata()) == pytest.approx(np.array([(330, 60), (510, 30)]))
    assert start.get_linestyle() == "None"


def test_thousands_of_points_are_pixels_in_an_svg_and_few_are_not(found: dict[str, Plot], tmp_path: Path) -> None:
    records = [one for number in range(1001) for one in search_records(number, {}, [number / 1001])]
    many = write_search(tmp_path / "many", "[neuron]\ndecay = { low = 0.1, high = 0.9 }\n", records, folds=1)
    of_many = drawn(many)
    for name in ("search-history", "pareto-front"):
        assert "<image " in svg(of_many[name])
        assert "<image " not in svg(found[name])
    (cloud,) = (one for one in of_many["search-history"].figure.axes[0].collections)
    assert isinstance(cloud, PathCollection)
    assert len(np.asarray(cloud.get_offsets())) == 1001
