"""The table of metrics, and what a record keeps of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sltune.runs.metrics import METRICS, Metric, Metrics, tag_of

FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"


def test_metrics_of_other_versions_are_kept_and_nothing_is_added() -> None:
    values: dict[str, Any] = {"best_epoch": 3, "val_loss": None, "agility": [{"a": 1}], "spikes": {"fc1": 2.5}}
    metrics = Metrics.model_validate(values)
    assert metrics.as_json() == values
    assert (metrics.has("val_loss"), metrics.has("test_loss"), metrics.number("val_loss")) == (True, False, None)
    assert type(metrics.as_json()["best_epoch"]) is int


def test_a_metric_by_layer_counts_all_layers_but_the_input() -> None:
    spikes = {"input": 100.0, "conv1": 2.5, "fc1": 0.5}
    assert Metrics.model_validate({"spikes": spikes}).number("spikes") == 3.0
    assert Metrics.model_validate({"spikes": {"input": 100.0}}).number("spikes") is None
    assert Metrics().number("spikes") is None


def test_every_number_of_a_record_is_in_the_table() -> None:
    assert Metrics.model_fields.keys() - {"confusion", "recordings"} <= METRICS.keys()
    recorded = [name for name, metric in METRICS.items() if metric.in_record and not metric.by_layer]
    assert list(Metrics().in_columns()) == recorded


@pytest.mark.parametrize("value", ["x", -1e19, float("nan"), 1e19, {"fc1": "x"}])
def test_a_metric_of_the_table_that_is_no_number_is_refused_by_its_name(
    value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "agility", Metric())
    with pytest.raises(ValidationError) as error:
        Metrics.model_validate({"agility": value})
    assert error.value.errors()[0]["loc"][0] == "agility"


def test_values_are_shown_in_multiples_of_their_units() -> None:
    assert (METRICS["val_accuracy"].shown(0.5), METRICS["synaptic_ops"].shown(14_312_500)) == (50.0, 14.3125)
    assert (METRICS["synaptic_ops"].heading, METRICS["spikes"].heading) == ("synaptic ops, M", "spikes, k")
    assert METRICS["val_accuracy"].axis("validation") == "validation accuracy (%)"


def test_columns_of_epochs_have_the_tags_of_their_metrics() -> None:
    assert [tag_of(name) for name in ("val_loss", "spikes_conv1", "firing_rate_input", "seconds", "epoch")] == [
        "loss/val", "activity/spikes_conv1", "firing_rate/input", "", ""
    ]  # fmt: skip


def test_the_documentation_has_the_same_table() -> None:
    """Name, unit, part, which values are better, and whether it is in epochs.csv and in records."""
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]*) \| (\w+) \| (\w*) *\| (\w*) *\| (\w*) *\|", FORMATS.read_text(), re.MULTILINE
    )
    marks = {True: "yes", False: ""}
    assert rows == [
        (name, metric.unit, metric.part, metric.better, marks[metric.by_epoch], marks[metric.in_record])
        for name, metric in METRICS.items()
    ]
