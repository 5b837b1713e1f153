"""The GPU's kernels are compared with the reference as the CPU's are, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sltune.snn.kernel_check import Case, fault_of
from tests.snn.cuda.interpreter import DEVICE

from sltune.snn.cuda import layer  # isort: skip  (imports Triton)
from sltune.snn.cuda.backend import TritonBackend  # isort: skip

OPERATIONS = (pytest.param("layer", marks=pytest.mark.slow), "pooled_layer", "normed_layer")
CASE = Case("gaussian", "channel", goes_on=True, channels_last=True)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_right_kernels_are_found_right(operation: str) -> None:
    assert fault_of(TritonBackend(), operation, torch.device(DEVICE), [CASE]) == ""


def test_a_kernel_with_another_decay_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def __getitem__(self, grid: Any) -> Any:
            def run(*arguments: Any, **options: Any) -> None:
                given = list(arguments)
                # The decay and the threshold come last.
                given[-2] *= 1.5
                forward[grid](*given, **options)

            return run

    forward = layer.kernels.lif_forward
    monkeypatch.setattr(layer.kernels, "lif_forward", Wrong())
    fault = fault_of(TritonBackend(), "pooled_layer", torch.device(DEVICE), [Case()])
    assert "spikes differ from the reference" in fault
