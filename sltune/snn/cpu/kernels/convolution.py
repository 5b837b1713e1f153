# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-arg"
"""Convolutions of 3×3 on the CPU, compiled by numba, that multiply only the values of images that are not 0.

Images are (N, planes, H, line), with ``depth`` as in stage.py, from which the loops over single rows are. Each row of
images is read once, and contributes to three rows of the result, which stay in the cache until they are whole.
"""

from __future__ import annotations

import numpy as np

from sltune.snn.cpu.kernels.dense import TAPS
from sltune.snn.cpu.kernels.neurons import add, clear, copy, jit
from sltune.snn.cpu.kernels.stage import MARGIN, convolve, correlate, find
from sltune.snn.cpu.kernels.vectors import LANES


@jit
def room_for(images, channels, vectors):
    """Return room for the spots of a row of images, and for three rows of the result with margins."""
    planes, line = images.shape[1], images.shape[3]
    size = planes * line
    spots = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, images.dtype)
    return spots, np.zeros((TAPS, (line + MARGIN) * channels + len(vectors) * LANES), images.dtype)


@jit
def convolution_forward(first, last, images, depth, padding, taps, bias, currents, vectors):
    """Convolve images first … last − 1.

    padding: 0 or 1. taps: (3, P · reach), as in stage_forward. currents: (N, H − 2 + 2 · padding, row).
    """
    channels, reach = len(bias), len(vectors) * LANES
    height, row = currents.shape[1], currents.shape[2]
    spots, rooms = room_for(images, channels, vectors)
    begin = (MARGIN - padding) * channels
    ground = np.zeros(row, images.dtype)
    for at in range(0, row, channels):
        copy(bias, ground[at : at + channels])
    for image in range(first, last):
        for r in range(-padding, images.shape[2] + padding):
            newest, whole = r + padding, r + padding - MARGIN
            if newest < height:
                clear(rooms[newest % TAPS])
            if 0 <= r < images.shape[2]:
                count = find(images[image], r, depth, channels, reach, spots, 0)
                for dy in range(max(0, newest - height + 1), min(TAPS, newest + 1)):
                    convolve(rooms[(newest - dy) % TAPS], spots, 0, count, taps[dy], vectors)
            if whole >= 0:
                copy(rooms[whole % TAPS, begin : begin + row], currents[image, whole])
                add(ground, currents[image, whole])


@jit
def convolution_backward(first, last, images, depth, padding, grads, grad_taps, grad_rows, vectors):
    """Write the gradients by weights and bias for parts first … last − 1 of the images, whose sums depend on no thread.

    grads: by currents, (N, H − 2 + 2 · padding, row). grad_taps: (parts, 3, P · reach). grad_rows: (parts, row), which
    hold the gradient by the bias for each pixel of a row.
    """
    height, row = grads.shape[1], grads.shape[2]
    channels, reach = row // (images.shape[3] // depth - MARGIN + 2 * padding), len(vectors) * LANES
    spots, rooms = room_for(images, channels, vectors)
    begin = (MARGIN - padding) * channels
    for part in range(first, last):
        for image in range(part * len(images) // len(grad_taps), (part + 1) * len(images) // len(grad_taps)):
            for r in range(-padding, images.shape[2] + padding):
                newest = r + padding
                if newest < height:
                    copy(grads[image, newest], rooms[newest % TAPS, begin : begin + row])
                    add(grads[image, newest], grad_rows[part])
                if 0 <= r < images.shape[2]:
                    count = find(images[image], r, depth, channels, reach, spots, 0)
                    for dy in range(max(0, newest - height + 1), min(TAPS, newest + 1)):
                        correlate(rooms[(newest - dy) % TAPS], spots, 0, count, grad_taps[part, dy], vectors)
