# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Vector instructions for the kernels of the CPU: what numba's own loops do not become on short runs of values.

A vector has LANES values, which LLVM maps to what the processor has (one register of AVX-512, two of AVX2, four of
NEON). Each function is one of numba's intrinsics: it writes LLVM's instructions in place, and is called in compiled
code only. Arrays are contiguous, of one dimension and of one float type. Nothing is checked.

``vectors`` is a tuple whose length, known when a kernel is compiled, says how many vectors to hold in registers.
"""

from __future__ import annotations

from contextlib import contextmanager

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
BITS = 64
"""So many values are looked at by nonzero_bits."""

ALIGNMENT = 4
"""Bytes; vectors may start at any value."""

FUSED = ("contract",)
"""A product and its sum may be rounded once; what they make are currents and gradients, never potentials."""


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
        zero = ir.Constant(kind, [0.0] * LANES)
        # Sums are kept apart from the target, so that neighbouring calls, whose targets overlap, need not wait.
        sums = [cgutils.alloca_once(builder, kind) for _ in range(len(signature.args[7]))]
        for total in sums:
            builder.store(zero, total)
        with _terms(builder, pointers[1:], arguments[5:7], kind) as (factor, row):
            for number, total in enumerate(sums):
                value = _load(builder, row, _place(arguments, number), kind)
                builder.store(_fused(builder, factor, value, builder.load(total)), total)
        place = builder.gep(pointers[0], [arguments[1]])
        for number, total in enumerate(sums):
            offset = _place(arguments, number)
            _store(builder, builder.fadd(_load(builder, place, offset, kind), builder.load(total)), place, offset)
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
        with _terms(builder, pointers[1:], arguments[5:7], kind) as (factor, row):
            for number, value in enumerate(values):
                offset = _place(arguments, number)
                _store(builder, _fused(builder, factor, value, _load(builder, row, offset, kind)), row, offset)
        return context.get_dummy_value()

    return _signature(source, rows, starts, factors, vectors), generate


def _signature(values, rows, starts, factors, vectors):
    return types.void(values, types.intp, rows, starts, factors, types.intp, types.intp, vectors)


@contextmanager
def _terms(builder, pointers, bounds, kind):
    """Loop over first … last − 1; give the factor, in all places of a vector, and where its row starts."""
    rows, starts, factors = pointers
    first, last = bounds
    one = ir.Constant(first.type, 1)
    with cgutils.for_range_slice(builder, first, last, one, intp=first.type) as (index, _):
        factor = builder.load(builder.gep(factors, [index]))
        start = builder.sext(builder.load(builder.gep(starts, [index])), first.type)
        yield _everywhere(builder, factor, kind), builder.gep(rows, [start])


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
