# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Loops over time on the CPU, compiled by numba: neurons, and neurons with pooling.

Each kernel works on the blocks first … last − 1 of its arrays, so that threads can share them; it runs outside Python's
lock. Arrays are C-contiguous and of one float type, in which all is computed; products and sums are rounded one by one,
as in ``lif_step``. Images have their channels last. The innermost loops run over slices, which start at 0, because LLVM
turns only such loops into vector instructions.

Windows are numbered in the order of ``WINDOWS`` in surrogate.py.
"""

from __future__ import annotations

import math
from functools import partial

import numba
import numpy as np

from sltune.snn.cpu.kernels.switches import is_on
from sltune.system import compiled

BLOCK = 4096
"""Neurons without pooling that are advanced together: few enough that their state stays in the cache."""

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    # The vector instructions exist in compiled code only.
    raise ImportError("NUMBA_DISABLE_JIT is set")


# numba finds kernels on disk by their source alone, and would take those without vector instructions for the others.
jit = partial(compiled.jit, is_kept=is_on("vectors"))


@jit
def copy(source, target):
    """Copy values; numba's own copying of slices takes longer than it takes to move some thousand values."""
    for n in range(len(source)):
        target[n] = source[n]


@jit
def clear(target):
    """Write zeros."""
    for n in range(len(target)):
        target[n] = 0


@jit
def add(source, target):
    """Add values to others."""
    for n in range(len(source)):
        target[n] += source[n]


@jit
def rest(potential, fired, begun):
    """Put neurons at rest, unless they continue from a state (begun)."""
    if not begun:
        clear(potential)
        clear(fired)


@jit
def resume(potential, fired, begun, u, o):
    """Write the state to start from into u and o."""
    if begun:
        copy(potential, u)
        copy(fired, o)
    rest(u, o, begun)


@jit
def advance(current, potential, fired, decay, threshold, decays=None):
    """Take one time step of neurons in place, and return how many fire. All arrays: (neurons,).

    decays: what each neuron has in place of decay, or None; the kernels are compiled for either.
    """
    one, zero = current.dtype.type(1), current.dtype.type(0)
    count = np.int32(0)
    for n in range(len(current)):
        if decays is not None:
            decay = decays[n]
        u = decay * potential[n] * (one - fired[n]) + current[n]
        potential[n] = u
        fired[n] = one if u > threshold else zero
        count += np.int32(u > threshold)
    return count


@jit
def retreat(potential, grad, carried, lif, kind, slope, decays=None, grad_decays=None):
    """Take one time step back in place: grad by spikes becomes grad by current; so does carried, for the step before.

    potential: u(t). carried: gradient by u(t + 1). slope: room for the window's values. All arrays: (neurons,).
    decays: as in advance; if there are any, their gradients through u(t + 1) are added to grad_decays.
    """
    decay, threshold, width = lif[0], lif[1], lif[2]
    one, zero = potential.dtype.type(1), potential.dtype.type(0)
    two, four = potential.dtype.type(2), potential.dtype.type(4)
    if kind == 0:
        height, half = one / width, width / two
        for n in range(len(potential)):
            slope[n] = height if abs(potential[n] - threshold) < half else zero
    elif kind == 1:
        top, fall = potential.dtype.type(math.sqrt(width) / 2), width / four
        for n in range(len(potential)):
            slope[n] = max(top - fall * abs(potential[n] - threshold), zero)
    elif kind == 2:
        for n in range(len(potential)):
            s = one / (one + math.exp(abs(potential[n] - threshold) / width))
            slope[n] = s * (one - s) / width
    else:
        scale = potential.dtype.type(math.sqrt(2 * math.pi * width))
        for n in range(len(potential)):
            x = potential[n] - threshold
            slope[n] = math.exp(-(x * x) / (two * width)) / scale
    for n in range(len(potential)):
        u = potential[n]
        if decays is not None:
            decay = decays[n]
            grad_decays[n] += (zero if u > threshold else u) * carried[n]
        kept = zero if u > threshold else decay
        # The potential before the reset, and the spike that resets it, both act on the next step.
        g = (grad[n] - decay * u * carried[n]) * slope[n] + kept * carried[n]
        grad[n] = g
        carried[n] = g


