"""Profile eg0: exactness, keyframes, losses, hostile frames, and the golden stream."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quic_transport.codec import PROFILES, EncodedFrame, FaceDecoder, FaceEncoder, sequence_distance
from quic_transport.codec.face_codec import KEY_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES
from quic_transport.errors import CodecError, LocalError
from quic_transport.params import PARAM_DIM, FaceParams, ParamBounds
from tests.quic_transport.strategies import (
    SEQUENCES,
    TIMES,
    arrival_orders,
    bounds,
    face_params,
    synthetic_track,
)

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "eg0_stream.json"
GOLDEN_SEED, GOLDEN_FRAMES, GOLDEN_GOP = 49, 24, 16

UNIT = ParamBounds(np.zeros(PARAM_DIM, np.float32), np.ones(PARAM_DIM, np.float32))
TRACK = synthetic_track(1, 1000)
BOUNDS = ParamBounds.of([params.vector() for params in TRACK[:600]])  # later ones may clip


def same(a: FaceParams | None, b: FaceParams | None) -> bool:
    """Bit for bit, time included."""
    assert a is not None
    assert b is not None
    return a.vector().tobytes() == b.vector().tobytes() and a.capture_time == b.capture_time


def flat(code: int, time: float = 0.0) -> FaceParams:
    """A face whose 49 numbers all have this code between 0 and 1."""
    return FaceParams.from_vector([code / 255] * PARAM_DIM, time)


def encoded(count: int, gop: int = 0, first_sequence: int = 0) -> list[EncodedFrame]:
    encoder = FaceEncoder(BOUNDS, gop=gop, first_sequence=first_sequence)
    return [encoder.encode(params) for params in TRACK[:count]]


# --- exactness


def test_thousand_frames_decoder_equals_encoder_reference_without_drift() -> None:
    encoder, decoder = FaceEncoder(BOUNDS), FaceDecoder(BOUNDS)
    half = (BOUNDS.high.astype(np.float64) - BOUNDS.low) / 510 + 1e-6
    for params in TRACK:
        out = decoder.decode(encoder.encode(params))
        assert same(out, encoder.reference)
        clipped = np.clip(params.vector(), BOUNDS.low, BOUNDS.high)
        assert (np.abs(out.vector() - clipped) <= half).all()


@given(bounds(), st.lists(face_params(), min_size=1, max_size=4), st.integers(0, 3), SEQUENCES)
@settings(max_examples=60)
def test_any_faces_any_bounds_decoder_equals_encoder_reference(
    b: ParamBounds, faces: list[FaceParams], gop: int, first: int
) -> None:
    encoder, decoder = FaceEncoder(b, gop=gop, first_sequence=first), FaceDecoder(b)
    for face in faces:
        assert same(decoder.decode(encoder.encode(face)), encoder.reference)


def test_unchanged_face_costs_one_bit_per_number() -> None:
    encoder = FaceEncoder(UNIT)
    encoder.encode(flat(77))
    frame = encoder.encode(flat(77))
    assert frame.payload == b"\xff" * 6 + b"\x80"
    assert (encoder.coded_bits, frame.payload_bits) == (49, 56)


def test_largest_difference_everywhere_fills_the_largest_payload() -> None:
    encoder = FaceEncoder(UNIT)
    encoder.encode(flat(0))
    frame = encoder.encode(flat(255))
    assert encoder.coded_bits == 49 * 17
    assert len(frame.payload) == MAX_PAYLOAD_BYTES


def test_keyframe_is_the_codes_as_bytes() -> None:
    face = FaceParams.from_vector(np.arange(PARAM_DIM) / 255, 3.5)
    encoder = FaceEncoder(UNIT)
    assert encoder.encode(face) == EncodedFrame(0, True, 3.5, bytes(range(PARAM_DIM)))
    assert encoder.coded_bits == 8 * PARAM_DIM


def test_offset_is_not_part_of_the_49_and_is_left_out() -> None:
    face = replace(flat(0), offset=np.ones(3, np.float32))
    assert FaceDecoder(UNIT).decode(FaceEncoder(UNIT).encode(face)).offset is None


def test_encoder_before_the_first_frame_has_no_reference() -> None:
    encoder = FaceEncoder(UNIT)
    assert encoder.reference is None
    assert encoder.coded_bits == 0


# --- keyframes and sequence numbers


@pytest.mark.parametrize(
    ("gop", "keys"), [(0, [0]), (1, list(range(9))), (2, [0, 2, 4, 6, 8]), (4, [0, 4, 8])]
)
def test_gop_sets_the_distance_between_keyframes(gop: int, keys: list[int]) -> None:
    assert [frame.sequence for frame in encoded(9, gop) if frame.key] == keys


def test_forced_keyframe_starts_a_new_gop() -> None:
    encoder = FaceEncoder(BOUNDS, gop=4)
    frames = [encoder.encode(p, force_keyframe=i == 2) for i, p in enumerate(TRACK[:9])]
    assert [frame.sequence for frame in frames if frame.key] == [0, 2, 6]


def test_negative_gop_is_misuse() -> None:
    with pytest.raises(LocalError, match="gop"):
        FaceEncoder(BOUNDS, gop=-1)


def test_sequence_numbers_wrap_around_and_prediction_goes_on() -> None:
    encoder = FaceEncoder(BOUNDS, first_sequence=2**32 - 2)
    decoder = FaceDecoder(BOUNDS)
    sequences = []
    for params in TRACK[:5]:
        frame = encoder.encode(params)
        sequences.append((frame.sequence, frame.key))
        assert same(decoder.decode(frame), encoder.reference)
    assert sequences == [(2**32 - 2, True), (2**32 - 1, False), (0, False), (1, False), (2, False)]


@pytest.mark.parametrize(
    ("sequence", "reference", "distance"),
    [(5, 4, 1), (4, 5, -1), (0, 2**32 - 1, 1), (2**32 - 1, 0, -1), (7, 7, 0), (2**31, 0, -(2**31))],
)
def test_sequence_distance_goes_the_shorter_way(
    sequence: int, reference: int, distance: int
) -> None:
    assert sequence_distance(sequence, reference) == distance


@pytest.mark.parametrize(("sequence", "time"), [(-1, 0.0), (2**32, 0.0), (0, float("nan"))])
def test_frame_with_impossible_header_is_misuse(sequence: int, time: float) -> None:
    with pytest.raises(LocalError):
        EncodedFrame(sequence, True, time, b"")


# --- losses


def test_predicted_frame_before_the_first_keyframe_raises_codec_error() -> None:
    decoder = FaceDecoder(BOUNDS)
    assert decoder.needs_keyframe
    with pytest.raises(CodecError, match="keyframe"):
        decoder.decode(encoded(2)[1])
    assert decoder.needs_keyframe


@pytest.mark.parametrize("first", [0, 2**32 - 3])
def test_lost_frame_stops_all_until_the_next_keyframe(first: int) -> None:
    encoder = FaceEncoder(BOUNDS, gop=6, first_sequence=first)
    decoder = FaceDecoder(BOUNDS)
    outcome = []
    for index, params in enumerate(TRACK[:12]):
        frame = encoder.encode(params)
        if index == 2:
            continue
        try:
            assert same(decoder.decode(frame), encoder.reference)
        except CodecError:
            assert decoder.needs_keyframe
            outcome.append(index)
    assert outcome == [3, 4, 5]


def test_lost_frame_that_comes_too_late_does_not_revive_the_chain() -> None:
    frames, decoder = encoded(5), FaceDecoder(BOUNDS)
    decoder.decode(frames[0])
    for late in (frames[2], frames[1], frames[2], frames[3]):
        with pytest.raises(CodecError):
            decoder.decode(late)


def test_late_or_doubled_frames_leave_a_running_chain_alone() -> None:
    frames, decoder = encoded(12, gop=4), FaceDecoder(BOUNDS)
    expected = [FaceDecoder(BOUNDS).decode(frame) if frame.key else None for frame in frames]
    for frame in frames[:7]:
        decoder.decode(frame)
    for late in (frames[6], frames[5], frames[3]):
        with pytest.raises(CodecError, match="successor"):
            decoder.decode(late)
    assert same(decoder.decode(frames[4]), expected[4])  # a late keyframe decodes by itself
    with pytest.raises(CodecError):
        decoder.decode(replace(frames[0], payload=b""))
    decoder.decode(frames[7])
    assert not decoder.needs_keyframe


@given(arrival_orders(30), st.integers(0, 6))
@settings(max_examples=60)
def test_any_arrival_order_gives_the_right_face_or_codec_error(order: list[int], gop: int) -> None:
    encoder = FaceEncoder(BOUNDS, gop=gop)
    sent = [(encoder.encode(params), encoder.reference) for params in TRACK[:30]]
    decoder = FaceDecoder(BOUNDS)
    for index in order:
        frame, reference = sent[index]
        try:
            assert same(decoder.decode(frame), reference)
        except CodecError:
            assert not frame.key


# --- hostile frames


def test_every_truncation_and_every_extension_raises_codec_error() -> None:
    frames = encoded(40, gop=20)
    for previous, frame in pairwise(frames):
        wrong = [frame.payload[:size] for size in range(len(frame.payload))]
        wrong += [frame.payload + tail for tail in (b"\x00", b"\xff", bytes(4096))]
        for payload in wrong:
            decoder = FaceDecoder(BOUNDS)
            decoder.decode(_as_key(previous))
            with pytest.raises(CodecError, match=r"truncated|trailing|at most|bytes, not"):
                decoder.decode(replace(frame, payload=payload))
            assert decoder.needs_keyframe


def test_padding_with_a_one_raises_codec_error() -> None:
    encoder, decoder = FaceEncoder(UNIT), FaceDecoder(UNIT)
    decoder.decode(encoder.encode(flat(9)))
    frame = encoder.encode(flat(9))
    with pytest.raises(CodecError, match="padding"):
        decoder.decode(replace(frame, payload=frame.payload[:-1] + b"\x81"))


@pytest.mark.parametrize(("code", "to"), [(255, 254), (0, 1)])
def test_difference_that_leaves_the_codes_raises_codec_error(code: int, to: int) -> None:
    encoder, decoder = FaceEncoder(UNIT), FaceDecoder(UNIT)
    encoder.encode(flat(to))
    outward = encoder.encode(flat(code))
    decoder.decode(FaceEncoder(UNIT).encode(flat(code)))
    with pytest.raises(CodecError, match="outside"):
        decoder.decode(outward)
    assert decoder.needs_keyframe


def test_bit_flips_give_a_face_in_bounds_or_codec_error() -> None:
    frames = encoded(3)
    for frame in frames[1:]:
        for bit in range(8 * len(frame.payload)):
            data = bytearray(frame.payload)
            data[bit // 8] ^= 0x80 >> bit % 8
            decoder = FaceDecoder(BOUNDS)
            decoder.decode(_as_key(frames[0]))
            try:
                out = decoder.decode(replace(frame, sequence=1, payload=bytes(data)))
            except CodecError:
                assert decoder.needs_keyframe
            else:
                assert ((out.vector() >= BOUNDS.low) & (out.vector() <= BOUNDS.high)).all()


PAYLOADS = st.binary(max_size=120) | st.binary(min_size=PARAM_DIM, max_size=PARAM_DIM)
NEARBY = SEQUENCES | st.integers(0, 4)


@given(st.lists(st.tuples(NEARBY, st.booleans(), TIMES, PAYLOADS), max_size=8))
def test_arbitrary_frames_give_a_face_in_bounds_or_codec_error(
    frames: list[tuple[int, bool, float, bytes]],
) -> None:
    decoder = FaceDecoder(BOUNDS)
    decoder.decode(encoded(1)[0])
    for fields in frames:
        try:
            out = decoder.decode(EncodedFrame(*fields))
        except CodecError:
            continue
        assert ((out.vector() >= BOUNDS.low) & (out.vector() <= BOUNDS.high)).all()


def test_huge_payload_is_refused_by_its_length() -> None:
    decoder = FaceDecoder(BOUNDS)
    first, second = encoded(2)
    decoder.decode(first)
    with pytest.raises(CodecError, match=f"at most {MAX_PAYLOAD_BYTES}"):
        decoder.decode(replace(second, payload=bytes(1 << 20)))
    with pytest.raises(CodecError, match=f"{KEY_PAYLOAD_BYTES} bytes"):
        decoder.decode(replace(first, payload=bytes(1 << 20)))


def _as_key(frame: EncodedFrame) -> EncodedFrame:
    """Any keyframe in the place of `frame`: its codes are the middle of the range."""
    return replace(frame, key=True, payload=bytes([128] * PARAM_DIM))


# --- the profile table and the golden stream


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_round_trips_through_its_interface(name: str) -> None:
    profile = PROFILES[name]
    assert profile.name == name
    encoder, decoder = profile.encoder(BOUNDS, gop=3), profile.decoder(BOUNDS)
    for index, params in enumerate(TRACK[:8]):
        frame = encoder.encode(params, force_keyframe=index == 4)
        assert frame.key or index not in (0, 4)
        assert same(decoder.decode(frame), encoder.reference)
        assert encoder.coded_bits <= frame.payload_bits


def golden_stream() -> dict[str, object]:
    """What the encoder makes of the golden track, in the form of the golden file."""
    track = synthetic_track(GOLDEN_SEED, GOLDEN_FRAMES)
    b = ParamBounds.of([params.vector() for params in track])
    encoder, frames = FaceEncoder(b, gop=GOLDEN_GOP), []
    for params in track:
        frame = encoder.encode(params)
        codes = FaceEncoder(b).encode(params).payload  # a keyframe is its codes
        frames.append({"key": frame.key, "payload": frame.payload.hex(), "codes": codes.hex()})
    return {
        "what": f"profile eg0, synthetic track {GOLDEN_SEED}, gop {GOLDEN_GOP}; hexadecimal",
        "low": [float(x) for x in b.low],
        "high": [float(x) for x in b.high],
        "frames": frames,
    }


def test_encoder_still_makes_the_golden_stream() -> None:
    assert golden_stream() == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_decoder_reads_the_golden_stream_to_the_stored_codes() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    low, high = np.float64(golden["low"]), np.float64(golden["high"])
    decoder = FaceDecoder(ParamBounds(low, high))  # type: ignore[arg-type]
    for sequence, stored in enumerate(golden["frames"]):
        frame = EncodedFrame(sequence, stored["key"], 0.0, bytes.fromhex(stored["payload"]))
        codes = np.frombuffer(bytes.fromhex(stored["codes"]), np.uint8)
        value = low + (high - low) * (codes / 255)  # the document's formula, not the table
        assert decoder.decode(frame).vector().tolist() == value.astype(np.float32).tolist()


if __name__ == "__main__":  # python -m tests.quic_transport.test_face_codec rewrites the file
    GOLDEN.write_text(json.dumps(golden_stream(), indent=1) + "\n", encoding="utf-8")
