# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Neurons behind batch normalisation on the CPU, compiled by numba: no normalised current is ever written.

Images have their channels last; an array (T, neurons) holds them as they lie in memory: the channel of neuron n is
n mod C. Blocks are of whole pixels. The values of a channel are repeated for a block, (size,), because LLVM turns only
loops over slices of equal length into vector instructions.
"""

from __future__ import annotations

import numpy as np

from sltune.snn.cpu.kernels.neurons import add, advance, clear, copy, jit, rest, resume, retreat, retreat_to_state

BLOCK = 1024
"""Neurons that are advanced together. Their currents, potentials and gradients of all time steps, which are read again
and again, then stay in the cache: a tenth less time than with four times as many, measured with 16 time steps."""


@jit
def fold(row, channels, sums):
    """Add up the values of each channel. row: (pixels · C,); sums: (C,)."""
    clear(sums)
    for at in range(0, len(row), channels):
        add(row[at : at + channels], sums)


@jit
def moments(first, last, size, channels, images, means, squares):
    """Write the mean of each channel in each block, and the sum of squared distances from it; both: (blocks, C).

    images: (T, neurons).
    """
    neurons = images.shape[1]
    row, middle = np.empty(size, images.dtype), np.empty(size, images.dtype)
    for block in range(first, last):
        begin, end = block * size, min(neurons, (block + 1) * size)
        count = images.dtype.type(len(images) * ((end - begin) // channels))
        own, centre = row[: end - begin], middle[: end - begin]
        clear(own)
        for t in range(len(images)):
            add(images[t, begin:end], own)
        fold(own, channels, means[block])
        for c in range(channels):
            means[block, c] /= count
        for at in range(0, len(centre), channels):
            copy(means[block], centre[at : at + channels])
        clear(own)
        for t in range(len(images)):
            values = images[t, begin:end]
            for n in range(len(values)):
                distance = values[n] - centre[n]
                own[n] += distance * distance
        fold(own, channels, squares[block])


@jit
def scaled(values, scale, shift, current):
    """Write scale · values + shift; all: (neurons,)."""
    for n in range(len(values)):
        current[n] = scale[n] * values[n] + shift[n]


@jit
def normed_forward(first, last, images, scale, shift, spikes, potential, fired, begun, lif, decays, counts):
    """Normalise images and run neurons. images, spikes: (T, neurons); potential, fired: (neurons,), the state.

    scale, shift, decays: of a block, (size,); decays may be None. counts: (blocks,). begun: as in neurons_forward.
    """
    size, neurons = len(scale), images.shape[1]
    current = np.empty(size, images.dtype)
    for block in range(first, last):
        begin, end = block * size, min(neurons, (block + 1) * size)
        u, o, now = potential[begin:end], fired[begin:end], current[: end - begin]
        rest(u, o, begun)
        for t in range(len(images)):
            scaled(images[t, begin:end], scale[: end - begin], shift[: end - begin], now)
            if decays is None:
                counts[block] += advance(now, u, o, lif[0], lif[1])
            else:
                counts[block] += advance(now, u, o, lif[0], lif[1], decays[: end - begin])
            copy(o, spikes[t, begin:end])


@jit
def normed_backward(
    first, last, images, scale, shift, centre, channels, grad_spikes, grad, potential, fired, begun, lif, kind, decays,
    grad_decays, sums, products,
):  # fmt: skip
    """Write the gradient by the normalised current to grad, (T, neurons), and what that by images needs besides.

    centre: the mean of each channel, for a block. sums, products: of the gradient, and of the gradient times the
    distance of images from their mean, (blocks, C). Where there are decays, their gradients go to grad_decays, alike.
    """
    size, neurons, dtype = len(scale), images.shape[1], images.dtype
    current, carried, slope, g = (
        np.empty(size, dtype),
        np.empty(size, dtype),
        np.empty(size, dtype),
        np.empty(size, dtype),
    )
    u, o, row, other = np.empty(size, dtype), np.empty(size, dtype), np.empty(size, dtype), np.empty(size, dtype)
    grad_row = np.empty(size, dtype)
    for block in range(first, last):
        begin, end = block * size, min(neurons, (block + 1) * size)
        length = end - begin
        resume(potential[begin:end], fired[begin:end], begun, u[:length], o[:length])
        for t in range(len(images)):
            scaled(images[t, begin:end], scale[:length], shift[:length], current[:length])
            if decays is None:
                advance(current[:length], u[:length], o[:length], lif[0], lif[1])
            else:
                advance(current[:length], u[:length], o[:length], lif[0], lif[1], decays[:length])
            copy(u[:length], grad[t, begin:end])
        clear(carried)
        clear(row)
        clear(other)
        clear(grad_row)
        for t in range(len(images) - 1, -1, -1):
            copy(grad_spikes[t, begin:end], g[:length])
            if decays is None:
                retreat(grad[t, begin:end], g[:length], carried[:length], lif, kind, slope[:length])
            else:
                retreat(
                    grad[t, begin:end], g[:length], carried[:length], lif, kind, slope[:length], decays[:length],
                    grad_row[:length],
                )  # fmt: skip
            add_products(g[:length], images[t, begin:end], centre[:length], row[:length], other[:length])
            copy(g[:length], grad[t, begin:end])
        fold(row[:length], channels, sums[block])
        fold(other[:length], channels, products[block])
        if decays is not None:
            retreat_to_state(potential[begin:end], fired[begin:end], begun, carried[:length], grad_row[:length])
            fold(grad_row[:length], channels, grad_decays[block])


@jit
def add_products(grad, values, centre, row, other):
    """Add a gradient to row, and its product with the distance of values from the centre to other; all: (neurons,)."""
    for n in range(len(grad)):
        row[n] += grad[n]
        other[n] += grad[n] * (values[n] - centre[n])


@jit
def gradient_by_images(first, last, images, scale, slope, shift, grad):
    """Turn the gradient by the normalised current into that by images: scale · grad + slope · images + shift.

    images, grad: (T, neurons); scale, slope, shift: of a block, (size,).
    """
    size, neurons = len(scale), images.shape[1]
    for block in range(first, last):
        begin, end = block * size, min(neurons, (block + 1) * size)
        a, b, c = scale[: end - begin], slope[: end - begin], shift[: end - begin]
        for t in range(len(images)):
            values, own = images[t, begin:end], grad[t, begin:end]
            for n in range(len(values)):
                own[n] = a[n] * own[n] + b[n] * values[n] + c[n]