@jit
def retreat_to_state(potential, fired, begun, carried, grad_decays):
    """Add to grad_decays what the first step owes to the state from which it began. All arrays: (neurons,)."""
    if begun:
        for n in range(len(potential)):
            grad_decays[n] += (potential[n] - potential[n] * fired[n]) * carried[n]


@jit
def end_retreat(potential, fired, begun, carried, grad_row, grad_decays, place):
    """Add to grad_decays[place], (C,), what retreat left in grad_row, (W · C,), and the first step's part of it.

    potential, fired: the state of one or two rows, (rows, W · C). Where there are no decays, grad_decays is None.
    """
    if grad_decays is not None:
        channels = grad_decays.shape[1]
        for y in range(len(potential)):
            retreat_to_state(potential[y], fired[y], begun, carried[y], grad_row)
        for at in range(0, len(grad_row), channels):
            add(grad_row[at : at + channels], grad_decays[place])


@jit
def part_of(decays, begin, end):
    """Return the decays of neurons begin … end − 1, or None for None."""
    if decays is not None:
        return decays[begin:end]
    # To return None here would make what is returned optional, which is looked at in every turn of a loop.
    return decays


@jit
def neurons_forward(first, last, current, spikes, potential, fired, begun, lif, decays, counts):
    """Run neurons. current, spikes: (T, neurons); potential, fired: (neurons,), the state; counts: (blocks,).

    begun: whether neurons continue from the state in the arrays; if not, they start at rest, whatever these hold.
    decays: (neurons,), or None for that of lif.
    """
    for block in range(first, last):
        begin, end = block * BLOCK, min(current.shape[1], (block + 1) * BLOCK)
        u, o, own = potential[begin:end], fired[begin:end], part_of(decays, begin, end)
        rest(u, o, begun)
        for t in range(len(current)):
            counts[block] += advance(current[t, begin:end], u, o, lif[0], lif[1], own)
            copy(o, spikes[t, begin:end])


@jit
def neurons_backward(
    first, last, current, grad_spikes, grad_current, potential, fired, begun, lif, kind, decays, grad_decays
):
    """Write the gradient by current. current, grad_spikes, grad_current: (T, neurons); potential, fired: at the start.

    Potentials are computed once more, into the place of their gradients. Where there are decays, their gradients are
    added to grad_decays; both: (neurons,).
    """
    carried, slope = np.empty(BLOCK, current.dtype), np.empty(BLOCK, current.dtype)
    u, o, grad = np.empty(BLOCK, current.dtype), np.empty(BLOCK, current.dtype), np.empty(BLOCK, current.dtype)
    for block in range(first, last):
        begin, end = block * BLOCK, min(current.shape[1], (block + 1) * BLOCK)
        size = end - begin
        own, grad_own = part_of(decays, begin, end), part_of(grad_decays, begin, end)
        resume(potential[begin:end], fired[begin:end], begun, u[:size], o[:size])
        for t in range(len(current)):
            advance(current[t, begin:end], u[:size], o[:size], lif[0], lif[1], own)
            copy(u[:size], grad_current[t, begin:end])
        clear(carried)
        for t in range(len(current) - 1, -1, -1):
            copy(grad_spikes[t, begin:end], grad[:size])
            retreat(grad_current[t, begin:end], grad[:size], carried[:size], lif, kind, slope[:size], own, grad_own)
            copy(grad[:size], grad_current[t, begin:end])
        if decays is not None:
            retreat_to_state(potential[begin:end], fired[begin:end], begun, carried[:size], grad_own)


