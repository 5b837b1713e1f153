"""What benchmarks share: the smoke size, in which tests run all of them, and the name of the machine."""

from __future__ import annotations

import multiprocessing
import platform
import sys
from argparse import ArgumentParser, Namespace
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

NOTE = "SMOKE SIZE: this shows only that the benchmark still runs; its figures mean nothing.\n"
OPTIMIZER = "torch._dynamo"
"""What torch imports when the first optimizer is made."""


def parse_arguments(parser: ArgumentParser, **smallest: Any) -> Namespace:
    """Read the command line; with --smoke, flags that are not given have their smallest values and NOTE is printed.

    Args:
        smallest: the smallest value of each flag.
    """
    parser.add_argument("--smoke", action="store_true", help="the smallest size; its figures mean nothing")
    if "--smoke" in sys.argv[1:]:
        parser.set_defaults(**smallest)
    arguments = parser.parse_args()
    if arguments.smoke:
        print(NOTE, flush=True)
    return arguments


def forks_after(*modules: str) -> BaseContext:
    """Return what starts processes as forks of one that has imported the modules, as their import takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*modules])
    return context


def processor() -> str:
    """Return the model of the CPU, for the head of a report."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
