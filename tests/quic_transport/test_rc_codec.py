"""Profile rc: ends agree to the bit, losses, steps, hostile frames and tables, golden stream."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quic_transport.codec import PROFILES, EncodedFrame, RcDecoder, RcEncoder, Terms
from quic_transport.codec.fraction_coder import MAX_BYTES
from quic_transport.codec.rc import PLACE_UNITS
from quic_transport.codec.rc_tables import SHAPES, SYMBOLS, from_sections, to_sections
from quic_transport.codec.residuals import STEPS, USUAL_STEP
from quic_transport.errors import AvatarFileError, CodecError, LocalError, ReferenceLost
from quic_transport.params import (
    EXPRESSION_DIM,
    EXPRESSION_HIGH,
    EXPRESSION_LOW,
    PARAM_DIM,
    FaceParams,
    ParamBounds,
    within_reach,
)
from tests.quic_transport.rc_golden import STREAM, golden_tables, placed, stream
from tests.quic_transport.strategies import arrival_orders, synthetic_track
from tests.quic_transport.test_face_codec import same

T = golden_tables()
TRACK = [placed(p, i) for i, p in enumerate(synthetic_track(1, 300))]
VALUES = st.floats(-100, 100, width=32)


def encoded(count: int, **options: bool) -> list[EncodedFrame]:
    encoder = RcEncoder(T, **options)
    return [encoder.encode(params) for params in TRACK[:count]]


# --- both ends agree


@pytest.mark.parametrize("offset", [False, True])
def test_three_hundred_frames_decoder_equals_encoder_and_error_stays_within_steps(
    offset: bool,
) -> None:
    encoder, decoder = RcEncoder(T, offset=offset), RcDecoder(T, offset=offset)
    forward = np.linalg.inv(T.basis / 2.0**30)
    for params in TRACK:
        out = decoder.decode(encoder.encode(params))
        assert same(out, encoder.last_decoded)
        wrong = (out.vector() - params.vector().astype(np.float64)) @ forward
        assert np.abs(wrong).mean() < 0.6 * STEPS[USUAL_STEP]
        assert (out.offset is not None) == offset
        if out.offset is not None and params.offset is not None:
            assert np.abs(out.offset - params.offset).max() < 3 * STEPS[USUAL_STEP] / PLACE_UNITS


@given(
    st.lists(st.lists(VALUES, min_size=52, max_size=52), min_size=1, max_size=4),
    st.lists(st.integers(0, len(STEPS) - 1), min_size=4, max_size=4), st.integers(0, 2),
)  # fmt: skip
@settings(max_examples=60)
def test_any_faces_at_any_steps_decode_to_what_the_encoder_says(
    faces: list[list[float]], steps: list[int], gop: int
) -> None:
    encoder, decoder = RcEncoder(T, gop=gop, offset=True), RcDecoder(T, offset=True)
    for values, step in zip(faces, steps, strict=False):
        v = np.array(values, np.float32)
        face = FaceParams(v[:EXPRESSION_DIM], v[EXPRESSION_DIM:PARAM_DIM], 1.5, v[PARAM_DIM:])
        encoder.step = step
        frame = encoder.encode(face)
        assert len(frame.payload) <= MAX_BYTES
        out = decoder.decode(frame)
        assert same(out, encoder.last_decoded)
        assert np.array_equal(out.expression, within_reach(out.expression))


@pytest.mark.parametrize("value", [-0.3, 0.0, 1.3])
def test_corrections_below_zero_and_above_one_cross(value: float) -> None:
    encoder, decoder = RcEncoder(T), RcDecoder(T)
    face = FaceParams(np.full(EXPRESSION_DIM, value, np.float32), np.zeros(3, np.float32), 0.0)
    for _ in range(3):
        out = decoder.decode(encoder.encode(face))
    assert out.expression == pytest.approx(value, abs=0.02)


@pytest.mark.parametrize(("value", "kept"), [(-3.0, EXPRESSION_LOW), (3.0, EXPRESSION_HIGH)])
def test_coefficients_out_of_reach_decode_to_its_end(value: float, kept: float) -> None:
    face = FaceParams(np.full(EXPRESSION_DIM, value, np.float32), np.zeros(3, np.float32), 0.0)
    assert (RcDecoder(T).decode(RcEncoder(T).encode(face)).expression == np.float32(kept)).all()


def test_nothing_outside_the_training_frames_is_clipped() -> None:
    encoder, decoder = RcEncoder(T), RcDecoder(T)
    far = np.concatenate([np.full(EXPRESSION_DIM, 0.5), [2.5, -1.5, 3.0]]).astype(np.float32)
    out = decoder.decode(encoder.encode(FaceParams.from_vector(far, 0.0)))
    assert np.abs(out.rotation - far[EXPRESSION_DIM:]).max() < 0.01


def test_coarser_steps_cost_fewer_bytes() -> None:
    sizes = []
    for step in (0, 4, 8, 11):
        encoder = RcEncoder(T)
        encoder.step = step
        sizes.append(sum(len(encoder.encode(p).payload) for p in TRACK[:60]))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 3 * sizes[-1]


def test_a_face_that_stands_still_says_nothing_new() -> None:
    encoder = RcEncoder(T)
    assert not encoder.is_still(TRACK[0])
    encoder.encode(TRACK[0])
    for _ in range(3):
        encoder.encode(TRACK[0])
    assert encoder.is_still(replace(TRACK[0], capture_time=9.0))
    assert not encoder.is_still(TRACK[20])


# --- references, losses


@given(arrival_orders(30), st.sampled_from([0, 1, 3, 7]))
@settings(max_examples=40)
def test_any_arrival_order_gives_the_right_face_or_codec_error(order: list[int], lag: int) -> None:
    encoder = RcEncoder(T, first_sequence=2**32 - 5)
    sent = []
    for i, params in enumerate(TRACK[:30]):
        reference = (2**32 - 5 + i - lag) % 2**32 if 0 < lag <= i else None
        sent.append((encoder.encode(params, reference=reference), encoder.last_decoded))
    decoder = RcDecoder(T)
    for index in order:
        frame, said = sent[index]
        try:
            assert same(decoder.decode(frame), said)
        except ReferenceLost:
            assert not frame.key


def test_lost_reference_asks_for_a_keyframe_until_one_comes() -> None:
    encoder, decoder = RcEncoder(T, gop=6), RcDecoder(T)
    outcome = []
    for index, params in enumerate(TRACK[:12]):
        frame = encoder.encode(params)
        if index == 2:
            continue
        try:
            assert same(decoder.decode(frame), encoder.last_decoded)
            assert not decoder.needs_keyframe
        except ReferenceLost:
            assert decoder.needs_keyframe
            outcome.append(index)
    assert outcome == [3, 4, 5]


# --- hostile frames


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 5), st.binary(max_size=80)),
                max_size=6))  # fmt: skip
@settings(max_examples=150)
def test_arbitrary_frames_give_a_face_or_codec_error(
    frames: list[tuple[int, int | None, bytes]],
) -> None:
    decoder = RcDecoder(T, offset=True)
    decoder.decode(encoded(1, offset=True)[0])
    for sequence, reference, payload in frames:
        try:
            out = decoder.decode(EncodedFrame(sequence, reference is None, 0.0, payload, reference))
        except CodecError:
            continue
        assert np.isfinite(out.vector()).all()
        assert np.array_equal(out.expression, within_reach(out.expression))


def test_truncated_extended_and_flipped_frames_give_a_face_or_codec_error() -> None:
    frames = encoded(12)
    accepted = tried = 0
    for frame in (frames[0], frames[11]):
        data = frame.payload
        wrong = [data[:size] for size in range(len(data))] + [data + b"\0", data + b"\xff" * 600]
        for bit in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 0x80 >> bit % 8
            wrong.append(bytes(flipped))
        for payload in wrong:
            decoder = RcDecoder(T)
            for before in frames[:11]:
                decoder.decode(before)
            tried += 1
            try:
                decoder.decode(replace(frame, payload=payload, sequence=11))
                accepted += 1
            except CodecError:
                assert decoder.needs_keyframe
    assert accepted < tried / 4  # most damage shows, though no checksum is spent on it


def test_a_long_chain_of_wild_frames_stays_in_range() -> None:
    """Frames that add the largest residual again and again are refused at some point."""
    encoder = RcEncoder(T)
    encoder.step = len(STEPS) - 1
    wild = FaceParams.from_vector(np.full(PARAM_DIM, 1e6, np.float32), 0.0)
    frame = encoder.encode(wild)
    decoder = RcDecoder(T)
    decoder.decode(frame)
    refused = 0
    for n in range(1, 20):
        try:
            decoder.decode(replace(frame, sequence=n, key=False, reference=n - 1))
        except CodecError:
            refused += 1
    assert refused == 19  # the first is out of range, the others miss it


# --- tables of strangers


def test_tables_survive_their_sections() -> None:
    again = from_sections(to_sections(T))
    assert again is not None
    assert RcEncoder(again).encode(TRACK[0]) == RcEncoder(T).encode(TRACK[0])
    assert from_sections({"nerf.weights": np.zeros(3)}) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("mean", None), ("basis", np.zeros((49, 48), np.int32)), ("scale", np.zeros((9, 52))),
     ("shape", np.zeros((SHAPES, SYMBOLS), np.uint16)),
     ("shape", np.full((SHAPES, SYMBOLS), 655, np.uint16)),
     ("rho", np.full((9, 52), 32768, np.uint16)), ("scale", np.full((9, 52), 200, np.uint8)),
     ("basis", np.full((49, 49), 2**31 - 1, np.int32))],
)  # fmt: skip
def test_damaged_tables_are_an_avatar_file_error(name: str, value: object) -> None:
    sections = dict(to_sections(T))
    if value is None:
        del sections["codec." + name]
    else:
        sections["codec." + name] = np.asarray(value)
    with pytest.raises(AvatarFileError, match="codec tables are damaged"):
        from_sections(sections)


def test_basis_without_inverse_is_an_avatar_file_error() -> None:
    with pytest.raises(AvatarFileError, match="inverse"):
        RcEncoder(replace(T, basis=np.zeros((49, 49), np.int64)))


def test_avatar_without_tables_has_no_rc() -> None:
    bounds = ParamBounds(np.zeros(49, np.float32), np.ones(49, np.float32))
    for open_end in (PROFILES["rc"].decoder, lambda t: PROFILES["rc"].encoder(t, gop=0)):
        with pytest.raises(AvatarFileError, match="use eg0, or train it again"):
            open_end(Terms(bounds))


def test_negative_gop_is_misuse() -> None:
    with pytest.raises(LocalError, match="gop"):
        RcEncoder(T, gop=-1)


# --- golden


def test_encoder_still_makes_the_golden_stream_and_decoder_its_values() -> None:
    assert stream(T) == json.loads(STREAM.read_text(encoding="utf-8"))
