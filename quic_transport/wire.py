"""Bytes and numbers: the primitives that every message and frame header is made of.

The rule: whatever bytes are fed in, a reader either returns values, asks for more, or raises
WireError; it never allocates more than the stated limits. Reference: docs/wire-format.md
("Messages"); varints are little-endian base 128 (LEB128), at most 64 bits.
"""

from __future__ import annotations

import struct

from quic_transport.errors import LocalError, WireError

VERSION = 3
"""The protocol version in the first message. A peer with another version is refused."""

ALPN = "facewire/1"
"""The application protocol that the TLS handshake negotiates. It says how the first message begins
(version, token), which never changes: so two versions meet there, and can say so."""

MAX_VARINT_BYTES = 10
MAX_U64 = 2**64 - 1


def encode_varint(value: int) -> bytes:
    """`value` in [0, 2^64) as LEB128: seven bits per byte, low bits first."""
    if not 0 <= value <= MAX_U64:
        raise LocalError(f"a varint holds 0 to 2^64 - 1, not {value}")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def peek_varint(data: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """The varint at `start` and the position after it; None where it is not yet complete."""
    value = 0
    for i in range(MAX_VARINT_BYTES):
        if start + i >= len(data):
            return None
        byte = data[start + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if byte == 0 and i > 0:
                raise WireError("a number is written with needless zero bytes")
            if value > MAX_U64:
                raise WireError("a number exceeds 64 bits")
            return value, start + i + 1
    raise WireError("a number exceeds 64 bits")


def zigzag(value: int) -> int:
    """Signed to unsigned so that small magnitudes stay small: 0, -1, 1, -2 -> 0, 1, 2, 3."""
    return value * 2 if value >= 0 else -value * 2 - 1


def unzigzag(value: int) -> int:
    """The inverse of `zigzag`."""
    return value >> 1 if value & 1 == 0 else -(value >> 1) - 1


class Writer:
    """Appends fields to a message body."""

    def __init__(self) -> None:
        self._out = bytearray()

    def u8(self, value: int) -> None:
        self._out.append(value)

    def varint(self, value: int) -> None:
        self._out += encode_varint(value)

    def f32(self, value: float) -> None:
        self._out += struct.pack("<f", value)

    def f64(self, value: float) -> None:
        self._out += struct.pack("<d", value)

    def fixed(self, value: bytes) -> None:
        self._out += value

    def blob(self, value: bytes) -> None:
        """Length as varint, then the bytes."""
        self.varint(len(value))
        self._out += value

    def text(self, value: str) -> None:
        """UTF-8 with its length in bytes before it."""
        self.blob(value.encode("utf-8"))

    def data(self) -> bytes:
        return bytes(self._out)


class Reader:
    """Takes fields from a complete message body; WireError where it does not hold them."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    def fixed(self, size: int) -> bytes:
        if len(self._data) - self._at < size:
            raise WireError(f"{self._what} is truncated")
        self._at += size
        return self._data[self._at - size : self._at]

    def u8(self) -> int:
        return self.fixed(1)[0]

    def varint(self) -> int:
        got = peek_varint(self._data, self._at)
        if got is None:
            raise WireError(f"{self._what} is truncated")
        value, self._at = got
        return value

    def f32(self) -> float:
        return float(struct.unpack("<f", self.fixed(4))[0])

    def f64(self) -> float:
        return float(struct.unpack("<d", self.fixed(8))[0])

    def blob(self, limit: int) -> bytes:
        size = self.varint()
        if size > limit:
            raise WireError(f"{self._what} has a field of {size} bytes; the limit is {limit}")
        return self.fixed(size)

    def text(self, limit: int) -> str:
        """UTF-8 of at most `limit` bytes, printable: control characters never reach a terminal."""
        try:
            value = self.blob(limit).decode("utf-8")
        except UnicodeDecodeError:
            raise WireError(f"{self._what} has a text that is not UTF-8") from None
        if not value.isprintable():
            raise WireError(f"{self._what} has a text with control characters")
        return value

    def end(self) -> None:
        """WireError unless everything was read."""
        if self._at != len(self._data):
            raise WireError(f"{self._what} has {len(self._data) - self._at} bytes too many")
