# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Pooling by the maximum of 2×2 on the CPU, compiled by numba, for images that have their channels last.

torch writes an index of eight bytes for every value, and fills the gradient with zeros before it adds to it. Here the
backward pass looks at the images again, and writes every value of the gradient once. Indices are unsigned: numba would
wrap negative ones, and LLVM turns such loops into no vector instructions.
"""

from __future__ import annotations

import numpy as np

from sltune.snn.cpu.kernels.neurons import clear, jit


@jit
def max_pool_forward(first, last, images, channels, pooled):
    """Pool images. images: (N, H, W · C); pooled: (N, H // 2, (W // 2) · C). A block is an image."""
    two, channels = np.uint64(2), np.uint64(channels)
    for image in range(first, last):
        for y in range(pooled.shape[1]):
            upper, lower, row = images[image, 2 * y], images[image, 2 * y + 1], pooled[image, y]
            for x in range(np.uint64(pooled.shape[2]) // channels):
                at, left, right = x * channels, two * x * channels, two * x * channels + channels
                for c in range(channels):
                    a, b, below_a, below_b = upper[left + c], upper[right + c], lower[left + c], lower[right + c]
                    above, below = b if b > a else a, below_b if below_b > below_a else below_a
                    row[at + c] = below if below > above else above


@jit
def max_pool_backward(first, last, images, channels, grad_pooled, grad):
    """Write the gradient by the images: that of a pooled value to the first of its maxima; shapes as above."""
    two, channels, zero = np.uint64(2), np.uint64(channels), grad.dtype.type(0)
    for image in range(first, last):
        for y in range(grad_pooled.shape[1]):
            # Written out, and in one function: LLVM must see which rows cannot overlap.
            upper, lower, row = images[image, 2 * y], images[image, 2 * y + 1], grad_pooled[image, y]
            of_upper, of_lower = grad[image, 2 * y], grad[image, 2 * y + 1]
            for x in range(np.uint64(grad_pooled.shape[2]) // channels):
                at, left, right = x * channels, two * x * channels, two * x * channels + channels
                for c in range(channels):
                    a, b, below_a, below_b = upper[left + c], upper[right + c], lower[left + c], lower[right + c]
                    above, below = b if b > a else a, below_b if below_b > below_a else below_a
                    of_above = zero if below > above else row[at + c]
                    of_below = row[at + c] if below > above else zero
                    of_upper[left + c] = zero if b > a else of_above
                    of_upper[right + c] = of_above if b > a else zero
                    of_lower[left + c] = zero if below_b > below_a else of_below
                    of_lower[right + c] = of_below if below_b > below_a else zero
            # The last column of an odd number is not pooled, nor is the last row.
            clear(of_upper[2 * grad_pooled.shape[2] :])
            clear(of_lower[2 * grad_pooled.shape[2] :])
        for y in range(2 * grad_pooled.shape[1], images.shape[1]):
            clear(grad[image, y])
