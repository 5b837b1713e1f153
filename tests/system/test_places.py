"""Places outside of a run's folder: passwords stand nowhere, and what the user has not named is not written to."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main
from sltune.errors import UsageError
from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info, resume_command
from sltune.system.places import STUDY_STORAGE, Database, address_of, checked_place, database_named, without_secrets
from sltune.tuning import preparation
from sltune.tuning.campaign.storage import open_storage
from sltune.tuning.cluster.resources import Request
from tests.tuning import searches

SECRET = "pl4nted"
HOST = "node7.secret-lab.example"
Command = Callable[..., Result]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://ann:pl4nted@db/x", "postgresql://db/x"),
        ("postgresql://ann:pl4@nt/ed@db:5432/x?sslmode=require", "postgresql://db:5432/x"),
        ("postgresql://ann@db/x", "postgresql://db/x"),
        ("mysql+pymysql://:pl4nted@db/x", "mysql+pymysql://db/x"),
        ("postgresql:///x?user=ann&password=pl4nted", "postgresql:///x"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3Da%3BPWD%3Dpl4nted", "mssql+pyodbc:///"),
        ("sqlite:////home/a@b/study.db", "sqlite:////home/a@b/study.db"),
        ("sqlite:///study.db", "sqlite:///study.db"),
    ],
)
def test_of_a_database_neither_user_nor_password_nor_parameters_are_shown(url: str, address: str) -> None:
    assert address_of(url) == address
    assert SECRET not in repr(Database(url))


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("s3://key:pl4nted@bucket/ck", "s3://bucket/ck"),
        ("s3://bucket/ck?region=eu&secret_key=pl4nted", "s3://bucket/ck"),
        ("--study-storage=postgresql://ann:pl4nted@db/x", "--study-storage=postgresql://db/x"),
        ("s3://bucket/ck?region=eu&endpoint_override=store:9000", None),
        ("abfs://container@account.example/ck", None),
        ("hdfs://ann@namenode:8020/ck", None),
        ("/home/a:b@c/ck", None),
        ("network.weights=w.pt", None),
    ],
)
def test_what_is_typed_is_refused_only_where_it_holds_a_secret(typed: str, kept: str | None) -> None:
    assert without_secrets(typed) == (kept or typed)
    if kept is None:
        assert checked_place(typed) == typed
    else:
        with pytest.raises(UsageError, match="must not stand on the command line") as raised:
            checked_place(typed)
        assert SECRET not in str(raised.value)


def private(file: Path, text: str, mode: int = 0o600) -> Path:
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_url_is_read_from_a_file_of_its_owner(tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = private(tmp_path / "url", f"postgresql://ann:{SECRET}@db/x\n", mode)
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in (f"@{file}", "@~/url"):
        assert database_named(named) == Database(f"postgresql://ann:{SECRET}@db/x", f"@{file}")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o666])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    file = private(tmp_path / "url", f"postgresql://ann:{SECRET}@db/x", mode)
    with pytest.raises(UsageError, match="nobody else can read; change that by: chmod 600") as raised:
        database_named(f"@{file}")
    assert SECRET not in str(raised.value)


def test_what_is_no_file_with_a_url_is_refused_without_a_word_of_its_content(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    private(tmp_path / "text", SECRET)
    (tmp_path / "bytes").write_bytes(b"\xff" + SECRET.encode())
    (tmp_path / "bytes").chmod(0o600)
    for name, reason in (("pipe", "plain file"), ("text", "must be the URL"), ("bytes", "UTF-8"), ("none", "No such")):
        with pytest.raises(UsageError, match=reason) as raised:
            database_named(f"@{tmp_path / name}")
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+nodriver://ann:{SECRET}@db/x",
        f"nonsense://ann:{SECRET}@db/x",
        f"sqlite://ann:{SECRET}@/x",
        # SQLAlchemy's error quotes what it takes for the port.
        f"postgresql://ann:p@ss:{SECRET}@db:x/y",
        f"sqlite:///file:/none/{SECRET}?uri=true&password={SECRET}",
    ],
)
def test_a_database_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match=r"--study-storage .*: cannot be opened: ") as raised:
        open_storage(tmp_path / "j", Database(url))
    # The last one has the word in its path, too.
    assert SECRET not in str(raised.value).replace(f"/none/{SECRET}", "")
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


def test_what_a_driver_quotes_of_a_url_is_left_out() -> None:
    database = Database("postgresql://ann:p%40ss@db/x")
    said = "no such host in postgresql://ann:p%40ss@db/x; password p@ss (p%40ss)"
    assert database.without_password(said) == "no such host in postgresql://db/x; password … (…)"


@pytest.fixture
def command(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs sltune in this process, with a made-up landscape in the place of Ray."""

    @contextmanager
    def executor(_: object, __: object, ___: object, run: str, request: Request, *____: object) -> Iterator[Any]:
        yield SimpleNamespace(shared=SimpleNamespace(splits={}, checkpoints=request.checkpoints_of(run)))

    def run_trials(campaign: Any, *_: object) -> None:
        assert STUDY_STORAGE not in os.environ
        searches.run(campaign)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preparation, "_executor", executor)
    monkeypatch.setattr(preparation, "_run", run_trials)
    monkeypatch.setattr("sltune.runs.info.platform.node", lambda: HOST)
    (tmp_path / "hills.toml").write_text(searches.space("trials = 2", folds=2).to_toml())

    def run(*arguments: str, storage: str | None = None) -> Result:
        monkeypatch.setattr("sys.argv", ["/opt/secret-lab/bin/sltune", *arguments])
        return CliRunner().invoke(main, list(arguments), env={STUDY_STORAGE: storage})

    return run


