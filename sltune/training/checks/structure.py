"""Where the parameters of a network are: whether torch knows them all, on which device and of which type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sltune.training.checks.findings import Finding, Mistake, listed
from sltune.training.checks.recording import tensors_in


def check_parameters(network: nn.Module) -> Iterator[Finding]:
    """Look at the parameters, buffers and other tensors of a network that has just been built."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    if lazy := [name for name, tensor in tensors.items() if is_lazy(tensor)]:
        yield Finding(Mistake.LAZY, layer_of(lazy[0]), f"{listed(lazy)}: made by a lazy module")
    yield from _others(Mistake.DEVICE, {name: tensor.device for name, tensor in tensors.items()})
    kinds = {name: tensor.dtype for name, tensor in tensors.items() if tensor.is_floating_point()}
    yield from _others(Mistake.DTYPE, kinds)
    registered = {id(tensor) for tensor in tensors.values()}
    for name, module in network.named_modules():
        for attribute, value in vars(module).items():
            if attribute in ("_parameters", "_buffers", "_modules"):
                continue
            found = [tensor for tensor in _all_tensors(value) if id(tensor) not in registered]
            if any(tensor.requires_grad for tensor in found):
                measured = f"its attribute {attribute} holds {len(found)} of them where torch does not look"
                yield Finding(Mistake.UNREGISTERED, name, measured)
            # A number in a tensor of no dimension works with tensors on any device.
            elif any(tensor.dim() and tensor.is_floating_point() for tensor in found):
                yield Finding(Mistake.PLAIN_TENSOR, name, f"its attribute {attribute} is one")


def layer_of(parameter: str) -> str:
    """Return the name of the module that has a parameter."""
    return parameter.rpartition(".")[0]


def _others(mistake: Mistake, kinds: dict[str, Any]) -> Iterator[Finding]:
    """Name the tensors that differ from most."""
    counts = Counter(kinds.values()).most_common()
    for kind, _ in counts[1:]:
        names = [name for name, other in kinds.items() if other == kind]
        measured = f"{listed(names)}: {kind}, but most are {counts[0][0]}"
        yield Finding(mistake, layer_of(names[0]), measured)


def _all_tensors(value: object) -> Iterator[Tensor]:
    """Give the tensors in a value, also those of modules that hide in lists and tables."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
    for item in items:
        if isinstance(item, nn.Module):
            yield from item.parameters()
        elif isinstance(item, list | tuple | dict):
            yield from _all_tensors(item)
    yield from tensors_in(value)
