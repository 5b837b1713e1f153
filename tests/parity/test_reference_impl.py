"""Hand-computed checks of the plain reference implementation itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests import reference_impl as reference

NEURON = reference.Neuron(v_threshold=0.3, decay=0.3, width=0.5)


def dvs128_bytes(address: int, time_us: int) -> bytes:
    return address.to_bytes(4, "big") + time_us.to_bytes(4, "big")


def write_recording(path: Path, events: list[tuple[int, int]], end_marker: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    body = b"".join(dvs128_bytes(*event) for event in events)
    path.write_bytes(b"#!AER-DAT2.0\r\n# comment\r\n" + end_marker + body)


@pytest.mark.parametrize("end_marker", [b"", b"#End Of ASCII Header\r\n"])
def test_an_aedat_event_is_split_into_row_column_polarity_and_unsigned_time(tmp_path: Path, end_marker: bytes) -> None:
    address = 0b1_0000101_0000011_1  # special, row 5, column 3, OFF
    write_recording(tmp_path / "a.aedat", [(address, 2**31 + 7), (0b1111111_0000000_0, 2**32 - 1)], end_marker)
    events = reference.decode_aedat(tmp_path / "a.aedat")
    assert events.tolist() == [(5, 3, 1, 2**31 + 7, True), (127, 0, 0, 2**32 - 1, False)]


def test_a_hash_as_the_first_data_byte_after_the_end_marker_is_data(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.aedat", [(0x23000002, 4), (2, 5)], b"#End Of ASCII Header\r\n")
    assert reference.decode_aedat(tmp_path / "a.aedat")["time_us"].tolist() == [4, 5]


def test_tags_count_special_events_and_the_label_comes_from_the_class_column(tmp_path: Path) -> None:
    write_recording(tmp_path / "recordings/u.aedat", [(0, 10), (0x8000, 11), (2, 12), (4, 13)], b"")
    (tmp_path / "tags").mkdir()
    (tmp_path / "tags/u.csv").write_text("class,startTime_ev,endTime_ev\n19,0,3\n1,3,4\n")
    samples = reference.read_samples(tmp_path, ["u"])
    assert [(sample.tag_row, sample.label) for sample in samples] == [(0, 18), (1, 0)]
    assert [sample.events["time_us"].tolist() for sample in samples] == [[10, 12], [13]]


def five_events(time_bin_ms: int) -> NDArray[np.int16]:
    """In ms: 0, 0, 1, 2 and 4 after the first; the cut to ms makes 1999 µs the same as 1000 µs."""
    time_us = np.array([1999, 1999, 2000, 3500, 5000])
    row, column = np.array([3, 3, 3, 127, 0]), np.array([9, 9, 9, 0, 1])
    return reference.tonic_frames(row, column, np.array([0, 0, 1, 1, 0]), time_us, time_bin_ms)


def test_frames_cut_to_ms_before_alignment_and_drop_the_incomplete_bin() -> None:
    frames = five_events(time_bin_ms=2)
    assert frames.shape == (2, 2, 128, 128)
    assert frames.sum() == 4
    assert (frames[0, 0, 3, 9], frames[0, 1, 3, 9], frames[1, 1, 127, 0]) == (2, 1, 1)


def test_a_sample_shorter_than_a_bin_still_has_one_frame() -> None:
    frames = five_events(time_bin_ms=30)
    assert frames.shape[0] == 1
    assert frames.sum() == 5


def test_times_count_on_over_a_wrap_and_stay_as_they_are_without_one() -> None:
    def counted_on(*times: int) -> list[int]:
        return reference.counted_on(np.array(times)).tolist()

    assert counted_on(2**32 - 2, 3, 1) == [2**32 - 2, 2**32 + 3, 2**32 + 1]
    assert counted_on(5, 2**32 - 2, 7) == [2**32 + 5, 2**32 - 2, 2**32 + 7]
    assert counted_on(2**31, 0, 2**31) == [2**31, 0, 2**31]


def test_binary_count_and_normalized_values_of_a_padded_crop() -> None:
    frames = reference.first_steps(five_events(time_bin_ms=2), 3)
    assert not frames[2].any()
    for mode, expected in (("OR", (1, 1, 1)), ("SUM", (2, 1, 1)), ("SUM_NORM", (1, 0.5, 0.5))):
        values = reference.bin_values(frames, mode)
        assert (values[0, 0, 3, 9], values[0, 1, 3, 9], values[1, 1, 127, 0]) == expected
        assert values.sum() == sum(expected)
    assert not reference.bin_values(np.zeros((1, 2, 2, 2)), "SUM_NORM").any()


def test_a_crop_starts_where_told_and_is_padded_at_the_end() -> None:
    frames = np.arange(1, 5).reshape(4, 1, 1, 1)
    assert reference.crop(frames, 1, 2).ravel().tolist() == [2, 3]
    assert reference.crop(frames, 3, 3).ravel().tolist() == [4, 0, 0]


def test_the_predecessor_draws_every_start_but_the_last() -> None:
    rng = np.random.default_rng(0)
    assert {reference.predecessor_random_start(10, 7, rng) for _ in range(200)} == {0, 1, 2}
    assert reference.predecessor_random_start(8, 7, rng) == 0
    assert reference.predecessor_random_start(7, 7, rng) == 0
    assert reference.predecessor_random_start(3, 7, rng) == 0


def test_fold_sizes_of_59_recordings() -> None:
    names = [f"user{index:02}_indoor" for index in range(60) if index != 4]
    folds = reference.predecessor_folds(names, seed=0)
    assert [(len(fold.train), len(fold.val), len(fold.test)) for fold in folds] == [(37, 7, 15)] * 3 + [(38, 7, 14)]
    plain = reference.predecessor_folds(names, seed=0, validation=False)
    assert [(len(fold.train), len(fold.val), len(fold.test)) for fold in plain] == [(44, 0, 15)] * 3 + [(45, 0, 14)]
    assert sorted(name for fold in folds for name in fold.test) == names
    for fold, same in zip(folds, plain, strict=True):
        assert fold.test == same.test
        assert sorted(fold.train + fold.val) == list(same.train)


def test_lif_spikes_and_gradients_of_three_steps() -> None:
    """u = 0.4, 0.2, 0.31, all inside the window of height 2; loss = o1 + 10 o2 + 100 o3.

    du3 = 100·2; do2 = 10 − 0.3·0.2·200 = −2, du2 = −2·2 + 0.3·200 = 56;
    do1 = 1 − 0.3·0.4·56 = −5.72, du1 = −5.72·2, because the reset cuts the way through the potential.
    """
    current = torch.tensor([0.4, 0.2, 0.25], dtype=torch.float64, requires_grad=True)
    spikes = reference.lif(current, NEURON)
    assert spikes.tolist() == [1, 0, 1]
    torch.autograd.backward((spikes * torch.tensor([1.0, 10.0, 100.0])).sum())
    assert current.grad is not None
    assert current.grad.tolist() == pytest.approx([-11.44, 56.0, 200.0])


def test_a_potential_at_the_threshold_does_not_spike() -> None:
    assert reference.lif(torch.tensor([0.5]), reference.Neuron(v_threshold=0.5)).tolist() == [0]


@pytest.mark.parametrize(
    ("surrogate", "x", "expected"),
    [
        ("rectangular", 0.9, 0.5),
        ("rectangular", 1.0, 0.0),
        ("polynomial", 1.0, math.sqrt(2) / 2 - 0.5),
        ("polynomial", -1.5, 0.0),
        ("sigmoid", 0.0, 0.125),
        ("sigmoid", 2.0, math.e / (1 + math.e) ** 2 / 2),
        ("gaussian", 0.0, 1 / math.sqrt(4 * math.pi)),
        ("gaussian", -2.0, math.exp(-1) / math.sqrt(4 * math.pi)),
    ],
)
def test_surrogate_windows_of_width_2(surrogate: str, x: float, expected: float) -> None:
    potential = torch.tensor([x + 1], dtype=torch.float64, requires_grad=True)
    neuron = reference.Neuron(v_threshold=1.0, width=2.0, surrogate=surrogate)
    torch.autograd.backward(reference.lif(potential.unsqueeze(-1), neuron).sum())
    assert potential.grad is not None
    assert potential.grad.item() == pytest.approx(expected)


@pytest.mark.parametrize("surrogate", reference.WINDOWS)
def test_every_surrogate_window_has_area_one(surrogate: str) -> None:
    x = torch.linspace(-30, 30, 600_001, dtype=torch.float64)
    assert torch.trapezoid(reference.WINDOWS[surrogate](x, 0.5), x).item() == pytest.approx(1, abs=1e-3)


def n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts() -> None:
    assert n_parameters(reference.PlainSLANIMALSNet()) == 9_013_449
    assert n_parameters(reference.PlainNMNISTNet("nmnist-mlp", NEURON)) == 2312 * 400 + 400 + 400 * 400 + 400 + 4010
    assert n_parameters(reference.PlainNMNISTNet("nmnist-mlp2", NEURON)) == 2312 * 512 + 512 + 5130
    assert n_parameters(reference.PlainNMNISTNet("nmnist-cnn", NEURON)) == 380 + 9050 + 2450 * 400 + 400 + 4010


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rates_are_multiples_of_one_over_the_steps(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = reference.PlainSLANIMALSNet(input_size=16, init="stbp").to(dtype)
    rates = network(torch.randint(0, 2, (3, 2, 16, 16, 4)).to(dtype))
    assert rates.shape == (3, 19)
    assert rates.dtype == dtype
    assert rates.max() > 0
    assert torch.equal((4 * rates).round(), 4 * rates)


def test_stbp_initialisation_gives_linear_rows_of_length_one() -> None:
    network = reference.PlainSLANIMALSNet(input_size=16, init="stbp")
    for layer in network.stages:
        if isinstance(layer, nn.Linear):
            torch.testing.assert_close(layer.weight.norm(dim=1), torch.ones(layer.out_features))


class TwoRates(nn.Module):
    """Returns its one parameter times the input, which stands for the rates."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x


