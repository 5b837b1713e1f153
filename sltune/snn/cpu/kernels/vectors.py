# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, call-arg, misc"
"""Vector instructions for the kernels of the CPU, which LLVM does not make of numba's loops over short runs of values.

A vector has LANES values, which LLVM maps to what the processor has (for float32 one register of AVX-512, two of AVX2,
four of NEON; for float64 twice as many). Each function is one of numba's intrinsics: it writes LLVM's instructions in
place, and is called in compiled code only. Arrays are contiguous, of one dimension and of one float type. Nothing is
checked.

``vectors`` is a tuple whose length, known when a kernel is compiled, says how many vectors to hold in registers.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from itertools import chain

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sltune.snn.cpu.kernels.switches import is_on

LANES = 16

HAS_WIDE_VECTORS = False
"""Whether there are 32 registers that each hold a vector of float32, as with AVX-512, and they may be used."""

# LLVM cannot tell the features of every processor.
with suppress(RuntimeError):
    HAS_WIDE_VECTORS = is_on("vectors") and bool(get_host_cpu_features().get("avx512f", False))

BITS = 64
"""Values that nonzero_bits looks at: as many as the widest integer has bits."""

SUMS = 8
"""Sums that are added to in turn, since each must wait some four cycles for its last product."""

ALIGNMENT = 4
"""Bytes: vectors may start at any value of float32."""

FUSED = ("contract",)
"""A product and its sum may be rounded once, since they make currents and gradients, never potentials."""


@intrinsic
def nonzero_bits(typing_context, values, at):
    """Return a number whose bit k says whether values[at + k] is not 0, for k below BITS."""

    def generate(context, builder, signature, arguments):
        kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), BITS)
        vector = _load(builder, _pointer(context, builder, signature, arguments, 0), arguments[1], kind)
        return builder.bitcast(builder.fcmp_unordered("!=", vector, ir.Constant(kind, [0.0] * BITS)), ir.IntType(BITS))

    return types.uint64(values, types.intp), generate


@intrinsic
def lowest_bit(typing_context, bits):
    """Return the place of the lowest bit that is set; bits must not be 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), generate


@intrinsic
def add_rows(typing_context, target, at, rows, starts, factors, first, last, vectors):
    """Add to target[at :] the sum over k = first … last − 1 of factors[k] · rows[starts[k] :]."""

    def generate(context, builder, signature, arguments):
        kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), LANES)
        pointers = [_pointer(context, builder, signature, arguments, number) for number in (0, 2, 3, 4)]
        zero, one = ir.Constant(kind, [0.0] * LANES), ir.Constant(arguments[5].type, 1)
        count = len(signature.args[7])
        ways = max(1, SUMS // count)
        # Sums are kept apart from the target, so that neighbouring calls, whose targets overlap, need not wait.
        sums = [[cgutils.alloca_once(builder, kind) for _ in range(count)] for _ in range(ways)]
        for total in chain(*sums):
            builder.store(zero, total)

        def add_term(index, totals):
            factor, row = _term(builder, pointers[1:], index, kind)
            for number, total in enumerate(totals):
                value = _load(builder, row, _place(arguments, number), kind)
                builder.store(_fused(builder, factor, value, builder.load(total)), total)

        first, last = arguments[5:7]
        whole = builder.sub(last, builder.srem(builder.sub(last, first), ir.Constant(first.type, ways)))
        with cgutils.for_range_slice(builder, first, whole, ir.Constant(first.type, ways), intp=first.type) as (
            begin,
            _,
        ):
            for way, totals in enumerate(sums):
                add_term(builder.add(begin, ir.Constant(first.type, way)), totals)
        with cgutils.for_range_slice(builder, whole, last, one, intp=first.type) as (index, _):
            add_term(index, sums[0])
        place = builder.gep(pointers[0], [arguments[1]])
        for number, parts in enumerate(zip(*sums, strict=True)):
            offset = _place(arguments, number)
            value = functools.reduce(builder.fadd, map(builder.load, parts))
            _store(builder, builder.fadd(_load(builder, place, offset, kind), value), place, offset)
        return context.get_dummy_value()

    return _signature(target, rows, starts, factors, vectors), generate


@intrinsic
def add_to_rows(typing_context, source, at, rows, starts, factors, first, last, vectors):
    """Add factors[k] · source[at :] to rows[starts[k] :], for k = first … last − 1."""

    def generate(context, builder, signature, arguments):
        kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), LANES)
        pointers = [_pointer(context, builder, signature, arguments, number) for number in (0, 2, 3, 4)]
        place = builder.gep(pointers[0], [arguments[1]])
        values = [_load(builder, place, _place(arguments, number), kind) for number in range(len(signature.args[7]))]
        one = ir.Constant(arguments[5].type, 1)
        with cgutils.for_range_slice(builder, *arguments[5:7], one, intp=one.type) as (index, _):
            factor, row = _term(builder, pointers[1:], index, kind)
            for number, value in enumerate(values):
                offset = _place(arguments, number)
                _store(builder, _fused(builder, factor, value, _load(builder, row, offset, kind)), row, offset)
        return context.get_dummy_value()

    return _signature(source, rows, starts, factors, vectors), generate


