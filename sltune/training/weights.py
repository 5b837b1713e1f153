"""Files of weights, sltune's own or a stranger's: checked before use, and fitted to a network by its layers."""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sltune.errors import DataError, UsageError
from sltune.system.files import read_plain
from sltune.wording import first_of, printable, suggestion

MAX_WEIGHTS_BYTES = 4 << 30
"""The largest network on frames of a megapixel has some 2.5 GB of weights."""

WRAPPINGS = ("state_dict", "model_state_dict", "network", "net", "model", "weights")
"""Keys under which training scripts keep the weights in a checkpoint that also holds other things."""

MAX_SHOWN_LAYERS = 20
"""A deep network has hundreds; the first ones show how they are called."""

MAX_WRAPPINGS = 3
"""Tables within each other; without a limit, a hostile file's table that contains itself would never end."""

PREFIX = re.compile(r"^(?:(?:module|_orig_mod|model|network|net)\.)+")
"""What DataParallel, torch.compile and modules around the network put before each name."""

PREDECESSORS_NAMES = (("_s.layer.", "."), ("_s.bn.", "_norm."))
"""Parts of names: the predecessor's for its tdLayer around a layer and its norm, and sltune's for the same."""

UNUSED = re.compile(r"(?:^|\.)ksi$")
"""A parameter that every spiking layer of the predecessor has but does not use."""


def weights_to_bytes(network: nn.Module) -> bytes:
    """Return the weights as the content of a ``.pt`` file, from whatever device they are on."""
    buffer = io.BytesIO()
    torch.save({name: value.detach().cpu() for name, value in network.state_dict().items()}, buffer)
    return buffer.getvalue()


def read_weights(file: Path) -> bytes:
    """Return the content of a weights file.

    Raises:
        DataError: it cannot be read, is not a plain file, or is too large for weights.
    """
    try:
        return read_plain(file, MAX_WEIGHTS_BYTES)
    except OSError as error:
        raise DataError(f"{printable(str(file))}: weights cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{str(file)!r}: weights cannot be read: {error}") from error


def is_within(name: str, layers: Sequence[str]) -> bool:
    """Say whether a parameter or buffer belongs to one of these layers; a parameter's own name stands for it, too."""
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


def refuse_unknown_layers(network: nn.Module, layers: Sequence[str], key: str) -> None:
    """Make sure that a network has all of these layers.

    Args:
        key: the setting that names them.

    Raises:
        UsageError: it lacks one; says which it has.
    """
    names = list(network.state_dict())
    for layer in layers:
        if not any(is_within(name, [layer]) for name in names):
            known = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
            hint = suggestion(layer, known) or f"; it has {', '.join(first_of(known, MAX_SHOWN_LAYERS))}"
            raise UsageError(f"{key}: the network has no layer {_quoted(layer)} with weights{hint}")


def load_weights(network: nn.Module, data: bytes, source: str, skip: Sequence[str] = ()) -> str:
    """Load the content of a ``.pt`` file; return a sentence on what was renamed or left out, or "".

    Tensors are matched by name or, where names differ, by shape in the order of layers.

    Args:
        source: the name of the file in messages.
        skip: layers that keep the weights that they have; what the file holds for them is left out.

    Raises:
        DataError: it is not a weights file, or is for another network; the message names the parameter.
    """
    state, changes = fitted_weights(network, data, source, skip)
    network.load_state_dict(state, strict=not skip)
    return f"{printable(source)}: {'; '.join(changes)}" if changes else ""


def fitted_weights(
    network: nn.Module, data: bytes, source: str, skip: Sequence[str] = ()
) -> tuple[dict[str, Tensor], list[str]]:
    """Return what load_weights would load, by the network's names, and what was changed; raises the same errors."""
    everything = network.state_dict()
    wanted = {name: value for name, value in everything.items() if not is_within(name, skip)}
    try:
        content, wrappings = _unwrapped(unpack(data))
        # The names of a user's network may begin as those of modules that are wrapped around one.
        found, names, repeated, unused = _named(content, is_own=content.keys() == everything.keys())
        skipped = [name for name in found if is_within(name, skip)]
        found = {name: value for name, value in found.items() if not is_within(name, skip)}
        pairs = _paired(wanted, found)
        state = {name: _checked(names[other], found[other], wanted[name]) for name, other in pairs.items()}
    except ValueError as error:
        raise DataError(f"{printable(source)}: cannot be loaded as weights: {error}") from error
    changes = [f"weights are those below {' and '.join(map(_quoted, wrappings))}"] if wrappings else []
    renamed = [(names[other], name) for name, other in pairs.items() if names[other] != name]
    if renamed:
        changes.append(", ".join(first_of([f"{_quoted(theirs)} is taken for {ours}" for theirs, ours in renamed], 1)))
    if skipped:
        changes.append(f"{_listed(skipped)} {'is' if len(skipped) == 1 else 'are'} skipped")
    if repeated:
        changes.append(f"{_listed(repeated)} repeat others")
    if unused:
        changes.append(f"{_listed(unused)} {'is' if len(unused) == 1 else 'are'} not used")
    return state, changes


