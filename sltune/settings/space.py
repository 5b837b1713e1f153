"""Space files: a configuration in which any value may be a search domain."""

from __future__ import annotations

import html
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from sltune.errors import ConfigError
from sltune.extensions.calls import name_of
from sltune.extensions.code import Code, collect
from sltune.extensions.kinds import own_names
from sltune.settings.configuration import (
    DEFAULTS,
    NAMES,
    OPTIONS,
    SECTIONS,
    Configuration,
    in_order,
    is_added,
    is_option,
    nearest_key,
    tables_of,
)
from sltune.settings.domains import (
    Domain,
    Domains,
    is_idle,
    parse_domain,
    parse_setting,
    problems_between,
    show_domain,
    table_of,
)
from sltune.settings.search import Search, completed_search, read_search
from sltune.settings.sections import DRAWN, Evaluation
from sltune.settings.toml import MAX_DEPTH, parse_toml, shipped_file, space_text, toml_file
from sltune.settings.types import Settings, Value
from sltune.wording import as_toml, suggestion

SHAPING = ("network.name", "network.weights", "sampling.downsample", "sampling.size")
"""These settings decide whether a network can be built at all."""

CODE = "code"
"""The folder in a run's that holds a copy of the user's code."""


@dataclass(frozen=True)
class Space:
    """What a space file says, with defaults filled in.

    settings: every setting that is not searched. domains: the other settings. search: None if the file has no such
    table. first: configurations to try first, each as values of the domains. folder: that of the file.
    """

    settings: Settings
    domains: Domains = field(default_factory=dict)
    search: Search | None = None
    first: tuple[Settings, ...] = ()
    source: str = field(default="space", compare=False)
    folder: Path | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        searched = f": searches {', '.join(self.domains)}" if self.domains else ""
        return f"<Space {self.source!r}{searched}>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.to_toml())}</pre>"

    @property
    def keys(self) -> list[str]:
        """The keys of all settings, searched or not."""
        return in_order({*self.settings, *self.domains})

    def configuration(self, sampled: Settings | None = None) -> Configuration:
        """Return the configuration with the sampled values of a search; settings whose conditions fail have defaults.

        Raises:
            ConfigError: a searched setting has no sampled value; names all of these with their domains.
        """
        values = {**self.settings, **(sampled or {})}
        problems = [
            f"{key} = {show_domain(domain)}: is searched, but needs one value: --set {key}=VALUE"
            for key, domain in self.domains.items()
            if key not in values and not is_idle(domain, values)
        ]
        if problems:
            if not sampled:
                problems.append("to search instead: sltune tune SPACE --data DATA")
            raise ConfigError(self.source, problems)
        return Configuration.of({**DEFAULTS, **values})

    def required_search(self) -> Search:
        """Return how the space is to be searched.

        Raises:
            ConfigError: it has no domains.
        """
        if not self.domains:
            hint = "give a setting a domain such as { low = 0.1, high = 0.9 }, or use: sltune evaluate"
            raise ConfigError(self.source, [f"nothing is searched; {hint}"])
        return self.search or completed_search({})

    @property
    def evaluation(self) -> Evaluation:
        """The folds and seeds of every configuration: none of these settings can be searched."""
        settings = {key: value for key, value in self.settings.items() if key.startswith("evaluation.")}
        return Configuration.of(settings).evaluation

    def active(self, values: Settings) -> dict[str, Value]:
        """Return the values whose domains are searched, given the other values."""
        settings = {**self.settings, **values}
        return {
            key: values[key] for key, domain in self.domains.items() if key in values and not is_idle(domain, settings)
        }

    def probes(self) -> Iterator[Configuration]:
        """Give a configuration for every network and frame size in the space, starting with the one to try first.

        Other domains have the value to try first, or one of their ends.
        """
        values = {key: domain.extremes() for key, domain in self.domains.items()}
        shaping = [key for key in SHAPING if key in values]
        start = {**{key: ends[0] for key, ends in values.items()}, **(self.first[0] if self.first else {})}
        choices = product(*(dict.fromkeys([start[key], *values[key]]) for key in shaping))
        for choice in choices:
            yield self.configuration(self.active({**start, **dict(zip(shaping, choice, strict=True))}))
        # A user's network may not take every value of an option; all combinations could be too many.
        for key, ends in values.items():
            if is_option(key):
                others = [end for end in ends if end != start[key]]
                given = {**start, **self.domains[key].when}
                yield from (self.configuration(self.active({**given, key: end})) for end in others)

    @classmethod
    def of(cls, configuration: Configuration) -> Space:
        """Return a space with this configuration, in which nothing is searched."""
        return cls(configuration.settings())

    def to_toml(self, everything: bool = False) -> str:
        """Return the text of a space file that reads back as an equal space.

        Args:
            everything: write settings that came later even where they have their defaults.
        """
        keys = [key for key in self.keys if everything or not is_added(key) or self.settings.get(key) != DEFAULTS[key]]
        tables = tables_of({key: self._setting_or_domain(key) for key in keys})
        if self.search is not None:
            first = {"first": [dict(values) for values in self.first]} if self.first else {}
            tables["search"] = {**self.search.model_dump(mode="json"), **first}
        return toml_file(tables)

    @cached_property
    def code(self) -> Code:
        """The user's code that settings and searched choices name, as it is when first asked for.

        Files are looked for beside the space file, in a run's copy of them, and in the working directory.

        Raises:
            CodeError: it cannot be found or read.
        """
        beside = (self.folder, self.folder / CODE) if self.folder else ()
        return collect(self.references(), (*beside, Path()))

    def references(self) -> list[str]:
        """Return the names of users' code among the settings and the choices that are searched, without parameters."""
        return [name_of(text) for _, text in self.own()]

    def own(self) -> list[tuple[str, str]]:
        """Return where users' code is named, by the keys of settings, and how, with parameters."""
        search = {f"search.{name}": value for name, value in self.search or ()}
        values = {key: (value,) for key, value in {**self.settings, **search}.items()}
        return own_names({**values, **{key: domain.extremes() for key, domain in self.domains.items()}})

    def _setting_or_domain(self, key: str) -> object:
        return self.settings[key] if key in self.settings else table_of(self.domains[key])


