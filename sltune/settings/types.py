"""Types of settings: each says what it allows, so that errors can repeat it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from sltune.extensions.calls import column_of, name_of
from sltune.extensions.kinds import KINDS, checked_name
from sltune.wording import as_toml, suggestion

Value = bool | int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
"""The value of a setting. Lists of TOML become tuples."""
Settings = Mapping[str, Value]
"""Settings by their keys, ``section.name``."""

T = TypeVar("T")

MAX_SEED = 2**32 - 2
"""scikit-learn takes seeds of 32 bits, and validation parts are drawn with seed + 1."""
MAX_SAMPLE_MS = (2**32 - 1) // 1000
"""The times within a sample are stored as µs in 32 bits."""
MAX_FOLDS = MAX_SEEDS = 1000
"""Every configuration is trained once for each fold and seed; nobody trains more often."""
MAX_CROPS = 1000
"""More crops of a sample would show the same frames again."""
MAX_COUNT = 10**9
"""No larger count makes sense; kernels, clocks and progress displays rely on this."""
MIN_NUMBER, MAX_NUMBER = 1e-37, 1e38
"""Networks compute with 32-bit floats, which hold a little more; products with small numbers need the rest."""

EXPLAINED = "explained"
"""pydantic's type of an error whose message says more than what is allowed."""


def _exactly_whole(value: object) -> object:
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


