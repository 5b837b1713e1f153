# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""EVT2 and EVT3 of Prophesee's cameras: each word changes the state of the decoder, or gives events."""

from __future__ import annotations

import numpy as np

from sltune.system.compiled import jit

# Places in the state, an int64 array that goes from block to block; EVT2 needs only the first three.
HIGH, TRIGGERS, TOO_EARLY, LOW, ROW, COLUMN, POLARITY, IS_PIXEL = range(8)
NO_TIME = -(1 << 62)
"""In the place of HIGH until the first time is known."""
# Kinds of EVT2's words, in their highest four bits; 0 and 1 are events.
EVT2_TIME_HIGH, EVT2_TRIGGER = 8, 10
EVT2_TIME_RANGE = 1 << 28
# Kinds of EVT3's words, in theirs.
ADDR_Y, ADDR_X, VECT_BASE_X, VECT_12, VECT_8, TIME_LOW, TIME_HIGH, EXT_TRIGGER = 0, 2, 3, 4, 5, 6, 8, 10


@jit
def decode_evt2(words, state, x, y, t_us, on):
    """Decode words of EVT2 into arrays as long as the words, and return how many events there are.

    A word is a pixel with the low six bits of its time, or the high bits for all pixels that follow.
    """
    high, count = state[HIGH], 0
    for word in words:
        kind = word >> 28
        if kind <= 1:
            if high == NO_TIME:
                state[TOO_EARLY] += 1
            else:
                x[count], y[count] = word >> 11 & 0x7FF, word & 0x7FF
                t_us[count], on[count] = high << 6 | np.int64(word >> 22 & 0x3F), kind == 1
                count += 1
        elif kind == EVT2_TIME_HIGH:
            value, half = np.int64(word & 0xFFFFFFF), EVT2_TIME_RANGE // 2
            # The clock wraps every five hours; the nearest time is meant.
            high = value if high == NO_TIME else high + (value - high + half) % EVT2_TIME_RANGE - half
        elif kind == EVT2_TRIGGER:
            state[TRIGGERS] += 1
    state[HIGH] = high
    return count


@jit
def most_events_of_evt3(words):
    """Return how many events the words of EVT3 may stand for."""
    count = 0
    for word in words:
        kind = word >> 12
        if kind == ADDR_X:
            count += 1
        elif kind in (VECT_12, VECT_8):
            bits = word & (0xFFF if kind == VECT_12 else 0xFF)
            while bits:
                bits &= bits - 1
                count += 1
    return count


@jit
def decode_evt3(words, state, x, y, t_us, on):
    """Decode words of EVT3 into arrays of ``most_events_of_evt3`` events, and return how many there are.

    The words set row, time and the first column of a vector for all that follow, so that most events take one word.
    """
    high, low, row = state[HIGH], state[LOW], state[ROW]
    column, polarity, is_pixel = state[COLUMN], state[POLARITY], state[IS_PIXEL]
    count = 0
    for word in words:
        kind, value = np.int64(word >> 12), np.int64(word & 0xFFF)
        if kind in (ADDR_X, VECT_12, VECT_8):
            if kind == ADDR_X:
                bits, first, is_on, width = np.int64(1), value & 0x7FF, value >> 11, 0
            else:
                width = 12 if kind == VECT_12 else 8
                bits, first, is_on = value & ((1 << width) - 1), column, polarity
                column += width
            while bits:
                if bits & 1 and is_pixel:
                    if high == NO_TIME:
                        state[TOO_EARLY] += 1
                    else:
                        # Vectors without a new base could run beyond what 16 bits can tell.
                        x[count], y[count] = min(first, 0xFFFF), row
                        t_us[count], on[count] = high << 12 | low, is_on == 1
                        count += 1
                bits >>= 1
                first += 1
        elif kind == TIME_LOW:
            low = value
        elif kind == TIME_HIGH:
            if high == NO_TIME:
                high = value
            elif value != high & 0xFFF:
                # The 24 bits of the clock wrap every 17 s; the nearest time is meant. The low half follows.
                high += ((value - high + 0x800) & 0xFFF) - 0x800
                low = 0
        elif kind == ADDR_Y:
            row, is_pixel = value & 0x7FF, 1
        elif kind == VECT_BASE_X:
            column, polarity = value & 0x7FF, value >> 11
        elif kind == EXT_TRIGGER:
            state[TRIGGERS] += 1
        elif kind == 1:
            # A row of another sensor, which measures exposure.
            is_pixel = 0
    state[HIGH], state[LOW], state[ROW] = high, low, row
    state[COLUMN], state[POLARITY], state[IS_PIXEL] = column, polarity, is_pixel
    return count
