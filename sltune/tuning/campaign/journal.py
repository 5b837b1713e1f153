"""The journal of a study, read and checked whole before Optuna replays it, which trusts what stands there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import TrialState
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError, model_validator

from sltune.errors import DataError, UsageError
from sltune.runs.folder import reasons
from sltune.runs.record import Number
from sltune.system.files import parse_json, read_plain, write_whole
from sltune.tuning.campaign.study_checks import RESTORE_STUDY, fits

MAX_JOURNAL_BYTES = 256 << 20
"""Some 1.5 kB a configuration of two values: enough for more than any search asks for."""
MAX_DEPTH = 8
"""How deep lists and objects in an attribute may nest: Optuna copies them level by level on Python's stack."""


def _is_shallow(value: Any, depth: int = MAX_DEPTH) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(_is_shallow(part, depth - 1) for part in parts)


def _attributes(values: dict[str, Any]) -> dict[str, Any]:
    if not _is_shallow(values):
        raise ValueError("nested too deep")
    return values


def _one(values: dict[str, Any]) -> dict[str, Any]:
    if len(values) != 1:
        raise ValueError("must be one attribute")
    return values


def _time(text: str) -> str:
    try:
        # As Optuna does: what is near the end of the calendar has no local time.
        datetime.fromisoformat(text).astimezone()
    except OverflowError as error:
        raise ValueError(f"has no local time: {error}") from error
    return text


@lru_cache(maxsize=4096)
def _distribution_of(text: str) -> BaseDistribution:
    try:
        parse_json(text)
        return json_to_distribution(text)
    except (TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"is no distribution: {error}") from error


def _distribution(text: str) -> str:
    _distribution_of(text)
    return text


Int31 = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
"""The number of a study, trial or step; Optuna's databases keep it in 32 bits with a sign."""
IsoTime = Annotated[str, AfterValidator(_time)]
Distribution = Annotated[str, AfterValidator(_distribution)]
Attributes = Annotated[dict[str, Any], AfterValidator(_attributes)]
OneAttribute = Annotated[Attributes, AfterValidator(_one)]
StateNumber = Annotated[int, Field(strict=True, ge=min(TrialState), le=max(TrialState))]
StepText = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]


class _Line(BaseModel):
    worker_id: str


class _CreateStudy(_Line):
    op_code: Literal[0]
    study_name: str
    directions: list[Annotated[int, Field(strict=True, ge=0, le=2)]]


class _DeleteStudy(_Line):
    op_code: Literal[1]
    study_id: Int31


class _StudyUserAttribute(_Line):
    op_code: Literal[2]
    study_id: Int31
    user_attr: OneAttribute


class _StudySystemAttribute(_Line):
    op_code: Literal[3]
    study_id: Int31
    system_attr: OneAttribute


class _CreateTrial(_Line):
    op_code: Literal[4]
    study_id: Int31
    datetime_start: IsoTime | None
    # Where Optuna has none, the key is missing.
    datetime_complete: IsoTime = ""
    state: StateNumber = TrialState.RUNNING
    value: Number | None = None
    values: list[Number] | None = None
    distributions: dict[str, Distribution] = Field(default_factory=dict)
    params: dict[str, Number] = Field(default_factory=dict)
    user_attrs: Attributes = Field(default_factory=dict)
    system_attrs: Attributes = Field(default_factory=dict)
    intermediate_values: dict[StepText, Number] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.value is not None and self.values is not None:
            raise ValueError("has both 'value' and 'values'")
        if self.params.keys() != self.distributions.keys():
            raise ValueError("'params' and 'distributions' have other names")
        for name, value in self.params.items():
            _check_value(name, self.distributions[name], value)
        return self


class _TrialParameter(_Line):
    op_code: Literal[5]
    trial_id: Int31
    param_name: str
    param_value_internal: Number
    distribution: Distribution

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_value(self.param_name, self.distribution, self.param_value_internal)
        return self


class _TrialState(_Line):
    op_code: Literal[6]
    trial_id: Int31
    state: StateNumber
    values: list[Number] | None
    datetime_start: IsoTime | None = None
    datetime_complete: IsoTime | None = None

    @model_validator(mode="after")
    def _has_time(self) -> Self:
        state = TrialState(self.state)
        if state == TrialState.RUNNING and self.datetime_start is None:
            raise ValueError("has no 'datetime_start'")
        if state.is_finished() and self.datetime_complete is None:
            raise ValueError("has no 'datetime_complete'")
        return self


class _IntermediateValue(_Line):
    op_code: Literal[7]
    trial_id: Int31
    step: Int31
    intermediate_value: Number


class _TrialUserAttribute(_Line):
    op_code: Literal[8]
    trial_id: Int31
    user_attr: OneAttribute


class _TrialSystemAttribute(_Line):
    op_code: Literal[9]
    trial_id: Int31
    system_attr: OneAttribute


_LINE: TypeAdapter[_Line] = TypeAdapter(
    Annotated[
        _CreateStudy
        | _DeleteStudy
        | _StudyUserAttribute
        | _StudySystemAttribute
        | _CreateTrial
        | _TrialParameter
        | _TrialState
        | _IntermediateValue
        | _TrialUserAttribute
        | _TrialSystemAttribute,
        Field(discriminator="op_code"),
    ]
)


def _check_value(name: str, distribution: str, value: float) -> None:
    known = _distribution_of(distribution)
    if not fits(known, value, internal=True):
        raise ValueError(f"{value} is no value of {name}, which is of {known}")


def mend_journal(journal: Path) -> None:
    """Cut off a line that was being written when the process died, and drop the lock that it held.

    Optuna would append to such a line, which makes it unreadable for good, and wait for such a lock.

    Raises:
        UsageError: the journal is a link.
        DataError: a line is none that Optuna writes; names it.
        OSError: the journal is no plain file of a sane size, or cannot be read or written.
    """
    with suppress(FileNotFoundError):
        Path(f"{journal}.lock").unlink()
    if journal.is_symlink():
        raise UsageError(f"{journal}: is a link, which sltune does not make; put the file itself in its place")
    try:
        content = read_plain(journal, MAX_JOURNAL_BYTES)
    except FileNotFoundError:
        journal.parent.mkdir(parents=True, exist_ok=True)
        return
    whole = content[: content.rfind(b"\n") + 1]
    _check_lines(journal, whole.split(b"\n")[:-1])
    # Copies of the run may share the file, as those of cp -al do, and shall stay as they are.
    if whole != content or journal.stat().st_nlink > 1:
        write_whole(journal, whole)


def _check_lines(journal: Path, lines: Sequence[bytes]) -> None:
    for number, line in enumerate(lines, start=1):
        try:
            values = parse_json(line)
            # Half a character, which JSON can escape, could be written nowhere.
            json.dumps(values, ensure_ascii=False).encode()
            _LINE.validate_python(values)
        except ValueError as error:
            reason = reasons(error) if isinstance(error, ValidationError) else f"not JSON: {error}"
            raise DataError(f"{journal}: is broken: line {number}: {reason}; {RESTORE_STUDY}") from error
