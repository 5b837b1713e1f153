"""Archives of runs: whole, the same each time, without anything private, and read with suspicion."""

from __future__ import annotations

import errno
import json
import random
import re
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main
from tests.written_runs import Spec, make_record, write_run

HOST, USER, SECRET = "deepthought.lab.example", "zaphod", "/mnt/magrathea/beeblebrox"
PRIVATE = (b"deepthought", b"zaphod", b"magrathea", b"10.9.8.7")
TOLD = f"{SECRET}/w.pt of {USER}@{HOST} at 10.9.8.7:80, /home/{USER}/a/b and {USER}_data on Deepthought"
CODE = f'''"""By {USER}, {SECRET}/net.py"""
WEIGHTS = "{SECRET}/w.pt"  # see /home/{USER}/notes


def half(a, b, {USER}_scale=2):
    """Multiply."""
    return a /b / {USER}_scale, f"{{a}} of /home/{USER}/{{b /a}}"
'''


def sltune(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def archived(run: Path, out: Path, *flags: str) -> dict[str, bytes]:
    result = sltune("archive", run, out, *flags)
    assert result.exit_code == 0, result.output
    with zipfile.ZipFile(out) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "results" / "paper", [make_record(fold, 0.5 + 0.1 * fold) for fold in range(4)])