def unpack(data: bytes, device: torch.device | str = "cpu") -> Any:
    """Return what torch.save has put into a file: tensors, texts, numbers, and tables and lists of these.

    Nothing else is ever unpickled, and every byte agrees with the file's checksums.

    Raises:
        ValueError: the data are not such a file.
    """
    _check_archive(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own message would advise to switch its protection off.
        text = "it holds objects that could run code when they are loaded; save the model's state_dict() alone"
        raise ValueError(text) from error
    except Exception as error:
        # A file that a stranger has put together can make torch raise any exception.
        raise ValueError("it is damaged") from error


def _check_archive(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            # Torch never compresses, but it would unpack whatever size a small file claims to have.
            is_plain = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            is_whole = is_plain and sum(member.file_size for member in members) <= len(data)
            is_whole = is_whole and archive.testzip() is None
    except Exception as error:
        # On damaged bytes, zipfile raises NotImplementedError, RuntimeError, struct.error and others.
        text = "it is no file that torch.save (of torch 1.6 or later) has written, or only a part of one"
        raise ValueError(text) from error
    if not is_whole:
        raise ValueError("it is damaged: its contents do not agree with its table of contents")


def _unwrapped(content: object) -> tuple[dict[str, Any], list[str]]:
    """Return the table of tensors within a checkpoint, and the keys that lead to it."""
    path: list[str] = []
    while isinstance(content, dict) and len(path) < MAX_WRAPPINGS:
        inner = next((key for key in WRAPPINGS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        path.append(inner)
        content = content[inner]
    if not isinstance(content, dict):
        raise ValueError(f"it holds one {type(content).__name__} instead of tensors by name")
    if not content:
        raise ValueError("it holds no tensors")
    for name, value in content.items():
        if not isinstance(name, str):
            raise ValueError(f"it holds one {type(name).__name__} where the name of a tensor should be")
        if type(value) not in (Tensor, nn.Parameter):
            raise ValueError(f"{_quoted(name)} is no tensor, but of type {type(value).__name__}")
    return content, path


def _named(
    content: Mapping[str, Tensor], is_own: bool
) -> tuple[dict[str, Tensor], dict[str, str], list[str], list[str]]:
    """Return tensors by sltune's names, these tensors' names in the file, repeated names, and unused names.

    The predecessor's file holds most tensors twice, since its layers have two names.

    Args:
        is_own: whether the names are those of the network already.
    """
    found: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    repeated, unused = [], []
    for name, tensor in content.items():
        own = name if is_own else _own_name(name)
        if UNUSED.search(own) and not is_own:
            unused.append(name)
        elif own not in found:
            found[own], names[own] = tensor, name
        elif is_dense(tensor) and is_dense(found[own]) and torch.equal(tensor, found[own]):
            repeated.append(name)
        else:
            raise ValueError(f"{_quoted(names[own])} and {_quoted(name)} stand for one parameter, but differ")
    return found, names, repeated, unused


def _own_name(name: str) -> str:
    own = PREFIX.sub("", name)
    for theirs, ours in PREDECESSORS_NAMES:
        own = own.replace(theirs, ours)
    return own


def _paired(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, str]:
    """Return, for each tensor of the network, the name of the tensor in the file that it gets."""
    if wanted.keys() == found.keys():
        return {name: name for name in wanted}
    if [tensor.shape for tensor in wanted.values()] == [tensor.shape for tensor in found.values()]:
        return dict(zip(wanted, found, strict=True))
    lacking, extra = [name for name in wanted if name not in found], [name for name in found if name not in wanted]
    parts = [f"the file lacks {_listed(lacking)}"] if lacking else []
    parts += [f"the network has no place for {_listed(extra)}"] if extra else []
    raise ValueError(" and ".join(parts) or "its tensors stand in another order")


def _checked(name: str, tensor: Tensor, wanted: Tensor) -> Tensor:
    """Return a tensor in the type of the network's own, if it fits that."""
    if tensor.shape != wanted.shape:
        sizes = ("×".join(map(str, shape)) or "one value" for shape in (tensor.shape, wanted.shape))
        raise ValueError("{} is {}, but the network needs {}".format(_quoted(name), *sizes))
    if not is_dense(tensor) or tensor.is_floating_point() != wanted.is_floating_point() or tensor.is_complex():
        kind = "floating-point" if wanted.is_floating_point() else "whole"
        got = f"{tensor.dtype}, {tensor.layout}, on {tensor.device.type}"
        raise ValueError(f"{_quoted(name)} must be a dense tensor of {kind} numbers, but is another kind ({got})")
    values = tensor.to(wanted.dtype)
    # A user's buffer may hold infinity from the start, as a mask.
    if not (values.isfinite() | ~wanted.isfinite()).all():
        raise ValueError(f"{_quoted(name)} has values that are not finite numbers")
    return values


def is_dense(tensor: Tensor) -> bool:
    """Say whether every element has memory of its own; otherwise a small file could claim any size."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _quoted(name: str) -> str:
    return f'"{printable(name)}"'


def _listed(names: Sequence[str]) -> str:
    return ", ".join(first_of(list(map(_quoted, names)), 3))
