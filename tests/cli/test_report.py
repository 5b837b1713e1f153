"""The verb report: what goes where, and what is refused without touching anything."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main

Spec = dict[str, Any]
Record = Callable[..., Spec]
WriteRun = Callable[..., Path]


def report(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


@pytest.fixture
def run(record: Record, run_folder: WriteRun) -> Path:
    return run_folder([record(fold, 0.5 + 0.1 * fold) for fold in range(4)])


def files_below(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_the_table_is_printed_and_written_with_the_frame_of_records(run: Path) -> None:
    result = report(run, "--style", "full")
    assert result.exit_code == 0
    assert "65.00" in result.stdout
    written = {path.name for path in (run / "report").iterdir()}
    assert written == {"table.md", "table.csv", "table.tex", "table.json", "records.parquet"}
    assert (run / "report" / "table.md").read_text() == result.stdout
    assert list(pd.read_parquet(run / "report" / "records.parquet")["test_accuracy"]) == [0.5, 0.6, 0.7, 0.8]


def test_the_page_goes_into_the_run_and_its_path_is_printed(run: Path) -> None:
    result = report(run, "--format", "html")
    assert result.exit_code == 0
    assert result.stdout == f"{run / 'report' / 'report.html'}\n"
    assert "65.00 ± 12.91 %" in (run / "report" / "report.html").read_text()


def test_plots_are_drawn_as_png_and_svg(run: Path) -> None:
    trial = run / "trials" / "c0000-f0-s0"
    (trial / "epochs.csv").write_text("epoch,train_loss,val_loss,val_accuracy\n1,1.0,0.9,0.25\n2,0.8,0.7,0.5\n")
    result = report(run, "--plots")
    assert result.exit_code == 0
    assert f"plots in {run / 'report'}: 1, each as PDF, SVG and PNG, 3.45 inches wide" in result.stderr
    assert (run / "report" / "learning-curves-wide.pdf").read_bytes().startswith(b"%PDF")
    assert (run / "report" / "learning-curves.png").read_bytes().startswith(b"\x89PNG")
    assert ET.parse(run / "report" / "learning-curves.svg").getroot().tag.endswith("svg")


def test_several_runs_need_a_place_for_what_is_not_printed(run: Path, record: Record, run_folder: WriteRun) -> None:
    other = run_folder([record(fold, 0.25) for fold in range(4)], name="other")
    before = files_below(run.parent)
    for flags in (["--format", "html"], ["--plots"]):
        refused = report(run, other, *flags)
        assert refused.exit_code == 2
        assert "a page or plots of several runs need a place; name it with --out FILE" in refused.stderr
    page = run.parent / "both.html"
    assert report(run, other, "--format", "html", "--out", page).exit_code == 0
    assert "other/c0000 against paper/c0000" in page.read_text()
    assert files_below(run.parent) == before | {"both.html"}


def test_a_table_goes_to_a_file(run: Path, tmp_path: Path) -> None:
    result = report(run, "--format", "json", "--out", tmp_path / "new" / "table.json")
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads((tmp_path / "new" / "table.json").read_text())["rows"][0]["mean"] == pytest.approx(65)


def test_a_folder_in_which_nothing_can_be_written_costs_a_warning(run: Path) -> None:
    (run / "report").write_text("in the way")
    result = report(run)
    assert result.exit_code == 0
    assert "65.00" in result.stdout
    assert "warning: " in result.stderr
    refused = report(run, "--format", "html")
    assert refused.exit_code == 2
    assert "cannot be written" in refused.stderr


def test_a_report_does_not_go_among_the_files_of_a_run(run: Path) -> None:
    before = (run / "run.json").read_bytes()
    refused = report(run, "--out", run / "run.json")
    assert refused.exit_code == 2
    assert "lies among the files of a run; those of a report go to" in refused.stderr
    assert (run / "run.json").read_bytes() == before
    assert report(run, "--out", run / "report" / "mine.md").exit_code == 0


@pytest.mark.parametrize("file", ["table.md", "table.csv", "records.parquet", "report.html", "learning-curves.png"])
def test_a_report_follows_no_link_that_a_run_came_with(run: Path, tmp_path: Path, file: str) -> None:
    """A run of a stranger could have a start-up file of the reader's shell replaced by text of the stranger's."""
    mine = tmp_path / "mine"
    mine.write_text("kept")
    (run / "report").mkdir()
    (run / "report" / file).symlink_to(mine)
    (run / "trials" / "c0000-f0-s0" / "epochs.csv").write_text("epoch,val_loss,val_accuracy\n1,0.9,0.25\n2,0.7,0.5\n")
    assert report(run, "--format", "html", "--plots").exit_code == 0
    assert mine.read_text() == "kept"
    assert not (run / "report" / file).is_symlink()


def test_a_report_folder_that_is_a_link_is_not_written_into(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (run / "report").symlink_to(mine)
    (run / "trials" / "c0000-f0-s0" / "epochs.csv").write_text("epoch,val_loss,val_accuracy\n1,0.9,0.25\n2,0.7,0.5\n")
    table = report(run)
    assert (table.exit_code, "65.00" in table.stdout) == (0, True)
    assert f"warning: {run / 'report'}: is a link, through which nothing is written" in table.stderr
    for more in (["--format", "html"], ["--plots"], ["--out", run / "report" / "mine.md"]):
        refused = report(run, *more)
        assert refused.exit_code == 2
        assert "report: is a link, through which nothing is written" in refused.stderr
    assert list(mine.iterdir()) == []


def test_out_may_be_a_link_to_a_file_of_the_users(run: Path, tmp_path: Path) -> None:
    link, mine = tmp_path / "link.md", tmp_path / "paper" / "table.md"
    mine.parent.mkdir()
    link.symlink_to(mine)
    assert report(run, "--out", link).exit_code == 0
    assert "65.00" in mine.read_text()
    assert link.is_symlink()


EVIL = "=cmd|' /C calc'!A0 \x1b[2J `id` <img src=x> [a](http://x) $\\input{/etc/passwd}$"


def test_the_name_of_a_run_is_data_in_every_format(record: Record, run_folder: WriteRun) -> None:
    """Whatever reads a table: a terminal, a spreadsheet, what renders Markdown or LaTeX, a browser."""
    run = run_folder([record(fold, 0.5 + 0.1 * fold) for fold in range(4)], name="evil")
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "name": EVIL}))
    texts = {form: report(run, "--format", form, "--style", "full").stdout for form in ("md", "csv", "latex", "json")}
    assert report(run, "--format", "html").exit_code == 0
    page = (run / "report" / "report.html").read_text()
    assert not any("\x1b" in text for text in texts.values())
    assert "\n=" not in texts["csv"]
    assert ",=" not in texts["csv"]
    assert "'=cmd|" in texts["csv"]
    assert r"\`id\` \<img src=x> [a]\(http://x)" in texts["md"]
    assert r"=cmd\|" in texts["md"]
    answers = report(run).stdout
    assert r"\u001b" not in answers
    assert "\x1b" not in answers
    assert "`id`" not in answers.replace(r"\`id\`", "")
    assert "<img" not in answers.replace(r"\<img", "")
    assert r"\$\textbackslash{}input\{/etc/passwd\}\$" in texts["latex"]
    assert r"\input" not in texts["latex"]
    assert json.loads(texts["json"])["rows"][0]["run"] == EVIL
    assert "&lt;img src=x&gt;" in page
    assert "<img src=x>" not in page


def test_files_beside_runs_are_left_aside_as_with_a_star(run: Path) -> None:
    beside = run.parent / "published.toml"
    beside.write_text("")
    assert report(run, beside).stdout == report(run).stdout
    assert report(beside).exit_code == 3


def test_all_runs_in_a_folder_are_reported(run: Path, record: Record, run_folder: WriteRun) -> None:
    other = run_folder([record(fold, 0.25) for fold in range(4)], name="other")
    (run.parent / "notes").mkdir()
    text = report(run.parent, "--format", "json").stdout
    assert text == report(other, run, "--format", "json").stdout
    assert {row["run"] for row in json.loads(text)["rows"]} == {"other", "paper"}
    empty = report(run.parent / "notes")
    assert (empty.exit_code, "is this a run folder?" in empty.stderr) == (3, True)


def test_comparisons_of_an_earlier_report_do_not_stay(record: Record, run_folder: WriteRun) -> None:
    records = [record(0, 0.5, config_id=config_id) for config_id in ("c0000", "c0001")]
    folder = run_folder(records, kind="tune", best="c0000")
    assert report(folder, "--all").exit_code == 0
    assert (folder / "report" / "comparisons.csv").exists()
    assert report(folder).exit_code == 0
    assert not (folder / "report" / "comparisons.csv").exists()


def damage_empty(run: Path) -> None:
    (run / "run.json").unlink()


def damage_foreign(run: Path) -> None:
    (run / "run.json").write_text('{"packages": []}')


def damage_half_written(run: Path) -> None:
    file = run / "trials" / "c0000-f0-s0" / "record.json"
    file.write_text(file.read_text()[:50])


def damage_newer(run: Path) -> None:
    file = run / "trials" / "c0000-f0-s0" / "record.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 2}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": {"classes": []}}, "dataset.classes"),
        ({"config_id": "best"}, "config_id"),
        ({"spikes": None}, "spikes"),
        ({"confusion": [[1, 2], [3]]}, "confusion has not as many columns as rows"),
        ({"confusion": "none"}, "confusion"),
        ({"recordings": {"user00": {"subject": "user00", "samples": 2, "correct": 1}}}, "recordings.user00.session"),
        ({"recordings": []}, "recordings"),
        (
            {"recordings": {"user00": {"subject": "u", "session": "S1", "samples": 2, "correct": 3}}},
            "3 of 2 samples cannot be correct",
        ),
        ({"timings": {"started": 1.0, "ended": 1e12}}, "timings.ended"),
        ({"device": {"host": ["a"]}}, "host"),
        ({"device": {"num_gpus": "all"}}, "num_gpus"),
        ({"config": {"evaluation": {"sessions": 3}}}, "sessions"),
        ({"config": {"neuron": [0.5]}}, "config.neuron"),
        ({"config": {"neuron": {"decay": {"low": 0}}}}, "config.neuron.decay"),
        ({"spikes": {"conv1": 1e300}}, "spikes"),
        ({"test_accuracy_max": "high"}, "test_accuracy_max"),
        ({"timings": {"started": 1e18}}, "timings.started"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_record_that_holds_what_none_can_is_named(
    change: Spec, said: str, record: Record, run_folder: WriteRun
) -> None:
    values = record(0, 0.5, **change)
    folder = run_folder([record(1, 0.5)], planned=["c0000-f0-s0", "c0000-f1-s0"])
    (folder / "trials" / "c0000-f0-s0").mkdir()
    (folder / "trials" / "c0000-f0-s0" / "record.json").write_text(json.dumps(values))
    result = report(folder)
    assert result.exit_code == 3
    assert "c0000-f0-s0/record.json: not a trial record" in result.stderr
    assert said in result.stderr


@pytest.mark.parametrize(
    "facts", [{"command": []}, {"versions": {}}, {"git_commit": None}, {"best": None}, {"checkpoints": None}]
)
def test_what_run_json_lacks_does_not_keep_a_page_from_being_made(
    facts: Spec, record: Record, run_folder: WriteRun
) -> None:
    assert report(run_folder([record(0, 0.5, device={})], **facts), "--format", "html").exit_code == 0


@pytest.mark.parametrize("form", ["md", "html"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_empty, "is this a run folder?"),
        (damage_foreign, "not written by sltune"),
        (damage_half_written, "not JSON"),
        (damage_newer, "schema 2 is newer than this sltune reads (1); update sltune"),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_is_overwritten(
    damage: Callable[[Path], None], message: str, form: str, run: Path
) -> None:
    assert report(run).exit_code == 0
    damage(run)
    before = {name: (run / name).read_bytes() for name in files_below(run)}
    result = report(run, "--format", form)
    assert (result.exit_code, result.stdout) == (3, "")
    assert message in result.stderr
    assert {name: (run / name).read_bytes() for name in files_below(run)} == before


def test_two_datasets_stand_apart_and_it_is_said_why(record: Record, run_folder: WriteRun) -> None:
    other = {"fingerprint": "e" * 64}
    folder = run_folder([record(0, 0.2), record(1, 0.8), record(2, 0.9, dataset=other)])
    result = report(folder, "--style", "full")
    said = " ".join(result.stdout.split())
    assert result.exit_code == 0
    assert "Never averaged or compared across: SL-Animals-DVS, full set (S1, S2, S3, S4), data ffffffffffff" in said
    assert "run paper itself holds records of 2 kinds" in said
    rows = json.loads(report(folder, "--format", "json").stdout)["rows"]
    assert [row["mean"] for row in rows if row["metric"] == "test_accuracy"] == pytest.approx([50, 90])
