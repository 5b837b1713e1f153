"""Each format read back by a parser of its own; numbers worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import pytest

from sltune.errors import UsageError
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.summary import table
from sltune.report.tables.text import Format, render, write_report
from sltune.system.locks import locked

Spec = dict[str, Any]
Record = Callable[..., Spec]
WriteRun = Callable[..., Path]
Lines = list[dict[str, str]]
FORMATS: tuple[Format, ...] = get_args(Format)
PLANNED = [f"c0000-f{fold}-s0" for fold in range(4)]
SYNTHETIC = {"synthetic": True}


def text_of(*folders: Path, format: Format = "md", **options: Any) -> str:
    return render(table(load_runs(folders), **options), format)


def markdown_tables(text: str) -> list[Lines]:
    """Read every pipe table of a Markdown text; checks that rule and widths are well formed."""
    blocks = [block.split("\n") for block in text.strip().split("\n\n") if block.startswith("|")]
    tables = []
    for header, rule, *lines in blocks:
        assert re.fullmatch(r"\|( -+:? \|)+", rule), rule
        assert {len(line) for line in lines} <= {len(header)}
        cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in (header, *lines)]
        tables.append([dict(zip(cells[0], line, strict=True)) for line in cells[1:]])
    return tables


@pytest.fixture
def half_done(record: Record, run_folder: WriteRun) -> Path:
    """50, 60, 70 and one failed fold: mean 60, squared deviations 100 + 0 + 100."""
    done = [record(fold, 0.5 + 0.1 * fold, val_accuracy=0.25) for fold in range(3)]
    return run_folder([*done, record(3, status="failed")], name="half")


@pytest.fixture
def optimistic(record: Record, run_folder: WriteRun) -> Path:
    facts: Spec = {"protocol": "train-test", "dataset": SYNTHETIC, "test_accuracy_last": 0.25}
    return run_folder([record(fold, 0.5, **facts) for fold in range(2)], name="fast")


def test_markdown_gives_mean_both_deviations_and_the_count(half_done: Path) -> None:
    means, *_ = markdown_tables(text_of(half_done))
    # As many recordings are tested on as trained: 60 ± 4.302653 · √((1/3 + 1) · 100), cut at 100 %.
    test = {"run": "half/c0000", "metric": "test", "mean": "60.00", "95 % interval": "10.32–100.00"}
    assert means[0] == test | {"± ddof 1": "10.00", "± ddof 0": "8.16", "n": "3 of 4: 1 failed"}
    assert (means[1]["metric"], means[1]["mean"], means[1]["± ddof 1"]) == ("validation", "25.00", "0.00")
    assert (means[2]["run"], means[2]["mean"]) == ("chance", "5.26")
    assert len(means) == 3


def test_markdown_names_the_trial_that_failed_in_its_fold(half_done: Path) -> None:
    text = text_of(half_done)
    _, folds, *_ = markdown_tables(text)
    cells = {"fold 0": "50.00", "fold 1": "60.00", "fold 2": "70.00", "fold 3": "failed"}
    assert folds[0] == {"run": "half/c0000", "metric": "test", "seed": "0"} | cells
    assert "- Incomplete: half/c0000: 3 of 4 trials; fold 3 failed\n" in text


def test_markdown_marks_published_figures_each_with_its_own_ddof(half_done: Path) -> None:
    text = text_of(half_done)
    figures = {line["method"].split(" [")[0]: line for line in markdown_tables(text)[2]}
    figures |= {line["method"].split(" [")[0]: line for line in markdown_tables(text)[3]}
    assert "\nPublished, split: 4 folds, ± over folds:\n" in text
    assert "\nPublished, split: EvT's:\n" in text
    assert "\n- Published, train-test: optimistic: selects the epoch on the test set\n" in text
    paper, optimised = figures["STBP, paper"], figures["STBP, ronichester, tuned"]
    assert (paper["mean"], paper["std"], paper["ddof"], paper["protocol"]) == ("56.20", "1.52", "1", "train-test")
    assert (optimised["mean"], optimised["std"], optimised["ddof"], optimised["n"]) == ("75.78", "2.73", "0", "4")
    assert (figures["SEW-type net"]["ddof"], figures["EvT"]["std"], figures["EvT"]["ddof"]) == ("?", "–", "–")
    assert paper["method"] == "STBP, paper [1]"
    assert "\n- [1] Vasudevan et al. 2021, doi 10.1007/s10044-021-01011-w" in text


def test_the_ddof_asked_for_comes_first_and_stands_alone_without_published_figures(half_done: Path) -> None:
    asked = markdown_tables(text_of(half_done, ddof=0))[0][0]
    assert [key for key in asked if "ddof" in key] == ["± ddof 0", "± ddof 1"]
    alone = markdown_tables(text_of(half_done, ddof=0, published=False))
    assert [key for key in alone[0][0] if "ddof" in key] == ["± ddof 0"]
    assert len(alone) == 2


def test_markdown_shows_a_dash_where_one_value_has_no_deviation(record: Record, run_folder: WriteRun) -> None:
    means = markdown_tables(text_of(run_folder([record(0, 0.5)]), published=False))[0]
    assert (means[0]["mean"], means[0]["± ddof 1"], means[0]["n"]) == ("50.00", "–", "1")


def test_markdown_gives_every_seed_a_line_where_there_are_several(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.25), record(0, 0.75, seed=3)])
    means, folds, *_ = markdown_tables(text_of(folder))
    assert [(line["seed"], line["mean"]) for line in means[:3]] == [("all", "50.00"), ("0", "25.00"), ("3", "75.00")]
    assert [(line["seed"], line["fold 0"]) for line in folds[:2]] == [("0", "25.00"), ("3", "75.00")]


def test_metrics_of_the_users_have_a_table_with_mean_and_deviation(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(fold, 0.5, own={"top(k=2)": value}) for fold, value in enumerate((0.5, 0.75))])
    lines = [line for table in markdown_tables(text_of(folder)) for line in table]
    shown = {"run": "paper/c0000", "metric": "top(k=2)", "mean": "0.625", "± ddof 1": "0.1768", "n": "2"}
    assert shown in lines
    assert "0.1768" in text_of(folder, format="latex")


def test_markdown_sets_every_dataset_and_session_choice_apart(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.5), record(1, 0.5, sessions=["S1", "S2", "S4"]), record(2, 0.5, sessions=["S1"])])
    headings = [line for line in text_of(folder).split("\n") if line.startswith("## ")]
    assert headings == [
        "## SL-Animals-DVS, full set (S1, S2, S3, S4)",
        "## SL-Animals-DVS, reduced set (S1, S2, S4)",
        "## SL-Animals-DVS, sessions (S1)",
    ]


def test_markdown_of_a_finished_evaluation_fits_80_columns(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(fold, 0.5, dataset=SYNTHETIC) for fold in range(4)], name="demo")
    assert max(map(len, text_of(folder).split("\n"))) <= 80


def test_markdown_of_an_incomplete_train_test_run_fits_100_columns(record: Record, run_folder: WriteRun) -> None:
    trials = [
        record(0, 0.5, protocol="train-test", test_accuracy_last=0.5),
        record(1, status="failed", protocol="train-test"),
    ]
    folder = run_folder(trials, name="paper", planned=PLANNED)
    text = text_of(folder)
    assert max(map(len, text.split("\n"))) <= 100
    assert markdown_tables(text)[0][0]["n"] == "1 of 4: incomplete"
    assert [markdown_tables(text)[1][0][f"fold {fold}"] for fold in range(4)] == [
        "50.00",
        "failed",
        "missing",
        "missing",
    ]


def csv_lines(text: str) -> Lines:
    return list(csv.DictReader(io.StringIO(text), strict=True))


def test_csv_has_one_line_a_row_at_full_precision(half_done: Path) -> None:
    lines = csv_lines(text_of(half_done, format="csv"))
    test = lines[0]
    assert [line["kind"] for line in lines].count("measured") == 2
    assert float(test["mean_percent"]) == pytest.approx(60, abs=1e-12)
    assert float(test["std_percent"]) == pytest.approx(10, abs=1e-12)
    assert float(test["std_ddof0_percent"]) == pytest.approx((200 / 3) ** 0.5, abs=1e-12)
    assert (test["ddof"], test["n"], test["complete"], test["seed"]) == ("1", "3", "false", "")
    assert test["trials"] == "3 of 4 trials; fold 3 failed"
    assert float(test["chance_percent"]) == pytest.approx(100 / 19, abs=1e-12)
    values = dict(pair.split(":") for pair in test["values_percent"].split(";"))
    assert {key: float(value) for key, value in values.items()} == pytest.approx(
        {"f0-s0": 50, "f1-s0": 60, "f2-s0": 70}, abs=1e-12
    )


def test_csv_marks_published_figures_and_an_unknown_ddof(half_done: Path) -> None:
    figures = {line["run"]: line for line in csv_lines(text_of(half_done, format="csv")) if line["kind"] == "published"}
    sew = figures["SEW-type net"]
    # Of two figures with this name, the second.
    assert (sew["mean_percent"], sew["std_percent"], sew["ddof"], sew["protocol"]) == (
        "90.2",
        "0.9",
        "?",
        "train-val-test",
    )
    assert (sew["split"], sew["std_over"], figures["Spike-SLR"]["protocol"]) == ("41/9/9 signers", "seeds", "?")
    assert figures["EventRPG SEW-ResNet18"]["note"] == "optimistic: selects the epoch on the test set"
    assert figures["EvT"]["ddof"] == ""
    assert figures["STBP, paper"]["doi"] == "10.1007/s10044-021-01011-w"


def test_json_has_the_documented_keys_in_per_cent(half_done: Path) -> None:
    report = json.loads(text_of(half_done, format="json"))
    row = report["rows"][0]
    names = ["run", "config_id", "protocol", "sessions", "metric", "mean", "std", "ddof", "n", "values"]
    assert list(row)[:10] == names
    assert report["unit"] == "%"
    assert (row["run"], row["config_id"], row["protocol"]) == ("half", "c0000", "train-val-test")
    assert (row["sessions"], row["metric"]) == (["S1", "S2", "S3", "S4"], "test_accuracy")
    assert (row["mean"], row["std"], row["ddof"], row["n"]) == (pytest.approx(60), pytest.approx(10), 1, 3)
    assert row["values"][1] == {"fold": 1, "seed": 0, "value": pytest.approx(60), "loss": None}
    assert row["std_by_ddof"] == {"0": pytest.approx((200 / 3) ** 0.5), "1": pytest.approx(10)}
    assert row["absent"] == [{"fold": 3, "seed": 0, "reason": "failed"}]
    assert row["complete"] is False


def test_json_gives_null_for_what_is_not_known(record: Record, run_folder: WriteRun) -> None:
    report = json.loads(text_of(run_folder([record(0, 0.5)]), format="json"))
    assert report["rows"][0]["std"] is None
    sew = next(figure for figure in report["published"] if figure["method"] == "SEW-type net")
    assert (sew["mean"], sew["std"], sew["ddof"], sew["doi"]) == (87.6, 1.5, None, None)
    assert (sew["split"], sew["protocol"], sew["std_over"]) == ("4 folds", "train-val-test", "folds")


def latex_tables(text: str) -> Iterator[Lines]:
    """Read every tabular; checks that each line has as many cells as the columns declared."""
    for columns, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        lines = [line for line in body.strip().split("\n") if "&" in line]
        rules = [line for line in body.strip().split("\n") if "&" not in line]
        assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
        assert all(line.endswith(r" \\") for line in lines)
        cells = [[cell.strip() for cell in re.split(r"(?<!\\)&", line[:-3])] for line in lines]
        assert {len(line) for line in cells} == {len(columns)}
        yield [dict(zip(cells[0], line, strict=True)) for line in cells[1:]]


def check_latex_structure(text: str) -> None:
    bare = re.sub(r"\\[\\{}%&$#_]", "", re.sub(r"^% .*\n", "", text))
    assert bare.count("{") == bare.count("}")
    assert "%" not in bare
    assert "#" not in bare
    assert "_" not in bare
    assert bare.count("$") % 2 == 0
    begun, ended = (re.findall(rf"\\{word}\{{(\w+)\}}", text) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended)


def test_latex_is_a_whole_booktabs_table_with_the_same_numbers(half_done: Path) -> None:
    text = text_of(half_done, format="latex")
    check_latex_structure(text)
    means, folds, figures, *_ = latex_tables(text)
    assert (means[0]["mean"], means[0][r"$\pm$ ddof 1"], means[0][r"$\pm$ ddof 0"]) == ("60.00", "10.00", "8.16")
    assert folds[0]["fold 3"] == "failed"
    assert figures[0]["mean"] == "56.20"
    assert text.count(r"\begin{table}") == text.count(r"\caption{") == 2
    assert re.findall(r"\\label\{(.*?)\}", text) == ["tab:sltune-1", "tab:sltune-1-published"]
    assert r"Accuracy in \%; 19 classes, chance 5.26 \%" in text


def test_names_with_special_characters_survive_latex_and_markdown(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.5)], name=r"a_b&50%|$x#{y}~^\z[1]")
    latex, markdown = text_of(folder, format="latex"), text_of(folder)
    check_latex_structure(latex)
    escaped = r"a\_b\&50\%\textbar{}\$x\#\{y\}\textasciitilde{}\textasciicircum{}\textbackslash{}z{[}1{]}/c0000"
    assert next(latex_tables(latex))[0]["run"] == escaped
    assert markdown_tables(markdown)[0][0]["run"] == r"a_b&50%\|$x#{y}~^\z[1]/c0000"


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_optimistic_synthetic_and_no_comparison(format: Format, optimistic: Path) -> None:
    text = re.sub(r"\s+", " ", text_of(optimistic, format=format))
    assert "optimistic: selects the epoch on the test set" in text
    assert "synthetic data" in text
    assert "measured on the real recordings, no comparison with synthetic data" in text


@pytest.mark.parametrize("format", FORMATS)
def test_no_format_says_so_of_honest_real_data(format: Format, half_done: Path) -> None:
    text = text_of(half_done, format=format, published=False)
    assert "optimistic" not in text.replace('"optimistic": false', "")
    assert "synthetic" not in text.replace('"synthetic": false', "").replace(",synthetic,", ",")


def test_the_last_epoch_stands_beside_the_optimistic_figure(optimistic: Path) -> None:
    means = markdown_tables(text_of(optimistic))[0]
    assert [(line["metric"], line["mean"]) for line in means[:2]] == [
        ("test, optimistic", "50.00"),
        ("test, last epoch", "25.00"),
    ]


@pytest.fixture
def with_losses(record: Record, run_folder: WriteRun) -> Path:
    """Losses 0.2 and 0.6: mean 0.4, deviation 0.2 (ddof 0) or 0.2 · √2. The last epoch has 0.7 twice."""
    losses = [{"test_loss_min": loss, "test_loss": loss, "test_loss_last": 0.7} for loss in (0.2, 0.6)]
    return run_folder(
        [record(fold, 0.5, protocol="train-test", test_accuracy_last=0.25, **losses[fold]) for fold in range(2)],
        name="fast",
    )


def test_markdown_gives_mean_and_deviation_of_the_losses(with_losses: Path) -> None:
    lines = markdown_tables(text_of(with_losses, ddof=0))[1]
    assert lines == [
        {"run": "fast/c0000", "loss": "test, optimistic", "mean": "0.4000", "± ddof 0": "0.2000", "n": "2"},
        {"run": "fast/c0000", "loss": "test, last epoch", "mean": "0.7000", "± ddof 0": "0.0000", "n": "2"},
    ]


def test_json_and_csv_have_losses_beside_accuracies(with_losses: Path) -> None:
    lowest, last = json.loads(text_of(with_losses, format="json"))["rows"]
    assert (lowest["loss"], lowest["loss_std"], lowest["loss_n"]) == pytest.approx((0.4, 0.2 * 2**0.5, 2))
    assert [value["loss"] for value in lowest["values"]] == [0.2, 0.6]
    assert (last["metric"], last["loss"], last["loss_std"]) == ("test_accuracy_last", 0.7, 0)
    line = csv_lines(text_of(with_losses, format="csv"))[0]
    assert [float(line[key]) for key in ("loss", "loss_std", "loss_n")] == pytest.approx([0.4, 0.2 * 2**0.5, 2])


@pytest.mark.parametrize("format", FORMATS)
def test_a_run_without_records_is_a_table_that_says_so(format: Format, run_folder: WriteRun) -> None:
    text = text_of(run_folder([], planned=PLANNED), format=format)
    assert "0 of 4 trials; folds 0, 1, 2, 3 missing" in re.sub(r"\s+", " ", text)
    if format != "csv":
        assert "No trial has a result." in text


@pytest.mark.parametrize("format", FORMATS)
def test_a_run_that_plans_nothing_renders(format: Format, run_folder: WriteRun) -> None:
    assert text_of(run_folder([]), format=format).endswith("\n")


def test_an_unknown_format_is_refused_with_the_allowed_ones(half_done: Path) -> None:
    with pytest.raises(UsageError, match="format is 'xlsx'; allowed are md, csv, latex, json"):
        text_of(half_done, format="xlsx")  # type: ignore[arg-type]


def test_the_report_folder_gets_every_format(half_done: Path) -> None:
    result = table(load_runs([half_done]))
    files = write_report(half_done, result)
    assert [file.relative_to(half_done).as_posix() for file in files] == [
        f"report/table.{suffix}" for suffix in ("md", "csv", "tex", "json")
    ]
    assert [file.read_text(encoding="utf-8") for file in files] == [render(result, format) for format in FORMATS]
    assert sorted(files) == sorted((half_done / "report").iterdir())


@pytest.fixture
def under_way(record: Record, run_folder: WriteRun) -> Path:
    """A run in every state: done, pruned, failed, diverged, unfinished and not begun."""
    states = [record(1, 0.9, status="pruned"), record(2, 0.9, status="failed"), record(3, 0.9, status="diverged")]
    folder = run_folder([record(0, 0.5), *states], name="busy", planned=[f"c0000-f{fold}-s0" for fold in range(6)])
    (folder / "trials" / "c0000-f4-s0").mkdir()
    (folder / "trials" / "c0000-f4-s0" / "epochs.csv").write_text("epoch,val_loss\n1,0.5\n")
    return folder


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("state", ["running", "unfinished"])
def test_every_format_counts_results_alone_and_names_the_others(format: Format, state: str, under_way: Path) -> None:
    with locked(under_way / ".lock") if state == "running" else nullcontext():
        text = text_of(under_way, format=format, published=False)
    said = "1 of 6 trials; fold 1 pruned; fold 2 failed; fold 3 diverged; fold 4 STATE; fold 5 missing"
    assert said.replace("STATE", state) in re.sub(r"\s+", " ", text)
    mean = {
        "md": lambda: markdown_tables(text)[0][0]["mean"],
        "csv": lambda: csv_lines(text)[0]["mean_percent"],
        "latex": lambda: next(latex_tables(text))[0]["mean"],
        "json": lambda: json.loads(text)["rows"][0]["mean"],
    }[format]()
    assert float(mean) == 50


@pytest.mark.slow
def test_latex_compiles(under_way: Path, record: Record, run_folder: WriteRun, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here: apt-get install texlive-latex-recommended")
    other = run_folder([record(fold, 0.4 + 0.1 * fold) for fold in range(4)], name=r"*a_b--c&50%|$x#{y}~^\z[1]")
    optimistic = run_folder([record(0, 0.5, protocol="train-test", test_accuracy_last=0.25)], name="fast")
    table_text = text_of(under_way, other, optimistic, format="latex")
    # As an article has them: on A4 with usual margins, where nothing may be too large for a page.
    packages = "\\usepackage[a4paper,margin=2.5cm]{geometry}\n\\usepackage{booktabs}\n"
    document = f"\\documentclass{{article}}\n{packages}\\begin{{document}}\n{table_text}\\end{{document}}\n"
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 0
