"""The exact arithmetic coder: what goes in comes out, in the fewest bytes, no other way."""

from __future__ import annotations

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.codec.fraction_coder import MAX_BYTES, TOTAL, FractionReader, FractionWriter
from quic_transport.errors import CodecError

SHARES = st.integers(1, TOTAL).flatmap(lambda s: st.tuples(st.integers(0, TOTAL - s), st.just(s)))
RAW = st.integers(0, 24).flatmap(lambda b: st.tuples(st.integers(0, (1 << b) - 1), st.just(b)))
SYMBOLS = st.lists(st.tuples(st.booleans(), SHARES, RAW), max_size=60)


def written(symbols: list[tuple[bool, tuple[int, int], tuple[int, int]]]) -> FractionWriter:
    writer = FractionWriter()
    for plain, (start, share), (value, bits) in symbols:
        if plain:
            writer.write_raw(value, bits)
        else:
            writer.write(start, share)
    return writer


@given(SYMBOLS)
def test_everything_written_is_read(
    symbols: list[tuple[bool, tuple[int, int], tuple[int, int]]],
) -> None:
    writer = written(symbols)
    reader = FractionReader(writer.to_bytes())
    for plain, (start, share), (value, bits) in symbols:
        if plain:
            assert reader.read_raw(bits) == value
        else:
            assert start <= reader.peek() < start + share
            reader.take(start, share)
    reader.finish()


@given(SYMBOLS)
def test_payload_is_within_a_byte_of_the_information(
    symbols: list[tuple[bool, tuple[int, int], tuple[int, int]]],
) -> None:
    writer = written(symbols)
    bits = sum(raw[1] if plain else log2(TOTAL / owned[1]) for plain, owned, raw in symbols)
    assert bits - 1e-6 <= writer.cost + 1
    assert len(writer.to_bytes()) <= max(1, bits / 8 + 1 + 1e-6)


def test_most_likely_symbols_cost_nothing_but_the_one_byte_that_there_is() -> None:
    writer = FractionWriter()
    for _ in range(50):
        writer.write(0, TOTAL - 1)
    assert writer.to_bytes() == b"\0"


@pytest.mark.parametrize("data", [b"", bytes(MAX_BYTES + 1)])
def test_no_bytes_and_too_many_raise_codec_error(data: bytes) -> None:
    with pytest.raises(CodecError, match="1 to"):
        FractionReader(data)


def test_a_second_spelling_is_refused() -> None:
    writer = FractionWriter()
    writer.write(0, TOTAL // 2)
    assert writer.to_bytes() == b"\0"
    for spelling in (b"\1", b"\0\0", b"\x7f\xff"):
        reader = FractionReader(spelling)
        assert reader.peek() < TOTAL // 2
        reader.take(0, TOTAL // 2)
        with pytest.raises(CodecError, match="damaged"):
            reader.finish()
