"""What tables of settings have in common: types that say what they allow, and errors that repeat it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar, cast, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from sltune.settings.augmentations import AUGMENTATIONS, parse_augmentation
from sltune.wording import as_toml, suggestion

Value = bool | int | float | str | tuple[int, ...] | tuple[str, ...]
"""A setting. TOML's lists become tuples."""

T = TypeVar("T")


def _whole(value: object) -> object:
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


def _different(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError("a value occurs twice")
    return values


# The type of errors that say more than what is allowed.
EXPLAINED = "explained"


def _augmentations(texts: tuple[str, ...]) -> tuple[str, ...]:
    problems, names = [], []
    for text in texts:
        try:
            names.append(parse_augmentation(text).name)
        except ValueError as error:
            name = text.partition("(")[0].strip()
            hint = "" if name in AUGMENTATIONS else suggestion(name, AUGMENTATIONS)
            problems.append(f"{as_toml(text)}: {error}{hint}")
    problems += [f"{name} occurs twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if problems:
        raise PydanticCustomError(EXPLAINED, "{problems}", {"problems": "; ".join(problems)})
    return texts


# scikit-learn takes 32 bits, and validation parts are drawn with seed + 1.
LAST_SEED = 2**32 - 2

# The times of a sample are µs of 32 bits.
LONGEST_SAMPLE_MS = (2**32 - 1) // 1000
# Each is a training for every configuration and seed, or fold.
MOST_FOLDS = MOST_SEEDS = 1000
# More of a sample would be the same frames again.
MOST_CROPS = 1000
# A count beyond it means nothing, and kernels, clocks and progress displays need not be prepared for it.
MOST = 10**9
# What 32-bit floating point holds, in which networks compute, with room for products with small numbers.
SMALLEST, LARGEST_NUMBER = 1e-37, 1e38

# A description is what an error says to be allowed.
AtLeastOne = Annotated[int, Field(ge=1, le=MOST, description=f"a whole number from 1 to {MOST}")]
Crops = Annotated[int, Field(ge=1, le=MOST_CROPS, description=f"a whole number from 1 to {MOST_CROPS}")]
Folds = Annotated[int, Field(ge=2, le=MOST_FOLDS, description=f"a whole number from 2 to {MOST_FOLDS}")]
Milliseconds = Annotated[
    int, Field(ge=1, le=LONGEST_SAMPLE_MS, description=f"a whole number from 1 to {LONGEST_SAMPLE_MS}")
]
NotNegative = Annotated[int, Field(ge=0, le=MOST, description=f"a whole number from 0 to {MOST}")]
SeedNumber = Annotated[int, Field(ge=0, le=LAST_SEED, description=f"a whole number from 0 to {LAST_SEED}")]
SeedOrMinusOne = Annotated[int, Field(ge=-1, le=LAST_SEED, description=f"a whole number from -1 to {LAST_SEED}")]
Positive = Annotated[
    float, Field(ge=SMALLEST, le=LARGEST_NUMBER, description=f"a number from {SMALLEST:g} to {LARGEST_NUMBER:g}")
]
PositiveOrZero = Annotated[float, Field(ge=0, le=LARGEST_NUMBER, description=f"a number from 0 to {LARGEST_NUMBER:g}")]
ZeroToOne = Annotated[float, Field(ge=0, le=1, description="a number ≥ 0 and ≤ 1")]
BelowOne = Annotated[float, Field(ge=0, lt=1, description="a number ≥ 0 and < 1")]
BetweenZeroAndOne = Annotated[float, Field(gt=0, lt=1, description="a number > 0 and < 1")]
AboveZeroToOne = Annotated[float, Field(gt=0, le=1, description="a number > 0 and ≤ 1")]
Text = Annotated[str, Field(description="a string")]
Switch = Annotated[bool, Field(description="true or false")]
# Literal alone takes 1.0 and true for 1.
Downsample = Annotated[Literal[1, 2, 4], BeforeValidator(_whole)]
CropLength = Annotated[
    Annotated[int, Field(ge=1, le=LONGEST_SAMPLE_MS)] | Literal["whole", "train"],
    Field(description=f'a whole number from 1 to {LONGEST_SAMPLE_MS}, "whole" or "train"'),
]
Seeds = Annotated[
    tuple[SeedNumber, ...],
    Field(
        strict=False,
        min_length=1,
        max_length=MOST_SEEDS,
        description=f"a list of 1 to {MOST_SEEDS} different whole numbers from 0 to {LAST_SEED}",
    ),
    AfterValidator(_different),
]
Sessions = Annotated[
    tuple[Literal["S1", "S2", "S3", "S4"], ...],
    Field(strict=False, min_length=1, description='a list of different ones of "S1", "S2", "S3", "S4"'),
    AfterValidator(_different),
]
Objectives = Annotated[
    tuple[Literal["val_accuracy", "synaptic_ops"], ...],
    Field(strict=False, min_length=1, description='a list of different ones of "val_accuracy", "synaptic_ops"'),
    AfterValidator(_different),
]
Constraints = Annotated[
    dict[Literal["max_synaptic_ops"], Annotated[float, Field(gt=0)]],
    Field(description="a table in which max_synaptic_ops, a number > 0, may stand"),
]
Augmentations = Annotated[
    tuple[str, ...],
    Field(strict=False, description='a list of different augmentations such as ["rotation(degrees=5)"]'),
    AfterValidator(_augmentations),
]


class Section(BaseModel):
    """Base of the tables of a space file: frozen, exact types, finite numbers, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def checked(model: type[Section], name: str, value: object) -> Value:
    """Return the value as the model holds it.

    Raises:
        ValueError: the model does not take it for the field; says what it takes.
    """
    try:
        return cast(Value, getattr(model.model_validate({name: value}), name))
    except ValidationError as error:
        annotation, description = model.model_fields[name].annotation, model.model_fields[name].description
        choices = _choices(annotation)
        allowed = description or "one of " + ", ".join(map(as_toml, choices))
        words = value if isinstance(value, list) else [value]
        hints = (suggestion(word, choices) for word in words if isinstance(word, str) and word not in choices)
        reasons = [f"; {detail['msg']}" for detail in error.errors() if detail["type"] == EXPLAINED]
        raise ValueError(f"must be {allowed}{''.join(reasons) or next(hints, '')}") from error


def _choices(annotation: object) -> list[object]:
    """Return what the Literals within an annotation list."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in _choices(part)]
