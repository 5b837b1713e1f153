"""A cluster of which one node has other code of sltune: it is named and left aside, before anything is trained."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomlkit

import sltune
from sltune.runs.folder import RunFolder
from sltune.tuning.cluster.versions import difference, own_versions
from tests.small import quick
from tests.tuning.clusters import PROMPT_S, SCRIPTS, Node, environment

TOKEN = "0123456789abcdef" * 4
OWN = {"sltune": "0.2.0", "python": "3.11", "torch": "2.6", "ray": "2.60.0", "code": "a" * 64, "place": "/here"}


def test_equal_versions_and_code_agree_wherever_they_lie() -> None:
    assert difference(OWN, {**OWN, "place": "/there"}) == ""


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("sltune", "0.1.0", "has sltune 0.1.0, and this command 0.2.0"),
        ("sltune", "", "has no sltune"),
        ("python", "3.12", "has python 3.12, and this command 3.11"),
        ("torch", "2.4", "has torch 2.4, and this command 2.6"),
        ("ray", "2.59.0", "has ray 2.59.0, and this command 2.60.0"),
        (
            "code", "b" * 64,
            "has other code of sltune 0.2.0 (bbbbbbbb in /here) than this command (aaaaaaaa in /here)",
        ),
    ],
)  # fmt: skip
def test_what_differs_is_named_with_both_values(name: str, value: str, text: str) -> None:
    assert difference(OWN, {**OWN, name: value}) == text


def test_the_digest_is_that_of_the_code_that_this_process_runs(tmp_path: Path) -> None:
    own = own_versions()
    assert own["sltune"] == sltune.__version__
    assert Path(own["place"]) == Path(sltune.__file__).parent
    assert len(own["code"]) == 64


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another checkout of the same version."""
    root = tmp_path_factory.mktemp("other")
    shutil.copytree(Path(sltune.__file__).parent, root / "sltune", ignore=shutil.ignore_patterns("__pycache__"))
    with (root / "sltune" / "config.py").open("a") as file:
        file.write("# changed\n")
    return root


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a user who has the cluster's token."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text(TOKEN)
    return {"HOME": str(home), "RAY_AUTH_MODE": "token"}


@pytest.fixture(scope="module")
def nodes(variables: dict[str, str], other: Path) -> Iterator[tuple[Node, Node]]:
    """A head with the code of these tests, and a larger node with another checkout; both ask for the token."""
    head = Node(["--num-cpus=2"], variables=variables)
    try:
        strange = Node(["--num-cpus=4"], head.address, variables={**variables, "PYTHONPATH": str(other)})
        yield head, strange
        strange.close()
    finally:
        head.close()


def evaluate(
    dataset: Path, folder: RunFolder, variables: dict[str, str], *flags: str
) -> subprocess.CompletedProcess[str]:
    space = folder.root.with_name("space.toml")
    space.write_text(tomlkit.dumps(quick(evaluation__folds=3).model_dump(mode="json")))
    command = [SCRIPTS / "sltune", "evaluate", space, "--data", dataset]
    command += ["--results", folder.root.parent, "--run", folder.root.name, "--device", "cpu", *flags]
    return subprocess.run(
        [*map(str, command)], env={**environment(), **variables}, capture_output=True, text=True, check=False
    )


@pytest.mark.processes
def test_trials_run_only_where_the_code_is_the_drivers(
    nodes: tuple[Node, Node], variables: dict[str, str], dataset: Path, other: Path, tmp_path: Path
) -> None:
    head, _ = nodes
    folder = RunFolder(tmp_path / "run")
    said = evaluate(dataset, folder, {**variables, "RAY_ADDRESS": head.address}, "--address", "auto")
    assert said.returncode == 0, said.stderr
    assert f":{head.address.rpartition(':')[2]} of user {getpass.getuser()}: 6 of 6 CPUs and 0 of 0 GPUs are free" in (
        said.stderr
    )
    (line,) = [line for line in said.stderr.splitlines() if "left aside" in line]
    assert "has other code of sltune" in line
    assert f"in {other / 'sltune'})" in line
    records = folder.records()
    assert [record.status for record in records] == ["done"] * 3
    assert len({record.device.node for record in records}) == 1


@pytest.mark.processes
@pytest.mark.slow
def test_a_cluster_without_a_node_of_the_drivers_code_is_refused(
    nodes: tuple[Node, Node], variables: dict[str, str], dataset: Path, tmp_path: Path
) -> None:
    """The driver is the one whose code differs."""
    head, _ = nodes
    third = tmp_path / "third"
    shutil.copytree(Path(sltune.__file__).parent, third / "sltune", ignore=shutil.ignore_patterns("__pycache__"))
    (third / "sltune" / "__init__.py").write_text('__version__ = "9.9.9"\n')
    said = evaluate(
        dataset, RunFolder(tmp_path / "run"), {**variables, "PYTHONPATH": str(third)}, "--address", head.address
    )
    assert said.returncode == 2, said.stderr
    assert "no node of the cluster can be used: node " in said.stderr
    assert f"has sltune {sltune.__version__}, and this command 9.9.9" in said.stderr
    assert "Traceback" not in said.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.processes
def test_the_token_is_spoken_of_where_it_is_wrong(
    nodes: tuple[Node, Node], variables: dict[str, str], dataset: Path, tmp_path: Path
) -> None:
    head, _ = nodes
    began = time.monotonic()
    wrong = {**variables, "RAY_AUTH_TOKEN": "f" * 64}
    said = evaluate(dataset, RunFolder(tmp_path / "run"), wrong, "--address", head.address)
    assert said.returncode == 2, said.stderr
    expected = f"the Ray cluster at {head.address} refused the token: ~/.ray/auth_token must be that of the cluster's"
    assert expected in said.stderr
    assert "Traceback" not in said.stderr
    assert time.monotonic() - began < PROMPT_S
