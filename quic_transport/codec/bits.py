"""Bits in bytes, most significant bit first: the alphabet of every entropy coder here.

The rule: a reader never invents a bit. Reading past the end, or finishing with anything but
less than one byte of zero padding, is a `CodecError`. Both classes keep their bits in one
Python integer, which is quick for the tens of bytes of a parameter frame and for nothing larger.
"""

from __future__ import annotations

from quic_transport.errors import CodecError


class BitWriter:
    """Collects bits; `to_bytes` pads the last byte with zeros."""

    __slots__ = ("_length", "_value")

    def __init__(self) -> None:
        self._value = 0
        self._length = 0

    def __len__(self) -> int:
        """Bits written so far, padding not counted."""
        return self._length

    def write(self, value: int, count: int) -> None:
        """Append the `count` low bits of `value`, which must fit: 0 <= value < 2 ** count."""
        assert 0 <= value < 1 << count, f"{value} does not fit into {count} bits"
        self._value = self._value << count | value
        self._length += count

    def to_bytes(self) -> bytes:
        """Everything written, padded with zero bits to whole bytes."""
        size = (self._length + 7) // 8
        return (self._value << 8 * size - self._length).to_bytes(size, "big")


class BitReader:
    """Takes bits off the front of `data`; only `CodecError` on any input."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")  # the bits not read yet
        self._left = 8 * len(data)

    def __len__(self) -> int:
        """Bits not read yet, padding included."""
        return self._left

    def read(self, count: int) -> int:
        """The next `count` bits as an unsigned number."""
        if count > self._left:
            raise CodecError(f"frame truncated: {count} more bits expected, {self._left} left")
        self._left -= count
        value = self._value >> self._left
        self._value &= (1 << self._left) - 1
        return value

    def count_zeros(self) -> int:
        """How many zeros come before the next one bit; nothing is consumed."""
        if self._value == 0:
            raise CodecError(f"frame truncated: a one bit expected in the {self._left} left")
        return self._left - self._value.bit_length()

    def finish(self) -> None:
        """Check that what is left is padding: fewer than eight bits, all zero."""
        if self._left >= 8:
            raise CodecError(f"frame too long: {self._left // 8} trailing bytes")
        if self._value:
            raise CodecError(f"frame padding must be zero bits, not {self._value:0{self._left}b}")
