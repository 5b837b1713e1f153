"""How any network is run: the shapes that it may return, and when it is reset."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sltune.errors import UsageError
from sltune.snn.running import rates_of

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
