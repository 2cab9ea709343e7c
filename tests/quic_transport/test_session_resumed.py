"""A call that comes back: frames behind the hello, to a peer that is presumed to receive."""

from __future__ import annotations

import pytest

from quic_transport import messages as msg
from quic_transport.errors import LocalError
from quic_transport.events import (
    FrameReceived,
    Ringing,
)
from quic_transport.session import Session
from tests.quic_transport.simulated import (
    AVATAR,
    TOKEN,
    frame,
    make_offer,
    make_session,
)


def resumed(mode: str, presumed: msg.Hello | None) -> Session:
    return Session(
        is_client=True, token=TOKEN, offer=make_offer(mode=mode), avatar=AVATAR,
        call_id=b"the call", attempt=1, presumed=presumed,
    )  # fmt: skip


def test_frames_leave_behind_the_hello_to_a_peer_that_is_presumed_to_receive() -> None:
    peer = msg.Hello(b"", True, None, b"the call", 0, 5)
    client = resumed("datagram", peer)
    server = make_session(is_client=False, sends=False, receives=True)
    client.start(1.0)
    server.start(1.0)
    assert client.presumes
    assert client.can_send_frame(1.0)
    assert client.reference() is None
    assert client.send_frame(frame(7, 1.0, key=True), 1.0)
    (hello,) = client.data_to_send(1.0)
    early = client.datagram_to_send(1.0)
    assert early is not None
    server.receive_datagram(early, 1.05)  # it overtook the hello
    assert server.next_event() is None
    server.receive(0, hello.data, False, 1.1)
    assert isinstance(server.next_event(), Ringing)
    server.accept(1.1)
    server.receive_datagram(early, 1.1)
    events = [server.next_event(), server.next_event()]
    assert isinstance(events[1], FrameReceived)
    assert events[1].frame.sequence == 7
    for out in server.data_to_send(1.1):
        client.receive(out.stream_id, out.data, out.end, 1.2)
    assert not client.presumes
    assert client.can_send_frame(1.2)
    assert client.counts()[0].frames == 1


def test_peer_that_was_presumed_to_receive_and_does_not_gets_no_more() -> None:
    peer = msg.Hello(b"", True, None, b"the call", 0, 5)
    client = Session(
        is_client=True, token=TOKEN, offer=make_offer(mode="datagram"), avatar=AVATAR,
        receives=True, call_id=b"the call", attempt=1, presumed=peer,
    )  # fmt: skip
    client.start(1.0)
    assert client.send_frame(frame(7, 1.0, key=True), 1.0)
    now_sends = msg.Hello(b"", False, make_offer(mode="datagram"), b"the call", 1, 5)
    client.receive(0, msg.encode_message(now_sends), False, 1.1)
    assert not client.can_send_frame(1.1)
    assert client.next_timer(1.1) is not None


@pytest.mark.parametrize("mode", ["stream", "stream-per-gop"])
def test_streams_wait_for_the_hello(mode: str) -> None:
    client = resumed(mode, msg.Hello(b"", True, None, b"the call", 0, 5))
    client.start(1.0)
    assert not client.presumes
    with pytest.raises(LocalError, match="not possible"):
        client.send_frame(frame(0, 1.0, key=True), 1.0)
