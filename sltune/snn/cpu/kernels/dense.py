# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-arg"
"""Dense products on the CPU, compiled by numba, for processors with AVX-512: for gradients, few of which are 0.

The libraries below torch are slow at these products: MKL uses half of each register on processors that are not Intel's,
and oneDNN computes 32 channels where 20 are wanted. Here several rows of the result stay in registers at a time.
"""

from __future__ import annotations

import numpy as np

from sltune.snn.cpu.kernels.neurons import clear, copy, jit
from sltune.snn.cpu.kernels.vectors import LANES, add_products

TAPS = 3
"""Height and width of a convolution's kernel."""

SIDES, VECTORS = (0,) * 4, (0,) * 4
"""Tuples whose lengths say how many rows of the result stay in registers at a time, and of how many vectors each.

These 16 sums of float32, with the factors and rows that they need, fit into the 32 registers of AVX-512.
"""


@jit
def aligned(size, dtype):
    """Return an array that starts at a line of the cache, since a vector across two lines takes twice the time."""
    values = np.empty(size + 64, dtype)
    skip = (-values.ctypes.data % 64) // values.itemsize
    return values[skip : skip + size]


@jit
def multiply(first, last, left, right, product, sides, vectors):
    """Write strips first … last − 1 of a product of matrices, each as many columns wide as vectors have values.

    left: (rows, inner); right: (inner, columns); product: (rows, columns).
    """
    inner, reach = len(right), len(vectors) * LANES
    factors = left.reshape(-1)
    packed, sums = aligned(inner * reach, right.dtype), aligned(len(sides) * reach, right.dtype)
    clear(packed)
    for begin in range(first * reach, min(last * reach, right.shape[1]), reach):
        size, row = min(reach, right.shape[1] - begin), 0
        for k in range(inner):
            copy(right[k, begin : begin + size], packed[k * reach : k * reach + size])
        while row < len(left):
            clear(sums)
            if row + len(sides) <= len(left):
                count = len(sides)
                add_products(sums, (0, reach), factors, (row * inner, inner), packed, inner, sides, vectors)
            else:
                count = 1
                add_products(sums, (0, 0), factors, (row * inner, 0), packed, inner, (0,), vectors)
            for k in range(count):
                copy(sums[k * reach : k * reach + size], product[row + k, begin : begin + size])
            row += count


@jit
def spread(first, last, grad_current, channels, taps, grad_images, sides, vectors):
    """Write the gradient by images first … last − 1: the transposed 3×3 convolution of the gradient by current.

    Channels lie last. grad_current: (images, H − 2, (W − 2) · C). taps: (3, C · reach), of each channel the weights of
    three pixels, the first column first, and zeros. grad_images: (images, H, W · P).
    """
    height, row, reach = grad_current.shape[1], grad_images.shape[2], len(vectors) * LANES
    width = grad_current.shape[2] // channels
    planes = row // (width + TAPS - 1)
    room = np.empty(row + reach, taps.dtype)
    for image in range(first, last):
        for y in range(height + TAPS - 1):
            clear(room)
            for dy in range(max(0, y - height + 1), min(TAPS, y + 1)):
                grad, weight, x = grad_current[image, y - dy], taps[dy], 0
                while x + len(sides) <= width:
                    place, origin = (x * planes, planes), (x * channels, channels)
                    add_products(room, place, grad, origin, weight, channels, sides, vectors)
                    x += len(sides)
                while x < width:
                    add_products(room, (x * planes, 0), grad, (x * channels, 0), weight, channels, (0,), vectors)
                    x += 1
            copy(room[:row], grad_images[image, y])
