"""The user's code of a run: copied where it begins, and the same for as long as it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from sltune.errors import CodeError, DataError, SltuneError, UsageError
from sltune.runs.folder import RunFolder
from sltune.runs.info import DatasetPlace, new_info, read_info, write_info
from sltune.runs.places import CodeInfo, copied_code
from sltune.runs.plan import steps_of
from sltune.settings.space import Space, load_space, parse_space
from sltune.tuning.cluster.resources import Request
from sltune.tuning.continuity import refuse_other_code
from sltune.tuning.reuse import configuration_of
from sltune.tuning.tune import _as_candidate, _from_run
from tests import trials

NETS = "class Tiny:\n    width = 3\n"
DATASET = DatasetPlace(name="x", synthetic=True, fingerprint="f", classes=("a",))


@pytest.fixture
def begun(tmp_path: Path) -> RunFolder:
    """A run of a space file with a network of the user's, of which the code lies in home/."""
    home, folder = tmp_path / "home", RunFolder(tmp_path / "run")
    home.mkdir()
    (home / "nets.py").write_text(NETS)
    (home / "space.toml").write_text('network.name = "nets.py:Tiny"\n')
    space = load_space(home / "space.toml")
    folder.root.mkdir()
    folder.write(folder.space_toml, space.to_toml())
    for name, text in space.code.files.items():
        folder.write(folder.code / name, text)
    info = new_info(folder, space.to_toml(), DATASET, Request().checkpoints_of("run"), steps_of(space.evaluation))
    write_info(folder, info.model_copy(update={"code": CodeInfo.of(space.code)}))
    return folder


def resumed(folder: RunFolder) -> Space:
    space = load_space(folder.space_toml)
    refuse_other_code(folder, read_info(folder), space.code)
    return space


def refusal(folder: RunFolder, kind: type[SltuneError]) -> str:
    with pytest.raises(kind) as caught:
        resumed(folder)
    return str(caught.value)


def test_a_run_goes_on_with_its_own_copy(begun: RunFolder) -> None:
    assert resumed(begun).code.load("nets.py:Tiny").width == 3
    assert copied_code(begun.code, read_info(begun).code) == resumed(begun).code


def test_a_run_that_has_moved_away_from_its_code_goes_on(begun: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "home" / "nets.py").unlink()
    assert resumed(RunFolder(begun.root.rename(tmp_path / "elsewhere"))).code.files == {"nets.py": NETS}


def test_changed_code_is_refused_with_the_line(begun: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "home" / "nets.py"
    file.write_text(NETS.replace("3", "4"))
    said = refusal(begun, UsageError)
    assert f"{file}: has changed since the run began, from line 2 on" in said
    assert str(begun.code / "nets.py") in said


def test_a_changed_or_missing_copy_is_refused(begun: RunFolder) -> None:
    (begun.code / "nets.py").write_text(NETS.replace("3", "4"))
    assert "is not the code that the run began with" in refusal(begun, DataError)
    with pytest.raises(DataError, match="is not the code that the run began with"):
        copied_code(begun.code, read_info(begun).code)
    (begun.code / "nets.py").unlink()
    assert "there is no file nets.py" in refusal(begun, CodeError)


def test_a_run_without_code_of_the_users_has_none(begun: RunFolder) -> None:
    begun.space_toml.write_text("")
    write_info(begun, read_info(begun).model_copy(update={"code": None}))
    assert resumed(begun).code.digest == ""
    assert copied_code(begun.code, read_info(begun).code).digest == ""


def test_code_that_a_run_began_without_is_refused(begun: RunFolder) -> None:
    write_info(begun, read_info(begun).model_copy(update={"code": None}))
    assert "does not say with which code the run began" in refusal(begun, DataError)


def test_a_configuration_of_a_run_whose_copy_has_changed_is_not_taken_up(begun: RunFolder) -> None:
    assert configuration_of(begun).settings["network.name"] == "nets.py:Tiny"
    (begun.code / "nets.py").write_text(NETS.replace("3", "4"))
    with pytest.raises(DataError, match="is not the code that the run began with"):
        configuration_of(begun)


def searched(folder: Path, wide: bool) -> Space:
    options = (
        'network.options.width = { choices = [3, 4], when = { "network.name" = "nets.py:Tiny" } }\n' if wide else ""
    )
    names = '["nets.py:Tiny", "nets.py:Other"]'
    text = f"network.name = {{ choices = {names} }}\n{options}evaluation.folds = 2\n"
    return parse_space(text, "space", (), folder)


def test_a_search_leaves_aside_configurations_of_an_earlier_run_that_lack_its_options(begun: RunFolder) -> None:
    name = {"network.name": "nets.py:Tiny"}
    configuration = searched(begun.root, wide=False).configuration(name)
    record = trials.record("c0000-f0-s0", 0.5, config=configuration.model_dump(mode="json"))
    found, reason = _as_candidate("c0000", [record], searched(begun.root, wide=True), record.dataset)
    assert (found, reason) == (None, "network.options.width has no value there")
    found, reason = _as_candidate("c0000", [record], searched(begun.root, wide=False), record.dataset)
    assert found is not None, reason
    fixed = parse_space(
        "network.name = 'nets.py:Tiny'\nnetwork.options.depth = 1\nevaluation.folds = 2\n", "space", (), begun.root
    )
    found, reason = _as_candidate("c0000", [record], fixed, record.dataset)
    assert (found, reason) == (None, "network.options.depth is not the same")


def test_a_search_does_not_learn_from_a_run_with_other_code(begun: RunFolder, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    folder.mkdir()
    (folder / "nets.py").write_text(NETS.replace("3", "4"))
    with pytest.raises(UsageError, match=r"was trained with another text of nets\.py"):
        list(_from_run(begun, searched(folder, wide=False), trials.DATASET, print))
    (folder / "nets.py").write_text(NETS)
    with pytest.raises(UsageError, match="no configuration that this search can learn from"):
        list(_from_run(begun, searched(folder, wide=False), trials.DATASET, print))