def test_losses_and_accuracy_of_two_samples() -> None:
    """Squared errors are 0 and 0.25 + 0.25; the second sample is a tie, which the first class wins."""
    batches = [(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([0, 1]))]
    assert reference.evaluate(TwoRates(), batches) == (0.25, 0.5)
    assert reference.train_steps(TwoRates(), batches) == [0.125]
    assert reference.logged_training_loss([0.125, 0.5], 5) == 0.125


def test_sgd_keeps_nine_tenths_of_its_velocity() -> None:
    """With rates = gain·(1, 1) and label 0: loss = ((g − 1)² + g²)/2, slope 2g − 1; g: 1 → 0.9 → 0.9 − 0.1·1.7."""
    network = TwoRates()
    batch = (torch.tensor([[1.0, 1.0]]), torch.tensor([0]))
    assert reference.train_steps(network, [batch, batch], 0.1, "sgd") == pytest.approx([0.5, 0.41])
    assert network.gain.item() == pytest.approx(0.73)


def test_batches_keep_the_order_and_the_smaller_last_one() -> None:
    inputs = [np.full((3, 2, 4, 5), index, dtype=np.float32) for index in range(5)]
    batches = reference.make_batches(inputs, [4, 3, 2, 1, 0], batch_size=2)
    assert [tuple(x.shape) for x, _ in batches] == [(2, 2, 4, 5, 3), (2, 2, 4, 5, 3), (1, 2, 4, 5, 3)]
    assert [labels.tolist() for _, labels in batches] == [[4, 3], [2, 1], [0]]
    assert batches[1][0][1].eq(3).all()


def test_the_first_of_equal_validation_losses_is_the_best_epoch() -> None:
    assert reference.best_epoch([3.0, 1.0, 2.0, 1.0]) == 2
