"""Examples of other libraries, each in an environment that has the library beside what the tests have."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from sltune.runs.folder import RunFolder
from tests.examples.steps import EXAMPLES, SMALL, Counts, Outcome, train, trainer_of
from tests.examples.test_examples import LIBRARIES, assert_alike
from tests.tuning.clusters import environment

pytestmark = [pytest.mark.slow, pytest.mark.processes]
ROOT = EXAMPLES.parent
PATIENCE_S = 900
OPTIONS = ["network.options.maps=4"]
# Networks whose resets have a gradient, or none.
RESETS = {"snntorch": ["true"], "spikingjelly": ["true", "false"], "norse": ["false"]}


class Environment:
    """A virtual environment with the libraries of an example, or with those of a file of requirements."""

    def __init__(self, name: str, folder: Path, requirements: Path | None = None) -> None:
        self.name = name
        self.python = folder / "bin" / "python"
        venv.create(folder, with_pip=False)
        (packages,) = folder.glob("lib/python*/site-packages")
        present = [path for path in sys.path if path.endswith("-packages")]
        (packages / "present.pth").write_text("\n".join([str(ROOT), *present]))
        requirements = requirements or EXAMPLES / name / "requirements.txt"
        # Dependencies that are missing are pinned, too; others would bring a torch of their own, of gigabytes.
        self._run([sys.executable, "-m", "pip", "--python", self.python, "install", "--no-deps", "-r", requirements])

    def run(self, *arguments: object, **variables: str) -> str:
        """Run a module of Python's, and return what it prints, messages last."""
        return self._run([self.python, "-m", *arguments], **variables)

    def _run(self, command: list[object], **variables: str) -> str:
        done = subprocess.run(
            [*map(str, command)],
            cwd=ROOT, env={**environment(), **variables},
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module", params=sorted(LIBRARIES))
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(request.param, tmp_path_factory.mktemp(request.param))


def test_a_librarys_network_learns_what_plain_torch_learns_and_is_counted_alike(
    library: Environment, dataset: Path
) -> None:
    for detach_reset in RESETS[library.name]:
        reset = f"network.options.detach_reset={detach_reset}"
        own = [reset] if len(RESETS[library.name]) > 1 else []
        printed = library.run("tests.examples.steps", library.name, dataset, *OPTIONS, *own)
        said: dict[str, Any] = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))
        assert_alike(train(trainer_of("plain_torch", dataset, [*OPTIONS, reset])), Outcome(**said["outcome"]))
        # As counted by hand in test_examples.py.
        assert Counts(**said["counts"]) == Counts({"input": 2, "conv": 2, "fc": 3}, 17)


def test_a_librarys_network_is_checked_and_evaluated(library: Environment, dataset: Path, tmp_path: Path) -> None:
    space = EXAMPLES / library.name / "space.toml"
    settings = [word for text in (*SMALL, *OPTIONS, "training.epochs=2") for word in ("--set", text)]
    assert "network nets.py:Net: " in library.run("sltune", "check", space, *settings, "--data", dataset)
    library.run("sltune", "check-network", space, *settings, "--data", dataset)
    run = RunFolder(tmp_path / library.name)
    library.run(
        "sltune", "evaluate", space, *settings, "--data", dataset, "--results", tmp_path, "--run", library.name, "-q"
    )
    records = [json.loads(file.read_text()) for file in run.root.glob("trials/*/record.json")]
    assert [record["status"] for record in records] == ["done"] * 4
    for record in records:
        assert list(record["metrics"]["spikes"]) == ["input", "conv", "fc"]
        assert record["metrics"]["synaptic_ops"] > 0