def tune(command: Command, *more: str, run: str = "run", storage: str | None = None) -> Result:
    data = str(Path("data").resolve())
    return command("tune", "hills.toml", "--data", data, "--run", run, *more, storage=storage)


def url_of(folder: Path) -> str:
    """The URL of a database that works, though SQLite has no use for the password in it."""
    return f"sqlite:///file:{folder}/study.db?uri=true&mode=rwc&password={SECRET}"


def says_nothing(folder: Path, *results: Result) -> None:
    """Fail if the secret is in what commands have said or in any file."""
    for result in results:
        assert SECRET not in result.output + repr(result.exception)
    for file in folder.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("by_file", [False, True])
def test_a_password_is_in_no_file_page_or_message_of_a_search_and_what_follows(
    command: Command, tmp_path: Path, by_file: bool
) -> None:
    url, option, storage = url_of(tmp_path), [], url_of(tmp_path)
    keys = tmp_path / "keys"
    keys.mkdir()
    if by_file:
        option, storage = ["--study-storage", f"@{private(keys / 'url', url)}"], None
    first = tune(command, *option, storage=storage)
    assert first.exit_code == 0, first.output
    folder = RunFolder(tmp_path / "results" / "run")
    study = read_info(folder).study
    assert study is not None
    assert (study.storage, study.named) == (f"sqlite:///file:{tmp_path}/study.db", option[1] if option else None)
    assert [one.study_name for one in optuna.get_all_study_summaries(url)] == ["run"]
    assert shlex.split(resume_command(folder))[3:] == option
    again = command("resume", "results/run", "--trials", "3", *option, storage=storage)
    assert again.exit_code == 0, again.output
    page = command("report", "results/run", "--format", "html")
    assert page.exit_code == 0, page.output
    twice = tune(command, *option, run="run", storage=storage)
    assert "this run exists" in twice.output
    other = tune(command, *option, run="other/..", storage=storage)
    (keys / "url").unlink(missing_ok=True)
    says_nothing(tmp_path, first, again, page, twice, other)


