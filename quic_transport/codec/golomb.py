"""Order-0 Exp-Golomb codes of integers: short for small, defined for all.

A non-negative n is written as the binary digits of n + 1 after as many zeros as there are digits
behind the first:

    n          0    1    2      3      4      5      6      7        8
    codeword   1    010  011    00100  00101  00110  00111  0001000  0001001

Signed numbers are first folded onto the non-negative ones ("zig-zag"), small magnitudes first:

    d          0    -1   1      -2     2      -3     3
    n          0     1   2       3     4       5     6

The rule: a reader states the largest n that it accepts, so a codeword is bounded in length.
Reference: the paper, "Encoding and Decoding"; ITU-T H.264 clause 9.1 (where 1 comes before -1).
"""

from __future__ import annotations

from quic_transport.codec.bits import BitReader, BitWriter
from quic_transport.errors import CodecError


def fold(d: int) -> int:
    """Zig-zag: 0, -1, 1, -2, 2, … → 0, 1, 2, 3, 4, …"""
    return 2 * d if d >= 0 else -2 * d - 1


def unfold(n: int) -> int:
    """The inverse of `fold`, for n >= 0."""
    return -(n + 1 >> 1) if n & 1 else n >> 1


def code_length(n: int) -> int:
    """Bits of n's codeword: 1, 3, 3, 5, 5, 5, 5, 7, …"""
    return 2 * (n + 1).bit_length() - 1


def write_unsigned(writer: BitWriter, n: int) -> None:
    """Append the codeword of n >= 0; the leading zeros are those of a wide enough field."""
    writer.write(n + 1, code_length(n))


def read_unsigned(reader: BitReader, largest: int) -> int:
    """The next codeword's n, at most `largest`; anything else is a `CodecError`."""
    zeros = reader.count_zeros()
    if zeros >= (largest + 1).bit_length():
        raise CodecError(f"codeword with {zeros} leading zeros: a value above {largest}")
    n = reader.read(2 * zeros + 1) - 1
    if n > largest:
        raise CodecError(f"codeword of {n}: a value above {largest}")
    return n


def write_signed(writer: BitWriter, d: int) -> None:
    """Append the codeword of a signed d."""
    write_unsigned(writer, fold(d))


def read_signed(reader: BitReader, largest: int) -> int:
    """The next codeword's signed d, at most `largest` in magnitude."""
    return unfold(read_unsigned(reader, 2 * largest))
