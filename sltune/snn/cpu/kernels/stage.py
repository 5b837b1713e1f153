# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-arg"
"""Stages of convolutional layers on the CPU, compiled by numba: sparse images in, pooled spikes out.

A stage is a 3×3 convolution, neurons and 2×2 pooling. A block is two rows of a sample's neurons over all time (one row,
where it is the last of an odd number), so that their currents, potentials and gradients stay in the cache. Only values
that are not 0 are multiplied. Each is multiplied at once with the three columns of a kernel's row, which reach three
neighbouring pixels of the result. Therefore the columns of kernels are stored in reverse, and rows of the result have
margins for what falls outside.

Images are (T, B, planes, H, line). With their channels first, a plane is a channel and a line has W values; with their
channels last there is one plane, and a line has W · P values, P of each pixel: ``depth`` is 1 or P.
"""

from __future__ import annotations

import numpy as np

from sltune.snn.cpu.kernels.dense import TAPS
from sltune.snn.cpu.kernels.neurons import (
    add,
    advance,
    clear,
    copy,
    end_retreat,
    jit,
    pool,
    rest,
    resume,
    retreat,
    unpool,
)
from sltune.snn.cpu.kernels.switches import is_on
from sltune.snn.cpu.kernels.vectors import BITS, LANES

if is_on("vectors"):
    from sltune.snn.cpu.kernels.vectors import add_rows, add_to_rows, lowest_bit, nonzero_bits
else:
    from sltune.snn.cpu.kernels.plain import add_rows, add_to_rows, lowest_bit, nonzero_bits

MARGIN = TAPS - 1
"""Pixels of the margin before the first pixel of a row of the result."""


@jit
def find(planes, row, depth, channels, reach, spots, count):
    """Append to spots, after the first count, what is not 0 in a row of all planes; return how many there are then.

    planes: (planes, H, line). spots: three arrays: where a value's three pixels start in a row of the result, where
    its weights start in a row of taps, and the value.
    """
    places, starts, values = spots
    # (k · reciprocal) >> 32 is k // depth for all k of a line; a division would take longer than all the rest.
    reciprocal = (1 << 32) // depth + 1
    for plane in range(len(planes)):
        line = planes[plane, row]
        for at in range(0, len(line), BITS):
            bits = look(line, at)
            while bits != 0:
                k = at + lowest_bit(bits)
                bits &= bits - np.uint64(1)
                x = (k * reciprocal) >> 32
                places[count] = x * channels
                starts[count] = (plane + k - x * depth) * reach
                values[count] = line[k]
                count += 1
    return count


@jit
def look(line, at):
    """Return a number whose bit k says whether line[at + k] exists and is not 0."""
    if at + BITS <= len(line):
        return nonzero_bits(line, at)
    if len(line) >= BITS:
        return nonzero_bits(line, len(line) - BITS) >> np.uint64(at + BITS - len(line))
    bits = np.uint64(0)
    for k in range(len(line) - at):
        if line[at + k] != 0:
            bits |= np.uint64(1) << np.uint64(k)
    return bits


@jit
def run_end(places, begin, end):
    """Return where the run of spots that have the place of the spot at begin ends."""
    place = places[begin]
    begin += 1
    while begin < end and places[begin] == place:
        begin += 1
    return begin


@jit
def convolve(room, spots, begin, end, taps, vectors):
    """Add to a row of the result what spots begin … end − 1 of a row of images contribute.

    room: the row with its margins, as ground_of makes it. taps: (P · reach,), the weights of one row of the kernels.
    """
    places, starts, values = spots
    while begin < end:
        after = run_end(places, begin, end)
        add_rows(room, places[begin], taps, starts, values, begin, after, vectors)
        begin = after


@jit
def correlate(room, spots, begin, end, grad_taps, vectors):
    """Add to the gradient by taps what a row of gradients contributes with spots begin … end − 1.

    Shapes as in convolve; room holds the gradients, and zeros in its margins.
    """
    places, starts, values = spots
    while begin < end:
        after = run_end(places, begin, end)
        add_to_rows(room, places[begin], grad_taps, starts, values, begin, after, vectors)
        begin = after


@jit
def ground_of(bias, width, vectors):
    """Return a row of the result, with margins, as the bias alone makes it."""
    channels = len(bias)
    ground = np.zeros((width + MARGIN - 1) * channels + len(vectors) * LANES, bias.dtype)
    for x in range(MARGIN, MARGIN + width):
        ground[x * channels : (x + 1) * channels] = bias
    return ground


@jit
def room_for_spots(images, steps):
    """Return room for all spots of the rows that a block reads in this number of steps."""
    size = steps * images.shape[2] * (TAPS + 1) * images.shape[4]
    return np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, images.dtype)


@jit
def fill(planes, top, rows, depth, channels, room, ground, taps, spots, ends, vectors):
    """Write the current of rows top … top + rows − 1 into room, (2, row with margins).

    planes: (planes, H, line). taps: (3, P · reach). ends: (5,): the first is given and says where spots begin, the
    others become the ends of the spots of each row of images.
    """
    reach = len(vectors) * LANES
    for y in range(rows):
        copy(ground, room[y])
    for r in range(rows + TAPS - 1):
        ends[r + 1] = find(planes, top + r, depth, channels, reach, spots, ends[r])
        for dy in range(max(0, r - rows + 1), min(TAPS, r + 1)):
            convolve(room[r - dy], spots, ends[r], ends[r + 1], taps[dy], vectors)


