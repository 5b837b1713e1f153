"""A nested search, with its trials in this process: what it leaves, what it refuses, and that kills change nothing."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from click.testing import CliRunner, Result
from rich.console import Console

from sltune.cli.main import main
from sltune.errors import DataError, Interrupted, NothingRan, SltuneError, SomeTrialsFailed, UsageError
from sltune.events.importing import import_source
from sltune.progress.display import Display
from sltune.progress.follow import Follower
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.series import series_of
from sltune.report.analysis.summary import table
from sltune.report.page import page
from sltune.runs.folder import RunFolder
from sltune.runs.info import RunInfo, read_info, resume_command, run_name, write_info
from sltune.runs.record import TrialKey
from sltune.settings.space import Space, parse_space
from sltune.tuning import nested
from sltune.tuning.execution.worker import TrialWorker
from sltune.tuning.nested import resume_nested, start_nested
from sltune.tuning.preparation import start
from sltune.tuning.reuse import configuration_of
from sltune.tuning.trial.report import Report
from sltune.tuning.tune import Tune
from tests import small
from tests.small import quick
from tests.tuning.in_process import QUIET, REQUEST, train_in_process

Found = dict[str, tuple[Any, ...]]


def searched(search: Mapping[str, Any] | None = None, **settings: Any) -> Space:
    """Two configurations on two folds; an epoch each."""
    tables = quick(**{"evaluation__folds": 2, "training__epochs": 1, **settings}).model_dump(mode="json")
    tables["neuron"]["decay"] = {"low": 0.1, "high": 0.9}
    tables["search"] = {"trials": 2, "sampler": "random", "fold_pruner": "none", **(search or {})}
    return parse_space(tomlkit.dumps(tables), "test")


PROMOTED = {"strategy": "promote", "trainings": 8}
TWO_SEEDS = searched(PROMOTED, evaluation__seeds=[0, 1], evaluation__split_seed=0)


def begin(folder: RunFolder, data: Path, space: Space | None = None) -> None:
    start_nested(space or searched(), data, folder, REQUEST, QUIET)


def go_on(folder: RunFolder, **more: Any) -> None:
    resume_nested(folder, None, REQUEST, QUIET, **more)


def sltune(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def report(folder: RunFolder, *flags: str) -> str:
    done = sltune("report", folder.root, *flags)
    assert done.exit_code == 0, done.output
    return done.stdout


def page_of(folder: RunFolder) -> str:
    """Give the page without plots, which take longer than all the rest."""
    runs = load_runs([folder.root])
    return page(runs, table(runs), [])


def results(folder: RunFolder) -> Found:
    """Give what each trial has come to, by its place, without times."""
    read = {
        str(file.parent.relative_to(folder.root)): json.loads(file.read_text())
        for file in folder.root.rglob("record*.json")
    }
    return {name: (one["status"], one["config"], one["splits"], one["metrics"]) for name, one in read.items()}


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    train_in_process(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A nested search that has ended, of two seeds on the same folds."""
    root = tmp_path_factory.mktemp("nested")
    import_source(small.source(), root / "data")
    with pytest.MonkeyPatch.context() as monkeypatch:
        train_in_process(monkeypatch)
        begin(RunFolder(root / "run"), root / "data", TWO_SEEDS)
    return RunFolder(root / "run")


def test_each_outer_fold_tests_what_a_search_without_its_signers_has_chosen(finished: RunFolder) -> None:
    outer = finished.records()
    assert [(one.seed, one.fold, one.status) for one in outer] == [(s, f, "done") for s in (0, 1) for f in (0, 1)]
    everyone = {name for part in outer[0].splits.values() for name in part}
    assert len(everyone) == small.SIGNERS
    assert {name for one in outer if one.seed == 0 for name in one.splits["test"]} == everyone
    assert read_info(finished).winners == tuple(read_info(finished.outer(fold)).best for fold in (0, 1))
    for one in outer:
        inner = finished.outer(one.fold).records()
        assert len(inner) == 2 * 2 * 2
        for seen in ({name for part in trial.splits.values() for name in part} for trial in inner):
            assert seen == everyone - set(one.splits["test"])
        winner = read_info(finished.outer(one.fold)).best
        assert {str(trial.config) for trial in inner if trial.config_id == winner} == {str(one.config)}


def test_the_table_has_one_row_that_is_unbiased_and_says_so(finished: RunFolder) -> None:
    forms = ("md", "csv", "latex", "json")
    text, csv, tex, values = (report(finished, "--format", form, "--style", "full") for form in forms)
    assert "nested, unbiased by the selection" in " ".join(report(finished).split())
    assert "| run/nested | test       | all  |" in text
    said = "that a search without its test signers has chosen, so this test mean is unbiased by the selection"
    assert said in " ".join(text.split())
    assert said in " ".join(tex.split())
    assert f"| run/nested | 1          | outer-1/{(read_info(finished).winners or ())[1]} " in text
    row = json.loads(values)["rows"][0]
    assert (row["n"], row["complete"], row["note"]) == (
        4,
        True,
        "nested: unbiased by the selection of the configuration; synthetic data",
    )
    assert [one["outer_fold"] for one in json.loads(values)["choices"]] == [0, 1]
    assert "chosen for outer fold 1: neuron.decay = 0." in csv
    html = Path(report(finished, "--format", "html").strip()).read_text()
    assert "unbiased by the selection of the configuration" in html
    assert "sltune tune --nested run/space.toml --data data --run run-again" in html


