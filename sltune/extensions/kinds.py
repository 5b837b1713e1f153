"""The one table of what a space file can name: for each setting the names that are built in, and where each of them is.

Beside them a user's own code can be named everywhere: ``file.py:Name``, ``folder/:Name`` or ``package.module:Name``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sltune.errors import CodeError
from sltune.extensions.calls import name_of, parameters_of, parse_call
from sltune.extensions.code import FORMS, REFERENCE, Code, is_reference
from sltune.extensions.importing import describe_error
from sltune.wording import as_toml, suggestion


@dataclass(frozen=True)
class Kind:
    """What a setting names.

    what: what messages call it. built_in: "module:attribute" by name; imported when first used. called_with: what it is
    given by place. given: what it is given by name, where it takes that.

    makes: whether the named thing is called to make an object, as an optimizer is. Otherwise it does the work itself: a
    function is called, and of a class an object is made first. takes_parameters: whether those that are built in do.
    """

    what: str
    built_in: Mapping[str, str] = field(default_factory=dict)
    called_with: Sequence[str] = ()
    given: Sequence[str] = ()
    makes: bool = False
    takes_parameters: bool = False

    @property
    def allowed(self) -> str:
        """What the setting may be, for errors."""
        known = ", ".join(map(as_toml, self.built_in))
        return f"one of {known}, or {self.what} of yours, {FORMS}" if known else f"{self.what} of yours, {FORMS}"


def _in(module: str, names: str) -> dict[str, str]:
    """Return where names lie in a module of sltune's, with _ for -; after =, what one is called there."""
    pairs = (name.partition("=") for name in names.split())
    return {name: f"sltune.{module}:{attribute or name.replace('-', '_')}" for name, _, attribute in pairs}


KINDS: Mapping[str, Kind] = {
    "sampling.augment": Kind(
        "an augmentation",
        _in(
            "events.augmentations.built_in",
            "event_drop=EventDrop time_jitter=TimeJitter polarity_flip=PolarityFlip time_scale=TimeScale "
            "time_drop=TimeDrop hot_pixels=HotPixels nda=NDA",
        )
        | _in(
            "events.augmentations.geometric",
            "spatial_shift=SpatialShift rotation=Rotation horizontal_flip=HorizontalFlip zoom=Zoom shear=Shear "
            "elastic=Elastic area_drop=AreaDrop",
        ),
        called_with=("events", "rng"),
        takes_parameters=True,
    ),
    "neuron.surrogate": Kind(
        "a surrogate gradient",
        _in("snn.neurons.surrogate", "rectangular polynomial sigmoid gaussian"),
        called_with=("distance", "width"),
    ),
    "network.name": Kind(
        "a network",
        _in("snn.network", "slanimals nmnist-mlp nmnist-mlp2 nmnist-cnn") | _in("snn.deep", "sew vgg"),
        given=("frame_shape", "classes"),
        makes=True,
    ),
    "training.loss": Kind(
        "a loss",
        _in("training.losses", "mse cross-entropy tet"),
        called_with=("rates", "labels"),
        given=("reduction", "outputs"),
    ),
    "training.optimizer": Kind(
        "an optimizer",
        _in("training.optim", "adam sgd adamw"),
        called_with=("parameters",),
        given=("lr", "weight_decay"),
        makes=True,
    ),
    "training.schedule": Kind(
        "a schedule",
        _in("training.optim", "constant step cosine"),
        called_with=("optimizer",),
        given=("epochs",),
        makes=True,
    ),
    "evaluation.metrics": Kind("a metric", called_with=("rates", "labels")),
    "search.sampler": Kind(
        "a sampler",
        _in("tuning.campaign.samplers", "tpe random grid=random cmaes gp"),
        given=("seed", "domains"),
        makes=True,
    ),
    "search.epoch_pruner": Kind(
        "a pruner",
        _in("tuning.campaign.pruning", "none=never median=below_median_curve halving=outside_best_third"),
        makes=True,
    ),
}
"""By the keys of settings. An entry here, and the code that it points to, is all that another built-in name takes."""

OPTIONS_OF: Mapping[str, Sequence[str]] = dict.fromkeys(("sew", "vgg"), ("width", "blocks", "pool", "learn_decay"))
"""What the networks that are built in take in [network.options]; those that are not here take nothing."""

READER = Kind("a reader", called_with=("place",), makes=True)
"""What ``--source`` names."""


def own_names(values: Mapping[str, Sequence[object]]) -> list[tuple[str, str]]:
    """Return where users' code is named, by the keys of settings, and how.

    Args:
        values: those that each setting may have, which may be lists of names.
    """
    found = []
    for key in KINDS:
        for value in values.get(key, ()):
            texts = value if isinstance(value, tuple) else (value,)
            found += [(key, text) for text in texts if isinstance(text, str) and is_reference(text)]
    return found