@jit
def collect(rows, room, spots, ends, grad_taps, vectors):
    """Add to the gradient by taps, (3, P · reach), from the rows of gradients in room. The reverse of fill."""
    for r in range(rows + TAPS - 1):
        for dy in range(max(0, r - rows + 1), min(TAPS, r + 1)):
            correlate(room[r - dy], spots, ends[r], ends[r + 1], grad_taps[dy], vectors)


@jit
def stage_forward(
    first, last, images, depth, taps, bias, pooled, potential, fired, begun, lif, decays, counts, vectors
):
    """Convolve sparse images, run neurons and average their spikes.

    taps: (3, P · reach), of each channel the weights of three pixels, the last column first, and zeros, where reach is
    the values of vectors. pooled: (T, B, (H − 2) // 2, (W − 2) // 2 · C). potential, fired: (B, H − 2, (W − 2) · C).
    counts: (blocks,). begun: as in neurons_forward. decays: of a row, (row,), or None.
    """
    steps, height, width, channels = len(images), images.shape[3] - 2, images.shape[4] // depth - 2, len(bias)
    pairs, inner = (height + 1) // 2, slice(MARGIN * channels, (MARGIN + width) * channels)
    ground = ground_of(bias, width, vectors)
    room = np.empty((2, len(ground)), images.dtype)
    spots, ends = room_for_spots(images, 1), np.zeros(TAPS + 2, np.int64)
    for block in range(first, last):
        b, i = block // pairs, block % pairs
        top, rows = 2 * i, min(2, height - 2 * i)
        for y in range(top, top + rows):
            rest(potential[b, y], fired[b, y], begun)
        for t in range(steps):
            fill(images[t, b], top, rows, depth, channels, room, ground, taps, spots, ends, vectors)
            for y in range(rows):
                u, o = potential[b, top + y], fired[b, top + y]
                counts[block] += advance(room[y, inner], u, o, lif[0], lif[1], decays)
            if rows == 2:
                pool(fired[b, top], fired[b, top + 1], pooled[t, b, i], width, channels)


@jit
def stage_backward(
    first, last, images, depth, taps, bias, grad_pooled, grads, potential, fired, begun, lif, kind, decays, vectors
):
    """Write the gradients by weights, bias and current; shapes as in stage_forward.

    grads: the gradients by taps, (parts, 3, P · reach), and by bias, (parts, row of the result with margins), for each
    part of the blocks, so that sums do not depend on threads; by current, (T, B, H − 2, (W − 2) · C), or (0, …) if that
    is not wanted; and by decays, (parts, C), or None. first, last: the range of parts.
    """
    grad_taps, grad_ground, grad_current, grad_decays = grads
    steps, height, width, channels = len(images), images.shape[3] - 2, images.shape[4] // depth - 2, len(bias)
    pairs, inner = (height + 1) // 2, slice(MARGIN * channels, (MARGIN + width) * channels)
    blocks, row = images.shape[1] * pairs, width * channels
    ground = ground_of(bias, width, vectors)
    room = np.empty((2, len(ground)), images.dtype)
    history = np.empty((steps, 2, row), images.dtype)
    u, o = np.empty((2, row), images.dtype), np.empty((2, row), images.dtype)
    carried, slope, grad_row = (
        np.empty((2, row), images.dtype),
        np.empty(row, images.dtype),
        np.empty(row, images.dtype),
    )
    spots, ends = room_for_spots(images, steps), np.zeros((steps + 1, TAPS + 2), np.int64)
    for part in range(first, last):
        for block in range(part * blocks // len(grad_taps), (part + 1) * blocks // len(grad_taps)):
            b, i = block // pairs, block % pairs
            top, rows = 2 * i, min(2, height - 2 * i)
            for y in range(rows):
                resume(potential[b, top + y], fired[b, top + y], begun, u[y], o[y])
            for t in range(steps):
                fill(images[t, b], top, rows, depth, channels, room, ground, taps, spots, ends[t], vectors)
                ends[t + 1, 0] = ends[t, rows + TAPS - 1]
                for y in range(rows):
                    advance(room[y, inner], u[y], o[y], lif[0], lif[1], decays)
                    copy(u[y], history[t, y])
            clear(grad_row)
            for y in range(2):
                clear(carried[y])
                # Margins must add nothing to the sums.
                clear(room[y])
            for t in range(steps - 1, -1, -1):
                if rows == 2:
                    unpool(grad_pooled[t, b, i], room[0, inner], room[1, inner], width, channels)
                else:
                    clear(room[0])
                for y in range(rows):
                    retreat(history[t, y], room[y, inner], carried[y], lif, kind, slope, decays, grad_row)
                    add(room[y], grad_ground[part])
                    if len(grad_current) > 0:
                        copy(room[y, inner], grad_current[t, b, top + y])
                collect(rows, room, spots, ends[t], grad_taps[part], vectors)
            below = top + rows
            end_retreat(potential[b, top:below], fired[b, top:below], begun, carried, grad_row, grad_decays, part)
