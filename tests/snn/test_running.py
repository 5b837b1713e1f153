"""How any network is run: the shapes that it may return, and when it is reset."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sltune import snn
from sltune.errors import UsageError
from sltune.snn import running
from sltune.snn.running import rates_of, rates_of_clip
from sltune.training.batches import Clip

FRAMES = torch.zeros(4, 2, 2, 3, 3)


class Returns(nn.Module):
    """A network that returns what a function makes of the frames, and counts how often it was reset."""

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function
        self.resets = 0

    def forward(self, frames: Tensor) -> object:
        return self.function(frames)

    def reset(self) -> None:
        self.resets += 1


def test_outputs_over_time_count_with_their_mean() -> None:
    outputs = torch.arange(24.0).view(4, 2, 3)
    rates = rates_of(Returns(lambda _: outputs), FRAMES)
    assert rates.tolist() == [[9, 10, 11], [12, 13, 14]]


def test_rates_are_taken_as_they_are_even_if_there_are_as_many_steps_as_samples() -> None:
    rates = torch.tensor([[0.25, 0.5, 1.0]] * 2)
    assert rates_of(Returns(lambda _: rates), FRAMES[:2]) is rates


def test_a_mean_over_time_is_not_taken_in_16_bits() -> None:
    outputs = torch.ones(300, 1, 2, dtype=torch.bfloat16)
    outputs[0] = 0
    assert rates_of(Returns(lambda _: outputs), torch.zeros(300, 1, 2, 1, 1)).tolist() == [
        [pytest.approx(299 / 300)] * 2
    ]


def test_a_network_is_reset_before_each_batch_if_it_can_be() -> None:
    network = Returns(lambda frames: frames.new_zeros(2, 3))
    for count in (1, 2):
        rates_of(network, FRAMES)
        assert network.resets == count
    assert rates_of(nn.Sequential(nn.Flatten(2), nn.Linear(18, 3)), FRAMES).shape == (2, 3)


@pytest.mark.parametrize(
    ("outputs", "got"),
    [
        ((torch.zeros(2, 3),), "an object of type tuple"),
        (None, "an object of type NoneType"),
        (torch.zeros(2, 3, dtype=torch.int64), "a tensor of torch.int64"),
        (torch.zeros(2, 3, dtype=torch.complex64), "a tensor of torch.complex64"),
        (torch.zeros(3), r"a tensor of shape \(3,\)"),
        (torch.zeros(4, 3), r"a tensor of shape \(4, 3\)"),
        (torch.zeros(2, 4, 3), r"a tensor of shape \(2, 4, 3\)"),
        (torch.zeros(4, 2, 3, 1), r"a tensor of shape \(4, 2, 3, 1\)"),
        (torch.zeros(()), r"a tensor of shape \(\)"),
    ],
)
def test_another_output_is_an_error_that_says_what_came_and_what_is_wanted(outputs: object, got: str) -> None:
    wanted = r"\(B, classes\) or \(T, B, classes\), where B = 2 samples and T = 4 time steps"
    with pytest.raises(UsageError, match=f"^the network returns {got}; its output must be .* of shape {wanted}$"):
        rates_of(Returns(lambda _: outputs), FRAMES)


class Counts(nn.Module):
    """A network that counts events, with a state of its own; remembers how long the stretches were that it saw."""

    def __init__(self, result: Callable[[Tensor, Tensor], object] = lambda outputs, state: (outputs, state)) -> None:
        super().__init__()
        self.result = result
        self.stretches: list[int] = []

    def run(self, frames: Tensor, state: Tensor | None) -> object:
        self.stretches.append(len(frames))
        outputs = frames.flatten(2).cumsum(0) + (0 if state is None else state)
        return self.result(outputs, outputs[-1])


def draw_clip() -> tuple[Clip, Tensor]:
    frames = torch.rand(7, 2, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    return Clip.of(frames), frames


def test_evaluation_carries_the_state_of_a_network_that_can_be_run_in_stretches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip, frames = draw_clip()
    monkeypatch.setattr(running, "MAX_STRETCH_VALUES", 3 * frames[0].numel())
    network = Counts()
    rates = rates_of_clip(network, clip)
    assert network.stretches == [3, 3, 1]
    torch.testing.assert_close(rates, frames.flatten(2).cumsum(0).mean(0))


def test_evaluation_shows_the_whole_sample_to_any_other_network(monkeypatch: pytest.MonkeyPatch) -> None:
    clip, frames = draw_clip()
    monkeypatch.setattr(running, "MAX_STRETCH_VALUES", frames[0].numel())
    network = Returns(lambda seen: seen.flatten(2).amax(0) if len(seen) == 7 else None)
    assert torch.equal(rates_of_clip(network, clip), frames.flatten(2).amax(0))
    assert network.resets == 1


def test_a_sequential_of_sltunes_layers_is_run_in_stretches_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    clip, frames = draw_clip()
    monkeypatch.setattr(running, "MAX_STRETCH_VALUES", frames[0].numel())
    seen: list[int] = []
    for last, expected in ((nn.Identity(), [1] * 7), (nn.Softmax(0), [7])):
        network = nn.Sequential(nn.Flatten(2), nn.Sequential(snn.Dense(2, 3), snn.LIF(0.1, 0.9)), last)
        network.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
        torch.testing.assert_close(rates_of_clip(network, clip), network(frames).mean(0))
        assert seen == [*expected, 7]
        seen.clear()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda outputs, state: outputs, "run must return a pair of outputs and a state, but returns Tensor"),
        (lambda outputs, state: (outputs[-1], state), r"of shape \(T, B, classes\), but returns \(2, 2\)"),
        (lambda outputs, state: (state[0], outputs), r"the network returns a tensor of shape \(2,\)"),
    ],
)
def test_what_run_must_return_is_said(result: Callable[[Tensor, Tensor], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rates_of_clip(Counts(result), draw_clip()[0])


def test_modules_within_a_network_are_reset_where_it_has_no_reset_of_its_own() -> None:
    inner = Returns(lambda values: values)
    rates_of(nn.Sequential(nn.Flatten(2), nn.Linear(18, 3), inner), FRAMES)
    assert inner.resets == 1
    outer = Returns(lambda frames: frames.new_zeros(2, 3))
    outer.add_module("inner", inner)
    rates_of(outer, FRAMES)
    assert (outer.resets, inner.resets) == (1, 1)