def checked_name(key: str, text: str) -> str:
    """Return the value of a setting that names something, as it is.

    Raises:
        ValueError: it names nothing, or what is built in does not take its parameters; says what is allowed.
    """
    kind, name = KINDS[key], name_of(text)
    if is_reference(text):
        if not re.fullmatch(REFERENCE, name):
            raise ValueError(f"{as_toml(name)} is none of the forms {FORMS}")
        if key == "network.name" and name != text:
            raise ValueError("parameters of a network stand in [network.options]")
        parse_call(text)
    elif name not in kind.built_in:
        if not kind.takes_parameters and kind.built_in:
            # What there is stands in what the setting allows.
            raise ValueError(_hint(name, kind).removeprefix("; "))
        known = f", known are {', '.join(kind.built_in)}" if kind.built_in else ""
        raise ValueError(f"unknown {kind.what.split(' ', 1)[1]} {name!r}{known}{_hint(name, kind)}")
    elif kind.takes_parameters:
        _refuse_parameters(name, built_in(kind, name), text)
    elif name != text:
        raise ValueError(f"{as_toml(name)} takes no parameters")
    return text


def _hint(name: str, kind: Kind) -> str:
    is_path = name.endswith((".py", "/")) or re.search(r"\.py\.\w+$", name) is not None
    return f"; your own has a colon before its name: {FORMS}" if is_path else suggestion(name, kind.built_in)


def _refuse_parameters(name: str, target: Any, text: str) -> None:
    """Make sure that something that is built in can be made as a text says.

    Raises:
        ValueError: it cannot; says what it takes.
    """
    try:
        arguments = parse_call(text).arguments
    except ValueError as error:
        raise ValueError(f"must be {name}{target.form()}") from error
    try:
        target(**arguments)
    except TypeError as error:
        raise ValueError(f"must be {name}{target.form()}") from error
    except ValueError as error:
        raise ValueError(f"{error}, must be {name}{target.form()}") from error


def built_in(kind: Kind, name: str) -> Any:
    """Return what a built-in name stands for.

    Raises:
        ValueError: there is no such name.
    """
    if name not in kind.built_in:
        raise ValueError(f"must be {kind.allowed}, but got {name!r}")
    module, _, attribute = kind.built_in[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def named(kind: Kind, text: str, code: Code) -> Callable[..., Any]:
    """Return what a text names, with its parameters, to be called as its kind is.

    Raises:
        CodeError: a user's code cannot be imported, or cannot be called so; names their line.
    """
    call = parse_call(text)
    if not is_reference(text):
        found: Callable[..., Any] = built_in(kind, call.name)
        made: Callable[..., Any] = found(**call.arguments) if kind.takes_parameters else found
        return made
    target = code.load(call.name)
    is_class = isinstance(target, type)
    if not callable(target):
        wanted = f"{'to make' if kind.makes else 'as'} {kind.what}"
        raise CodeError(f"{call.name}: is {type(target).__name__}, which cannot be called {wanted}")
    by_place = 0 if is_class and not kind.makes else len(kind.called_with)
    _refuse_unknown(text, call.name, parameters_of(target, by_place), call.arguments, kind.given)
    if kind.makes or not is_class:
        return partial(target, **call.arguments) if call.arguments else target
    made = made_by(text, target, **call.arguments)
    if not callable(made):
        takes = ", ".join(kind.called_with)
        raise CodeError(f"{call.name}: is a class without __call__(self, {takes}), which {kind.what} must have")
    return made


def made_by(text: str, factory: Callable[..., Any], *values: Any, **arguments: Any) -> Any:
    """Call what makes an object.

    Raises:
        CodeError: a user's code raises; names their line.
    """
    try:
        return factory(*values, **arguments)
    except Exception as error:
        if not is_reference(text):
            raise
        raise CodeError(f"{text}: failed: {describe_error(error)}") from error


def require(text: str, made: object, wanted: type, shown: str) -> None:
    """Raise a CodeError unless what a user's code has made is of a class; shown: what the class is called."""
    if not isinstance(made, wanted):
        raise CodeError(f"{text}: makes {type(made).__name__}, which is no {shown}")


def _refuse_unknown(
    text: str, name: str, own: Sequence[str] | None, arguments: Mapping[str, object], given: Sequence[str]
) -> None:
    for argument in arguments:
        if argument in given:
            raise CodeError(f"{text}: {argument} is given by sltune; leave it out")
        refuse_unknown_argument(text, name, argument, None if own is None else [one for one in own if one not in given])


def refuse_unknown_argument(place: str, name: str, argument: str, own: Sequence[str] | None) -> None:
    """Make sure that a user's code takes an argument.

    Args:
        place: what the error begins with. own: the arguments that it takes; None where it takes any.

    Raises:
        CodeError: it does not; says which it takes.
    """
    if own is not None and argument not in own:
        known = f"it takes {', '.join(own)}" if own else "it takes no parameters"
        raise CodeError(f"{place}: {name} takes no {argument}; {known}{suggestion(argument, own)}")
