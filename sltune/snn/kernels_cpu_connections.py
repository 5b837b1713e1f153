# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Full connections from many inputs on the CPU, compiled by numba: only inputs that are not 0 are multiplied.

A block is BLOCK inputs of all samples and time steps (rows of spikes, N of them). Its weights are turned around, so that
those of one input lie together, and stay in the cache while all rows go by. Units are computed in chunks, as many at
once as vectors hold; turned weights, outcomes and gradients have room for whole chunks.
"""

from __future__ import annotations

import numpy as np

from sltune.snn.kernels_cpu import add, jit
from sltune.snn.kernels_cpu_stage import look
from sltune.snn.vectors_cpu import BITS, LANES, add_rows, add_to_rows, lowest_bit

BLOCK = 512
"""Inputs; with 200 units their weights take 426 kB, about half a core's second cache."""

TILE = 16
"""Rows and columns that are turned around at once, so that both sides of the move are whole lines of the cache."""

STRIP = 8
"""Vectors of inputs whose gradient is computed at once."""


@jit
def aligned(size, dtype):
    """Return an array that starts where a line of the cache does."""
    values = np.empty(size + 64, dtype)
    skip = (-values.ctypes.data % 64) // values.itemsize
    return values[skip : skip + size]


@jit
def find_spikes(line, reach, starts, values):
    """Write where the weights of the inputs start that are not 0, and their values; return how many these are."""
    count = 0
    for at in range(0, len(line), BITS):
        bits = look(line, at)
        while bits != 0:
            k = at + lowest_bit(bits)
            bits &= bits - np.uint64(1)
            starts[count] = k * reach
            values[count] = line[k]
            count += 1
    return count


@jit
def turn(weight, begin, end, turned):
    """Write the weights of inputs begin … end − 1 into turned, (inputs, room for units). weight: (units, inputs)."""
    for top in range(0, len(weight), TILE):
        for left in range(begin, end, TILE):
            for k in range(left, min(left + TILE, end)):
                row = turned[k - begin]
                for j in range(top, min(top + TILE, len(weight))):
                    row[j] = weight[j, k]


@jit
def turn_back(turned, begin, end, weight):
    """Do the reverse of turn."""
    for top in range(0, len(weight), TILE):
        for left in range(begin, end, TILE):
            for j in range(top, min(top + TILE, len(weight))):
                row = weight[j]
                for k in range(left, min(left + TILE, end)):
                    row[k] = turned[k - begin, j]


@jit
def connect_forward(first, last, spikes, weight, sums, vectors):
    """Write the sums over the inputs of each part. spikes: (N, inputs); weight: (units, inputs).

    sums: (parts, N, room for units), 0 at first, one for each part of the blocks, so that the outcome does not depend
    on threads. first, last: of the parts.
    """
    inputs, reach = spikes.shape[1], len(vectors) * LANES
    blocks, room = (inputs + BLOCK - 1) // BLOCK, sums.shape[2]
    flat = aligned(BLOCK * room, spikes.dtype)
    flat[:] = 0
    turned = flat.reshape((BLOCK, room))
    starts, values = np.empty(BLOCK, np.int32), np.empty(BLOCK, spikes.dtype)
    for part in range(first, last):
        for block in range(part * blocks // len(sums), (part + 1) * blocks // len(sums)):
            begin, end = block * BLOCK, min((block + 1) * BLOCK, inputs)
            turn(weight, begin, end, turned)
            for n in range(len(spikes)):
                count = find_spikes(spikes[n, begin:end], room, starts, values)
                for at in range(0, room, reach):
                    add_rows(sums[part, n], at, flat[at:], starts, values, 0, count, vectors)


@jit
def connect_backward(first, last, spikes, grad, grad_weight, vectors):
    """Write the gradient by weight for blocks first … last − 1. grad: by the outcome, (N, room for units)."""
    inputs, reach = spikes.shape[1], len(vectors) * LANES
    flat = aligned(BLOCK * grad.shape[1], spikes.dtype)
    turned = flat.reshape((BLOCK, grad.shape[1]))
    starts, values = np.empty(BLOCK, np.int32), np.empty(BLOCK, spikes.dtype)
    for block in range(first, last):
        begin, end = block * BLOCK, min((block + 1) * BLOCK, inputs)
        flat[:] = 0
        for n in range(len(spikes)):
            count = find_spikes(spikes[n, begin:end], grad.shape[1], starts, values)
            for at in range(0, grad.shape[1], reach):
                add_to_rows(grad[n], at, flat[at:], starts, values, 0, count, vectors)
        turn_back(turned, begin, end, grad_weight)


@jit
def connect_inputs(first, last, grad, weight, grad_spikes, vectors):
    """Write the gradient by spikes for blocks first … last − 1. grad: (N, units); weight, grad_spikes: as above."""
    inputs, reach = weight.shape[1], len(vectors) * LANES
    starts, values = np.empty(len(weight), np.int32), np.empty(len(weight), weight.dtype)
    rows, strip = aligned(len(weight) * reach, weight.dtype), aligned(reach, weight.dtype)
    rows[:] = 0
    for begin in range(first * BLOCK, min(last * BLOCK, inputs), reach):
        size = min(reach, inputs - begin)
        for j in range(len(weight)):
            rows[j * reach : j * reach + size] = weight[j, begin : begin + size]
        for n in range(len(grad)):
            strip[:] = 0
            count = find_spikes(grad[n], reach, starts, values)
            add_rows(strip, 0, rows, starts, values, 0, count, vectors)
            grad_spikes[n, begin : begin + size] = strip[:size]
