"""What ``run.json`` says of what lies outside of a run's folder, or came from there: checkpoints, study, code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sltune.errors import DataError
from sltune.extensions.code import Code, read_copy
from sltune.system.files import remove, write_whole
from sltune.system.places import Database, address_of, without_secrets

# Earlier versions wrote passwords, which are left out already where the file is read.
Place = Annotated[str, AfterValidator(without_secrets)]


class CheckpointPlace(BaseModel):
    """How often the trials of a run save their state, and where; place: None for the run folder."""

    model_config = ConfigDict(frozen=True, from_attributes=True)
    minutes: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
    place: Place | None = None
    run: str


class StudyPlace(BaseModel):
    """The study of a search.

    storage: URL of its database, without user, password and parameters; None for the journal in the run folder.
    named: what --study-storage was; None where the environment named it. name: that of the study.
    """

    model_config = ConfigDict(frozen=True)
    storage: Annotated[str, AfterValidator(address_of)] | None = None
    named: Place | None = None
    name: str

    @classmethod
    def of(cls, name: str, database: Database | None) -> StudyPlace:
        """Return where the study of a name lies: in a database, or in the run folder."""
        if database is None:
            return cls(name=name)
        return cls(storage=database.address, named=database.named, name=name)


class CodeInfo(BaseModel):
    """The user's code of a run, which is copied into its folder ``code/``.

    digest: of all of it, by which code is compared. modules: digests of installed modules. origin: the folder where the
    files lay.
    """

    model_config = ConfigDict(frozen=True)
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    modules: dict[str, str] = Field(default_factory=dict)
    origin: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CodeInfo) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def of(cls, code: Code) -> CodeInfo | None:
        """Return what is said of code; None where there is none."""
        return cls(digest=code.digest, modules=dict(code.modules), origin=code.origin) if code.digest else None


def copy_code(code: Code, folder: Path, inside: Path) -> None:
    """Copy a user's code into a folder; other files, which a start that was killed may have left there, are removed.

    Args:
        inside: as ``files.write_whole`` has it, whose errors are raised.
    """
    for file in folder.rglob("*.py"):
        if file.relative_to(folder).as_posix() not in code.files:
            remove(file, inside=inside)
    for name, text in code.files.items():
        write_whole(folder / name, text, inside=inside)


def copied_code(folder: Path, begun: CodeInfo | None) -> Code:
    """Return the user's code from its copy in a folder; none where there was none.

    Args:
        begun: what is said of the code that was copied.

    Raises:
        CodeError: it cannot be read.
        DataError: the copy is not what the run began with.
    """
    if begun is None:
        return Code()
    code = read_copy(folder, begun.modules, begun.origin)
    if code.digest != begun.digest:
        raise DataError(f"{folder}: is not the code that the run began with; put back what is missing or changed")
    return code
