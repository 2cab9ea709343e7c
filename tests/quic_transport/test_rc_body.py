"""The body in profile rc: ends agree, silence is nearly free, one spelling only, golden stream."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.codec import PROFILES, EncodedFrame, RcDecoder, RcEncoder, Terms
from quic_transport.codec.body import (
    HOLD,
    LARGEST,
    REST,
    SAME,
    SPREAD,
    STARTS,
    TOP_BODY,
    read_body,
    settled,
    shares,
    write_body,
)
from quic_transport.codec.fraction_coder import TOTAL, FractionReader, FractionWriter
from quic_transport.codec.rc_tables import CLASSES, to_sections
from quic_transport.errors import CodecError, LocalError
from quic_transport.params import BODY_DIM, FaceParams, ParamBounds
from tests.quic_transport.rc_golden import BODY_STREAM, golden_tables, placed, stream
from tests.quic_transport.strategies import synthetic_track

T = golden_tables()
TRACK = [placed(params, i) for i, params in enumerate(synthetic_track(7, 40))]
BOUNDS = ParamBounds.of(np.stack([p.vector() for p in TRACK]))
bodies = st.tuples(*[st.integers(-TOP_BODY, TOP_BODY)] * BODY_DIM)
near = st.tuples(*[st.integers(-LARGEST - 2, LARGEST + 2)] * BODY_DIM)


def on(params: FaceParams, *body: float) -> FaceParams:
    return replace(params, body=np.array(body, np.float32))


def ends() -> tuple[Any, Any]:
    profile = PROFILES["rc+offset+body"]
    terms = Terms(BOUNDS, to_sections(T))
    return profile.encoder(terms, gop=0), profile.decoder(terms)


def test_golden_stream_with_bodies_is_still_made_and_read() -> None:
    assert stream(T, body=True) == json.loads(BODY_STREAM.read_text(encoding="utf-8"))


@given(st.lists(st.one_of(st.none(), bodies, near), min_size=2, max_size=12), st.data())
def test_decoder_gets_what_the_encoder_says_it_gets(
    track: list[tuple[int, ...] | None], data: st.DataObject
) -> None:
    encoder, decoder = ends()
    for i, body in enumerate(track):
        params = TRACK[i] if body is None else on(TRACK[i], *body)
        reference: Any = data.draw(st.sampled_from(["last", None, max(0, i - 3)]))
        face = decoder.decode(encoder.encode(params, reference=reference))
        assert face.body is not None
        assert np.array_equal(face.body, encoder.last_decoded.body)
        assert np.array_equal(face.vector(), encoder.last_decoded.vector())
        assert np.abs(face.body - (np.zeros(4) if body is None else body)).max() <= HOLD


def test_other_profiles_are_not_touched_by_a_body() -> None:
    for name in set(PROFILES) - {"rc+offset+body"}:
        terms = Terms(BOUNDS, to_sections(T))
        plain, other = (PROFILES[name].encoder(terms, gop=0) for _ in range(2))
        for params in TRACK[:6]:
            assert plain.encode(params).payload == other.encode(on(params, 5, -7, 2, 90)).payload
            assert other.last_decoded is not None
            assert other.last_decoded.body is None


def test_body_that_stands_as_expected_costs_a_bit_a_frame() -> None:
    with_body, without = RcEncoder(T, offset=True, body=True), RcEncoder(T, offset=True)
    more = []
    for params in TRACK:
        with_body.encode(on(params, 0.3, -0.5, 0.7, 0.0))
        without.encode(params)
        more.append(with_body.coded_bits - without.coded_bits)
    assert np.mean(more[1:]) < 1.2
    assert more[0] < 4


@given(st.lists(st.floats(-200, 200), min_size=4, max_size=4), bodies)
def test_numbers_move_only_where_they_are_off(wanted: list[float], last: tuple[int, ...]) -> None:
    limited = np.clip(wanted, -TOP_BODY, TOP_BODY).tolist()
    for x, before, now in zip(limited, last, settled(limited, last), strict=True):
        assert abs(x - now) <= (HOLD if now == before else 0.5)


def test_lost_frames_leave_no_trace_where_references_are_confirmed() -> None:
    encoder, decoder = ends()
    decoder.decode(encoder.encode(on(TRACK[0], 3, 0, 0, 0)))
    for i in range(1, 12):
        params = on(TRACK[i], 3 + i, -i, 0.2 * i, 0)
        frame = encoder.encode(params, reference=0)
        if i % 3 == 0:
            assert np.array_equal(decoder.decode(frame).body, encoder.last_decoded.body)


def test_moving_body_is_not_still_and_a_resting_one_is() -> None:
    encoder, _ = ends()
    encoder.encode(on(TRACK[0], 4, 0, 0, 0))
    same = encoder.last_decoded
    assert same is not None
    assert encoder.is_still(on(same, 4.6, 0, 0, 0))
    assert not encoder.is_still(on(same, 5, 0, 0, 0))
    plain = RcEncoder(T, offset=True)
    plain.encode(TRACK[0])
    assert plain.last_decoded is not None
    assert plain.is_still(on(plain.last_decoded, 50, 0, 0, 0))


def test_shares_are_whole_and_complete() -> None:
    assert len(SAME) == len(SPREAD) == CLASSES
    assert all(0 < share < TOTAL for share in SAME)
    for spread in {s for row in SPREAD for s in row}:
        zero, *sides, escape = shares(spread)
        assert zero + 2 * sum(sides) + escape == TOTAL
        assert min(zero, *sides, escape) >= 1
        assert sides == sorted(sides, reverse=True)
    assert all(starts[-1] == TOTAL for row in STARTS for starts in row)


@given(bodies, bodies, st.integers(0, CLASSES - 1))
def test_symbols_survive(body: tuple[int, ...], before: tuple[int, ...], kind: int) -> None:
    writer = FractionWriter()
    write_body(writer, body, before, kind)
    reader = FractionReader(writer.to_bytes())
    assert read_body(reader, before, kind) == body
    reader.finish()


def test_the_long_way_to_say_nothing_is_refused() -> None:
    writer = FractionWriter()
    writer.write(SAME[1], TOTAL - SAME[1])
    for starts in STARTS[1]:
        writer.write(0, starts[1])
    with pytest.raises(CodecError, match="long way"):
        read_body(FractionReader(writer.to_bytes()), (5, 0, 0, 0), 1)


def test_number_that_leads_out_of_range_is_refused() -> None:
    writer = FractionWriter()
    write_body(writer, (TOP_BODY, 0, 0, 0), REST, 0)
    with pytest.raises(CodecError, match="out of range"):
        read_body(FractionReader(writer.to_bytes()), (1, 0, 0, 0), 0)


def test_decoder_without_the_body_refuses_the_frame() -> None:
    encoder, _ = ends()
    frames = [encoder.encode(on(params, 9, -9, 3, 1)) for params in TRACK[:8]]
    decoder = RcDecoder(T, offset=True)
    refused = 0
    for frame in frames:
        try:
            decoder.decode(EncodedFrame(frame.sequence, True, 0.0, frame.payload))
        except CodecError:
            refused += 1
    assert refused == len(frames)


def test_body_is_four_finite_numbers() -> None:
    with pytest.raises(LocalError, match="body"):
        on(TRACK[0], 1, 2, 3)
    with pytest.raises(LocalError, match="body"):
        on(TRACK[0], 1, 2, 3, float("nan"))
    body = on(TRACK[0], 1, 2, 3, 4).body
    assert body is not None
    assert not body.flags.writeable
