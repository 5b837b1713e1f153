# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""What vectors.py writes as vector instructions, as plain loops: for comparison, and for where those are in doubt.

Arguments are those of the functions of the same names in vectors.py.
"""

from __future__ import annotations

import numpy as np

from sltune.snn.cpu.kernels.neurons import jit
from sltune.snn.cpu.kernels.vectors import BITS, LANES


@jit
def nonzero_bits(values, at):
    bits = np.uint64(0)
    for k in range(BITS):
        if values[at + k] != 0:
            bits |= np.uint64(1) << np.uint64(k)
    return bits


@jit
def lowest_bit(bits):
    place = 0
    while not bits & np.uint64(1):
        bits >>= np.uint64(1)
        place += 1
    return place


@jit
def add_rows(target, at, rows, starts, factors, first, last, vectors):
    for k in range(first, last):
        for n in range(len(vectors) * LANES):
            target[at + n] += factors[k] * rows[starts[k] + n]


@jit
def add_to_rows(source, at, rows, starts, factors, first, last, vectors):
    for k in range(first, last):
        for n in range(len(vectors) * LANES):
            rows[starts[k] + n] += factors[k] * source[at + n]
