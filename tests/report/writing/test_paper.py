"""What a paper takes over: one table, two paragraphs and their references."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from statistics import mean, stdev

import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main
from tests.report.tables.test_text import check_latex_structure, markdown_tables
from tests.report.writing.lab import read_records, write_lab


def paper(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments), "--style", "paper"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("lab")
    return write_lab(folder, "crops", 0.8, seed=1), write_lab(folder, "paper", 0.6, seed=2)


def accuracy_of(run: Path) -> str:
    values = [100 * one["metrics"]["test_accuracy"] for one in read_records(run)]
    return f"{mean(values):.2f} ± {stdev(values):.2f}"


def test_the_table_has_mean_and_deviation_in_one_cell_and_what_methods_are_called(lab: tuple[Path, Path]) -> None:
    result = paper(*lab, "--label", "crops=Ours", "--label", "paper/c0000=STBP, again")
    (lines,) = markdown_tables(result.stdout)
    ours, again = lines[-1], lines[-2]
    assert (ours["method"], ours["accuracy, %"], ours["n"], ours["cost"]) == ("Ours", accuracy_of(lab[0]), "12", "4 M")
    assert (again["method"], again["accuracy, %"]) == ("STBP, again", accuracy_of(lab[1]))
    nearest = next(line for line in lines if line["method"] == "nearest neighbour")
    assert nearest["accuracy, %"] == f"{100 * 5 / 19:.2f} ± 0.00"


def test_other_costs_of_each_method_stand_below_the_table(tmp_path: Path) -> None:
    run = write_lab(tmp_path, "crops", 0.8)
    for file in run.glob("trials/*/record.json"):
        record = json.loads(file.read_text())
        record["metrics"] |= {"effective_macs": 2e6, "membrane_updates": 5e5, "energy_joules": 3.5e-6}
        file.write_text(json.dumps(record))
    said = "Ours, per sample: MACs 2 M, updates 0.5 M, energy 3.5 µJ"
    assert said in " ".join(paper(run, "--label", "crops=Ours").stdout.split())


def test_bold_is_the_highest_of_those_with_our_split_and_protocol(lab: tuple[Path, Path], tmp_path: Path) -> None:
    (lines,) = markdown_tables(paper(*lab).stdout)
    assert [line["method"] for line in lines if "**" in line["accuracy, %"]] == [
        "SEW-type net [@readme-of-a-student-repository]"
    ]
    # Higher ones have other test signers, or select their epoch on them.
    marks = {line["method"]: re.sub(r"[\d. ±*]", "", line["accuracy, %"]) for line in lines}
    assert marks["EventRPG SEW-ResNet18 [@sun-et-al-iclr-2024-arxiv-2403-09274]"] == "†‡"
    assert marks["STBP, paper [@vasudevan-et-al-2021]"] == "‡"
    better = write_lab(tmp_path, "better", 1.4)
    (lines,) = markdown_tables(paper(better).stdout)
    assert [line["method"] for line in lines if "**" in line["accuracy, %"]] == ["better/c0000"]


def test_published_rows_of_real_recordings_are_not_printed_beside_synthetic_data(tmp_path: Path) -> None:
    run = write_lab(tmp_path, "simulated", 0.7, dataset={"synthetic": True})
    text = paper(run).stdout
    (lines,) = markdown_tables(text)
    assert [line["method"] for line in lines] == ["majority", "nearest neighbour", "simulated/c0000"]
    assert "vasudevan" not in text
    assert "nothing follows for real recordings" in " ".join(text.split())


def test_every_citation_has_an_entry_in_the_file_of_references(lab: tuple[Path, Path], tmp_path: Path) -> None:
    result = paper(*lab, "--format", "latex", "--out", tmp_path / "tex" / "table.tex")
    assert result.exit_code == 0, result.output
    text, bib = ((tmp_path / "tex" / name).read_text() for name in ("table.tex", "refs.bib"))
    check_latex_structure(re.sub(r"\\label\{.*?\}|\\cite\{.*?\}|^% .*", "", text, flags=re.MULTILINE))
    cited = set(re.findall(r"\\cite\{(.*?)\}", text))
    entries = re.findall(r"^@\w+\{(.*?),$", bib, re.MULTILINE)
    assert cited == set(entries)
    assert len(entries) == len(set(entries))
    assert {"vasudevan-et-al-2021", "cameron-2011", "corani-2015"} <= cited
    assert "doi = {10.1007/s10044-021-01011-w}" in bib
    assert bib.count("{") == bib.count("}")


def test_of_one_run_the_references_go_into_its_folder(tmp_path: Path) -> None:
    run = write_lab(tmp_path, "alone", 0.7)
    assert paper(run, "--format", "latex").exit_code == 0
    assert "@misc{vasudevan-et-al-2021," in (run / "report" / "refs.bib").read_text()


def results(text: str) -> str:
    return " ".join(text.split()).partition("Results: ")[2]


def test_the_results_claim_no_more_than_the_numbers(lab: tuple[Path, Path], tmp_path: Path) -> None:
    said = results(paper(*lab, "--label", "crops=Ours").stdout)
    assert said.startswith(
        f"Ours reached a test accuracy of {accuracy_of(lab[0])} % (mean over folds and seeds, n = 12;"
    )
    assert "Its accuracy was higher than that of paper/c0000 (+" in said
    alike = write_lab(tmp_path, "alike", 0.8, seed=5)
    said = results(paper(lab[0], alike).stdout)
    assert "No difference from" in said
    assert "higher" not in said
    single = write_lab(tmp_path, "single", 0.7, seeds=1)
    (single / "trials" / "c0000-f1-s0" / "record.json").unlink()
    assert "The mean is incomplete: 3 of 4 trials; fold 1 missing." in results(paper(single).stdout)


def test_the_methods_say_what_was_done(tmp_path: Path) -> None:
    run = write_lab(tmp_path, "one", 0.7, protocol="train-test", test_accuracy_last=0.5)
    text = " ".join(paper(run).stdout.split())
    assert "19 classes, 24 recordings, 24 test subjects, fingerprint ffffffffffff" in text
    assert "Accuracies of the last epoch are given." in text
    assert "50.00 ± 0.00 %" in results(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--label", "Ours"], "--label must be RUN=NAME, but got 'Ours'"),
        (["--label", "other=Ours"], "--label other=…: must name one of crops, crops/c0000"),
        (["--format", "csv"], "--style paper: is no style of --format csv"),
    ],
)
def test_what_a_paper_cannot_be_made_of_is_refused(arguments: list[str], said: str, lab: tuple[Path, Path]) -> None:
    result = paper(lab[0], *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


DOCUMENT = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[letterpaper,textwidth=7.16in,textheight=9.4in,columnsep=0.26in]{geometry}
\usepackage{booktabs}
\begin{document}
\input{table}
\bibliographystyle{plain}
\bibliography{refs}
\end{document}
"""


@pytest.mark.slow
def test_it_compiles_into_two_columns_as_it_is(lab: tuple[Path, Path], tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None or shutil.which("bibtex") is None:
        pytest.skip("no pdflatex here: apt-get install texlive-latex-recommended")
    assert paper(*lab, "--format", "latex", "--out", tmp_path / "table.tex").exit_code == 0
    (tmp_path / "paper.tex").write_text(DOCUMENT)
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for command in (latex, ["bibtex", "paper"], latex, latex):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    # Nothing is wider than a column, and every citation is found.
    assert "Overfull" not in done.stdout
    assert "Warning" not in done.stdout
    assert b"/Type3" not in (tmp_path / "paper.pdf").read_bytes()