def _different(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError("a value occurs twice")
    return values


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of a text such as "64x48", which is width x height as for cameras and screens.

    Raises:
        ValueError: the text has another form.
    """
    if not (match := re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)):
        raise ValueError(f'{text!r} is not of the form WIDTHxHEIGHT, such as "64x48"')
    return int(match[2]), int(match[1])


def _size_or_none(text: str) -> str:
    if text:
        parse_size(text)
    return text


def _names(key: str) -> tuple[AfterValidator, Any]:
    """Return what checks a setting that names something, and says what it may be."""

    def check(text: str) -> str:
        try:
            return checked_name(key, text)
        except ValueError as error:
            if not str(error):
                raise
            raise PydanticCustomError(EXPLAINED, "{problem}", {"problem": str(error)}) from error

    return AfterValidator(check), Field(description=KINDS[key].allowed)


def _list_of_names(key: str, allowed: str, same: Callable[[str], str]) -> tuple[AfterValidator, Any]:
    """Return what checks a setting that names several things; same: what no two of them may have in common."""

    def check(texts: tuple[str, ...]) -> tuple[str, ...]:
        problems, names = [], []
        for text in texts:
            try:
                names.append(same(checked_name(key, text)))
            except ValueError as error:
                problems.append(f"{as_toml(text)}: {error}")
        problems += [f"{name} occurs twice" for name in dict.fromkeys(names) if names.count(name) > 1]
        if problems:
            raise PydanticCustomError(EXPLAINED, "{problems}", {"problems": "; ".join(problems)})
        return texts

    return AfterValidator(check), _list(allowed)


def _whole_number(low: int, high: int) -> Any:
    return Field(ge=low, le=high, description=f"a whole number from {low} to {high}")


def _list(allowed: str, min_length: int = 0, max_length: int | None = None) -> Any:
    # A strict field would take tuples only, and TOML gives lists.
    return Field(strict=False, min_length=min_length, max_length=max_length, description=f"a list of {allowed}")


# Errors repeat the description as what is allowed.
AtLeastOne = Annotated[int, _whole_number(1, MAX_COUNT)]
Crops = Annotated[int, _whole_number(1, MAX_CROPS)]
Folds = Annotated[
    int,
    Field(ge=0, le=MAX_FOLDS, description=f"a whole number from 2 to {MAX_FOLDS}, or 0 for as many as the split has"),
]
Milliseconds = Annotated[int, _whole_number(1, MAX_SAMPLE_MS)]
NotNegative = Annotated[int, _whole_number(0, MAX_COUNT)]
SeedNumber = Annotated[int, _whole_number(0, MAX_SEED)]
SeedOrMinusOne = Annotated[int, _whole_number(-1, MAX_SEED)]
Positive = Annotated[
    float, Field(ge=MIN_NUMBER, le=MAX_NUMBER, description=f"a number from {MIN_NUMBER:g} to {MAX_NUMBER:g}")
]
PositiveOrZero = Annotated[float, Field(ge=0, le=MAX_NUMBER, description=f"a number from 0 to {MAX_NUMBER:g}")]
ZeroToOne = Annotated[float, Field(ge=0, le=1, description="a number ≥ 0 and ≤ 1")]
BelowOne = Annotated[float, Field(ge=0, lt=1, description="a number ≥ 0 and < 1")]
BetweenZeroAndOne = Annotated[float, Field(gt=0, lt=1, description="a number > 0 and < 1")]
AboveZeroToOne = Annotated[float, Field(gt=0, le=1, description="a number > 0 and ≤ 1")]
Text = Annotated[str, Field(description="a string")]
TrueOrFalse = Annotated[bool, Field(description="true or false")]
# Literal alone would take 1.0 and true for 1.
Downsample = Annotated[Literal[1, 2, 4], BeforeValidator(_exactly_whole)]
FrameSize = Annotated[
    str,
    AfterValidator(_size_or_none),
    Field(description='a text WIDTHxHEIGHT such as "64x64", or "" for the sensor\'s'),
]
CropLength = Annotated[
    Annotated[int, Field(ge=1, le=MAX_SAMPLE_MS)] | Literal["whole", "train"],
    Field(description=f'a whole number from 1 to {MAX_SAMPLE_MS}, "whole" or "train"'),
]
Seeds = Annotated[
    tuple[SeedNumber, ...],
    _list(f"1 to {MAX_SEEDS} different whole numbers from 0 to {MAX_SEED}", min_length=1, max_length=MAX_SEEDS),
    AfterValidator(_different),
]
Sessions = Annotated[
    Literal["all"]
    | Annotated[
        tuple[Annotated[StrictStr, Field(min_length=1)], ...],
        Field(strict=False, min_length=1),
        AfterValidator(_different),
    ],
    Field(description='"all" or a list of different names of sessions'),
]
Cost = Literal[
    "effective_acs", "effective_macs", "membrane_updates", "activation_sparsity", "parameters", "memory_bytes",
    "latency_ms", "energy_joules", "energy_with_memory_joules", "gpu_joules", "spikes", "synaptic_ops",
]  # fmt: skip
"""Metrics of what a network costs, which a search may judge by."""
Limit = Literal[
    "max_effective_acs", "max_effective_macs", "max_membrane_updates", "min_activation_sparsity", "max_parameters",
    "max_memory_bytes", "max_latency_ms", "max_energy_joules", "max_energy_with_memory_joules", "max_gpu_joules",
    "max_spikes", "max_synaptic_ops",
]  # fmt: skip
Objectives = Annotated[
    tuple[Literal["val_accuracy", Cost], ...],
    _list(f'"val_accuracy" and one of {", ".join(get_args(Cost))}', min_length=1),
    AfterValidator(_different),
]
Constraints = Annotated[
    dict[Limit, Annotated[float, Field(gt=0)]],
    Field(description=f"a table in which numbers > 0 may stand for {', '.join(get_args(Limit))}"),
]
Augmentations = Annotated[
    tuple[str, ...],
    *_list_of_names("sampling.augment", 'different augmentations such as ["rotation(degrees=5)"]', name_of),
]
Layers = Annotated[tuple[Text, ...], _list('different names of layers such as ["conv1"]'), AfterValidator(_different)]
MetricNames = Annotated[
    tuple[str, ...],
    *_list_of_names("evaluation.metrics", 'different metrics of yours such as ["metrics.py:top3"]', column_of),
]
NetworkName = Annotated[str, *_names("network.name")]
Surrogate = Annotated[str, *_names("neuron.surrogate")]
LossName = Annotated[str, *_names("training.loss")]
OptimizerName = Annotated[str, *_names("training.optimizer")]
ScheduleName = Annotated[str, *_names("training.schedule")]
SamplerName = Annotated[str, *_names("search.sampler")]
PrunerName = Annotated[str, *_names("search.epoch_pruner")]
Option = (
    bool
    | int
    | float
    | str
    | Annotated[tuple[StrictInt, ...], Field(strict=False)]
    | Annotated[tuple[StrictFloat, ...], Field(strict=False)]
    | Annotated[tuple[StrictStr, ...], Field(strict=False)]
)
Options = dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Option]


class TomlTable(BaseModel):
    """A table of a space file: frozen, with exact types, finite numbers and no unknown keys.

    ADDED: settings that came later. Where one has its default it is not written, so that records, fingerprints and
    files are those of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    ADDED: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _leave_out_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = write(self)
        for name in self.ADDED:
            if getattr(self, name) == type(self).model_fields[name].get_default(call_default_factory=True):
                values.pop(name, None)
        return values


def checked(table: type[TomlTable], name: str, value: object) -> Value:
    """Return the value of a setting as the table holds it.

    Raises:
        ValueError: the table does not allow it; says what it allows.
    """
    try:
        return cast(Value, getattr(table.model_validate({name: value}), name))
    except ValidationError as error:
        annotation, description = table.model_fields[name].annotation, table.model_fields[name].description
        choices = _choices(annotation)
        allowed = description or "one of " + ", ".join(map(as_toml, choices))
        words = value if isinstance(value, list) else [value]
        hints = (suggestion(word, choices) for word in words if isinstance(word, str) and word not in choices)
        reasons = [f"; {detail['msg']}" for detail in error.errors() if detail["type"] == EXPLAINED]
        raise ValueError(f"must be {allowed}{''.join(reasons) or next(hints, '')}") from error


class _OptionsTable(TomlTable):
    options: Options


def checked_option(value: object) -> Value:
    """Return the value of an option of a user's network as a configuration holds it.

    Raises:
        ValueError: it is none that a network can be given.
    """
    try:
        return _OptionsTable.model_validate({"options": {"option": value}}).options["option"]
    except ValidationError as error:
        raise ValueError("must be a finite number, a string, true or false, or a list of one kind of these") from error


def _choices(annotation: object) -> list[object]:
    """Return what the Literals within an annotation list."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in _choices(part)]