@pytest.mark.parametrize(
    "typed",
    [
        ("--study-storage", f"postgresql://ann:{SECRET}@db/x"),
        ("--study-storage", f"postgresql://db/x?password={SECRET}"),
        (f"--study-storage=mysql://ann:{SECRET}@db/x",),
        ("--checkpoints", f"s3://key:{SECRET}@bucket/ck"),
    ],
)
def test_a_password_on_the_command_line_is_refused_before_anything_begins(
    command: Command, tmp_path: Path, typed: tuple[str, ...]
) -> None:
    result = tune(command, *typed)
    assert result.exit_code == 2
    assert "a password or key must not stand on the command line" in result.output
    assert not (tmp_path / "results").exists()
    says_nothing(tmp_path, result)


def test_a_place_that_the_user_has_not_named_is_shown_and_not_written_to(command: Command, tmp_path: Path) -> None:
    url, place = f"sqlite:///{tmp_path}/study.db", f"{tmp_path}/states"
    assert tune(command, "--study-storage", url, "--checkpoints", place).exit_code == 0
    stranger = tmp_path / "elsewhere"
    file = tmp_path / "results" / "run" / "run.json"
    values = json.loads(file.read_text().replace(str(tmp_path / "s"), str(stranger / "s")))
    file.write_text(json.dumps(values))
    refused = command("resume", "results/run", "--trials", "3")
    options = f"--study-storage sqlite:///{stranger}/study.db --checkpoints {stranger}/states"
    assert refused.exit_code == 2
    assert f"to have this command write there, add {options} (if" in refused.output
    assert resume_command(RunFolder(Path("results/run"))) == f"sltune resume results/run {options}"
    one = command("resume", "results/run", "--checkpoints", place)
    assert f"add --study-storage sqlite:///{stranger}/study.db (if" in one.output
    assert not stranger.exists()
    # Where they lie by now counts, the next time too.
    assert command("resume", "results/run", "--study-storage", url, "--checkpoints", place).exit_code == 0
    assert resume_command(RunFolder(Path("results/run"))).endswith(f"--study-storage {url} --checkpoints {place}")


def test_folders_within_a_run_need_no_naming_unless_a_link_leads_out(command: Command, tmp_path: Path) -> None:
    assert tune(command, "--checkpoints", "results/run/states").exit_code == 0
    assert command("resume", "results/run").exit_code == 0
    (tmp_path / "results" / "run" / "states").symlink_to(tmp_path)
    assert "names what lies outside of the run's folder: the checkpoints" in command("resume", "results/run").output
    # Of a study in the run's folder, the environment means another one.
    assert command("resume", "results/run", "--checkpoints", "ck", storage=url_of(tmp_path)).exit_code == 0
    assert not (tmp_path / "study.db").exists()
    explicit = command("resume", "results/run", "--checkpoints", "ck", "--study-storage", "sqlite:///study.db")
    assert "has no study in a database; leave this option out" in explicit.output


def test_the_password_of_an_earlier_version_is_neither_used_nor_shown_and_vanishes(
    command: Command, tmp_path: Path
) -> None:
    url = url_of(tmp_path)
    assert tune(command, storage=url).exit_code == 0
    file = tmp_path / "results" / "run" / "run.json"
    values = json.loads(file.read_text())
    values["command"] += ["--study-storage", url, f"--checkpoints=s3://key:{SECRET}@bucket/ck"]
    values["study"] = {"storage": url, "name": "run"}
    file.write_text(json.dumps(values))
    refused = command("resume", "results/run")
    page = command("report", "results/run", "--format", "html")
    assert refused.exit_code == 2
    assert f"add --study-storage sqlite:///file:{tmp_path}/study.db (if it takes a password: " in refused.output
    assert f"in the environment variable {STUDY_STORAGE}" in refused.output
    assert page.exit_code == 0
    again = command("resume", "results/run", storage=url)
    assert again.exit_code == 0, again.output
    says_nothing(tmp_path, refused, page, again)
