"""Bytes on the wire: every reader whole, byte by byte, with trailing and with arbitrary bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.codec.profile import EncodedFrame
from quic_transport.errors import LocalError, WireError
from quic_transport.frame_stream import MAX_FRAME_BYTES, FrameReader, FrameWriter, check_frame
from quic_transport.messages import (
    MAX_MESSAGE_BYTES,
    AvatarRequest,
    Bye,
    Hello,
    KeyframeRequest,
    Message,
    MessageSplitter,
    Ping,
    Pong,
    Ready,
    Refuse,
    Stats,
    decode_message,
    encode_message,
)
from quic_transport.offer import Offer, Reason, clip_sentence
from quic_transport.wire import MAX_U64, Reader, encode_varint, peek_varint, unzigzag, zigzag
from tests.quic_transport.simulated import BOUNDS, make_offer
from tests.quic_transport.strategies import bounds

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "wire-format.md"
U64 = st.integers(0, MAX_U64)
U53 = st.integers(0, 2**53)
TEXT = st.text(max_size=60).filter(lambda s: s.isprintable() and len(s.encode()) <= 256)
IDS = st.binary(min_size=32, max_size=32).map(bytes.hex)
OFFERS = st.builds(
    Offer, name=TEXT, schema=TEXT, extractor=TEXT, profile=TEXT, mode=TEXT,
    fps=st.floats(0.5, 240), bounds=bounds(), avatar_id=IDS, avatar_size=st.integers(1, 2**62),
)  # fmt: skip
STATS = st.dictionaries(
    st.text(max_size=10).filter(str.isprintable),
    st.floats(allow_nan=False, allow_infinity=False),
    max_size=5,
).map(Stats)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, st.sampled_from([b"", b"t" * 16]), st.booleans(), st.none() | OFFERS),
    st.builds(Refuse, st.sampled_from(Reason), TEXT),
    st.builds(Bye, TEXT),
    st.builds(AvatarRequest, IDS, U64),
    st.just(Ready()),
    st.just(KeyframeRequest()),
    st.builds(Ping, U64),
    st.builds(lambda a, b, c: Pong(a, b, b + c), U53, U53, U53),
    STATS,
)


def same(a: Message, b: Message) -> bool:
    return type(a) is type(b) and encode_message(a) == encode_message(b)


def messages_in(splitter: MessageSplitter, data: bytes) -> list[Message]:
    splitter.feed(data)
    out = []
    while (raw := splitter.next_raw()) is not None:
        out.append(decode_message(*raw))
    return out


@pytest.mark.parametrize(
    ("value", "data"),
    [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (MAX_U64, "ff" * 9 + "01")],
)
def test_varint_known_values(value: int, data: str) -> None:
    assert encode_varint(value).hex() == data
    assert peek_varint(bytes.fromhex(data), 0) == (value, len(data) // 2)


@given(U64, st.binary(max_size=3))
def test_varint_round_trip_ignores_what_follows(value: int, rest: bytes) -> None:
    data = encode_varint(value)
    assert peek_varint(b"\xff" + data + rest, 1) == (value, 1 + len(data))
    assert all(peek_varint(data[:i], 0) is None for i in range(len(data)))


@pytest.mark.parametrize("data", ["8000", "ff" * 9 + "02", "ff" * 10, "80" * 11])
def test_varint_needlessly_long_or_too_large_raises_wire_error(data: str) -> None:
    with pytest.raises(WireError):
        peek_varint(bytes.fromhex(data), 0)


@pytest.mark.parametrize("value", [-1, MAX_U64 + 1])
def test_varint_out_of_range_is_our_mistake(value: int) -> None:
    with pytest.raises(LocalError):
        encode_varint(value)


@given(st.integers(-(2**62), 2**62))
def test_zigzag_round_trip(value: int) -> None:
    assert unzigzag(zigzag(value)) == value
    assert zigzag(value) <= 2 * abs(value)


@given(MESSAGES)
def test_message_whole_and_byte_by_byte(message: Message) -> None:
    data = encode_message(message)
    (whole,) = messages_in(MessageSplitter(), data)
    assert same(whole, message)
    splitter = MessageSplitter()
    for i in range(len(data) - 1):
        assert messages_in(splitter, data[i : i + 1]) == []
        assert splitter.pending()
    (last,) = messages_in(splitter, data[-1:])
    assert same(last, message)
    assert not splitter.pending()


@given(MESSAGES, MESSAGES)
def test_message_leaves_what_follows_to_the_next(first: Message, second: Message) -> None:
    got = messages_in(MessageSplitter(), encode_message(first) + encode_message(second))
    assert [encode_message(m) for m in got] == [encode_message(first), encode_message(second)]


@given(st.binary(max_size=300))
def test_message_arbitrary_bytes_raise_only_wire_error(data: bytes) -> None:
    try:
        messages_in(MessageSplitter(), data)
    except WireError:
        pass


@given(MESSAGES, st.data())
def test_message_flipped_byte_raises_only_wire_error(message: Message, data: st.DataObject) -> None:
    raw = bytearray(encode_message(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        messages_in(MessageSplitter(), bytes(raw))
    except WireError:
        pass


def test_message_announced_too_long_is_refused_before_it_is_stored() -> None:
    with pytest.raises(WireError, match="limit"):
        messages_in(MessageSplitter(), b"\x03" + encode_varint(MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize("size", [0, 1, 5])
def test_message_with_bytes_too_many_raises_wire_error(size: int) -> None:
    body = encode_message(Ping(77))[2:] + b"x" * (size + 1)
    with pytest.raises(WireError, match="too many"):
        decode_message(Ping.kind, body)


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31mred", "x" * 257])
def test_texts_that_could_harm_a_terminal_cannot_be_sent_or_received(text: str) -> None:
    with pytest.raises(LocalError):
        Bye(text)
    raw = text.encode()
    with pytest.raises(WireError):
        decode_message(Bye.kind, encode_varint(len(raw)) + raw)


@given(st.text(max_size=400))
def test_clipped_sentence_can_always_be_sent(text: str) -> None:
    assert same(Bye(clip_sentence(text)), Bye(clip_sentence(text)))


@pytest.mark.parametrize(
    "changes",
    [
        {"fps": 0}, {"fps": float("nan")}, {"fps": 1000}, {"avatar_id": "xyz"},
        {"avatar_id": "A" * 64}, {"avatar_size": 0}, {"schema": "a\tb"}, {"name": "ü" * 200},
    ],
)  # fmt: skip
def test_invalid_offer_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalError):
        make_offer(**changes)


def test_offer_compares_itself_with_its_avatar() -> None:
    offer = make_offer()
    low = BOUNDS.low.copy()
    low[3] = -0.5
    assert offer.mismatch("arkit46", "truth", BOUNDS) is None
    assert "schema" in str(offer.mismatch("fw46", "truth", BOUNDS))
    assert "mediapipe" in str(offer.mismatch("arkit46", "mediapipe", BOUNDS))
    assert "bounds" in str(offer.mismatch("arkit46", "truth", type(BOUNDS)(low, BOUNDS.high)))


def test_reader_refuses_a_field_beyond_its_limit_before_reading_it() -> None:
    with pytest.raises(WireError, match="limit is 10"):
        Reader(encode_varint(2**40), "a test").blob(10)


FRAMES = st.builds(
    EncodedFrame,
    st.integers(0, 2**31 - 1),
    st.booleans(),
    st.integers(-(10**9), 10**12).map(lambda ms: ms / 1000),
    st.binary(min_size=1, max_size=200),
)


def frames_in(reader: FrameReader, data: bytes) -> list[EncodedFrame]:
    reader.feed(data)
    out = []
    while (got := reader.next_frame()) is not None:
        out.append(got)
    return out


@given(st.lists(FRAMES, max_size=6), st.sampled_from([7.5, 20.0, 29.97]), st.integers(1, 40))
def test_frames_round_trip_in_pieces_of_any_size(
    frames: list[EncodedFrame], fps: float, piece: int
) -> None:
    frames = sorted({f.sequence: f for f in frames}.values(), key=lambda f: f.sequence)
    writer, reader = FrameWriter(fps), FrameReader(fps)
    data = b"".join(writer.write(f) for f in frames)
    got: list[EncodedFrame] = []
    for i in range(0, len(data), piece):
        got += frames_in(reader, data[i : i + piece])
    assert [(f.sequence, f.key, f.payload) for f in got] == [
        (f.sequence, f.key, f.payload) for f in frames
    ]
    assert [round(f.capture_time * 1000) for f in got] == [
        round(f.capture_time * 1000) for f in frames
    ]
    assert not reader.pending()


def test_frame_sequences_wrap_around() -> None:
    writer, reader = FrameWriter(20), FrameReader(20)
    sequences = [2**31 - 1, 2**32 - 2, 2**32 - 1, 0, 1]
    data = b"".join(writer.write(EncodedFrame(s, False, 0.0, b"x")) for s in sequences)
    assert [f.sequence for f in frames_in(reader, data)] == sequences


def test_usual_frame_has_two_bytes_of_header() -> None:
    writer = FrameWriter(20)
    writer.write(EncodedFrame(0, True, 5000.0, b"k" * 49))
    for i in range(1, 50):
        jittered = 5000 + i * 0.05 + 0.03 * (i % 2)
        assert len(writer.write(EncodedFrame(i, False, jittered, b"p" * 31))) == 33


@given(st.binary(max_size=200))
def test_frames_arbitrary_bytes_raise_only_wire_error(data: bytes) -> None:
    try:
        frames_in(FrameReader(20), data)
    except WireError:
        pass


@pytest.mark.parametrize(
    "data", ["00", "01", "0300", "0304", "030201", "030200", encode_varint(4097 << 1).hex()]
)
def test_frame_with_bad_size_flags_or_gap(data: str) -> None:
    raw = bytes.fromhex(data)
    if data == "030201":  # a gap of one: legal, and more bytes are awaited
        assert frames_in(FrameReader(20), raw) == []
    elif data == "01":
        with pytest.raises(WireError):
            frames_in(FrameReader(20), raw)
    else:
        with pytest.raises(WireError):
            frames_in(FrameReader(20), raw + b"\0\0")


def test_frame_with_impossible_time_raises_wire_error() -> None:
    with pytest.raises(WireError, match="time"):
        frames_in(FrameReader(20), b"\x02" + encode_varint(2**60) + b"x")


@pytest.mark.parametrize(
    "bad",
    [
        EncodedFrame(5, False, 0.0, b""),
        EncodedFrame(5, False, 0.0, b"x" * (MAX_FRAME_BYTES + 1)),
        EncodedFrame(3, False, 0.0, b"x"),
        EncodedFrame(5, False, 1e15, b"x"),
    ],
)
def test_frame_that_cannot_be_written_is_our_mistake(bad: EncodedFrame) -> None:
    with pytest.raises(LocalError):
        check_frame(bad, after=4)


def test_document_examples_are_what_the_code_writes() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    examples: list[tuple[str, bytes]] = [
        ("Refuse(BUSY)", encode_message(Refuse(Reason.BUSY, "busy"))),
        ("Bye", encode_message(Bye("done"))),
        ("Ping", encode_message(Ping(1_000_000))),
        ("Pong", encode_message(Pong(1_000_000, 2_000_300, 2_000_300))),
    ]
    writer = FrameWriter(20)
    examples.append(("first frame", writer.write(EncodedFrame(0, True, 12.0, b"\xaa" * 3))))
    examples.append(("usual frame", writer.write(EncodedFrame(1, False, 12.052, b"\xbb" * 3))))
    examples.append(("after a gap", writer.write(EncodedFrame(4, True, 12.2, b"\xcc" * 3))))
    for name, data in examples:
        (documented,) = re.findall(rf"^\| {re.escape(name)}[ :].*\| `([0-9a-f ]+)` \|$", text, re.M)
        assert bytes.fromhex(documented) == data, f"{name}: {data.hex(' ')}"
