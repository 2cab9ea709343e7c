"""The symbols of an `rc` frame: its step, then one residual after the other.

The rule: a symbol's shares depend on the tables and on what stands before it in the same frame,
never on another frame, so no loss can disturb them. A residual's shape follows from its usual size
(the tables), the step, and how lively the frame has been so far. Writer and reader go through the
same `Shapes`. docs/wire-format.md, "Profile rc", has every number.
"""

from __future__ import annotations

from bisect import bisect_right

from quic_transport.codec.fraction_coder import TOTAL, FractionReader, FractionWriter
from quic_transport.codec.rc_tables import (
    CLASSES,
    ESCAPE,
    MAX_COEFFICIENT,
    SHAPES,
    TOP,
    Tables,
)
from quic_transport.errors import CodecError

STEPS = (16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724)
"""The ladder: a residual's step in fine units, two per octave."""
USUAL_STEP = 4
STEP_SHARES = ((21845, 993), (30722, 186))
"""Of TOTAL, for keyframes and predicted frames: the step is the expected one (USUAL_STEP, the
reference's); each of the eleven others, in the order of the ladder."""
PER_STEP = 2  # shapes per rung of the ladder: four per octave
WIDEST = SHAPES - 1
MOST_SHIFT = 10  # shapes that liveliness moves, either way
PATIENCE = 256  # in 1/64: how much must have been expected before liveliness speaks
LIVELINESS = (
    49, 59, 70, 83, 99, 117, 140, 166, 197, 235,
    279, 332, 395, 470, 558, 664, 790, 939, 1117, 1328,
)  # fmt: skip
"""round(256 · 2 ** ((j - 9.5) / 4)): above the j-th, one more shape up."""
MOST_SEEN = 64 * 64  # in 1/64: what one number may add to a frame's liveliness
ESCAPE_BITS = 22


def is_wide(scale: int) -> int:
    """How many low bits of a residual with this shape index are written plainly."""
    return 0 if scale <= WIDEST else (scale - WIDEST + 3) // 4


class Shapes:
    """Which shape the next residual has; told each residual afterwards."""

    def __init__(self, tables: Tables, kind: int, step: int) -> None:
        assert 0 <= kind < CLASSES
        self._base = [max(0, s - PER_STEP * step) for s in tables.scale[kind].tolist()]
        self._expected = tables.expected
        self._seen = 0
        self._due = 0
        self._at = 0

    def next(self) -> tuple[int, int]:
        """(shape, low bits) of the next residual."""
        ratio = (self._seen + PATIENCE << 8) // (self._due + PATIENCE)
        index = max(0, self._base[self._at] + bisect_right(LIVELINESS, ratio) - MOST_SHIFT)
        low = is_wide(index)
        return index - 4 * low, low

    def note(self, residual: int) -> None:
        """The next residual was this."""
        base = self._base[self._at]
        low = is_wide(base)
        expected = self._expected[base - 4 * low] << low
        self._seen += min(64 * abs(residual), MOST_SEEN, 8 * expected + 64)
        self._due += min(expected, MOST_SEEN)
        self._at += 1


def write_step(writer: FractionWriter, step: int, before: int | None) -> None:
    """The rung of the ladder; `before`: the reference's, None in a keyframe."""
    usual = USUAL_STEP if before is None else before
    same, other = STEP_SHARES[before is not None]
    if step == usual:
        writer.write(0, same)
    else:
        writer.write(same + other * (step - (step > usual)), other)


def read_step(reader: FractionReader, before: int | None) -> int:
    """What `write_step` wrote."""
    usual = USUAL_STEP if before is None else before
    same, other = STEP_SHARES[before is not None]
    at = reader.peek()
    if at < same:
        reader.take(0, same)
        return usual
    rung = (at - same) // other
    reader.take(same + other * rung, other)
    return rung + (rung >= usual)


def split(residual: int, low: int) -> tuple[int, int]:
    """(what has a symbol, the plain low bits) of a residual."""
    if low == 0:
        return residual, 0
    shifted = residual + (1 << low - 1)
    return shifted >> low, shifted & (1 << low) - 1


def write_residual(writer: FractionWriter, tables: Tables, shapes: Shapes, residual: int) -> None:
    """One residual; its magnitude must be below 2 ** ESCAPE_BITS."""
    shape, low = shapes.next()
    high, rest = split(residual, low)
    size = abs(high)
    starts = tables.starts[shape]
    symbol = ESCAPE if size > TOP else 2 * size - (high < 0)
    writer.write(starts[symbol], starts[symbol + 1] - starts[symbol])
    if symbol == ESCAPE:
        beyond = size - TOP  # at least 1: its length in five bits, then its digits after the first
        writer.write_raw(high < 0, 1)
        writer.write_raw(beyond.bit_length() - 1, 5)
        writer.write_raw(beyond - (1 << beyond.bit_length() - 1), beyond.bit_length() - 1)
    if low:
        writer.write_raw(rest, low)
    shapes.note(residual)


def read_residual(reader: FractionReader, tables: Tables, shapes: Shapes) -> int:
    """What `write_residual` wrote."""
    shape, low = shapes.next()
    starts = tables.starts[shape]
    symbol = bisect_right(starts, reader.peek()) - 1
    reader.take(starts[symbol], starts[symbol + 1] - starts[symbol])
    if symbol == ESCAPE:
        negative, length = reader.read_raw(1), reader.read_raw(5)
        if length >= ESCAPE_BITS:
            raise CodecError("a residual has too many digits")
        size = TOP + (1 << length) + reader.read_raw(length)
    else:
        negative, size = symbol & 1, (symbol + 1) // 2
    high = -size if negative else size
    residual = (high << low) + reader.read_raw(low) - (1 << low - 1) if low else high
    if abs(residual) >= 2 * MAX_COEFFICIENT:
        raise CodecError("a residual is out of range")
    shapes.note(residual)
    return residual


assert all(same + (len(STEPS) - 1) * other == TOTAL for same, other in STEP_SHARES)
