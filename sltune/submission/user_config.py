"""The user's configuration file: how jobs of theirs run on Slurm and on Kubernetes.

It lies where the XDG Base Directory Specification puts it, at ``$XDG_CONFIG_HOME/sltune/config.toml``, which is
``~/.config/sltune/config.toml`` unless the variable is set. Nobody needs one.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from sltune.errors import ConfigError, UsageError
from sltune.settings.toml import parse_toml
from sltune.system.files import read_plain
from sltune.wording import excerpt, suggestion

MAX_CONFIG_BYTES = 1 << 20
"""A file of a few lines; more is something else."""
LINE_ENDS = {"Cc", "Cs", "Zl", "Zp"}
"""Categories of Unicode that end lines, or that no file can hold."""
NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
"""What Kubernetes allows as a name (RFC 1123)."""


def in_one_line(text: str) -> str:
    """Return a text that can stand in a line of a job script; raises a ValueError if it would end the line."""
    if any(unicodedata.category(char) in LINE_ENDS for char in text):
        raise ValueError("must have neither line ends nor other control characters")
    return text


def _from_root(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("must begin with /")
    return text


Line = Annotated[str, Field(min_length=1), AfterValidator(in_one_line)]
Mount = Annotated[Line, AfterValidator(_from_root)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SlurmTable(_Table):
    """The table ``[slurm]``.

    partition, account, time: as sbatch has them, where the command does not say otherwise. options: further options of
    sbatch. setup: lines of bash that run first on the job's first node. venv: a virtual environment that has sltune.
    container: a command that runs another one in a container that has sltune; the folders of data and results must be
    seen in it.
    """

    partition: Line | None = None
    account: Line | None = None
    time: Line | None = None
    options: Annotated[list[Line], Field(max_length=100)] = Field(default_factory=list)
    setup: Annotated[list[Line], Field(max_length=100)] = Field(default_factory=list)
    venv: Line | None = None
    container: Annotated[list[Line], Field(max_length=100)] = Field(default_factory=list)


class KubernetesTable(_Table):
    """The table ``[kubernetes]``, which stands for what the command does not say.

    image: one that has sltune. namespace: where the job goes. claim: the persistent volume claim that holds data and
    results. mount: where pods see it.
    """

    image: Line | None = None
    namespace: Annotated[str, Field(pattern=NAME)] | None = None
    claim: Annotated[str, Field(pattern=NAME)] | None = None
    mount: Mount | None = None


class UserConfig(_Table):
    """The whole file."""

    slurm: SlurmTable = Field(default_factory=SlurmTable)
    kubernetes: KubernetesTable = Field(default_factory=KubernetesTable)


def config_file() -> Path:
    """Return where the user's configuration file lies, whether or not there is one.

    Raises:
        UsageError: the user has no home folder, and no variable names another place.
    """
    place = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification has relative paths ignored.
    if place.startswith("/"):
        return Path(place) / "sltune" / "config.toml"
    try:
        return Path.home() / ".config" / "sltune" / "config.toml"
    except RuntimeError as error:
        raise UsageError("there is no home folder for .config/sltune/config.toml; set XDG_CONFIG_HOME") from error


def read_config() -> UserConfig:
    """Return what the user's configuration file says; where there is none, the defaults.

    Raises:
        UsageError: it cannot be read.
        ConfigError: it is wrong; says all that is.
    """
    file = config_file()
    try:
        tables = parse_toml(read_plain(file, MAX_CONFIG_BYTES).decode())
    except FileNotFoundError:
        return UserConfig()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(str(file), [str(error)]) from error
    try:
        return UserConfig.model_validate(tables)
    except ValidationError as error:
        raise ConfigError(str(file), [_problem(one) for one in error.errors(include_url=False)]) from error


def _problem(problem: ErrorDetails) -> str:
    """Return what is wrong in the file: the key, its value, and what is allowed."""
    place = [str(part) for part in problem["loc"]]
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = _keys(place[:-1])
        return f"{key} is no setting{suggestion(place[-1], known)}; known are: {', '.join(known)}"
    return f"{key} = {excerpt(repr(problem['input']))}: {problem['msg'].removeprefix('Value error, ')}"


def _keys(place: list[str]) -> list[str]:
    fields: Mapping[str, Any] = UserConfig.model_fields
    for name in place:
        fields = fields[name].annotation.model_fields
    return list(fields)
