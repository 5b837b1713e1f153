"""How many trials should share a GPU or the cores of a node, decided from measured speed and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

HEADROOM = 0.1
"""The share of the memory that stays free: later epochs and other configurations need a little more."""
TIE = 0.03
"""Two speeds that differ by less are equal: measurements of a few seconds scatter by so much."""


@dataclass(frozen=True)
class Pace:
    """What trials beside each other reach.

    samples_per_second: of all together. used_bytes: of the device's memory, by everybody. total_bytes: of the device.
    peak_bytes: the largest amount that the tensors of one trial took.
    """

    samples_per_second: float
    used_bytes: int
    total_bytes: int
    peak_bytes: int = 0

    @property
    def fits(self) -> bool:
        """Whether enough memory stays free."""
        return self.used_bytes <= (1 - HEADROOM) * self.total_bytes


@dataclass(frozen=True)
class Packing:
    """How many trials share a device, and what was measured: the pace by the number of trials."""

    sharers: int
    paces: dict[int, Pace]

    def for_peak(self, peak_bytes: int) -> Packing:
        """Return the packing with as many trials as fit, at most as many as now, if tensors of one take peak_bytes."""
        number, pace = max(self.paces.items())
        # What a process takes beside its tensors, such as a CUDA context, it takes whatever it trains.
        beside = max(0, pace.used_bytes // number - pace.peak_bytes)
        fitting = int((1 - HEADROOM) * pace.total_bytes / max(1, beside + peak_bytes))
        return replace(self, sharers=max(1, min(self.sharers, fitting)))

    def halved(self) -> Packing:
        """Return the packing with half as many trials, where it is not known how much memory one needs."""
        return replace(self, sharers=max(1, self.sharers // 2))


def pack(measure: Callable[[int], Pace | None], candidates: Sequence[int]) -> Packing | None:
    """Return the best number of trials that share a device, of some; None where not even the smallest can be measured.

    The numbers are doubled while speed grows and memory suffices; then those beside the fastest are tried. Where speed
    has a single peak, that finds it. Of numbers that are equally fast, the smallest is taken, which leaves most memory.

    Args:
        measure: runs so many trials beside each other; returns None where that failed, for lack of memory for example.
        candidates: numbers of trials, in rising order. The first is measured in any case; a further one only if it
            leaves memory free, by what smaller ones have needed.
    """
    paces: dict[int, Pace] = {}
    # The smallest number that failed or would not fit, or one more than the largest.
    end = candidates[-1] + 1

    def attempt(number: int) -> None:
        nonlocal end
        pace = measure(number) if _is_expected_to_fit(paces, number) else None
        if pace is None:
            end = min(end, number)
        else:
            paces[number] = pace

    attempt(candidates[0])
    while further := [candidate for candidate in candidates if max(paces, default=end) < candidate < end]:
        if _fastest(paces) != max(paces):
            break
        # The largest one up to twice as many, or the next one where there is none.
        attempt(max([number for number in further if number <= 2 * max(paces)], default=further[0]))
    while paces:
        # What lies between the fastest number and those beside it, of which the gaps are halved.
        fastest = _fastest(paces)
        below = max((number for number in paces if number < fastest), default=fastest)
        above = min((number for number in (*paces, end) if number > fastest), default=fastest)
        gaps = [
            [candidate for candidate in candidates if low < candidate < high]
            for low, high in ((below, fastest), (fastest, above))
        ]
        if not any(gaps):
            return Packing(_choice(paces), paces)
        for gap in filter(None, gaps):
            attempt(gap[len(gap) // 2])
    return None


def _fastest(paces: dict[int, Pace]) -> int:
    return max(paces, key=lambda number: paces[number].samples_per_second)


def _choice(paces: dict[int, Pace]) -> int:
    """Return the smallest number that is about as fast as the fastest of those that leave memory free."""
    fitting = {number: pace for number, pace in paces.items() if pace.fits} or {min(paces): paces[min(paces)]}
    enough = (1 - TIE) * fitting[_fastest(fitting)].samples_per_second
    return min(number for number, pace in fitting.items() if pace.samples_per_second >= enough)


def _is_expected_to_fit(paces: dict[int, Pace], number: int) -> bool:
    """Say whether so many trials leave memory free: on the line through the last two measured, or in proportion."""
    known = sorted(paces)
    if not known:
        return True
    last = paces[known[-1]]
    each = last.used_bytes / known[-1]
    if len(known) > 1:
        each = max(0.0, (last.used_bytes - paces[known[-2]].used_bytes) / (known[-1] - known[-2]))
    return replace(last, used_bytes=int(last.used_bytes + each * (number - known[-1]))).fits
