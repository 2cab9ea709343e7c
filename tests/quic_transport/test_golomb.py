"""Exp-Golomb: the vectors of the definition, round trips, and hostile bits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.codec.bits import BitReader, BitWriter
from quic_transport.codec.golomb import (
    code_length,
    fold,
    read_signed,
    read_unsigned,
    unfold,
    write_signed,
    write_unsigned,
)
from quic_transport.errors import CodecError

UNSIGNED = [
    (0, "1"), (1, "010"), (2, "011"), (3, "00100"), (4, "00101"), (5, "00110"), (6, "00111"),
    (7, "0001000"), (509, "00000000111111110"), (510, "00000000111111111"),
    (511, "0000000001000000000"),
]  # fmt: skip
SIGNED = [
    (0, "1"), (-1, "010"), (1, "011"), (-2, "00100"), (2, "00101"), (-3, "00110"), (3, "00111"),
    (-255, "00000000111111110"), (255, "00000000111111111"),
]  # fmt: skip


def bits_of(data: bytes, count: int) -> str:
    return "".join(f"{byte:08b}" for byte in data)[:count]


def reader_of(bits: str) -> BitReader:
    return BitReader(bytes(int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8)))


@pytest.mark.parametrize(("n", "bits"), UNSIGNED)
def test_unsigned_codeword_is_the_defined_one_both_ways(n: int, bits: str) -> None:
    writer = BitWriter()
    write_unsigned(writer, n)
    assert bits_of(writer.to_bytes(), len(writer)) == bits
    assert len(writer) == code_length(n)
    assert read_unsigned(reader_of(bits), n) == n


@pytest.mark.parametrize(("d", "bits"), SIGNED)
def test_signed_codeword_is_the_defined_one_both_ways(d: int, bits: str) -> None:
    writer = BitWriter()
    write_signed(writer, d)
    assert bits_of(writer.to_bytes(), len(writer)) == bits
    assert read_signed(reader_of(bits), 255) == d


@given(st.integers(-(10**9), 10**9))
def test_unfold_inverts_fold_and_small_magnitudes_stay_small(d: int) -> None:
    assert unfold(fold(d)) == d
    assert 2 * abs(d) - 1 <= fold(d) <= 2 * abs(d)


@given(st.lists(st.integers(-255, 255), max_size=60))
def test_reader_returns_the_numbers_and_the_length_is_the_sum(numbers: list[int]) -> None:
    writer = BitWriter()
    for number in numbers:
        write_signed(writer, number)
    assert len(writer) == sum(code_length(fold(number)) for number in numbers)
    reader = BitReader(writer.to_bytes())
    assert [read_signed(reader, 255) for _ in numbers] == numbers
    reader.finish()


def test_no_codeword_is_the_beginning_of_another() -> None:
    words = []
    for n in range(1024):
        writer = BitWriter()
        write_unsigned(writer, n)
        words.append(bits_of(writer.to_bytes(), len(writer)))
    words.sort()  # a prefix sorts directly before a word that it begins
    assert all(not after.startswith(word) for word, after in pairwise(words))


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00" * 40, b"\x01", b"\x02", b"\x00\x80"])
def test_codeword_cut_off_raises_codec_error(data: bytes) -> None:
    with pytest.raises(CodecError, match=r"truncated|above"):
        read_unsigned(BitReader(data), 510)


@pytest.mark.parametrize(("n", "largest"), [(1, 0), (3, 2), (511, 510), (510, 509), (10**6, 510)])
def test_value_above_the_limit_raises_codec_error(n: int, largest: int) -> None:
    writer = BitWriter()
    write_unsigned(writer, n)
    with pytest.raises(CodecError, match="above"):
        read_unsigned(BitReader(writer.to_bytes()), largest)


@given(st.binary(max_size=64), st.integers(0, 1000))
def test_arbitrary_bytes_give_values_in_range_or_codec_error(data: bytes, largest: int) -> None:
    reader = BitReader(data)
    while True:
        before = len(reader)
        try:
            assert 0 <= read_unsigned(reader, largest) <= largest
        except CodecError:
            break
        assert len(reader) < before