def test_the_searches_of_outer_folds_are_ordinary_runs(finished: RunFolder) -> None:
    inner = finished.outer(1)
    assert run_name(inner) == "run-outer-1"
    assert "run-outer-1/" in report(inner, "--all")
    text = page_of(inner)
    assert "the search in outer fold 1 of a nested search, without its test signers" in text
    assert "space.toml --data" not in text
    for folder in (finished, inner):
        assert Follower(folder).over
    # What goes on with it is the whole.
    assert resume_command(inner) == f"sltune resume {finished.root}"
    before = results(finished)
    for folder in (inner, finished):
        done = CliRunner().invoke(main, ["resume", str(folder.root), "--device", "cpu", "-q"])
        assert done.exit_code == 0, done.output
    assert results(finished) == before


def test_a_setting_that_differs_from_fold_to_fold_is_none_of_the_whole(finished: RunFolder) -> None:
    (one,) = series_of(load_runs([finished.root]))
    (result,) = one.results
    differ = len({record.config["neuron"]["decay"] for record in finished.records()}) > 1
    assert ("neuron.decay" in result.settings) != differ
    assert result.settings["training.epochs"] == 1


def test_what_was_killed_and_interrupted_anywhere_ends_as_if_nothing_had_happened(
    dataset: Path, folder: RunFolder, finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the twenty trainings has two steps: its epoch and its end. No winner is written down at the first try."""
    step, write, steps, kills = TrialWorker.step, nested.write_info, list[int](), [0, 1]

    def stopped(self: TrialWorker) -> dict[str, Any]:
        if len(steps) == 3:
            raise KeyboardInterrupt
        steps.append(1)
        return step(self)

    def killed(place: RunFolder, info: RunInfo) -> None:
        if kills and kills[0] == len(read_info(place).winners or ()):
            kills.pop(0)
            raise MemoryError
        write(place, info)

    monkeypatch.setattr(TrialWorker, "step", stopped)
    monkeypatch.setattr(nested, "write_info", killed)
    with pytest.raises(Interrupted, match=f"go on with: sltune resume {folder.root}$"):
        begin(folder, dataset, TWO_SEEDS)
    stops = 1
    while True:
        steps.clear()
        try:
            go_on(folder)
            break
        except (Interrupted, MemoryError):
            stops += 1
    assert stops > 10
    assert not kills
    assert results(folder) == results(finished)


def test_a_search_without_a_winner_ends_the_run_and_leaves_no_silent_gap(dataset: Path, folder: RunFolder) -> None:
    with pytest.raises(NothingRan, match="outer fold 0 has no winner to test: no configuration keeps the constraints"):
        begin(folder, dataset, searched({"constraints": {"max_synaptic_ops": 1e-6}}))
    with pytest.raises(NothingRan, match="outer fold 0 has no winner"):
        go_on(folder)
    assert "run/nested: 0 of 2 trials; folds 0, 1 missing" in " ".join(report(folder).split())


def test_failed_trials_of_a_search_are_named_at_the_end(
    dataset: Path, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = TrialWorker._begin

    def failing(self: TrialWorker, job: str) -> None:
        setup(self, job)
        if TrialWorker.key_of(job) == TrialKey("c0001", 0, 0):
            self._reports = (report for report in [Report("failed", "no luck")])

    monkeypatch.setattr(TrialWorker, "_begin", failing)
    with pytest.raises(SomeTrialsFailed, match="outer-0/c0001-f0-s0: failed: no luck\nouter-1/c0001-f0-s0"):
        begin(folder, dataset)
    assert read_info(folder).winners == ("c0000", "c0000")
    monkeypatch.undo()
    # Both folds have their winners, which stay, and so do these failures.
    with pytest.raises(SomeTrialsFailed, match="failed, so that their configurations could not be chosen"):
        go_on(folder, retry_failed=True)


@pytest.mark.parametrize(
    ("space", "error", "said"),
    [
        ({"evaluation__folds": 7}, DataError, "7 outer folds, .* need at least 9 subjects, but the dataset has 8"),
        ({"evaluation__seeds": [3, 4]}, UsageError, r"\[3, 4\] draws folds of its own; .*evaluation.split_seed=3"),
        ({"network__weights": "w/{fold1}.pt"}, UsageError, "network.weights names a file for each fold"),
    ],
)
def test_what_cannot_be_nested_is_refused_before_anything_is_written(
    dataset: Path, folder: RunFolder, space: dict[str, Any], error: type[SltuneError], said: str
) -> None:
    with pytest.raises(error, match=said):
        begin(folder, dataset, searched(**space))
    assert not folder.root.exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--from", "RUN"], "an earlier run has seen the signers on whom a nested search tests"),
        (["--study-storage", "sqlite:///s.db"], "a nested search has a study in each of its folders"),
    ],
)
def test_options_that_a_nested_search_cannot_take_are_refused(
    finished: RunFolder, tmp_path: Path, flags: list[str], said: str
) -> None:
    given = [str(finished.root) if flag == "RUN" else flag for flag in flags]
    done = sltune("tune", finished.space_toml, "--data", finished.root.parent / "data", "--nested", *given)
    assert (done.exit_code, said in done.stderr) == (2, True), done.output


def test_a_finished_nested_search_is_neither_begun_nor_searched_nor_learned_from_again(
    finished: RunFolder, tmp_path: Path
) -> None:
    data = finished.root.parent / "data"
    with pytest.raises(UsageError, match="this run exists; go on with it by: sltune resume"):
        begin(finished, data)
    for folder in (finished, finished.outer(0)):
        done = sltune("resume", folder.root, "--trials", 9)
        assert (done.exit_code, "must not be chosen anew" in done.stderr) == (2, True)
        with pytest.raises(UsageError, match="belongs to a nested search, in which no configuration was judged"):
            start(Tune(searched(), earlier=folder), data, RunFolder(tmp_path / "next"), REQUEST, QUIET)
    with pytest.raises(UsageError, match=r"has chosen a configuration of its own; name one of its trials"):
        configuration_of(finished)
    chosen = configuration_of(finished, "c0000-f1-s0").settings["neuron.decay"]
    assert chosen == finished.records()[1].config["neuron"]["decay"]


def test_a_search_that_has_seen_the_signers_of_its_fold_is_refused(finished: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, copy.root)
    shutil.rmtree(copy.outer(0).root)
    shutil.copytree(copy.outer(1).root, copy.outer(0).root)
    with pytest.raises(DataError, match=r"outer-0/trials: c0000-f0-s0 has seen user\d+_indoor, which outer"):
        go_on(copy)
    write_info(copy, read_info(copy).model_copy(update={"winners": ()}))
    with pytest.raises(DataError, match="'outer_fold' is 1 instead of 0: it has seen other signers"):
        go_on(copy)


def test_what_no_nested_search_has_written_is_refused(finished: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, copy.root)
    winners = read_info(copy).winners or ()
    write_info(copy, read_info(copy).model_copy(update={"winners": (*winners, "c0009")}))
    go_on(copy)
    write_info(copy, read_info(copy).model_copy(update={"winners": (winners[0], "c0009")}))
    with pytest.raises(DataError, match="outer-1/trials: has no record of c0009, which outer fold 1 has chosen"):
        go_on(copy)
    write_info(copy, read_info(copy).model_copy(update={"winners": winners}))
    foreign = copy.trials / "c0000-f7-s0"
    shutil.copytree(copy.trials / "c0000-f1-s0", foreign)
    record = json.loads((foreign / "record.json").read_text())
    (foreign / "record.json").write_text(json.dumps({**record, "fold": 7, "splits": {}}))
    with pytest.raises(DataError, match="is not the configuration of the record of c0000-f7-s0"):
        go_on(copy)


def test_no_link_leads_a_search_elsewhere(dataset: Path, folder: RunFolder, tmp_path: Path) -> None:
    folder.root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    folder.outer(0).root.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="outer-0: is a link, through which nothing is written"):
        begin(folder, dataset)
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_plain_search_says_what_its_winner_is_worth_and_what_a_nested_one_costs(
    dataset: Path, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four trainings; nested, two searches of four each and two outer trials."""
    start(Tune(searched()), dataset, folder, REQUEST, Display(Console(file=sys.stderr), "quiet"))
    said = " ".join(capsys.readouterr().err.split())
    optimistic = "its test mean is optimistic, as it was chosen among 2 configurations by validation on signers who are"
    best = read_info(folder).best
    assert f"{best}: {optimistic} test signers in other folds" in said
    command = f"sltune tune {folder.space_toml} --data {dataset} --nested --run run-nested"
    assert re.search(
        rf"unbiased figure: about 10 trainings, [\d.]+ (hours|minutes) one after the other: {command}", said
    )
    printed = CliRunner().invoke(main, ["report", str(folder.root)])
    assert f"run/{best}: {optimistic}" in printed.stderr
    assert optimistic not in printed.stdout
    text = " ".join(page_of(folder).split())
    assert f"run/{best}: {optimistic} test signers in other folds. sltune tune … --nested" in text
    assert "data --nested --run run-nested" in text
