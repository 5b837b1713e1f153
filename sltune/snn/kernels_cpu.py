# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Loops over time on the CPU, compiled by numba: neurons, neurons with pooling, and the first stage on sparse frames.

Each kernel works on the blocks first … last − 1 of its arrays, so that threads can share them; it runs outside Python's
lock. Arrays are C-contiguous and of one float type, in which everything is computed, products and sums rounded one by
one as in ``lif_step``. Images have their channels last. The innermost loops run over slices, which start at 0: only
such loops become vector instructions.

Windows are numbered in the order of ``WINDOWS`` in surrogate.py.
"""

from __future__ import annotations

import math

import numba
import numpy as np

BLOCK = 4096
"""Neurons without pooling that are taken at once, so that their state stays in the cache."""

TAPS = 3
"""Height and width of a convolution's kernel."""

jit = numba.njit(cache=True, nogil=True)


@jit
def advance(current, potential, fired, decay, threshold):
    """Take one time step of neurons in place, and return how many fire. All arrays: (neurons,)."""
    one, zero = current.dtype.type(1), current.dtype.type(0)
    count = np.int32(0)
    for n in range(len(current)):
        u = decay * potential[n] * (one - fired[n]) + current[n]
        potential[n] = u
        fired[n] = one if u > threshold else zero
        count += np.int32(u > threshold)
    return count


