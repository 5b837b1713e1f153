"""What a trial's record holds, and what trials and configurations are called."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, total_ordering
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from sltune.errors import DataError
from sltune.runs.metrics import LARGEST, Metrics
from sltune.settings.configuration import DEFAULTS, OPTIONS, Configuration, tables_of
from sltune.settings.sections import split_name
from sltune.settings.toml import flat
from sltune.settings.types import MAX_FOLDS, MAX_SEED
from sltune.wording import excerpt

SCHEMA = 1
MAX_TIME_S = 1e11
"""Unix time in the year 5138. A later time in a record is an error."""
Time = Annotated[float, Field(strict=True, ge=0, le=MAX_TIME_S)]
Share = Annotated[int | float, Field(ge=0, le=LARGEST)]
Status = Literal["done", "pruned", "failed", "diverged"]
Whole = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Switch = Annotated[bool, Field(strict=True)]
Setting = Switch | Whole | Number | str | list[Whole | Number | str] | None
"""A setting in a record. It may be one that only another version of sltune has."""
Settings = dict[str, Setting | dict[str, Setting]]
"""A table of settings in a record, with that of the network's options within it."""


@total_ordering
@dataclass(frozen=True)
class TrialKey:
    """One training: a configuration on one fold with one seed. They are ordered by configuration, seed and fold."""

    config_id: str
    seed: int
    fold: int

    def __lt__(self, other: TrialKey) -> bool:
        return self._place < other._place

    @property
    def _place(self) -> tuple[int, int, int]:
        return config_number(self.config_id), self.seed, self.fold

    @property
    def name(self) -> str:
        return f"{self.config_id}-f{self.fold}-s{self.seed}"

    @classmethod
    def parse(cls, name: str) -> TrialKey:
        """Read the key back from a trial's folder name.

        Raises:
            ValueError: the name is not of the form ``c0000-f0-s0``.
        """
        found = re.fullmatch(r"(c[0-9]{4,9})-f([0-9]{1,9})-s([0-9]{1,10})", name)
        key = cls(_known(found[1]), seed=int(found[3]), fold=int(found[2])) if found else None
        # Zeros before a number would give one trial several names.
        if key is None or key.name != name:
            raise ValueError(f"{name!r} is not the name of a trial, such as c0000-f0-s0")
        return key


def _known(config_id: str) -> str:
    """Return the name of a configuration, such as c0000, as it is.

    Raises:
        ValueError: it is not the name of a configuration.
    """
    if re.fullmatch("c[0-9]{4,9}", config_id) is None or f"c{int(config_id[1:]):04d}" != config_id:
        raise ValueError(f"{config_id!r} is not the name of a configuration, such as c0000")
    return config_id


ConfigId = Annotated[str, AfterValidator(_known)]


_DEFAULTS: dict[str, dict[str, Any]] = json.loads(json.dumps(tables_of(DEFAULTS)))
"""Every setting, also those that records leave out where they have their defaults."""


EARLIER_SESSIONS = ("S1", "S2", "S3", "S4")
"""What earlier versions wrote of every dataset. Of those without sessions, records now say "all"."""


def chosen_sessions(sessions: Any) -> Any:
    """Return the sessions of a record, as records of all versions say it, so that they can be compared."""
    return list(EARLIER_SESSIONS) if sessions == "all" else sessions