@jit
def pool(above, below, pooled, width, channels):
    """Average 2×2 neurons. above, below: rows, (width · channels,); pooled: (width // 2 · channels,)."""
    quarter = pooled.dtype.type(0.25)
    for x in range(width // 2):
        at = 2 * x * channels
        a, b = above[at : at + channels], above[at + channels : at + 2 * channels]
        c, d = below[at : at + channels], below[at + channels : at + 2 * channels]
        out = pooled[x * channels : (x + 1) * channels]
        for n in range(channels):
            out[n] = (a[n] + b[n] + c[n] + d[n]) * quarter


@jit
def unpool(grad_pooled, above, below, width, channels):
    """Give each of 2×2 neurons a quarter of the gradient; shapes as in pool. The last of odd columns gets 0."""
    quarter = above.dtype.type(0.25)
    for x in range(width // 2):
        at = 2 * x * channels
        a, b = above[at : at + channels], above[at + channels : at + 2 * channels]
        source = grad_pooled[x * channels : (x + 1) * channels]
        for n in range(channels):
            g = source[n] * quarter
            a[n] = g
            b[n] = g
    above[width // 2 * 2 * channels :] = 0
    copy(above, below)


@jit
def pooled_forward(first, last, current, channels, pooled, potential, fired, begun, lif, decays, counts):
    """Run neurons and average their spikes; a block is two rows of a sample, or one row, the last of an odd number.

    current: (T, B, H, W · C); pooled: (T, B, H // 2, W // 2 · C); potential, fired: (B, H, W · C); counts: (blocks,).
    begun: as in neurons_forward. decays: of a row, (W · C,), or None.
    """
    steps, _, height, row = current.shape
    pairs = (height + 1) // 2
    for block in range(first, last):
        b, i = block // pairs, block % pairs
        top, rows = 2 * i, min(2, height - 2 * i)
        for y in range(top, top + rows):
            rest(potential[b, y], fired[b, y], begun)
        for t in range(steps):
            for y in range(top, top + rows):
                counts[block] += advance(current[t, b, y], potential[b, y], fired[b, y], lif[0], lif[1], decays)
            if rows == 2:
                pool(fired[b, top], fired[b, top + 1], pooled[t, b, i], row // channels, channels)


@jit
def pooled_backward(
    first, last, current, channels, grad_pooled, grad_current, potential, fired, begun, lif, kind, decays, grad_decays
):
    """Write the gradient by current; shapes as in pooled_forward, grad_current as current.

    Where there are decays, a block's gradients by them are added to its line of grad_decays, (blocks, C).
    """
    steps, _, height, row = current.shape
    pairs = (height + 1) // 2
    carried, grad = np.empty((2, row), current.dtype), np.empty((2, row), current.dtype)
    slope, grad_row = np.empty(row, current.dtype), np.empty(row, current.dtype)
    u, o = np.empty((2, row), current.dtype), np.empty((2, row), current.dtype)
    for block in range(first, last):
        b, i = block // pairs, block % pairs
        top, rows = 2 * i, min(2, height - 2 * i)
        clear(grad_row)
        for y in range(rows):
            resume(potential[b, top + y], fired[b, top + y], begun, u[y], o[y])
            clear(carried[y])
        for t in range(steps):
            for y in range(rows):
                advance(current[t, b, top + y], u[y], o[y], lif[0], lif[1], decays)
                copy(u[y], grad_current[t, b, top + y])
        for t in range(steps - 1, -1, -1):
            if rows == 2:
                unpool(grad_pooled[t, b, i], grad[0], grad[1], row // channels, channels)
            else:
                clear(grad[0])
            for y in range(rows):
                retreat(grad_current[t, b, top + y], grad[y], carried[y], lif, kind, slope, decays, grad_row)
                copy(grad[y], grad_current[t, b, top + y])
        below = top + rows
        end_retreat(potential[b, top:below], fired[b, top:below], begun, carried, grad_row, grad_decays, block)
