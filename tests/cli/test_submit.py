"""The verb submit: what it refuses at the desk, and which commands a job gets."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
import tomlkit
import yaml
from click.testing import CliRunner, Result

from sltune.cli.main import main
from sltune.system.places import STUDY_STORAGE
from tests.small import quick


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my space.toml"
    file.write_text(tomlkit.dumps(quick().model_dump(mode="json")))
    return file


def sltune(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def submit(*words: object) -> Result:
    return sltune("submit", "--slurm", "--dry-run", *words)


def commands(result: Result) -> dict[str, list[str]]:
    """Return the commands of a printed script."""
    assert result.exit_code == 0, result.stderr
    lines = (line.partition("=") for line in result.stdout.splitlines())
    return {name: shlex.split(value[1:-1]) for name, _, value in lines if name in ("start", "resume")}


def test_a_job_starts_a_named_run_and_resumes_it_with_the_flags_of_its_trials(dataset: Path, space: Path) -> None:
    flags = ("--gpus-per-trial", "0.25", "--no-baselines", "-q", "--checkpoints", "/scratch/a b", "--smoke")
    found = commands(submit("--", "evaluate", space, "--data", dataset, "--run", "first", *flags))
    assert found["start"] == ["sltune", "evaluate", str(space), "--data", str(dataset), "--run", "first", *flags]
    *carried, folder = found["resume"]
    assert (carried[:2], folder) == (["sltune", "resume"], str(space.parent / "results" / "first"))
    assert set(carried[2:]) == {"--gpus-per-trial=0.25", "--no-baselines", "--quiet", "--checkpoints=/scratch/a b"}
    # All of which resume takes.
    with main.commands["resume"].make_context("resume", found["resume"][2:]):
        pass


def test_a_run_without_a_name_keeps_the_one_of_the_desk(dataset: Path, space: Path) -> None:
    found = commands(submit("--", "evaluate", space, "--data", dataset))
    assert found["start"][2] == "--run"
    assert found["start"][3].startswith("my space-")
    assert found["resume"][-1] == str(space.parent / "results" / found["start"][3])


def test_nothing_is_written_by_a_dry_run(dataset: Path, space: Path) -> None:
    before = sorted(space.parent.rglob("*"))
    assert submit("--", "evaluate", space, "--data", dataset).exit_code == 0
    assert sorted(space.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--set", "training.epochs=x"), 2),
        (("--set", "training.epohcs=3"), 2),
        (("--set", "evaluation.folds=9"), 3),
        (("--set", "network.weights=absent.pt"), 3),
        (("--set", "sampling.downsample=4"), 2),
        (("--set", 'evaluation.sessions=["S1"]'), 3),
        (("--gpus-per-trial", "0.6"), 2),
        (("--run", "a/b"), 2),
        (("--data", "elsewhere"), 3),
        (("--weights-only", "--smoke"), 2),
    ],
)
def test_what_the_verb_refuses_is_refused_at_the_desk_in_its_words(
    dataset: Path, space: Path, words: tuple[str, ...], code: int
) -> None:
    whole = ("evaluate", space, "--data", dataset, "--set", "network.name='slanimals'", *words)
    at_the_desk = submit("--", *whole)
    assert at_the_desk.exit_code == code, at_the_desk.stderr
    assert at_the_desk.stderr.startswith("sltune: ")
    assert not (space.parent / "results").exists()


def test_a_search_and_a_resumption_are_checked_too(dataset: Path, space: Path) -> None:
    refused = submit("--", "tune", space, "--data", dataset)
    assert (refused.exit_code, refused.stderr) == (
        sltune("tune", space, "--data", dataset).exit_code,
        sltune("tune", space, "--data", dataset).stderr,
    )
    absent = submit("--", "resume", "results/absent")
    assert (absent.exit_code, absent.stderr) == (3, sltune("resume", "results/absent").stderr)
    searched = ("--set", "training.learning_rate={choices=[0.1, 0.2]}", "--trainings", "8")
    assert commands(submit("--", "tune", space, "--data", dataset, *searched))["start"][1] == "tune"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "after -- must stand one of evaluate, tune, resume and its arguments, but there is nothing"),
        (("--", "report", "results"), "but got 'report'"),
        (("--time", "0:30", "--", "evaluate", "S", "--data", "D"), "--time 0:30: must be more than twice --notice"),
        (("--image", "x", "--", "evaluate", "S", "--data", "D"), "--image: with --slurm, there is no such thing"),
        (("--", "evaluate", "S", "--data", "D", "--address", "auto"), "--address: a job has a Ray of its own"),
    ],
)
def test_what_no_job_can_do_is_refused(dataset: Path, space: Path, words: tuple[str, ...], said: str) -> None:
    places = {"S": str(space), "D": str(dataset)}
    result = submit(*(places.get(word, word) for word in words))
    assert result.exit_code == 2, result.stderr
    assert said in result.stderr


def test_without_slurm_and_without_a_place_it_is_said(
    dataset: Path, space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(space.parent))
    whole = ("--", "evaluate", space, "--data", dataset)
    assert "there is no sbatch here" in sltune("submit", "--slurm", *whole).stderr
    assert "--slurm or --kubernetes" in sltune("submit", *whole).stderr


def test_sbatch_gets_the_script_in_the_run_folder_and_the_environment_of_the_shell(
    dataset: Path, space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = space.parent / "sbatch"
    sbatch.write_text(
        '#!/bin/bash\n[[ -v SLTUNE_STUDY_STORAGE ]] || exit 1\ncp "$1" given\necho Submitted batch job 4711\n'
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{space.parent}:{os.environ['PATH']}")
    # Which a verb takes out of the environment of its Ray.
    monkeypatch.setenv(STUDY_STORAGE, "sqlite:///study.db")
    result = sltune("submit", "--slurm", "--", "evaluate", space, "--data", dataset, "--run", "a")
    assert (result.exit_code, result.stdout) == (0, "Submitted batch job 4711\n"), result.stderr
    assert (space.parent / "given").read_text() == (space.parent / "results" / "a" / "slurm.sh").read_text()
    sbatch.write_text("#!/bin/bash\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    refused = sltune("submit", "--slurm", "--", "evaluate", space, "--data", dataset, "--run", "b")
    assert refused.exit_code == 1
    assert "invalid partition" in refused.stderr


def test_a_manifest_for_kubernetes_is_printed(dataset: Path, space: Path) -> None:
    volume = ("--image", "lab/sltune", "--claim", "lab", "--mount", space.parent)
    result = sltune("submit", "--kubernetes", *volume, "--", "evaluate", space, "--data", dataset, "--run", "a")
    assert result.exit_code == 0, result.stderr
    assert [document["kind"] for document in yaml.safe_load_all(result.stdout)] == ["ConfigMap", "RayJob"]
    refused = sltune("submit", "--kubernetes", "--time", "60", *volume, "--", "evaluate", space, "--data", dataset)
    assert "--time: with --kubernetes, there is no such thing" in refused.stderr
