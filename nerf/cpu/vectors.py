"""Four and sixteen numbers at a time: the inner loops of look-up and networks as LLVM vectors.

The rule: only what the compiler does not find by itself is spelled out here, each piece a few lines
of vector code that numba pastes into a kernel. Vector widths are LLVM's business: a processor with
narrower registers uses several. Measured against plain loops in numba: look-up 2.4 times as fast,
networks 7 times, which is torch's speed without its calls (50 a chunk, each taking Python's lock).
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _host_lanes() -> int:
    try:
        return 16 if binding.get_host_cpu_features().get("avx512f", False) else 8
    except RuntimeError:  # a processor that LLVM does not know
        return 8


LANES = _host_lanes()
"""Floats per vector of a product."""
ROWS = 8 if LANES == 16 else 4
"""Samples that pass a matrix together: with two vectors each they fill the registers."""
COLUMNS = 2 * LANES
"""Outputs that are computed together; matrices are padded to a multiple of it."""

_INT, _LONG = ir.IntType(32), ir.IntType(64)
_FLOAT = ir.FloatType()
_FOUR, _WIDE = ir.VectorType(_FLOAT, 4), ir.VectorType(_FLOAT, LANES)
_FAST = ("fast",)


def vector_code(function: Any) -> Any:
    """What `function` returns, a signature and a generator of LLVM code, as a call in kernels."""
    return intrinsic(function)


def _splat(builder: ir.IRBuilder, scalar: Any, vector: Any) -> Any:
    nothing = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(nothing, scalar, ir.Constant(_INT, 0))
    places = ir.Constant(ir.VectorType(_INT, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, nothing, places)


def _load(builder: ir.IRBuilder, address: Any, kind: Any, align: int = 4) -> Any:
    loaded = builder.load(builder.inttoptr(address, kind.as_pointer()))
    loaded.align = align
    return loaded


def _store(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 4


def _multiply_add(builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(builder.fmul(a, b, flags=_FAST), c, flags=_FAST)


def _entry(builder: ir.IRBuilder, first: Any, index: Any) -> Any:
    """A table's entry, aligned to its 16 bytes."""
    loaded = builder.load(builder.gep(first, [index]))
    loaded.align = 16
    return loaded


def _sum(builder: ir.IRBuilder, four: Any) -> Any:
    """Of the lanes."""
    for order in ([2, 3, 0, 1], [1, 0, 3, 2]):
        places = ir.Constant(ir.VectorType(_INT, 4), order)
        turned = builder.shuffle_vector(four, ir.Constant(_FOUR, ir.Undefined), places)
        four = builder.fadd(four, turned, flags=_FAST)
    return builder.extract_element(four, ir.Constant(_INT, 0))


