"""What a session does with a peer that misuses streams, floods or lies."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport import messages as msg
from quic_transport.call_state import State
from quic_transport.events import (
    CallEnded,
)
from quic_transport.frame_stream import FrameWriter
from quic_transport.limits import Limits
from quic_transport.session import Session
from tests.quic_transport.sessions import ended_by, session_in
from tests.quic_transport.simulated import (
    AVATAR,
    TOKEN,
    frame,
    make_offer,
    make_session,
)


def open_pair(limits: Limits | None = None) -> Session:
    """A server session in an open call with a sending client that we play."""
    session = make_session(is_client=False, sends=False, receives=True, limits=limits)
    session.start(0)
    session.receive(0, msg.encode_message(msg.Hello(TOKEN, False, make_offer())), False, 0)
    session.accept(0)
    return session


@given(
    st.sampled_from([State.CALLING, State.LISTENING, State.RINGING, State.OPEN, State.DRAINING]),
    st.lists(
        st.tuples(st.sampled_from([0, 1, 2, 3, 6, 7, 400]), st.binary(max_size=80), st.booleans()),
        max_size=8,
    ),
)
def test_arbitrary_bytes_in_any_state_end_the_call_or_are_harmless(
    state: State, pieces: list[tuple[int, bytes, bool]]
) -> None:
    session = session_in(state)
    for i, (stream, data, end) in enumerate(pieces):
        session.receive(stream, data, end, 0.1 * i)
        session.data_to_send(0.1 * i)
    ends = [e for e in iter(session.next_event, None) if isinstance(e, CallEnded)]
    assert len(ends) <= 1
    assert bool(ends) == (session.state is State.CLOSED)


@pytest.mark.parametrize(
    ("stream", "data", "end", "sentence"),
    [
        (3, b"\x01", False, "none that the peer may send on"),
        (4, b"\x01", False, "none that the peer may send on"),
        (2, b"\x07", False, "unknown kind"),
        (2, b"", True, "before it said"),
        (2, b"\x02abc", False, "not requested"),
        (2, b"\x01\x06", True, "truncated"),
        (0, b"", True, "mid-call"),
        (0, b"\x63", False, "no message of kind"),
    ],
)
def test_misused_stream_is_named(stream: int, data: bytes, end: bool, sentence: str) -> None:
    session = open_pair()
    session.receive(stream, data + (b"\0" if data == b"\x63" else b""), end, 0)
    assert sentence in ended_by(session)


def test_second_stream_of_frames_is_refused() -> None:
    session = open_pair()
    session.receive(2, b"\x01", False, 0)
    session.receive(6, b"\x01", False, 0)
    assert "second stream" in ended_by(session)


def test_cut_off_stream_is_refused() -> None:
    session = open_pair()
    session.stream_reset(2, 0)
    assert "cut" in ended_by(session)


def test_avatar_longer_than_announced_is_refused_at_once() -> None:
    session = open_pair()
    session.request_avatar()
    session.receive(2, b"\x02" + bytes(len(AVATAR) + 1), False, 0)
    assert "longer" in ended_by(session)


def test_flood_of_messages_is_refused() -> None:
    session = open_pair()
    for i in itertools.count():
        session.receive(0, msg.encode_message(msg.Ping(i)), False, 1 + i * 1e-3)
        if session.state is not State.OPEN:
            break
    assert 200 <= i <= 250
    assert "too many" in ended_by(session)


def test_flood_of_frames_is_refused_in_bounded_memory() -> None:
    session = open_pair()
    writer = FrameWriter(20)
    flood = b"".join(writer.write(frame(i, 0, size=1)) for i in range(5000))
    session.receive(2, b"\x01" + flood, False, 0)
    events = list(iter(session.next_event, None))
    assert 1000 < len(events) < 1100
    assert "faster" in ended_by(session)


def test_flood_before_the_hello_is_refused() -> None:
    session = session_in(State.CALLING)
    for i in range(5):
        session.receive(3 + 4 * i, bytes(100_000), False, 0)
    assert "before the hello" in ended_by(session)


def test_stream_that_overtakes_the_hello_is_kept() -> None:
    session = session_in(State.CALLING)
    data = b"\x01" + FrameWriter(20).write(frame(0, 1.0, key=True))
    session.receive(3, data, False, 0.1)
    session.receive(0, msg.encode_message(msg.Hello(b"", True, make_offer())), False, 0.2)
    kinds = [type(e).__name__ for e in iter(session.next_event, None)]
    assert kinds == ["CallOpened", "FrameReceived"]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (msg.AvatarRequest("0" * 64, 0), "not offered"),
        (msg.AvatarRequest(make_offer().avatar_id, len(AVATAR) + 1), "beyond its end"),
    ],
)
def test_request_for_what_was_not_offered_is_refused(
    request_: msg.AvatarRequest, sentence: str
) -> None:
    session = session_in(State.OPEN)
    session.receive(0, msg.encode_message(request_), False, 0)
    assert sentence in ended_by(session)


def test_avatar_requested_twice_at_once_is_refused() -> None:
    session = session_in(State.OPEN)
    request = msg.encode_message(msg.AvatarRequest(make_offer().avatar_id, 0))
    session.receive(0, request + request, False, 0)
    assert "twice" in ended_by(session)
