"""Mistakes of a first day: each message says what was wrong, and the way out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main
from sltune.events.synthetic.recordings import write_dataset
from sltune.runs.folder import RunFolder
from sltune.settings.space import Space
from sltune.settings.toml import shipped_spaces
from sltune.tuning.evaluate import Evaluate
from sltune.tuning.preparation import start
from tests.small import quick
from tests.tuning.in_process import QUIET, REQUEST, train_in_process


def sltune(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "signers"
    write_dataset(folder, 1)
    return folder


def copied(signers: Path, here: Path) -> Path:
    for file in signers.rglob("*.*"):
        target = here / "signers" / file.relative_to(signers)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return here / "signers"


def rename_column(folder: Path) -> None:
    for file in folder.rglob("*.csv"):
        file.write_text(file.read_text().replace("startTime_ev", "start_ev"))


def mistype_folder(folder: Path) -> None:
    folder.rename(folder.with_name("singers"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (rename_column, r"has no column 'startTime_ev', only class, start_ev, endTime_ev; did you mean \"start_ev\"\?"),
        (mistype_folder, r"signers: cannot be read: No such file or directory; did you mean \"singers\"\?"),
    ],
    ids=["a column of another name", "a typo in the folder's name"],
)
def test_what_an_import_takes_is_named(spoil: Callable[[Path], None], reason: str, signers: Path, here: Path) -> None:
    spoil(copied(signers, here))
    result = sltune("import", "signers", "--out", "data")
    assert result.exit_code == 3
    assert re.search(reason, result.stderr), result.stderr


def test_folders_of_recordings_may_have_any_name(signers: Path, here: Path) -> None:
    folder = copied(signers, here)
    (folder / "recordings").rename(folder / "Recordings")
    assert sltune("import", "signers", "--out", "data").exit_code == 0


def test_each_step_names_the_next(here: Path) -> None:
    result = sltune("synth", "signers", "--recordings", 1)
    assert result.stderr.endswith("next: sltune import signers --out DATA\n")
    result = sltune("import", "signers", "--out", "data")
    assert "1 recording, 19 samples," in result.stdout
    assert "0 warnings" in result.stdout
    assert result.stderr.endswith("next: sltune evaluate best.toml --data data\n")
    for command in (("synth", "others", "--recordings", 1), ("import", "signers", "--out", "data")):
        assert "next:" not in sltune(*command, "--quiet").stderr


def test_a_sample_whose_number_lacks_its_zero_is_offered(dataset: Path) -> None:
    result = sltune("show", dataset, "user00_indoor_1")
    assert 'did you mean "user00_indoor_01"?' in result.stderr


def test_a_space_file_that_comes_with_sltune_is_found_by_its_name(here: Path) -> None:
    result = sltune("check", "optimized.toml")
    assert result.exit_code == 0, result.stderr
    expected = sltune("check", shipped_spaces() / "optimized.toml")
    assert result.stdout == expected.stdout
    # One that lies here is meant first.
    (here / "optimized.toml").write_text("training.epochs = 7\n")
    assert "epochs = 7" in sltune("check", "optimized.toml").stdout
    result = sltune("check", "optimised.toml")
    assert result.exit_code == 2
    assert 'no such file; did you mean "optimized.toml"?; those that come with sltune: best.toml,' in result.stderr
    # A path is meant as it stands.
    assert sltune("check", "spaces/best.toml").exit_code == 2


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("training.epochs", "needs a value, such as --set training.epochs=400"),
        ("epochs=3", 'must have the form section.key=value; did you mean "training.epochs"?'),
        ("training.epoch=3", 'did you mean "epochs"?'),
        ("training.epochs=many", "training.epochs"),
    ],
)
def test_an_override_that_is_none_is_named(override: str, reason: str) -> None:
    result = sltune("check", "paper.toml", "--set", override)
    assert result.exit_code == 2
    assert reason in result.stderr


def test_evaluate_on_a_space_that_searches_names_tune(dataset: Path) -> None:
    result = sltune("evaluate", "crops.toml", "--data", dataset)
    assert result.exit_code == 2
    assert "to search instead: sltune tune SPACE --data DATA" in result.stderr


def test_resume_after_the_data_have_moved_names_the_option(
    dataset: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_in_process(monkeypatch)
    moved = here / "lent"
    shutil.copytree(dataset, moved)
    run = here / "results" / "run"
    start(Evaluate(Space.of(quick(evaluation__folds=2))), moved, RunFolder(run), REQUEST, QUIET)
    moved.rename(here / "elsewhere")
    result = sltune("resume", "results/run")
    assert result.exit_code == 3
    assert "is not there any more; name the place where it is now: sltune resume" in result.stderr
    assert result.stderr.endswith(" --data DATA\n")


def test_a_mistyped_verb_is_offered() -> None:
    result = sltune("evalute", "paper.toml")
    assert result.exit_code == 2
    assert "Did you mean 'evaluate'?" in result.stderr


def test_the_version_is_that_of_all_that_matters() -> None:
    result = sltune("--version")
    assert result.exit_code == 0
    first, others = result.stdout.splitlines()
    assert re.fullmatch(r"sltune \d+\.\d+\.\d+", first)
    for name in ("Python", "torch", "ray", "optuna", "numba", "pyarrow"):
        assert re.search(rf"\b{name} \d", others), others


def in_raw_recordings(here: Path) -> None:
    write_dataset(here / "signers", 1)


def in_nothing(_: Path) -> None:
    """What they name is not there, or is something else."""


@pytest.mark.parametrize(
    ("prepare", "command", "code", "reason"),
    [
        (in_raw_recordings, "evaluate paper.toml --data signers", 3,
         "signers: is not a dataset (manifest.json: No such file or directory); if it holds recordings, import them: "
         "sltune import signers --out DATA"),
        (in_nothing, "evaluate paper.toml --data dat", 3, 'as there is no such folder; did you mean "data"?'),
        (in_nothing, "inspect dat", 3, 'dat: is not a dataset, as there is no such folder; did you mean "data"?'),
        (in_nothing, "report results/best", 3, "results/best: is not a run folder, as there is no such folder"),
        (in_nothing, "report data", 3, "is this a run folder?"),
        (in_nothing, "resume data", 3, "is this a run folder?"),
        (in_nothing, "evaluate paper.toml", 2, "Missing option '--data'"),
        (in_nothing, "evaluate paper.toml --data data --run a/b", 2, "--run must be the name of a folder"),
        (in_nothing, "evaluate paper.toml --data data --set training.optimizer=adm", 2, 'did you mean "adam"?'),
        (in_nothing, "evaluate paper.toml --data data --set network.name=slanimal", 2, 'did you mean "slanimals"?'),
        (in_nothing, "evaluate paper.toml --data data --set evaluation.protocol=kfold", 2, '"train-val-test"'),
        (in_nothing, "tune paper.toml --data data", 2, "or use: sltune evaluate"),
        (in_nothing, "show data", 2, "name one SAMPLE, or ask for a frame of every class with --all"),
        (in_nothing, "predict data data", 3, "is neither a model that sltune fit made, nor a trial of a run"),
        (in_nothing, "export data out.nir", 3, "is neither a model that sltune fit made, nor a trial of a run"),
        (in_nothing, "publish data --to mlflow", 3, "is this a run folder?"),
        (in_nothing, "plan data", 2, "Missing option '--difference'"),
        (in_nothing, "import data --out other", 3, "Your own recordings need --source table or folders"),
        (in_nothing, "synth", 2, "Missing argument 'OUT'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_the_way_out(
    prepare: Callable[[Path], None], command: str, code: int, reason: str, dataset: Path, here: Path
) -> None:
    prepare(here)
    if not (here / "data").exists():
        shutil.copytree(dataset, here / "data")
    result = sltune(*command.split())
    assert result.exit_code == code, result.output
    assert reason in result.stderr
    assert "Traceback" not in result.output