@intrinsic
def add_products(typing_context, target, place, factors, origin, rows, terms, sides, vectors):
    """Add to each of some stretches of target a sum over k = 0 … terms − 1 of a factor · row k.

    The stretches are as many as ``sides``, another tuple whose length counts. place: where the first starts in target,
    and how far apart they are. origin: the same of their factors; those of a stretch are neighbours. rows: one after
    the other, each as long as vectors.
    """

    def generate(context, builder, signature, arguments):
        kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), LANES)
        pointers = [_pointer(context, builder, signature, arguments, number) for number in (0, 2, 4)]
        count, size = len(signature.args[7]), arguments[5].type
        (at, step), (source, stride) = (cgutils.unpack_tuple(builder, arguments[number]) for number in (1, 3))
        sides = range(len(signature.args[6]))
        sums = [[cgutils.alloca_once(builder, kind) for _ in range(count)] for _ in sides]
        for total in chain(*sums):
            builder.store(ir.Constant(kind, [0.0] * LANES), total)
        begins = [builder.add(source, builder.mul(stride, ir.Constant(size, side))) for side in sides]
        with cgutils.for_range(builder, arguments[5]) as loop:
            row = builder.gep(pointers[2], [builder.mul(loop.index, ir.Constant(size, count * LANES))])
            values = [_load(builder, row, ir.Constant(size, number * LANES), kind) for number in range(count)]
            for begin, totals in zip(begins, sums, strict=True):
                factor = builder.load(builder.gep(pointers[1], [builder.add(begin, loop.index)]))
                for value, total in zip(values, totals, strict=True):
                    term = _fused(builder, _everywhere(builder, factor, kind), value, builder.load(total))
                    builder.store(term, total)
        for side, totals in enumerate(sums):
            begin = builder.gep(pointers[0], [builder.add(at, builder.mul(step, ir.Constant(size, side)))])
            for number, total in enumerate(totals):
                offset = ir.Constant(size, number * LANES)
                _store(builder, builder.fadd(_load(builder, begin, offset, kind), builder.load(total)), begin, offset)
        return context.get_dummy_value()

    pair = types.UniTuple(types.intp, 2)
    return types.void(target, pair, factors, pair, rows, types.intp, sides, vectors), generate


def _signature(values, rows, starts, factors, vectors):
    return types.void(values, types.intp, rows, starts, factors, types.intp, types.intp, vectors)


def _term(builder, pointers, index, kind):
    """Return a factor, in all places of a vector, and where its row starts."""
    rows, starts, factors = pointers
    factor = builder.load(builder.gep(factors, [index]))
    start = builder.sext(builder.load(builder.gep(starts, [index])), index.type)
    return _everywhere(builder, factor, kind), builder.gep(rows, [start])


def _everywhere(builder, value, kind):
    number, nothing = ir.IntType(32), ir.Constant(kind, ir.Undefined)
    lanes = ir.Constant(ir.VectorType(number, LANES), [0] * LANES)
    return builder.shuffle_vector(builder.insert_element(nothing, value, ir.Constant(number, 0)), nothing, lanes)


def _fused(builder, factor, value, total):
    return builder.fadd(builder.fmul(factor, value, flags=FUSED), total, flags=FUSED)


def _pointer(context, builder, signature, arguments, number):
    return context.make_array(signature.args[number])(context, builder, arguments[number]).data


def _place(arguments, number):
    """Return the offset of a vector, in the type of the second argument, which is an offset too."""
    return ir.Constant(arguments[1].type, number * LANES)


def _load(builder, pointer, offset, kind):
    return builder.load(builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer()), align=ALIGNMENT)


def _store(builder, value, pointer, offset):
    builder.store(value, builder.bitcast(builder.gep(pointer, [offset]), value.type.as_pointer()), align=ALIGNMENT)