def load_space(path: Path, overrides: Sequence[str] = ()) -> Space:
    """Read a space file with overrides ``section.key=TOML value``; the last override of a key counts.

    A name alone, such as best.toml, is that of a file which comes with sltune, unless there is such a file here.

    Raises:
        ConfigError: the file cannot be read, or something is wrong in it; names every problem.
    """
    file = shipped_file(path) or path
    return parse_space(space_text(path, file), str(path), overrides, file.parent)


def parse_space(text: str, source: str, overrides: Sequence[str] = (), folder: Path | None = None) -> Space:
    """Read the text of a space file as ``load_space`` does; errors name it by ``source``.

    Args:
        folder: beside which files of users' code lie.

    Raises:
        ConfigError: something is wrong in it; names every problem.
    """
    source = " ".join([source, *(f"--set {override}" for override in overrides)])
    try:
        tables = parse_toml(text)
    except ValueError as error:
        raise ConfigError(source, [str(error)]) from error
    problems: list[str] = []
    for override in overrides:
        try:
            _apply(override, tables)
        except ValueError as error:
            problems.append(f"--set {override}: {error}")
    settings, domains = _read_sections(tables, problems)
    if settings.get("evaluation.split") not in (None, *DRAWN) and "folds" not in tables.get("evaluation", {}):
        settings["evaluation.folds"] = 0
    problems += problems_between(settings, domains)
    fixed = [override.partition("=")[0].strip() for override in overrides]
    search, first = read_search(tables.get("search"), settings, domains, problems, fixed)
    if domains and settings.get("evaluation.protocol") == "train-test":
        problems.append('evaluation.protocol = "train-test": a search must not see the test set; use "train-val-test"')
    if problems:
        raise ConfigError(source, problems)
    return Space(settings, domains, search, first, source, folder)


def _apply(override: str, tables: dict[str, Any]) -> None:
    """Set one value in the tables of a space file.

    Raises:
        ValueError: the override does not have the form key=value, or its value is not TOML.
    """
    path, equals, text = (part.strip() for part in override.partition("="))
    *parents, name = path.split(".")
    if not equals or not 0 < len(parents) < MAX_DEPTH or not all([*parents, name]):
        if path in DEFAULTS:
            raise ValueError(f"needs a value, such as --set {path}={as_toml(DEFAULTS[path])}")
        raise ValueError(f"must have the form section.key=value{nearest_key(name)}")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError) as error:
        # A bare word is taken as a string; otherwise a shell would need two kinds of quotes.
        if text.startswith(('"', "'", "[", "{")):
            raise ValueError(f"{text} is not a TOML value: {error}") from error
        parsed = {"value": text}
    if len(parsed) > 1:
        raise ValueError("must set one value only")
    table = tables
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ValueError(f"{parent} = {as_toml(table)} is not a table")
    table[name] = parsed["value"]


def _read_sections(tables: Mapping[str, object], problems: list[str]) -> tuple[dict[str, Value], dict[str, Domain]]:
    """Return settings and domains; what is missing has its default, and what is wrong is left out of both."""
    settings = dict(DEFAULTS)
    domains: dict[str, Domain] = {}
    for section, table in tables.items():
        if section != "search" and section not in SECTIONS:
            hint = nearest_key(section) if section in NAMES else suggestion(section, [*SECTIONS, "search"])
            problems.append(f"{section}: unknown table{hint}")
        elif not isinstance(table, dict):
            problems.append(f"{section} = {as_toml(table)}: must be a table, [{section}]")
        elif section in SECTIONS:
            for name, value in table.items():
                _read_setting(f"{section}.{name}", value, settings, domains, problems)
    # A search draws in the order of the domains, and must draw the same when it is read from its run folder.
    return settings, {key: domains[key] for key in in_order(domains)}


def _read_setting(
    key: str, value: object, settings: dict[str, Value], domains: dict[str, Domain], problems: list[str]
) -> None:
    """Give a setting its value, or move it to the domains; one that is wrong is removed from both."""
    if key == OPTIONS and isinstance(value, dict):
        for name, option in value.items():
            _read_setting(f"{OPTIONS}.{name}", option, settings, domains, problems)
        return
    if settings.pop(key, None) is None and not is_option(key):
        section, name = key.split(".", 1)
        problems.append(f"{key} = {as_toml(value)}: unknown key{nearest_key(name, section)}")
    elif isinstance(value, dict):
        if domain := parse_domain(key, value, problems):
            domains[key] = domain
    else:
        try:
            settings[key] = parse_setting(key, value)
        except ValueError as error:
            problems.append(f"{key} = {as_toml(value)}: {error}")
