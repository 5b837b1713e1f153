"""Vector instructions against numpy."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sltune.snn.cpu.kernels import plain, vectors
from sltune.snn.cpu.kernels.vectors import BITS, LANES

Array = NDArray[Any]
jit = numba.njit


@jit
def bits_of(values: Array, at: int) -> Any:
    return vectors.nonzero_bits(values, at)


@jit
def lowest_of(bits: Any) -> Any:
    return vectors.lowest_bit(bits)


@jit
def rows_added(target: Array, at: int, terms: Any, first: int, last: int, size: Any) -> None:
    vectors.add_rows(target, at, terms[0], terms[1], terms[2], first, last, size)


@jit
def added_to_rows(source: Array, at: int, terms: Any, first: int, last: int, size: Any) -> None:
    vectors.add_to_rows(source, at, terms[0], terms[1], terms[2], first, last, size)


@jit
def products_added(target: Array, place: Any, factors: Array, origin: Any, rows: Array, shape: Any) -> None:
    vectors.add_products(target, place, factors, origin, rows, shape[0], shape[1], shape[2])


@given(
    places=st.sets(st.integers(0, BITS - 1)),
    at=st.integers(0, 5),
    value=st.sampled_from([1.0, -0.25, float("nan"), float("inf"), 1e-40]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_bits_say_which_values_are_not_0(places: set[int], at: int, value: float, dtype: type[Any]) -> None:
    values = np.zeros(BITS + 5, dtype)
    values[[at + place for place in places]] = value
    values[values == 0] *= -1
    bits = int(bits_of(values, at))
    assert {place for place in range(BITS) if bits >> place & 1} == places
    if places:
        assert lowest_of(np.uint64(bits)) == min(places)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 4, 10])
@pytest.mark.parametrize("terms", [0, 1, 2, 7, 8, 9, 16])
def test_sums_of_rows_and_sums_in_rows(terms: int, count: int, dtype: type[Any]) -> None:
    """With more terms than asked for on either side, rows that overlap, and values around what is written."""
    rng = np.random.default_rng(terms)
    size, tolerance = count * LANES, 1e-5 if dtype is np.float32 else 1e-13
    rows = rng.normal(size=300).astype(dtype)
    starts = rng.integers(0, 300 - size, terms + 4).astype(np.int32)
    factors = rng.normal(size=terms + 4).astype(dtype)
    target = rng.normal(size=size + 7).astype(dtype)
    expected, scattered = target.copy(), rows.copy()
    for start, factor in zip(starts[2 : terms + 2], factors[2 : terms + 2], strict=True):
        expected[3 : 3 + size] += factor * rows[start : start + size]
        scattered[start : start + size] += factor * target[3 : 3 + size]
    mine, sums = rows.copy(), target.copy()
    added_to_rows(target, 3, (mine, starts, factors), 2, terms + 2, (0,) * count)
    rows_added(sums, 3, (rows, starts, factors), 2, terms + 2, (0,) * count)
    np.testing.assert_allclose(sums, expected, rtol=0, atol=tolerance * 10)
    np.testing.assert_allclose(mine, scattered, rtol=0, atol=tolerance * 10)
    assert np.array_equal(sums[:3], target[:3])
    assert np.array_equal(sums[3 + size :], target[3 + size :])


def test_plain_loops_do_the_same() -> None:
    rng = np.random.default_rng(0)
    values = np.zeros(BITS + 5, np.float32)
    values[[5, 17, BITS + 2]] = 0.5
    assert plain.nonzero_bits(values, 3) == bits_of(values, 3) == 1 << 2 | 1 << 14 | 1 << 63
    assert plain.lowest_bit(np.uint64(1 << 14 | 1 << 63)) == 14
    starts, factors = rng.integers(0, 236, 9).astype(np.int32), rng.normal(size=9).astype(np.float32)
    target, rows = rng.normal(size=71).astype(np.float32), rng.normal(size=300).astype(np.float32)
    for mine, loop in ((rows_added, plain.add_rows), (added_to_rows, plain.add_to_rows)):
        results = [(target.copy(), rows.copy()) for _ in range(2)]
        mine(results[0][0], 3, (results[0][1], starts, factors), 1, 8, (0,) * 4)
        loop(results[1][0], 3, results[1][1], starts, factors, 1, 8, (0,) * 4)
        for one, other in zip(*results, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
        assert not all(map(np.array_equal, results[1], (target, rows)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("sides", "count"), [(1, 1), (4, 4), (4, 1), (2, 10)])
@pytest.mark.parametrize("terms", [0, 1, 50])
def test_products_of_stretches_that_overlap(terms: int, sides: int, count: int, dtype: type[Any]) -> None:
    rng = np.random.default_rng(terms)
    size, step, stride = count * LANES, 20, 53
    rows = rng.normal(size=(terms, size)).astype(dtype)
    factors = rng.normal(size=(sides + 1) * stride).astype(dtype)
    target = rng.normal(size=(sides - 1) * step + size + 9).astype(dtype)
    expected = target.copy()
    for side in range(sides):
        begin, source = 5 + side * step, 2 + side * stride
        expected[begin : begin + size] += factors[source : source + terms] @ rows
    products_added(target, (5, step), factors, (2, stride), rows.reshape(-1), (terms, (0,) * sides, (0,) * count))
    np.testing.assert_allclose(target, expected, rtol=0, atol=1e-4 if dtype is np.float32 else 1e-12)
