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

from quic_transport.codec import (
    PROFILES,
    RING,
    EncodedFrame,
    FaceDecoder,
    FaceEncoder,
    Terms,
    sequence_distance,
)
from quic_transport.codec.face_codec import KEY_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES
from quic_transport.codec.place import PLACE_STEPS, TOP_PLACE
from quic_transport.codec.rc_tables import to_sections
from quic_transport.errors import CodecError, LocalError, ReferenceLost
from quic_transport.params import PARAM_DIM, FaceParams, ParamBounds
from tests.quic_transport.rc_golden import golden_tables
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
    place = b"" if a.offset is None else a.offset.tobytes()
    assert place == (b"" if b.offset is None else b.offset.tobytes())
    return a.vector().tobytes() == b.vector().tobytes() and a.capture_time == b.capture_time


def flat(code: int, time: float = 0.0) -> FaceParams:
    """A face whose 49 numbers all have this code between 0 and 1."""
    return FaceParams.from_vector([code / 255] * PARAM_DIM, time)


def encoded(count: int, gop: int = 0, first_sequence: int = 0) -> list[EncodedFrame]:
    encoder = FaceEncoder(BOUNDS, gop=gop, first_sequence=first_sequence)
    return [encoder.encode(params) for params in TRACK[:count]]


def decoded(frames: list[EncodedFrame]) -> list[FaceParams]:
    decoder = FaceDecoder(BOUNDS)
    return [decoder.decode(frame) for frame in frames]


# --- exactness


def test_thousand_frames_decoder_equals_encoder_reference_without_drift() -> None:
    encoder, decoder = FaceEncoder(BOUNDS), FaceDecoder(BOUNDS)
    half = (BOUNDS.high.astype(np.float64) - BOUNDS.low) / 510 + 1e-6
    for params in TRACK:
        out = decoder.decode(encoder.encode(params))
        assert same(out, encoder.last_decoded)
        clipped = np.clip(params.vector(), BOUNDS.low, BOUNDS.high)
        assert (np.abs(out.vector() - clipped) <= half).all()


@given(bounds(), st.lists(face_params(), min_size=1, max_size=4), st.integers(0, 3), SEQUENCES)
@settings(max_examples=60)
def test_any_faces_any_bounds_decoder_equals_encoder_reference(
    b: ParamBounds, faces: list[FaceParams], gop: int, first: int
) -> None:
    encoder, decoder = FaceEncoder(b, gop=gop, first_sequence=first), FaceDecoder(b)
    for face in faces:
        assert same(decoder.decode(encoder.encode(face)), encoder.last_decoded)


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
    assert encoder.last_decoded is None
    assert encoder.coded_bits == 0


# --- keyframes and sequence numbers


@pytest.mark.parametrize(
    ("gop", "keys"), [(0, [0]), (1, list(range(9))), (2, [0, 2, 4, 6, 8]), (4, [0, 4, 8])]
)
def test_gop_sets_the_distance_between_keyframes(gop: int, keys: list[int]) -> None:
    assert [frame.sequence for frame in encoded(9, gop) if frame.key] == keys


def test_forced_keyframe_starts_a_new_gop() -> None:
    encoder = FaceEncoder(BOUNDS, gop=4)
    frames = [
        encoder.encode(p, reference=None if i == 2 else "last") for i, p in enumerate(TRACK[:9])
    ]
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
        assert same(decoder.decode(frame), encoder.last_decoded)
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
            assert same(decoder.decode(frame), encoder.last_decoded)
        except CodecError:
            assert decoder.needs_keyframe
            outcome.append(index)
    assert outcome == [3, 4, 5]


def test_lost_frame_that_comes_late_lets_its_successors_be_decoded() -> None:
    frames, decoder = encoded(5), FaceDecoder(BOUNDS)
    whole = decoded(frames)
    decoder.decode(frames[0])
    with pytest.raises(ReferenceLost, match="predicted from frame 1,"):
        decoder.decode(frames[2])
    assert decoder.needs_keyframe
    for late in (1, 2, 1, 0, 3):
        assert same(decoder.decode(frames[late]), whole[late])
    assert not decoder.needs_keyframe


def test_late_doubled_and_damaged_old_frames_leave_a_running_chain_alone() -> None:
    frames, decoder = encoded(12, gop=4), FaceDecoder(BOUNDS)
    whole = decoded(frames)
    for frame in frames[:7]:
        decoder.decode(frame)
    for late in (6, 5, 3, 4):
        assert same(decoder.decode(frames[late]), whole[late])
    with pytest.raises(CodecError):
        decoder.decode(replace(frames[0], payload=b""))
    assert not decoder.needs_keyframe
    assert same(decoder.decode(frames[7]), whole[7])


# --- references by number


