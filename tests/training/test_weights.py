"""Files of weights: those of others fit by names and layers, and what is none ends in one sentence."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sltune.errors import DataError
from sltune.snn.network import NetworkOptions
from sltune.snn.running import rates_of
from sltune.training.weights import MAX_WEIGHTS_BYTES, load_weights, read_weights, weights_to_bytes
from tests import reference_impl as reference
from tests.networks import NETWORKS

SIZE, CLASSES = (20, 20), 3
PREDECESSORS = ("conv1_s", "conv2_s", "fc1_s", "fc2_s")


def network(name: str = "slanimals", norm: str = "none", size: tuple[int, int] = SIZE) -> nn.Module:
    return NETWORKS[name]((2, *size), CLASSES, options=NetworkOptions(norm=norm))


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def state(**options: Any) -> dict[str, Tensor]:
    """The weights of a network other than those that tests load them into."""
    torch.manual_seed(1)
    return dict(network(**options).state_dict())


def refusal(data: bytes, into: nn.Module | None = None) -> str:
    with pytest.raises(DataError) as caught:
        load_weights(into or network(), data, "w.pt")
    text = str(caught.value)
    assert text.startswith("w.pt: cannot be loaded as weights: ")
    assert "weights_only" not in text
    assert "\n" not in text
    return text.removeprefix("w.pt: cannot be loaded as weights: ")


class TimeLayer(nn.Module):
    """As the predecessor names the parts of a layer."""

    def __init__(self, layer: nn.Module, bn: nn.Module | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.bn = bn


class Spiking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ksi = nn.Parameter(torch.tensor([0.36]))


def predecessors_network(twice: bool, tdbn: bool = False) -> nn.Module:
    """A network with the parameters of the predecessor's, in its order; in SL-Animals' each layer has two names."""
    torch.manual_seed(2)
    layers = {
        "conv1": nn.Conv2d(2, 20, 3),
        "conv2": nn.Conv2d(20, 50, 3),
        "fc1": nn.Linear(450, 200),
        "fc2": nn.Linear(200, CLASSES),
    }
    whole = nn.Module()
    for name, layer in layers.items():
        if twice:
            whole.add_module(name, layer)
    for name, layer in layers.items():
        norm = nn.BatchNorm2d(layer.out_channels) if tdbn and isinstance(layer, nn.Conv2d) else None
        whole.add_module(f"{name}_s", TimeLayer(layer, norm))
    whole.add_module("spike", Spiking())
    return whole


@pytest.mark.parametrize("twice", [True, False])
def test_weights_of_the_predecessor_are_loaded_and_it_is_said_what_was_renamed_and_dropped(twice: bool) -> None:
    theirs, ours = predecessors_network(twice), network()
    note = load_weights(ours, saved(theirs.state_dict()), "model_weights_fold1.pt")
    named = dict(theirs.named_parameters(remove_duplicate=False))
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, named[name.replace(".", "_s.layer.")])
    if twice:
        assert note == (
            'model_weights_fold1.pt: "conv1_s.layer.weight", "conv1_s.layer.bias", "conv2_s.layer.weight", '
            '… and 5 more repeat others; "spike.ksi" is not used'
        )
    else:
        assert note == (
            'model_weights_fold1.pt: "conv1_s.layer.weight" is taken for conv1.weight, … and 7 more; '
            '"spike.ksi" is not used'
        )


def test_weights_of_the_predecessor_fire_as_in_a_plain_implementation_of_it() -> None:
    torch.manual_seed(3)
    plain = reference.PlainSLANIMALSNet(32)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.mul_(2)
    keys = [f"{layer}.layer.{part}" for layer in PREDECESSORS for part in ("weight", "bias")]
    theirs = dict(zip(keys, plain.parameters(), strict=True))
    ours = NETWORKS["slanimals"]((2, 32, 32), 19)
    load_weights(ours, saved({**theirs, "spike.ksi": torch.tensor([0.36])}), "w.pt")
    frames = (torch.rand(10, 2, 2, 32, 32) < 0.1).float()
    with torch.no_grad():
        rates = rates_of(ours, frames)
        assert torch.equal(rates, plain(frames.movedim(0, -1)))
    assert rates.any()


def test_the_predecessors_norm_is_found_too() -> None:
    theirs, ours = predecessors_network(twice=True, tdbn=True), network(norm="tdbn")
    state = theirs.state_dict()
    state["conv2_s.bn.running_var"] += 1
    load_weights(ours, saved(state), "w.pt")
    assert torch.equal(ours.state_dict()["conv2_norm.running_var"], state["conv2_s.bn.running_var"])
    assert torch.equal(ours.state_dict()["fc1.weight"], state["fc1_s.layer.weight"])


@pytest.mark.parametrize(
    ("wrapped", "note"),
    [
        (lambda state: state, ""),
        (lambda state: {"net": state, "acc": 1.0}, 'w.pt: weights are those below "net"'),
        (lambda state: {"state_dict": state, "epoch": 3}, 'w.pt: weights are those below "state_dict"'),
        (lambda state: {"model": {"state_dict": state}}, 'w.pt: weights are those below "model" and "state_dict"'),
        (
            lambda state: {f"module.{name}": value for name, value in state.items()},
            'w.pt: "module.conv1.weight" is taken for conv1.weight, … and 7 more',
        ),
        (
            lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
            'w.pt: "module._orig_mod.conv1.weight" is taken for conv1.weight, … and 7 more',
        ),
        (
            lambda state: {f"layers.{number}": value for number, value in enumerate(state.values())},
            'w.pt: "layers.0" is taken for conv1.weight, … and 7 more',
        ),
    ],
)
def test_usual_wrappings_prefixes_and_names_are_seen_through_and_it_is_said(
    wrapped: Callable[[dict[str, Tensor]], object], note: str
) -> None:
    theirs, ours = state(), network()
    assert load_weights(ours, saved(wrapped(theirs)), "w.pt") == note
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs[name])


def test_numbers_of_other_precisions_are_taken_over() -> None:
    ours = network()
    load_weights(ours, saved({name: value.bfloat16() for name, value in state().items()}), "w.pt")
    assert torch.equal(ours.state_dict()["fc1.bias"], state()["fc1.bias"].bfloat16().float())


def contains_itself() -> dict[str, object]:
    table: dict[str, object] = {}
    table["net"] = table
    return table


def changed(name: str, value: object) -> bytes:
    return saved({**state(), name: value})


def packed(compression: int) -> bytes:
    """A good file once more as an archive of the same members."""
    buffer = io.BytesIO()
    good = zipfile.ZipFile(io.BytesIO(saved(state())))
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for member in good.infolist():
            archive.writestr(member.filename, good.read(member))
    return buffer.getvalue()


NO_FILE = "it is no file that torch.save (of torch 1.6 or later) has written, or only a part of one"
CODE = "it holds objects that could run code when they are loaded; save the model's state_dict() alone"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda: b"", NO_FILE),
        (lambda: b"hello\n", NO_FILE),
        (lambda: b"epoch,loss\n1,2\n", NO_FILE),
        (lambda: b"<!DOCTYPE html>\n<html></html>\n", NO_FILE),
        (lambda: pickle.dumps([1, 2]), NO_FILE),
        (lambda: saved(state())[:5000], NO_FILE),
        (lambda: saved([1, 2]), "it holds one list instead of tensors by name"),
        (lambda: saved(torch.zeros(3)), "it holds one Tensor instead of tensors by name"),
        (lambda: saved({}), "it holds no tensors"),
        (lambda: saved({"net": {}, "acc": 1.0}), "it holds no tensors"),
        (lambda: saved({1: torch.zeros(1)}), "it holds one int where the name of a tensor should be"),
        (lambda: saved(contains_itself()), '"net" is no tensor, but of type dict'),
        (lambda: saved(network()), CODE),
        (lambda: changed("epoch", 3), '"epoch" is no tensor, but of type int'),
        (lambda: packed(zipfile.ZIP_DEFLATED), "it is damaged: its contents do not agree with its table of contents"),
        (lambda: changed("fc2.bias", torch.full((3,), torch.nan)), '"fc2.bias" has values that are not finite numbers'),
        (
            lambda: changed("fc1.bias", torch.full((200,), 1e300, dtype=torch.float64)),
            '"fc1.bias" has values that are not finite numbers',
        ),
        (lambda: changed("fc1.bias", torch.zeros(2)), '"fc1.bias" is 2, but the network needs 200'),
        (lambda: saved(state(size=(24, 24))), '"fc1.weight" is 200×800, but the network needs 200×450'),
        (lambda: changed("fc3.bias", torch.zeros(2)), 'the network has no place for "fc3.bias"'),
        (
            lambda: changed("fc1_s.layer.bias", torch.zeros(200)),
            '"fc1.bias" and "fc1_s.layer.bias" stand for one parameter, but differ',
        ),
        (
            lambda: saved({name: value for name, value in state().items() if "fc2" not in name}),
            'the file lacks "fc2.weight", "fc2.bias"',
        ),
        (
            lambda: saved(state(norm="tdbn")),
            'the network has no place for "conv1_norm.weight", "conv1_norm.bias", "conv1_norm.running_mean", '
            "… and 7 more",
        ),
        (lambda: changed("x\x1b[31m", torch.zeros(1)), 'the network has no place for "x\\x1b[31m"'),
    ],
)  # fmt: skip
def test_what_is_no_file_of_weights_for_the_network_is_refused_in_a_sentence(
    data: Callable[[], bytes], reason: str
) -> None:
    assert refusal(data()) == reason


def of_bias(change: Callable[[Tensor], Tensor]) -> Callable[[], bytes]:
    return lambda: changed("fc1.bias", change(state()["fc1.bias"]))


@pytest.mark.parametrize(
    "data",
    [
        of_bias(lambda bias: bias.int()),
        of_bias(lambda bias: bias.to(torch.complex64)),
        of_bias(lambda bias: bias.to_sparse()),
        of_bias(lambda bias: torch.empty_like(bias, device="meta")),
        of_bias(lambda bias: torch.zeros(1).expand(200)),
    ],
    ids=["whole", "complex", "sparse", "without values", "one value seen as many"],
)
def test_tensors_that_are_no_plain_floating_point_numbers_are_refused(data: Callable[[], bytes]) -> None:
    assert refusal(data()).startswith(
        '"fc1.bias" must be a dense tensor of floating-point numbers, but is another kind'
    )


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_tensors_are_refused() -> None:
    data = of_bias(lambda bias: torch.quantize_per_tensor(bias, 0.1, 0, torch.qint8))()
    assert "must be a dense tensor of floating-point numbers" in refusal(data)


def test_a_network_stays_as_it_was_where_weights_are_refused() -> None:
    ours = network()
    before = weights_to_bytes(ours)
    refusal(changed("fc2.bias", torch.zeros(2)), ours)
    assert weights_to_bytes(ours) == before


def test_only_plain_files_of_a_sane_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with open(tmp_path / "huge.pt", "wb") as file:
        file.truncate(MAX_WEIGHTS_BYTES + 1)
    for name, reason in (
        ("pipe.pt", "is a device, pipe or socket, not a plain file"),
        ("huge.pt", "has 4,295 MB, more than the 4,295 MB that such a file may have"),
        (".", "is a folder, not a plain file"),
        ("absent.pt", "No such file or directory"),
    ):
        with pytest.raises(DataError) as caught:
            read_weights(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: weights cannot be read: {reason}"


class Planted:
    """Makes the file that it names when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.file),)


