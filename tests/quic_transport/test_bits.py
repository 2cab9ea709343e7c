"""Bits in bytes: order, padding, and what a reader refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.codec.bits import BitReader, BitWriter
from quic_transport.errors import CodecError


@st.composite
def fields(draw: st.DrawFn) -> list[tuple[int, int]]:
    """(value, count) pairs that fit."""
    counts = draw(st.lists(st.integers(0, 40), max_size=30))
    return [(draw(st.integers(0, (1 << count) - 1)), count) for count in counts]


def test_writer_puts_most_significant_bit_first_and_pads_with_zeros() -> None:
    writer = BitWriter()
    writer.write(0b1, 1)
    writer.write(0b010, 3)
    writer.write(0b00110, 5)
    assert len(writer) == 9
    assert writer.to_bytes() == bytes([0b10100011, 0b0_0000000])


def test_writer_empty_gives_no_bytes() -> None:
    assert BitWriter().to_bytes() == b""


@pytest.mark.parametrize(("value", "count"), [(2, 1), (-1, 4), (1, 0), (256, 8)])
def test_writer_value_that_does_not_fit_is_refused(value: int, count: int) -> None:
    with pytest.raises(AssertionError, match="does not fit"):
        BitWriter().write(value, count)


@given(fields())
def test_reader_returns_what_was_written(items: list[tuple[int, int]]) -> None:
    writer = BitWriter()
    for value, count in items:
        writer.write(value, count)
    assert len(writer) == sum(count for _, count in items)
    data = writer.to_bytes()
    assert len(data) == (len(writer) + 7) // 8
    reader = BitReader(data)
    assert [reader.read(count) for _, count in items] == [value for value, _ in items]
    reader.finish()


@given(st.binary(max_size=12), st.integers(0, 120))
def test_reader_past_the_end_raises_codec_error(data: bytes, count: int) -> None:
    reader = BitReader(data)
    if count <= 8 * len(data):
        reader.read(count)
        assert len(reader) == 8 * len(data) - count
    else:
        with pytest.raises(CodecError, match="truncated"):
            reader.read(count)


@pytest.mark.parametrize(
    ("data", "skip", "zeros"),
    [(b"\x80", 0, 0), (b"\x01", 0, 7), (b"\x00\x10", 0, 11), (b"\x90", 1, 2)],
)
def test_count_zeros_stops_at_the_first_one(data: bytes, skip: int, zeros: int) -> None:
    reader = BitReader(data)
    reader.read(skip)
    assert reader.count_zeros() == zeros
    assert len(reader) == 8 * len(data) - skip


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00" * 9])
def test_count_zeros_without_a_one_raises_codec_error(data: bytes) -> None:
    with pytest.raises(CodecError, match="truncated"):
        BitReader(data).count_zeros()


@pytest.mark.parametrize(
    ("data", "read", "message"),
    [(b"\xff\x00", 8, "trailing"), (b"\xff\x01", 9, "padding"), (b"\xa0", 1, "padding")],
)
def test_finish_refuses_a_whole_byte_or_a_one(data: bytes, read: int, message: str) -> None:
    reader = BitReader(data)
    reader.read(read)
    with pytest.raises(CodecError, match=message):
        reader.finish()
