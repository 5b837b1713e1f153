"""The baselines of a run: tested on its own folds, kept, and shown beside its networks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sltune.errors import DataError
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.summary import table
from sltune.report.tables.data import table_as_csv, table_as_json
from sltune.report.tables.text import render
from sltune.runs.baselines import Baselines
from sltune.runs.folder import RunFolder
from sltune.settings.space import Space
from sltune.tuning import baselines as module
from sltune.tuning.evaluate import Evaluate
from sltune.tuning.preparation import resume, start
from tests.small import quick
from tests.tuning.in_process import QUIET, REQUEST, train_in_process
from tests.written_runs import make_record, write_run


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    train_in_process(monkeypatch)


def space(*seeds: int, split_seed: int = -1) -> Space:
    settings = {"evaluation__folds": 2, "evaluation__seeds": seeds, "evaluation__split_seed": split_seed}
    return Space.of(quick(training__epochs=1, **settings))


def test_every_fold_that_a_network_is_tested_on_has_its_baselines(tmp_path: Path, dataset: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    start(Evaluate(space(0, 1)), dataset, folder, REQUEST, QUIET)
    kept = Baselines.read(folder)
    assert kept is not None
    for record in folder.records():
        found = kept.fold_of(record.seed, record.fold, record.splits["test"])
        assert found is not None
        assert found.names == ["majority", "nearest neighbour", "ridge regression"]
        # 6 samples of each signer, one class on the left and one on the right.
        assert {one.samples for one in found.recordings.values()} == {6}
        assert found.accuracy("ridge regression") == 1
        assert found.accuracy("majority") == 0.5


def test_what_is_known_is_not_computed_again(tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    tested = module._tested
    monkeypatch.setattr(module, "_tested", lambda *given: calls.append(given[2]) or tested(*given))
    folder = RunFolder(tmp_path / "run")
    start(Evaluate(space(0, 1, split_seed=5)), dataset, folder, REQUEST, QUIET)
    assert len(calls) == 2, "seeds that share their folds need them once"
    resume(Evaluate(space(0, 1, 2, split_seed=5)), folder, None, REQUEST, QUIET)
    assert len(calls) == 4, "those of the new seed, and none again"
    kept = Baselines.read(folder)
    folder.baselines_json.write_text("{")
    resume(Evaluate(space(0, 1, 2, 3, split_seed=5)), folder, None, REQUEST, QUIET)
    anew = Baselines.read(folder)
    assert kept is not None
    assert anew is not None
    assert anew.folds[: len(kept.folds)] == kept.folds


def test_nothing_is_written_where_none_are_wanted(tmp_path: Path, dataset: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    start(Evaluate(space(0)), dataset, folder, replace(REQUEST, baselines=False), QUIET)
    assert not folder.baselines_json.exists()
    assert table(load_runs([folder.root])).sections[0].baselines == ()


def test_a_lack_of_memory_costs_no_result(tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        raise MemoryError

    monkeypatch.setattr(module, "count_features", fail)
    folder = RunFolder(tmp_path / "run")
    start(Evaluate(space(0)), dataset, folder, REQUEST, QUIET)
    assert len(folder.records()) == 2
    assert not folder.baselines_json.exists()


# In reports


def written(folder: Path, accuracies: list[float], majority: list[int], nearest: list[int]) -> Path:
    """A run of a fold for each accuracy, with 10 samples of one recording in each test part."""
    records = [make_record(fold, accuracy) for fold, accuracy in enumerate(accuracies)]
    write_run(folder, records)
    folds = [
        {
            "seed": 0,
            "fold": fold,
            "recordings": {
                f"user{18 + fold}_sunlight": {"samples": 10, "correct": {"majority": low, "nearest neighbour": high}}
            },
        }
        for fold, (low, high) in enumerate(zip(majority, nearest, strict=True))
    ]
    content = {"fingerprint": "f" * 64, "settings": "…", "folds": folds}
    (folder / "baselines.json").write_text(json.dumps(content))
    return folder


def test_tables_show_what_no_network_is_needed_for(tmp_path: Path) -> None:
    folder = written(tmp_path / "paper", [0.5, 0.6], [1, 3], [6, 8])
    made = table(load_runs([folder]))
    # 60 and 80: mean 70, ddof 1 14.14; majority 10 and 30.
    text = render(made, "md")
    (nearest,) = (line for line in text.splitlines() if line.startswith("| nearest neighbour"))
    assert "70.00" in nearest
    assert "14.14" in nearest
    assert any(line.startswith("| majority") and "20.00" in line for line in text.splitlines())
    words = " ".join(text.split())
    assert "paper/c0000 does not beat nearest neighbour on event counts, which reaches 70.00 %" in words
    values = json.loads(table_as_json(made))["baselines"]
    assert [(one["name"], one["mean"], one["unbeaten_by"]) for one in values] == [
        ("majority", 20.0, []),
        ("nearest neighbour", 70.0, ["paper/c0000"]),
    ]
    lines = [line for line in table_as_csv(made).splitlines() if line.startswith("baseline,")]
    assert [line.split(",")[1] for line in lines] == ["majority", "nearest neighbour"]


def test_runs_on_the_same_folds_share_their_baselines_and_others_name_theirs(tmp_path: Path) -> None:
    first = written(tmp_path / "first", [0.9, 0.9], [1, 3], [6, 8])
    second = written(tmp_path / "second", [0.65, 0.7], [1, 3], [6, 8])
    (section,) = table(load_runs([first, second])).sections
    assert [(one.name, len(one.beside), len(one.unbeaten)) for one in section.baselines] == [
        ("majority", 2, 0),
        ("nearest neighbour", 2, 1),
    ]
    third = written(tmp_path / "third", [0.9], [2], [7])
    text = render(table(load_runs([first, third])), "md")
    assert "| nearest neighbour, folds of first/c0000 |" in text
    assert "| nearest neighbour, folds of third/c0000 |" in text


def test_baselines_of_other_test_parts_are_not_shown(tmp_path: Path) -> None:
    folder = written(tmp_path / "paper", [0.5, 0.6], [1, 3], [6, 8])
    file = folder / "baselines.json"
    file.write_text(file.read_text().replace("user19_sunlight", "user20_sunlight"))
    assert table(load_runs([folder])).sections[0].baselines == ()


@pytest.mark.parametrize("content", ["", "[]", '{"folds": 3}', "\0", "{" * 100_000])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    folder = written(tmp_path / "paper", [0.5], [1], [6])
    (folder / "baselines.json").write_text(content)
    with pytest.raises(DataError, match=r"baselines\.json: is damaged"):
        load_runs([folder])