def with_pickle(good: bytes, planted: bytes) -> bytes:
    """A file of torch.save with another pickle in it."""
    buffer = io.BytesIO()
    archive = zipfile.ZipFile(io.BytesIO(good))
    with zipfile.ZipFile(buffer, "w") as made:
        for member in archive.infolist():
            content = planted if member.filename.endswith("data.pkl") else archive.read(member)
            made.writestr(member.filename, content)
    return buffer.getvalue()


@pytest.mark.parametrize("wrapped", [lambda planted: planted, lambda planted: {"state_dict": state(), "x": planted}])
def test_a_pickle_in_a_file_of_weights_does_not_run(tmp_path: Path, wrapped: Callable[[Planted], object]) -> None:
    made = tmp_path / "made"
    planted = pickle.dumps(wrapped(Planted(made)), protocol=2)
    assert refusal(with_pickle(saved(state()), planted)) == CODE
    assert refusal(planted) == NO_FILE
    assert not made.exists()


def mutations(good: bytes, number: int, seed: int) -> Mapping[int, bytes]:
    """Good files with one to four bytes changed, most of them where the table of contents and the pickle lie."""
    rng = random.Random(seed)
    places = [*range(2000), *range(len(good) - 3000, len(good))]
    found = {}
    for index in range(number):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.choice(places) if rng.random() < 0.8 else rng.randrange(len(good))] = rng.randrange(256)
        found[index] = bytes(data)
    return found


def check_mutations(number: int, seed: int) -> None:
    ours = network("nmnist-mlp2", size=(4, 4))
    good = weights_to_bytes(ours)
    for index, data in mutations(good, number, seed).items():
        before = {name: value.clone() for name, value in ours.state_dict().items()}
        with suppress(DataError):
            load_weights(ours, data, "w.pt")
        for name, value in ours.state_dict().items():
            assert torch.equal(value, before[name]), index


def test_a_damaged_file_is_refused_or_gives_the_same_weights() -> None:
    check_mutations(100, seed=0)


@pytest.mark.slow
def test_3000_damaged_files_are_refused_or_give_the_same_weights() -> None:
    check_mutations(3000, seed=1)
