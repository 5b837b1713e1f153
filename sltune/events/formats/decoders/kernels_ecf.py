# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment"
"""ECF, the compression of events in Prophesee's HDF5 files.

A chunk has the times, rows, columns and polarities of its events one after the other, each as runs of equal values, or
rows, columns and polarities packed (github.com/prophesee-ai/hdf5_ecf). All functions return the byte at which they
ended, or −1 − the byte at which the chunk is damaged.
"""

from __future__ import annotations

import numpy as np

from sltune.system.compiled import jit

MAX_TIME_US = 1 << 62


@jit
def ecf(content, x, y, t_us, on):
    """Decode a chunk into arrays of as many events as its header says."""
    at = _ecf_times(content, 4, t_us)
    if at < 0:
        return at
    if content[0] & 2:
        return _ecf_packed(content, at, x, y, on, 12)
    at = _ecf_rows(content, at, y)
    if at < 0:
        return at
    if content[0] & 1:
        return _ecf_packed(content, at, x, y, on, 6)
    at = _ecf_columns(content, at, x)
    return at if at < 0 else _ecf_polarities(content, at, on)


@jit
def _word(content, at, size):
    """Return a little-endian number of so many bytes."""
    value = np.int64(0)
    for place in range(size):
        value |= np.int64(content[at + place]) << (8 * place)
    return value


@jit
def _ecf_times(content, at, t_us):
    end, count = len(content), 0
    if at + 8 > end:
        return -1 - at
    time = _word(content, at, 8)
    at += 8
    while count < len(t_us):
        step, shift = np.int64(0), 0
        while at < end and content[at] >> 4 == 15 and shift < 60:
            step |= np.int64(content[at] & 15) << shift
            shift += 4
            at += 1
        if at >= end or content[at] >> 4 == 15:
            return -1 - at
        time += step + (content[at] >> 4)
        run = np.int64(content[at] & 15)
        at += 1
        if run == 15:
            if at + 2 > end:
                return -1 - at
            run = _word(content, at, 2)
            at += 2
        if count + run > len(t_us) or not 0 <= time < MAX_TIME_US:
            return -1 - at
        t_us[count : count + run] = time
        count += run
    return at


@jit
def _ecf_rows(content, at, y):
    end, count = len(content), 0
    while count < len(y):
        if at + 2 > end:
            return -1 - at
        word = _word(content, at, 2)
        run = word & 31
        at += 2
        if run == 31:
            if at + 2 > end:
                return -1 - at
            run = _word(content, at, 2)
            at += 2
        if count + run > len(y):
            return -1 - at
        y[count : count + run] = word >> 5
        count += run
    return at


@jit
def _ecf_columns(content, at, x):
    """Each word has a column, and a bit for each of the five columns after it."""
    end, count = len(content), 0
    while count < len(x):
        if at + 2 > end:
            return -1 - at
        word = _word(content, at, 2)
        at += 2
        for step in range(6):
            # The encoder looks beyond its last event, so that the last word may have bits too many.
            if (step == 0 or word >> (5 - step) & 1) and count < len(x):
                x[count] = (word >> 5) + step
                count += 1
    return at


@jit
def _ecf_polarities(content, at, on):
    end, count = len(content), 0
    while count < len(on):
        if at >= end:
            return -1 - at
        word, run = content[at], np.int64(content[at] & 127)
        at += 1
        if run == 127:
            if at + 2 > end:
                return -1 - at
            run = _word(content, at, 2)
            at += 2
        if count + run > len(on):
            return -1 - at
        on[count : count + run] = word >> 7 == 1
        count += run
    return at


@jit
def _ecf_packed(content, at, x, y, on, size):
    """Unpack four events from ``size`` bytes: columns and polarities from 6 bytes, with rows from 12.

    Three words hold four values; each value's high part fills the words from the top, and its low part the rest.
    """
    bits, part = 2 * size, size // 3
    for first in range(0, len(x), 4):
        if at + size > len(content):
            return -1 - at
        a, b, c = _word(content, at, part), _word(content, at + part, part), _word(content, at + 2 * part, part)
        at += size
        low = bits // 3
        values = (
            a >> low,
            (a & ((1 << low) - 1)) | b >> (2 * low) << low,
            (b & ((1 << 2 * low) - 1)) | c >> bits << (2 * low),
            c & ((1 << bits) - 1),
        )
        for place in range(min(4, len(x) - first)):
            value = values[place]
            x[first + place], on[first + place] = value >> 1 & 0x7FF, value & 1
            if size == 12:
                y[first + place] = value >> 12 & 0x7FF
    return at