@pytest.fixture
def told_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of which every text holds a path, a host, an address and a user, in values, keys and names of files."""
    monkeypatch.setenv("LOGNAME", USER)
    evaluation = {"protocol": "train-val-test", "sessions": ["S1"]}
    config = {"evaluation": evaluation, "network": {"weights": f"{SECRET}/w.pt", "options": {USER: TOLD}}}
    recording = {"subject": USER, "session": "S1", "samples": 2, "correct": 1}

    def told(fold: int) -> Spec:
        name = f"{USER}_{fold}"
        return make_record(
            fold, 0.5, config=config, error=TOLD, device={"name": "cpu", "host": HOST, "node": TOLD},
            splits={"train": [TOLD], "val": [], "test": [name]}, recordings={name: recording}, validation=TOLD,
        )  # fmt: skip

    folder = write_run(
        tmp_path / USER / "results" / "run", [told(fold) for fold in range(2)],
        command=[f"{SECRET}/sltune", "evaluate", TOLD, "--checkpoints", SECRET], host=HOST, space=f"# {TOLD}",
        dataset={**make_record()["dataset"], "path": f"{SECRET} and more/set"}, note=TOLD,
        checkpoints={"minutes": 5.0, "place": SECRET, "run": USER},
        code={"digest": "0" * 64, "origin": SECRET, "modules": {USER: "1" * 64}},
    )  # fmt: skip
    tested = {"seed": 0, "fold": 0, "recordings": {f"{USER}_0": {"samples": 2, "correct": {"majority": 1}}}}
    texts = {
        "space.toml": f'# {TOLD}\n[network]\nweights = "{SECRET}/w.pt"\n',
        "best.toml": f"# {TOLD}\n",
        "baselines.json": json.dumps({"fingerprint": "f", "settings": TOLD, "folds": [tested]}),
        f"code/{USER}/net.py": CODE,
        "code/broken.py": f"def {USER}(:\n  {TOLD}",
        f"split_lists/{USER}.txt": TOLD,
        "splits/seed0/trainlist1.txt": f"{TOLD}\n{USER}_1\n",
        "trials/c0000-f0-s0/epochs.csv": "epoch,val_loss\n1,0.5\n",
        "trials/c0000-f0-s0/error.txt": TOLD,
        "trials/c0000-f0-s0/events.out.tfevents.1." + HOST: TOLD,
        "report/report.html": TOLD,
        "study.journal": TOLD,
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_an_archive_has_all_that_a_reviewer_needs(run: Path, tmp_path: Path) -> None:
    texts = ("space.toml", "best.toml", "code/own/net.py", "split_lists/a.txt", "splits/seed0/trainlist1.txt")
    for name in (
        *texts,
        "trials/c0000-f0-s0/epochs.csv",
        "trials/c0000-f0-s0/best.pt",
        "trials/c0000-f0-s0/record.json",
    ):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    (run / "trials/c0000-f0-s0/record.1.json").write_text(json.dumps(make_record(0, 0.25)))
    without = archived(run, tmp_path / "a.zip")
    records = [f"trials/c0000-f{fold}-s0/record{'.1' if fold == 0 else ''}.json" for fold in range(4)]
    tables = [f"report/table.{suffix}" for suffix in ("md", "csv", "tex", "json")]
    expected = {f"paper/{name}" for name in (*texts, *records, *tables, "run.json", "trials/c0000-f0-s0/epochs.csv")}
    assert set(without) == expected
    assert set(archived(run, tmp_path / "b.zip", "--weights")) == expected | {"paper/trials/c0000-f0-s0/best.pt"}


def test_nothing_private_is_in_it(told_too_much: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zip"
    files = archived(told_too_much, out)
    everything = b"\n".join([*(name.encode() for name in files), *files.values(), out.read_bytes()])
    assert [word for word in PRIVATE if re.search(word, everything, re.IGNORECASE)] == []
    assert str(tmp_path).encode() not in everything
    # What is not private is as it was.
    code = files["run/code/user1/net.py"].decode()
    assert (
        code
        == (
            '"""By user1, net.py"""\nWEIGHTS = "w.pt"  # see notes\n\n\ndef half(a, b, user1_scale=2):\n'
            '    """Multiply."""\n    return a /b / user1_scale, f"{a} of user1/{b /a}"\n'
        )
        or "a /b / user1_scale" in code
    )
    read = json.loads(files["run/trials/c0000-f1-s0/record.json"])
    assert read["device"]["host"] == "host1"
    assert list(read["metrics"]["recordings"]) == read["splits"]["test"] == ["user1_1"]
    assert files["run/splits/seed0/trainlist1.txt"].endswith(b"\nuser1_1\n")
    assert sltune("report", out).exit_code == 0


def test_a_name_that_is_a_word_of_sltunes_files_stays_and_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "max")
    (run / "space.toml").write_text("[search.constraints]\nmax_synaptic_ops = 5\n# in /home/max/runs\n")
    result = sltune("archive", run, tmp_path / "a.zip")
    assert "warning: max: not replaced outside of paths" in result.stderr
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert file.read("paper/space.toml") == b"[search.constraints]\nmax_synaptic_ops = 5\n# in runs\n"


def test_a_report_on_the_archive_has_the_tables_of_the_folder(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "results" / "other", [make_record(fold, 0.25) for fold in range(3)])
    archives = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for folder, out in zip((run, other), archives, strict=True):
        archived(folder, out)
    for form in ("md", "json"):
        both = sltune("report", *archives, "--format", form)
        assert both.exit_code == 0
        assert both.stdout == sltune("report", run, other, "--format", form).stdout
    assert sltune("report", archives[0], "--format", "csv").stdout == sltune("report", run, "--format", "csv").stdout
    refused = sltune("report", archives[0], "--format", "html")
    assert (refused.exit_code, "name it with --out FILE" in refused.stderr) == (2, True)


def test_a_nested_search_is_archived_with_its_searches(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [make_record(fold, 0.5) for fold in range(2)], kind="nested", winners=["c0000"])
    for fold in range(2):
        write_run(run / f"outer-{fold}", [make_record(0, 0.25)], kind="tune", outer_fold=fold)
    files = archived(run, tmp_path / "a.zip")
    assert {"run/outer-1/run.json", "run/outer-0/report/table.csv"} <= set(files)
    for part in ("", "outer-0"):
        table = sltune("report", run / part, "--format", "csv").stdout
        assert files[f"run/{part}/report/table.csv".replace("//", "/")].decode() == table


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    archived(run, tmp_path / "a.zip")
    archived(run, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_an_unfinished_run_is_archived_as_far_as_it_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [make_record(0, 0.5)], ["c0000-f0-s0", "c0000-f1-s0"])
    result = sltune("archive", run, tmp_path / "a.zip")
    assert result.exit_code == 0
    assert "run is not finished: 1 of 2 trials have no result yet; what is there is taken" in result.stderr


def test_links_out_of_the_folder_are_not_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (run / "space.toml").symlink_to(tmp_path / "secret")
    result = sltune("archive", run, tmp_path / "a.zip")
    assert "left out: space.toml, a link that leads out of the run's folder" in result.stderr
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert "paper/space.toml" not in file.namelist()


def test_on_a_full_disk_the_earlier_archive_stays(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "a.zip"
    out.write_bytes(b"earlier")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sltune.report.publishing.archive.shutil.copyfileobj", full)
    result = sltune("archive", run, out)
    assert (result.exit_code, result.stderr) == (2, f"sltune: {out}: cannot be written: No space left on device\n")
    assert out.read_bytes() == b"earlier"
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["a.zip"]


@pytest.mark.parametrize(("out", "words"), [("a.tar", "must end in .zip"), ("results/paper/a.zip", "among the files")])
def test_places_that_would_not_do_are_refused(run: Path, tmp_path: Path, out: str, words: str) -> None:
    result = sltune("archive", run, tmp_path / out)
    assert result.exit_code == 2
    assert words in result.stderr


def zipped(file: Path, members: Iterable[tuple[str, bytes]], mode: int = 0) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, mode << 16
            archive.writestr(entry, content)
    return file


HOSTILE: dict[str, tuple[list[tuple[str, bytes]], int, str]] = {
    "above": ([("run/run.json", b"{}"), ("run/../../x", b"")], 0, "names a file"),
    "absolute": ([("run/run.json", b"{}"), ("/etc/x", b"")], 0, "names a file"),
    "link": ([("run/run.json", b"/etc/passwd")], stat.S_IFLNK, "a link or device"),
    "bomb": ([("run/run.json", b"{}"), ("run/x", bytes(2 << 20))], 0, "would unpack to 2 MB"),
    "same": ([("run/run.json", b"{}"), ("run//run.json", b"{}")], 0, "cannot be unpacked: File exists"),
    "clash": ([("run/run.json", b"{}"), ("run/run.json/x", b"{}")], 0, "cannot be unpacked"),
    "two": ([("run/run.json", b"{}"), ("other/run.json", b"{}")], 0, "is no archive of a run"),
    "none": ([("run.json", b"{}")], 0, "is no archive of a run"),
    "empty": ([], 0, "is no archive of a run"),
    "long": ([("run/run.json", b"{}"), (f"run/{'x' * 300}", b"")], 0, "cannot be unpacked: File name too long"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    members, mode, words = HOSTILE[kind]
    file = zipped(tmp_path / "a.zip", members, mode)
    (tmp_path / "place").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "place"))
    monkeypatch.setattr("sltune.system.files.ALWAYS_ALLOWED_BYTES", 1 << 20)
    result = sltune("report", file)
    assert result.exit_code == 3, result.output
    assert words in result.stderr
    assert sorted(tmp_path.rglob("*")) == [file, tmp_path / "place"]


def test_damaged_archives_are_refused(run: Path, tmp_path: Path) -> None:
    archived(run, tmp_path / "a.zip")
    content, damaged = (tmp_path / "a.zip").read_bytes(), tmp_path / "b.zip"
    draw = random.Random(0)
    for _ in range(20):
        changed = bytearray(content)
        for _ in range(3):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        damaged.write_bytes(changed[: draw.randrange(len(changed))] if draw.random() < 0.3 else changed)
        result = sltune("report", damaged)
        assert result.exit_code in (0, 2, 3), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