@vector_code
def float_of_bits(_typing, bits):  # type: ignore[no-untyped-def]
    """The float32 whose bits are those of an int32."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], _FLOAT)

    return types.float32(types.int32), generate


@vector_code
def trilinear(_typing, table, i0, i1, i2, i3, i4, i5, i6, i7, fx, fy, fz, out):  # type: ignore[no-untyped-def]
    """Blend the entries i0 … i7 (x fastest) of the float32 [E, 4] at address `table`, aligned to
    16 bytes, by the fractions; store four float32 at address `out`."""

    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        first = builder.inttoptr(arguments[0], _FOUR.as_pointer())
        corners = [_entry(builder, first, index) for index in arguments[1:9]]
        for fraction in arguments[9:12]:
            share = _splat(builder, fraction, _FOUR)
            corners = [
                _multiply_add(builder, builder.fsub(b, a, flags=_FAST), share, a)
                for a, b in zip(corners[::2], corners[1::2], strict=True)
            ]
        _store(builder, corners[0], arguments[12])
        return context.get_dummy_value()

    return types.void(
        types.uint64, *[types.uint64] * 8, *[types.float32] * 3, types.uint64
    ), generate


@vector_code
def trilinear_slope(_typing, table, i0, i1, i2, i3, i4, i5, i6, i7, fx, fy, fz, down, scale, out):  # type: ignore[no-untyped-def]
    """Add to the four float32 at address `out` the derivative by x, y and z (and nothing) of what
    `trilinear` blends, times the four at address `down`, summed, times `scale`."""

    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        first = builder.inttoptr(arguments[0], _FOUR.as_pointer())
        corners = [_entry(builder, first, index) for index in arguments[1:9]]
        fx, fy, fz = (_splat(builder, fraction, _FOUR) for fraction in arguments[9:12])

        def less(a: Any, b: Any) -> Any:
            return builder.fsub(b, a, flags=_FAST)

        def between(a: Any, b: Any, share: Any) -> Any:
            return _multiply_add(builder, less(a, b), share, a)

        pairs = list(zip(corners[::2], corners[1::2], strict=True))
        s00, s10, s01, s11 = (less(a, b) for a, b in pairs)
        v00, v10, v01, v11 = (between(a, b, fx) for a, b in pairs)
        dx = between(between(s00, s10, fy), between(s01, s11, fy), fz)
        dy = between(less(v00, v10), less(v01, v11), fz)
        dz = less(between(v00, v10, fy), between(v01, v11, fy))
        weight = builder.fmul(_load(builder, arguments[12], _FOUR),
                              _splat(builder, arguments[13], _FOUR), flags=_FAST)  # fmt: skip
        total = _load(builder, arguments[14], _FOUR)
        for lane, slope in enumerate((dx, dy, dz)):
            summed = _sum(builder, builder.fmul(slope, weight, flags=_FAST))
            place = ir.Constant(_INT, lane)
            before = builder.extract_element(total, place)
            total = builder.insert_element(total, builder.fadd(before, summed), place)
        _store(builder, total, arguments[14])
        return context.get_dummy_value()

    return types.void(
        types.uint64, *[types.uint64] * 8, *[types.float32] * 3, types.uint64, types.float32,
        types.uint64,
    ), generate  # fmt: skip


@vector_code
def trilinear_spread(_typing, table, i0, i1, i2, i3, i4, i5, i6, i7, fx, fy, fz, down):  # type: ignore[no-untyped-def]
    """Add the four float32 at address `down` to the entries i0 … i7 of `table`, as `trilinear`
    weighs them."""

    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        first = builder.inttoptr(arguments[0], _FOUR.as_pointer())
        one = ir.Constant(_FLOAT, 1.0)
        shares = [_load(builder, arguments[12], _FOUR)]
        for fraction in reversed(arguments[9:12]):  # z, y, x: x varies fastest in the end
            rest = builder.fsub(one, fraction, flags=_FAST)
            both = [_splat(builder, f, _FOUR) for f in (rest, fraction)]
            shares = [builder.fmul(s, f, flags=_FAST) for s in shares for f in both]
        for index, share in zip(arguments[1:9], shares, strict=True):
            place = builder.gep(first, [index])
            loaded = builder.load(place)
            loaded.align = 16
            builder.store(builder.fadd(loaded, share, flags=_FAST), place).align = 16
        return context.get_dummy_value()

    return types.void(
        types.uint64, *[types.uint64] * 8, *[types.float32] * 3, types.uint64
    ), generate


@vector_code
def multiply_block(_typing, x, x_pitch, inputs, weights, w_pitch, y, y_pitch):  # type: ignore[no-untyped-def]
    """y = max(x · weights, 0) for ROWS rows and COLUMNS columns.

    `x` float32 [ROWS, inputs], `weights` [inputs, COLUMNS] and `y` [ROWS, COLUMNS] by address and
    pitch (bytes from row to row).
    """

    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        x, x_pitch, inputs, weights, w_pitch, y, y_pitch = arguments
        zero = ir.Constant(_WIDE, [0.0] * LANES)
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(2)] for _ in range(ROWS)]
        for row in sums:  # alloca_once sets them on the first pass only
            for place in row:
                builder.store(zero, place)
        with cgutils.for_range(builder, inputs) as loop:
            at = builder.add(weights, builder.mul(loop.index, w_pitch))
            columns = [
                _load(builder, builder.add(at, ir.Constant(_LONG, 4 * LANES * v)), _WIDE)
                for v in range(2)
            ]
            across = builder.add(x, builder.shl(loop.index, ir.Constant(_LONG, 2)))
            for row in sums:
                value = _splat(builder, _load(builder, across, _FLOAT), _WIDE)
                for place, column in zip(row, columns, strict=True):
                    builder.store(_multiply_add(builder, value, column, builder.load(place)), place)
                across = builder.add(across, x_pitch)
        for row in sums:
            for v, place in enumerate(row):
                total = builder.load(place)
                positive = builder.fcmp_ordered(">", total, zero)
                kept = builder.select(positive, total, zero)
                _store(builder, kept, builder.add(y, ir.Constant(_LONG, 4 * LANES * v)))
            y = builder.add(y, y_pitch)
        return context.get_dummy_value()

    return types.void(*[types.uint64] * 7), generate


@vector_code
def multiply_four(_typing, x, x_pitch, inputs, weights, y):  # type: ignore[no-untyped-def]
    """y += x · weights for ROWS rows and four columns.

    `x` float32 [ROWS, inputs] by address and pitch; `weights` [inputs, 4] and `y` [ROWS, 4] by
    address, contiguous.
    """

    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        x, x_pitch, inputs, weights, y = arguments
        places = [builder.add(y, ir.Constant(_LONG, 16 * r)) for r in range(ROWS)]
        sums = [cgutils.alloca_once(builder, _FOUR) for _ in range(ROWS)]
        for total, place in zip(sums, places, strict=True):
            builder.store(_load(builder, place, _FOUR), total)
        with cgutils.for_range(builder, inputs) as loop:
            step = builder.shl(loop.index, ir.Constant(_LONG, 4))
            columns = _load(builder, builder.add(weights, step), _FOUR)
            across = builder.add(x, builder.shl(loop.index, ir.Constant(_LONG, 2)))
            for total in sums:
                value = _splat(builder, _load(builder, across, _FLOAT), _FOUR)
                builder.store(_multiply_add(builder, value, columns, builder.load(total)), total)
                across = builder.add(across, x_pitch)
        for total, place in zip(sums, places, strict=True):
            _store(builder, builder.load(total), place)
        return context.get_dummy_value()

    return types.void(*[types.uint64] * 5), generate