def test_frames_predicted_from_a_confirmed_one_survive_any_loss_between() -> None:
    encoder, decoder = FaceEncoder(BOUNDS), FaceDecoder(BOUNDS)
    decoder.decode(encoder.encode(TRACK[0]))
    for index, params in enumerate(TRACK[1:60]):
        frame = encoder.encode(params, reference=0)
        assert (frame.key, frame.reference) == (False, 0)
        if index % 3 == 0:
            assert same(decoder.decode(frame), encoder.last_decoded)
            assert not decoder.needs_keyframe


def test_chain_by_numbers_is_the_papers_chain_byte_for_byte() -> None:
    by_number, plain = FaceEncoder(BOUNDS, gop=7), FaceEncoder(BOUNDS, gop=7)
    for index, params in enumerate(TRACK[:20]):
        reference = index - 1 if index else None
        assert by_number.encode(params, reference=reference) == plain.encode(params)


@pytest.mark.parametrize("reference", [7, 5, 2**32 - 1])
def test_reference_that_the_encoder_never_coded_gives_a_keyframe(reference: int) -> None:
    encoder = FaceEncoder(BOUNDS)
    for params in TRACK[:5]:
        encoder.encode(params)
    assert encoder.encode(TRACK[5], reference=reference).key


@pytest.mark.parametrize("first", [0, 2**32 - 70])
def test_both_ends_forget_after_the_ring(first: int) -> None:
    encoder, decoder = FaceEncoder(BOUNDS, first_sequence=first), FaceDecoder(BOUNDS)
    frames = [encoder.encode(params, reference=first) for params in TRACK[: RING + 1]]
    assert [i for i, frame in enumerate(frames) if frame.key] == [0, RING]
    for frame in frames[:RING]:
        decoder.decode(frame)
    with pytest.raises(ReferenceLost):
        decoder.decode(replace(frames[RING - 1], sequence=frames[RING].sequence))


def test_frame_cannot_be_predicted_from_itself_or_a_later_one() -> None:
    decoder = FaceDecoder(BOUNDS)
    for frame in (frames := encoded(4)):
        decoder.decode(frame)
    for reference in (2, 3):
        with pytest.raises(ReferenceLost, match="cannot be predicted"):
            decoder.decode(replace(frames[2], reference=reference))


def test_decoder_remembers_a_bounded_number_of_frames_whatever_their_numbers() -> None:
    decoder, key = FaceDecoder(BOUNDS), encoded(1)[0]
    for i in range(1000):
        decoder.decode(replace(key, sequence=i * 7919 * 7919 % 2**32))
    assert 0 < len(decoder._history) <= RING


# --- the head's place


PLACES = st.tuples(*[st.floats(-20, 20, width=32)] * 3)


@given(st.lists(PLACES, min_size=1, max_size=6), st.integers(0, 2))
def test_place_crosses_within_half_a_step_and_ends_agree(
    places: list[tuple[float, float, float]], gop: int
) -> None:
    encoder = FaceEncoder(BOUNDS, gop=gop, offset=True)
    decoder = FaceDecoder(BOUNDS, offset=True)
    for i, place in enumerate(places):
        face = replace(TRACK[i], offset=np.array(place, np.float32))
        out = decoder.decode(encoder.encode(face))
        assert same(out, encoder.last_decoded)
        assert out.offset is not None
        near = np.clip(np.array(place), -TOP_PLACE / PLACE_STEPS, TOP_PLACE / PLACE_STEPS)
        assert np.abs(out.offset - near).max() <= 0.5 / PLACE_STEPS + 1e-9


def test_place_is_misuse_where_the_tracker_gives_none() -> None:
    with pytest.raises(LocalError, match="place"):
        FaceEncoder(BOUNDS, offset=True).encode(TRACK[0])


@given(arrival_orders(30), st.integers(0, 6))
@settings(max_examples=60)
def test_any_arrival_order_gives_the_right_face_or_codec_error(order: list[int], gop: int) -> None:
    encoder = FaceEncoder(BOUNDS, gop=gop)
    sent = [(encoder.encode(params), encoder.last_decoded) for params in TRACK[:30]]
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
    return replace(frame, key=True, reference=None, payload=bytes([128] * PARAM_DIM))


# --- the profile table and the golden stream


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_round_trips_through_its_interface(name: str) -> None:
    profile, terms = PROFILES[name], Terms(BOUNDS, to_sections(golden_tables()))
    assert profile.name == name
    encoder, decoder = profile.encoder(terms, gop=3), profile.decoder(terms)
    for index, params in enumerate(TRACK[:8]):
        params = replace(params, offset=np.full(3, index / 100, np.float32))
        frame = encoder.encode(params, reference=None if index == 4 else "last")
        assert frame.key or index not in (0, 4)
        assert same(decoder.decode(frame), encoder.last_decoded)
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
