"""Compiles the kernels that most tests need: workers that start together would each compile all of them."""

from __future__ import annotations

import multiprocessing

import torch

from sltune.snn.backends import backend_of
from sltune.snn.kernel_check import OPERATIONS, every_case, fault_of
from sltune.system.limits import usable_cpus


def compile_for(operation: str) -> str:
    """Compile the kernels of an operation; return what is wrong with them."""
    device = torch.device("cpu")
    backend = backend_of(torch.empty(0, device=device))
    cases = [case for case in every_case() if case.surrogate == "rectangular"]
    fault = fault_of(backend, operation, device, cases)
    return f"{operation}: {fault}" if fault else ""


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(min(usable_cpus(), len(OPERATIONS))) as pool:
        if faults := list(filter(None, pool.imap_unordered(compile_for, OPERATIONS))):
            raise SystemExit("\n".join(faults))
