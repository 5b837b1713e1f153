"""Does every compiled kernel of a device compute what the reference does? Exit code 1 if one does not.

    python benchmarks/correctness.py --device cuda > benchmarks/results/gpu-correctness.md

Each operation is compared with plain torch for every surrogate, fixed and learned decays, both layouts of images, from
rest and from a state (``sltune.snn.kernel_check``). On a GPU, the tests at the sizes of the SL-Animals network follow
(``tests/snn/cuda/test_on_gpu.py``). Needs pytest and numba beside torch (and triton for a GPU).
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from smoke import parse_arguments
from stbp import machine, versions

from sltune.snn.backends import backend_of
from sltune.snn.kernel_check import OPERATIONS, Case, every_case, fault_of
from sltune.snn.neurons.backend import Backend

TESTS = Path(__file__).parent.parent / "tests" / "snn" / "cuda" / "test_on_gpu.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--cases", type=int, default=24, help="of each operation, those that are there at most")
    arguments = parse_arguments(parser, device="cpu", cases=1)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device; to try the script: --device cpu")
    device = torch.device(arguments.device)
    print(f"# Kernels against the reference\n\n`python benchmarks/correctness.py {' '.join(sys.argv[1:])}`,")
    print(f"{time.strftime('%Y-%m-%d')}, {machine(arguments.device)}, Python {platform.python_version()},")
    print(f"{versions()}.\n\n| operation | cases | wrong | seconds |\n|---|--:|--:|--:|", flush=True)
    faults = list(compared(device, list(islice(every_case(), arguments.cases))))
    print(*faults, sep="\n")
    failed = bool(faults)
    if arguments.device == "cuda":
        print(f"\n## {TESTS.name}\n\n```", flush=True)
        command = [sys.executable, "-m", "pytest", "--noconftest", "-q", "-p", "no:cacheprovider", str(TESTS)]
        failed |= subprocess.run(command, check=False).returncode != 0
        print("```")
    sys.exit(failed)


def compared(device: torch.device, cases: Sequence[Case]) -> Iterator[str]:
    """Print a row for each operation; give a line for each case that is wrong."""
    backend = backend_of(torch.empty(0, device=device))
    for operation in OPERATIONS:
        if getattr(type(backend), operation) is getattr(Backend, operation):
            print(f"| {operation} | 0 | torch does it | |")
            continue
        began, wrong = time.perf_counter(), Counter[str]()
        for case in cases:
            if fault := fault_of(backend, operation, device, [case]):
                wrong[f"- {operation}, {case}: {fault}"] += 1
        print(f"| {operation} | {len(cases)} | {wrong.total()} | {time.perf_counter() - began:.1f} |", flush=True)
        yield from wrong


if __name__ == "__main__":
    main()
