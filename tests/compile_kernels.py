"""Compiles the kernels that most tests need: workers that start together would each compile all of them."""

from __future__ import annotations

import torch

from sltune.snn.backends import backend_of
from sltune.snn.kernel_check import OPERATIONS, every_case, fault_of

if __name__ == "__main__":
    device = torch.device("cpu")
    backend = backend_of(torch.empty(0, device=device))
    cases = [case for case in every_case() if case.surrogate == "rectangular"]
    for operation in OPERATIONS:
        if fault := fault_of(backend, operation, device, cases):
            raise SystemExit(f"{operation}: {fault}")