def apart_from_seeds(config: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the settings of a trial without the list of seeds, to which a run may add: the trial has one of them.

    What an earlier version had no setting for has its default, and sessions are as ``chosen_sessions`` gives them.
    """
    sections = {**_DEFAULTS, **config}
    tables = {section: {**_DEFAULTS.get(section, {}), **config.get(section, {})} for section in sections}
    tables["evaluation"].pop("seeds", None)
    tables["evaluation"]["sessions"] = chosen_sessions(tables["evaluation"]["sessions"])
    return tables


def config_number(config_id: str) -> int:
    """Return the place of a configuration in the order of asking, which is not that of the alphabet from c10000 on."""
    return int(config_id[1:])


class DatasetInfo(BaseModel):
    """What a record says of its data: enough to never mix two datasets in one mean.

    downsample: how many pixels of the camera, in each direction, the import has merged into one.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)
    name: str
    synthetic: bool
    fingerprint: str
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    downsample: Annotated[int, Field(ge=1)] = 1

    @model_serializer(mode="wrap")
    def _leave_out_no_downsample(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write records of datasets with the camera's own pixels as earlier versions did."""
        return {name: value for name, value in write(self).items() if (name, value) != ("downsample", 1)}

    @classmethod
    def of(cls, manifest: object) -> Self:
        """Return what is said of the dataset that has this manifest."""
        return cls.model_validate(manifest)

    @property
    def chance_percent(self) -> float:
        """Accuracy in per cent of guessing."""
        return 100 / len(self.classes)


class Device(BaseModel):
    """Where a trial ran; empty for one that was given up before it did."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")
    name: str | None = None
    host: str | None = None
    num_cpus: Share | None = None
    num_gpus: Share | None = None


class Timings(BaseModel):
    """When the last process of a trial began and ended, how many epochs it has, and how long they took in all."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Time] = Field(init=False)
    started: Time | None = None
    ended: Time | None = None
    epochs: Time | None = None
    epochs_s: Time = 0.0


class Judged(BaseModel):
    """What of a record's configuration says which trials may share a mean."""

    model_config = ConfigDict(frozen=True)
    protocol: str = ""
    split: str = "folds"
    split_lists: str = ""
    folds: Whole = 4
    sessions: Annotated[tuple[str, ...], BeforeValidator(chosen_sessions)] = ()
    split_seed: Whole = -1

    @property
    def split_name(self) -> str:
        """What its split is called in tables."""
        return split_name(self.split, self.split_lists)


class Record(BaseModel):
    """The outcome of one trial. Accuracies are fractions, times are Unix seconds, folds count from 0.

    validation: how its validation part came about, as events.splits.parts.Split has it; "" for plain folds.
    """

    model_config = ConfigDict(frozen=True)
    schema_version: int
    run: str
    config_id: ConfigId
    config: dict[str, Settings]
    fold: Annotated[int, Field(strict=True, ge=0, lt=MAX_FOLDS)]
    seed: Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]
    status: Status
    error: str
    splits: dict[str, list[str]]
    validation: str = ""
    metrics: Metrics
    timings: Timings
    device: Device
    versions: dict[str, str]
    dataset: DatasetInfo

    @model_validator(mode="after")
    def _has_no_tables_but_options(self) -> Self:
        for section, table in self.config.items():
            for name, value in table.items():
                if isinstance(value, dict) and f"{section}.{name}" != OPTIONS:
                    raise ValueError(f"config.{section}.{name} = {excerpt(repr(value))}: must be a value, not a table")
        return self

    @model_validator(mode="after")
    def _is_judged(self) -> Self:
        _ = self.judged
        return self

    @cached_property
    def judged(self) -> Judged:
        """What it was judged on."""
        return Judged.model_validate(self.config.get("evaluation", {}))

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting by its key, such as ``training.epochs``."""
        return dict(flat(self.config))

    @property
    def key(self) -> TrialKey:
        return TrialKey(self.config_id, self.seed, self.fold)

    @property
    def went_wrong(self) -> bool:
        """Whether the trial failed or diverged: it was to give a result, and did not."""
        return self.status in ("failed", "diverged")

    @property
    def reason(self) -> str:
        """The last line of its error, which says most."""
        return (self.error.strip().splitlines() or ["no reason given"])[-1]

    @property
    def seconds(self) -> float:
        """How long it was worked on; without epochs that an interruption made it repeat."""
        last_process = (self.timings.ended or 0.0) - (self.timings.started or 0.0)
        return max(last_process, self.timings.epochs_s)

    @property
    def device_hours(self) -> float:
        """Its hours times its share of devices: GPUs, or CPUs where it had no GPU."""
        return self.seconds / 3600 * float(self.device.num_gpus or self.device.num_cpus or 0.0)

    @property
    def was_spared(self) -> bool:
        """Whether the trial never ran, as another one of its configuration had ended without a result."""
        return self.status == "pruned" and not self.was_trained

    @property
    def was_trained(self) -> bool:
        """Whether it ran; other trials of its configuration may have decided that it need not."""
        return bool(self.device.model_fields_set)

    def configuration(self) -> Configuration:
        """Return what was trained.

        Raises:
            DataError: this version has other settings.
        """
        try:
            return Configuration.model_validate_json(json.dumps(self.config))
        except ValidationError as error:
            raise DataError(f"record of {self.key.name}: its configuration is of another version: {error}") from error

    def to_json(self) -> str:
        values = self.model_dump(mode="json", exclude_unset=True)
        return json.dumps({"schema": values.pop("schema_version"), **values}, indent=1)


def latest_of(records: Iterable[Record]) -> Record:
    """Return the record that lists most seeds: those from before seeds were added to a run list fewer."""
    return max(records, key=lambda record: len(record.config.get("evaluation", {}).get("seeds") or ()))  # type: ignore[arg-type]
