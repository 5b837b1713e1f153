"""Runs as objects: what they show, and what can be taken from them."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import sltune
from sltune.errors import DataError, UsageError

Record = Callable[..., dict[str, Any]]
WriteRun = Callable[..., Path]


def test_the_network_of_a_trial_classifies_its_test_samples_as_its_record_says(workplace: Path) -> None:
    run = sltune.open_run("results/tiny")
    state = torch.random.get_rng_state()
    network = run.network("c0000-f1-s0")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not network.training
    part = sltune.open_dataset("data").torch("test", run.space, fold=1, seed=0)
    found = np.zeros((2, 2), int)
    with torch.no_grad():
        for frames, labels in DataLoader(part, batch_size=8):
            rates = network(frames.transpose(0, 1)).mean(0)
            np.add.at(found, (labels.numpy(), rates.argmax(1).numpy()), 1)
    record = run.records().set_index("fold").loc[1]
    assert found.trace() / found.sum() == record["test_accuracy"]


def test_a_network_of_the_users_own_is_made_from_the_runs_copy(workplace: Path) -> None:
    (workplace / "nets.py").write_text((Path(__file__).parent / "nets.py").read_text())
    own = {"network.name": "nets.py:Pooled", "network.options.scale": 0.5}
    run = sltune.evaluate("tiny.toml", "data", overrides=own, run="own", progress=False)
    (workplace / "nets.py").unlink()
    network = run.network("c0000-f0-s0")
    assert (type(network).__name__, network.scale) == ("Pooled", 0.5)
    again = sltune.evaluate(run.configuration("c0000"), "data", run="own-again", progress=False)
    assert again.table().rows()["mean"].equals(run.table().rows()["mean"])
    copy = run.path / "code" / "nets.py"
    copy.write_text(copy.read_text() + "# changed")
    with pytest.raises(DataError, match="is not the code that the run began with"):
        run.network("c0000-f0-s0")


def test_a_network_that_was_changed_between_two_calls_is_read_anew(workplace: Path) -> None:
    text = (Path(__file__).parent / "nets.py").read_text()
    space = sltune.load_space("tiny.toml", {"network.name": "nets.py:Pooled", "training.epochs": 1})
    scales = []
    for scale in (1.0, 2.0):
        (workplace / "nets.py").write_text(text.replace("scale: float = 1.0", f"scale: float = {scale}"))
        run = sltune.evaluate(space, "data", run=f"scale-{scale:g}", progress=False)
        scales.append(run.network("c0000-f0-s0").scale)
    (workplace / "nets.py").unlink()
    assert scales == [1.0, 2.0]


def test_predictions_say_what_each_test_sample_was_taken_for(workplace: Path) -> None:
    run, dataset = sltune.open_run("results/tiny"), sltune.open_dataset("data")
    predictions = run.predictions()
    assert sorted(predictions["sample_id"]) == sorted(sample.name for sample in dataset)
    assert [dataset[name].label for name in predictions["sample_id"]] == predictions["label"].tolist()
    right = (predictions["label"] == predictions["predicted"]).groupby(predictions["fold"]).mean()
    assert right.to_dict() == run.records().set_index("fold")["test_accuracy"].to_dict()


def test_the_confusion_is_the_sum_over_trials(record: Record, run_folder: WriteRun) -> None:
    dataset = {"classes": ["a", "b"]}
    records = [record(fold, 0.5, confusion=[[3, fold], [0, 2]], dataset=dataset) for fold in range(3)]
    matrix = sltune.open_run(run_folder(records)).confusion()
    assert matrix.loc["a"].to_dict() == {"a": 9, "b": 3}
    assert matrix.loc["b"].to_dict() == {"a": 0, "b": 6}
    assert sltune.open_run(run_folder(records)).confusion("c0000").equals(matrix)


def test_what_a_run_does_not_have_is_refused(record: Record, run_folder: WriteRun) -> None:
    run = sltune.open_run(run_folder([record(0, 0.5)]))
    with pytest.raises(UsageError, match="has no record of a trial 'c0000-f1-s0'; those with a record: c0000-f0-s0"):
        run.network("c0000-f1-s0")
    with pytest.raises(UsageError, match="no trial of c0001 has a result"):
        run.confusion("c0001")
    with pytest.raises(UsageError, match="ddof is 2"):
        run.table(ddof=2)
    with pytest.raises(DataError, match="lacks the size of the sensor"):
        run.network("c0000-f0-s0")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is this a run folder"):
        sltune.open_run(tmp_path)


def test_a_run_says_in_a_line_what_it_is(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.5), record(1, 0.75)], planned=["c0000-f0-s0", "c0000-f1-s0", "c0000-f2-s0"])
    assert repr(sltune.open_run(folder)) == (
        f"<Run {str(folder)!r}: paper, an evaluation; 2 done, 1 missing; test 62.50 ± 17.68 %>"
    )


def test_a_table_shows_the_same_numbers_in_every_form(record: Record, run_folder: WriteRun) -> None:
    table = sltune.open_run(run_folder([record(0, 0.5), record(1, 0.75)], name="a<b")).table(published=False)
    row = table.rows().iloc[0]
    assert (row["metric"], row["mean"], row["n"]) == ("test_accuracy", 62.5, 2)
    shown = table._repr_html_()
    assert "62.50" in str(table)
    assert "62.50" in shown
    assert "a&lt;b" in shown
    assert "a<b" not in shown
    assert table.text("latex").startswith("% needs")


def test_two_runs_are_compared_on_what_they_share(record: Record, run_folder: WriteRun) -> None:
    folders = [run_folder([record(0, low), record(1, low + 0.2)], name=name) for name, low in (("a", 0.25), ("b", 0.5))]
    (compared,) = sltune.compare(*folders).comparisons().to_dict("records")
    assert (compared["first.run"], compared["second.run"], compared["n"]) == ("a", "b", 2)
    assert compared["difference"] == pytest.approx(25)
    with pytest.raises(UsageError, match="must be one of the runs, a, b"):
        sltune.compare(*folders, baseline="c")


def test_a_notebook_gets_the_page_in_a_frame_of_its_own(record: Record, run_folder: WriteRun) -> None:
    page = sltune.open_run(run_folder([record(0, 0.5)], name='a"b')).show()
    assert "<h2>Results</h2>" in page.text
    shown = page._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert html.unescape(shown.removeprefix('<iframe srcdoc="').partition('" sandbox')[0]) == page.text
