"""Arithmetic coding in exact integers: a frame is one number between 0 and 1, cut off in bytes.

Every symbol narrows an interval that begins as [0, 1): with a total of 2**15, a symbol that owns
[start, start + share) of it keeps that part of the interval. The payload is the shortest string of
bytes that, read as the fraction 0.b1 b2 b3 ... to the base 256, lies in the last interval (the
smallest such fraction, at least one byte).

The rule: nothing is rounded, so nothing is lost but the last byte's rest: Python's integers hold
the few hundred bits of a parameter frame whole. A reader accepts only what a writer writes: every
payload has one meaning, and every meaning one payload. Reference: Rissanen & Langdon 1979.
"""

from __future__ import annotations

from quic_transport.errors import CodecError

TOTAL_BITS = 15
TOTAL = 1 << TOTAL_BITS
MAX_BYTES = 512
"""Of a payload; 52 numbers of the largest kind need fewer."""


class FractionWriter:
    """Narrows the interval; `to_bytes` names it."""

    __slots__ = ("_bits", "_low", "_width")

    def __init__(self) -> None:
        self._low, self._width = 0, 1  # of the interval, times 2 ** _bits
        self._bits = 0

    def write(self, start: int, share: int) -> None:
        """A symbol that owns [start, start + share) of TOTAL."""
        self._low = (self._low << TOTAL_BITS) + self._width * start
        self._width *= share
        self._bits += TOTAL_BITS

    def write_raw(self, value: int, bits: int) -> None:
        """`bits` bits that are all equally likely."""
        self._low = (self._low << bits) + self._width * value
        self._bits += bits

    @property
    def cost(self) -> int:
        """Bits so far, rounded up."""
        return self._bits - self._width.bit_length() + 1

    def to_bytes(self) -> bytes:
        """The shortest payload in the interval."""
        size = max(1, (self._bits - self._width.bit_length()) // 8)
        while True:
            left = self._bits - 8 * size
            if left <= 0:
                return (self._low << -left).to_bytes(size, "big")
            value = (self._low + (1 << left) - 1) >> left
            if value << left < self._low + self._width:
                return value.to_bytes(size, "big")
            size += 1


class FractionReader:
    """Follows a payload down the intervals; only `CodecError` on any bytes."""

    __slots__ = ("_above", "_data", "_mirror", "_width")

    def __init__(self, data: bytes) -> None:
        if not 0 < len(data) <= MAX_BYTES:
            raise CodecError(f"a frame has 1 to {MAX_BYTES} bytes, not {len(data)}")
        self._data = bytes(data)
        self._above = int.from_bytes(data, "big")  # the fraction above the interval's beginning
        self._width = 1 << 8 * len(data)  # of the interval, on the same scale
        self._mirror = FractionWriter()

    def peek(self) -> int:
        """Where in the interval the payload lies, 0 .. TOTAL - 1: who owns it is next."""
        self._above <<= TOTAL_BITS
        return self._above // self._width

    def take(self, start: int, share: int) -> None:
        """The owner that `peek` pointed at: must follow each `peek`."""
        self._above -= start * self._width
        self._width *= share
        self._mirror.write(start, share)

    def read_raw(self, bits: int) -> int:
        """What `write_raw` wrote."""
        self._above <<= bits
        value, self._above = divmod(self._above, self._width)
        self._mirror.write_raw(value, bits)
        return value

    def finish(self) -> None:
        """Check that the payload is the one that a writer makes of what was read."""
        if self._mirror.to_bytes() != self._data:
            raise CodecError("the frame is damaged: a coder would have written it otherwise")
