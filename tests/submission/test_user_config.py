"""The user's configuration file: where it lies, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sltune.errors import ConfigError, UsageError
from sltune.submission.user_config import UserConfig, config_file, read_config


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "sltune").mkdir()
    return tmp_path / "sltune" / "config.toml"


def test_it_lies_in_the_config_folder_of_xdg_or_of_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ana")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert config_file() == Path("/home/ana/.config/sltune/config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/scratch/ana")
    assert config_file() == Path("/scratch/ana/sltune/config.toml")
    # Relative paths are to be ignored, the specification says.
    monkeypatch.setenv("XDG_CONFIG_HOME", "config")
    assert config_file() == Path("/home/ana/.config/sltune/config.toml")


def test_nobody_needs_one(file: Path) -> None:
    assert read_config() == UserConfig()


def test_all_that_is_wrong_is_said_at_once_with_key_and_value(file: Path) -> None:
    file.write_text('[slurm]\npartitoin = "gpu"\nsetup = "module load x"\nvenv = 3\n[kubernetes]\nclaim = "A_b"\n')
    with pytest.raises(ConfigError) as caught:
        read_config()
    assert str(caught.value).startswith(f"{file}: 4 problems\n")
    text = str(caught.value)
    assert 'slurm.partitoin is no setting; did you mean "partition"?; known are: partition, account, time' in text
    assert "slurm.setup = 'module load x': Input should be a valid list" in text
    assert "slurm.venv = 3: Input should be a valid string" in text
    assert "kubernetes.claim = 'A_b': String should match pattern" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[slurm", "is not TOML"),
        ('[slurm]\nsetup = ["a\\nb"]', "setup.0 = 'a\\nb': must have neither line ends"),
        ("[slrum]", 'slrum is no setting; did you mean "slurm"?'),
        ('[kubernetes]\nmount = "data"', "kubernetes.mount = 'data': must begin with /"),
    ],
)
def test_a_wrong_file_is_a_wrong_configuration(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config()
    assert said in str(caught.value)


def test_a_folder_in_its_place_is_named(file: Path) -> None:
    file.mkdir()
    with pytest.raises(UsageError, match=r"config\.toml: cannot be read"):
        read_config()
