"""Parts of the CPU's backend that are switched off are not used, and what the others compute stays the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from sltune.snn.cpu import stage as stage_cpu
from sltune.snn.cpu import threads
from sltune.snn.cpu.backend import MIN_INPUTS, NumbaBackend
from sltune.snn.cpu.kernels import switches
from sltune.snn.cpu.kernels.switches import PARTS, parts_off
from tests.snn.drawing import draw, leaf

NUMBA = NumbaBackend()


def test_parts_are_named_with_commas_and_unknown_ones_are_refused() -> None:
    assert parts_off("") == set()
    assert parts_off("stage, threads,") == {"stage", "threads"}
    with pytest.raises(ValueError, match=r"SLTUNE_CPU_OFF must name parts of stage, .*, but names gpu, stages"):
        parts_off("stages,threads,gpu")


def test_without_stages_no_images_are_sparse_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(1, 1, 2, 5, 5)
    assert NUMBA.prefers_stage(images)
    monkeypatch.setattr(switches, "OFF", {"stage"})
    assert not NUMBA.prefers_stage(images)


@pytest.mark.parametrize(("part", "is_dense"), [("image-gradient", False), ("dense-gradient", True)])
def test_gradients_that_are_switched_off_are_torchs(part: str, is_dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's node in the graph for full connections; for images, no kernel of ours that is shared among threads."""
    monkeypatch.setattr(switches, "OFF", {part})
    if is_dense:
        shapes = ([3, MIN_INPUTS], [2, MIN_INPUTS], [2])
        current = NUMBA.dense(*(leaf(draw(shape, torch.float32, 0)) for shape in shapes))
        assert current.grad_fn is not None
        assert current.grad_fn.name() == "AddmmBackward0"
        return
    monkeypatch.setattr(stage_cpu, "share", None)
    images, weight = draw([2, 1, 4, 6, 7], torch.float32, 0), draw([3, 4, 3, 3], torch.float32, 1)
    current = torch.nn.functional.conv2d(leaf(images).flatten(0, 1), weight).unflatten(0, (2, 1))  # type: ignore[no-untyped-call]
    grad = stage_cpu._grad_images(images, weight, torch.ones_like(current))
    assert grad.shape == images.shape


def test_without_torchs_threads_others_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switches, "OFF", {"threads"})
    monkeypatch.setattr(threads, "_openmp", None)
    before, done = torch.get_num_threads(), list[int]()
    torch.set_num_threads(2)
    threads.share(lambda first, last: done.extend(range(first, last)), 8)
    torch.set_num_threads(before)
    assert sorted(done) == list(range(8))


PLAIN = """
import torch
from sltune.snn.cpu.kernels import plain, stage, vectors
from sltune.snn.cpu.backend import NumbaBackend
from sltune.snn.neurons.backend import REFERENCE
from sltune.snn.neurons.lif import LIFParameters
assert stage.add_rows is plain.add_rows and not vectors.HAS_WIDE_VECTORS
generator = torch.Generator().manual_seed(0)
images = (torch.rand(4, 1, 2, 9, 70, generator=generator) < 0.2).double()
weight, bias = torch.randn(5, 2, 3, 3, generator=generator).double().requires_grad_(), torch.zeros(5).double()
found = []
for backend in (NumbaBackend(), REFERENCE):
    spikes = backend.stage(images, weight, bias, LIFParameters()).spikes
    found.append((spikes.detach(), torch.autograd.grad(spikes.sum(), weight)[0]))
assert torch.equal(found[0][0], found[1][0]) and found[0][0].any()
torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=1e-9)
assert stage.stage_forward.stats.cache_path is None
"""


@pytest.mark.slow
def test_without_vector_instructions_stages_compute_the_same_and_keep_no_kernels() -> None:
    """In a process of its own, since kernels are compiled with or without them."""
    environment = {**os.environ, switches.VARIABLE: ",".join(PARTS)}
    subprocess.run([sys.executable, "-c", PLAIN], check=True, env=environment)