@jit
def retreat(potential, grad, carried, lif, kind, slope):
    """Take one time step back in place: grad by spikes becomes grad by current; so does carried, for the step before.

    potential: u(t). carried: gradient by u(t + 1). slope: room for the window's values. All arrays: (neurons,).
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
        kept = zero if u > threshold else decay
        # The potential before the reset, and the spike that resets it, both act on the next step.
        g = (grad[n] - decay * u * carried[n]) * slope[n] + kept * carried[n]
        grad[n] = g
        carried[n] = g


@jit
def neurons_forward(first, last, current, spikes, potential, fired, lif, counts):
    """Run neurons. current, spikes: (T, neurons); potential, fired: (neurons,), the state; counts: (blocks,)."""
    for block in range(first, last):
        begin, end = block * BLOCK, min(current.shape[1], (block + 1) * BLOCK)
        u, o = potential[begin:end], fired[begin:end]
        for t in range(len(current)):
            counts[block] += advance(current[t, begin:end], u, o, lif[0], lif[1])
            spikes[t, begin:end] = o


@jit
def neurons_backward(first, last, current, grad_spikes, grad_current, potential, fired, lif, kind):
    """Write the gradient by current. current, grad_spikes, grad_current: (T, neurons); potential, fired: at the start.

    Potentials are computed once more, into the place of their gradients.
    """
    carried, slope = np.empty(BLOCK, current.dtype), np.empty(BLOCK, current.dtype)
    u, o, grad = np.empty(BLOCK, current.dtype), np.empty(BLOCK, current.dtype), np.empty(BLOCK, current.dtype)
    for block in range(first, last):
        begin, end = block * BLOCK, min(current.shape[1], (block + 1) * BLOCK)
        size = end - begin
        u[:size], o[:size] = potential[begin:end], fired[begin:end]
        for t in range(len(current)):
            advance(current[t, begin:end], u[:size], o[:size], lif[0], lif[1])
            grad_current[t, begin:end] = u[:size]
        carried[:size] = 0
        for t in range(len(current) - 1, -1, -1):
            grad[:size] = grad_spikes[t, begin:end]
            retreat(grad_current[t, begin:end], grad[:size], carried[:size], lif, kind, slope[:size])
            grad_current[t, begin:end] = grad[:size]


@jit
def pool(fired, pooled, width, channels):
    """Average 2×2 neurons. fired: two rows, (2 · width · channels,); pooled: (width // 2 · channels,)."""
    quarter = fired.dtype.type(0.25)
    row = width * channels
    for x in range(width // 2):
        at = 2 * x * channels
        a, b = fired[at : at + channels], fired[at + channels : at + 2 * channels]
        c, d = fired[row + at : row + at + channels], fired[row + at + channels : row + at + 2 * channels]
        out = pooled[x * channels : (x + 1) * channels]
        for n in range(channels):
            out[n] = (a[n] + b[n] + c[n] + d[n]) * quarter


@jit
def unpool(grad_pooled, grad, width, channels):
    """Give each of 2×2 neurons a quarter of the gradient; shapes as in pool. A column too many gets 0."""
    quarter = grad.dtype.type(0.25)
    row = width * channels
    grad[:] = 0
    for x in range(width // 2):
        at = 2 * x * channels
        a, b = grad[at : at + channels], grad[at + channels : at + 2 * channels]
        c, d = grad[row + at : row + at + channels], grad[row + at + channels : row + at + 2 * channels]
        source = grad_pooled[x * channels : (x + 1) * channels]
        for n in range(channels):
            g = source[n] * quarter
            a[n] = g
            b[n] = g
            c[n] = g
            d[n] = g


@jit
def pooled_forward(first, last, current, pooled, potential, fired, lif, counts):
    """Run neurons and average their spikes; a block is two rows of a sample, or one where rows are odd.

    current: (T, B, H, W, C); pooled: (T, B, H // 2, W // 2, C); potential, fired: (B, H · W · C); counts: (blocks,).
    """
    steps, _, height, width, channels = current.shape
    pairs, row = (height + 1) // 2, width * channels
    for block in range(first, last):
        b, i = block // pairs, block % pairs
        begin, end = 2 * i * row, min(2 * i + 2, height) * row
        u, o = potential[b, begin:end], fired[b, begin:end]
        for t in range(steps):
            counts[block] += advance(current[t, b].reshape(-1)[begin:end], u, o, lif[0], lif[1])
            if end - begin == 2 * row:
                pool(o, pooled[t, b, i].reshape(-1), width, channels)


@jit
def pooled_backward(first, last, current, grad_pooled, grad_current, potential, fired, lif, kind):
    """Write the gradient by current; shapes as in pooled_forward, grad_current as current."""
    steps, _, height, width, channels = current.shape
    pairs, row = (height + 1) // 2, width * channels
    carried, slope = np.empty(2 * row, current.dtype), np.empty(2 * row, current.dtype)
    u, o, grad = np.empty(2 * row, current.dtype), np.empty(2 * row, current.dtype), np.empty(2 * row, current.dtype)
    for block in range(first, last):
        b, i = block // pairs, block % pairs
        begin, end = 2 * i * row, min(2 * i + 2, height) * row
        size = end - begin
        u[:size], o[:size] = potential[b, begin:end], fired[b, begin:end]
        for t in range(steps):
            advance(current[t, b].reshape(-1)[begin:end], u[:size], o[:size], lif[0], lif[1])
            grad_current[t, b].reshape(-1)[begin:end] = u[:size]
        carried[:size] = 0
        for t in range(steps - 1, -1, -1):
            if size == 2 * row:
                unpool(grad_pooled[t, b, i].reshape(-1), grad, width, channels)
            else:
                grad[:size] = 0
            rows = grad_current[t, b].reshape(-1)[begin:end]
            retreat(rows, grad[:size], carried[:size], lif, kind, slope[:size])
            rows[:] = grad[:size]


@jit
def gather(frame, weight, bias, top, current):
    """Convolve the rows of a frame that rows top … of the outcome see, skipping zeros.

    frame: (P, H, W). weight: (P, 3, 3, C). current: (rows, W − 2, C), which is written.
    """
    rows, width, channels = current.shape
    for y in range(rows):
        for x in range(width):
            current[y, x] = bias
    for p in range(len(frame)):
        for r in range(rows + TAPS - 1):
            line = frame[p, top + r]
            for x in range(len(line)):
                value = line[x]
                if value != 0:
                    for dy in range(max(0, r - rows + 1), min(TAPS, r + 1)):
                        for dx in range(max(0, x - width + 1), min(TAPS, x + 1)):
                            tap, target = weight[p, dy, dx], current[r - dy, x - dx]
                            for c in range(channels):
                                target[c] += value * tap[c]


@jit
def scatter_gradient(frame, grad_current, top, grad_weight, grad_bias):
    """Add the gradients by weight and bias that rows top … of a gradient by current give; shapes as in gather."""
    rows, width, channels = grad_current.shape
    for y in range(rows):
        for x in range(width):
            source = grad_current[y, x]
            for c in range(channels):
                grad_bias[c] += source[c]
    for p in range(len(frame)):
        for r in range(rows + TAPS - 1):
            line = frame[p, top + r]
            for x in range(len(line)):
                value = line[x]
                if value != 0:
                    for dy in range(max(0, r - rows + 1), min(TAPS, r + 1)):
                        for dx in range(max(0, x - width + 1), min(TAPS, x + 1)):
                            source, tap = grad_current[r - dy, x - dx], grad_weight[p, dy, dx]
                            for c in range(channels):
                                tap[c] += value * source[c]


@jit
def stage_forward(first, last, frames, weight, bias, pooled, potential, fired, lif, counts):
    """Convolve sparse frames, run neurons and average their spikes; the current of a block never leaves the cache.

    frames: (T, B, P, H, W); weight: (P, 3, 3, C); pooled: (T, B, (H − 2) // 2, (W − 2) // 2, C); potential, fired:
    (B, (H − 2) · (W − 2) · C); counts: (blocks,), blocks as in pooled_forward.
    """
    steps, height, width, channels = len(frames), frames.shape[3] - 2, frames.shape[4] - 2, len(bias)
    pairs, row = (height + 1) // 2, width * channels
    room = np.empty((2, width, channels), frames.dtype)
    for block in range(first, last):
        b, i = block // pairs, block % pairs
        rows = min(2, height - 2 * i)
        begin, size = 2 * i * row, rows * row
        u, o = potential[b, begin : begin + size], fired[b, begin : begin + size]
        for t in range(steps):
            gather(frames[t, b], weight, bias, 2 * i, room[:rows])
            counts[block] += advance(room.reshape(-1)[:size], u, o, lif[0], lif[1])
            if rows == 2:
                pool(o, pooled[t, b, i].reshape(-1), width, channels)


@jit
def stage_backward(first, last, frames, weight, bias, grad_pooled, grad_weight, grad_bias, potential, fired, lif, kind):
    """Write the gradients by weight and bias of each block; shapes as in stage_forward.

    grad_weight: (blocks, P, 3, 3, C); grad_bias: (blocks, C), one a block, so that sums do not depend on threads.
    """
    steps, height, width, channels = len(frames), frames.shape[3] - 2, frames.shape[4] - 2, len(bias)
    pairs, row = (height + 1) // 2, width * channels
    room = np.empty((2, width, channels), frames.dtype)
    history = np.empty((steps, 2 * row), frames.dtype)
    carried, slope = np.empty(2 * row, frames.dtype), np.empty(2 * row, frames.dtype)
    u, o = np.empty(2 * row, frames.dtype), np.empty(2 * row, frames.dtype)
    for block in range(first, last):
        b, i = block // pairs, block % pairs
        rows = min(2, height - 2 * i)
        begin, size = 2 * i * row, rows * row
        u[:size], o[:size] = potential[b, begin : begin + size], fired[b, begin : begin + size]
        for t in range(steps):
            gather(frames[t, b], weight, bias, 2 * i, room[:rows])
            advance(room.reshape(-1)[:size], u[:size], o[:size], lif[0], lif[1])
            history[t, :size] = u[:size]
        carried[:size] = 0
        grad = room.reshape(-1)[:size]
        for t in range(steps - 1, -1, -1):
            if rows == 2:
                unpool(grad_pooled[t, b, i].reshape(-1), grad, width, channels)
            else:
                grad[:] = 0
            retreat(history[t, :size], grad, carried[:size], lif, kind, slope[:size])
            scatter_gradient(frames[t, b], room[:rows], 2 * i, grad_weight[block], grad_bias[block])
