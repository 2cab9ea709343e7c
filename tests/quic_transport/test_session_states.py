"""What is legal in which state of a session, and what any bytes do in any of them."""

from __future__ import annotations

import pytest

from quic_transport import messages as msg
from quic_transport.call_state import CALLS, MESSAGES, State
from quic_transport.errors import LocalError
from quic_transport.events import (
    Ending,
)
from quic_transport.offer import Reason
from tests.quic_transport.sessions import ended_by, session_in
from tests.quic_transport.simulated import (
    AVATAR,
    TOKEN,
    frame,
    make_offer,
    make_session,
)

EXAMPLES: list[msg.Message] = [
    msg.Hello(TOKEN, True, make_offer()),
    msg.Refuse(Reason.BUSY, "busy"),
    msg.Bye(""),
    msg.AvatarRequest(make_offer().avatar_id, 0),
    msg.Ready(),
    msg.KeyframeRequest(),
    msg.Ping(1),
    msg.Pong(1, 2, 3),
    msg.Stats({"n": 1}),
]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_every_message_in_every_state_is_legal_or_refused_by_name(
    state: State, message: msg.Message
) -> None:
    session = session_in(state)
    session.receive(0, msg.encode_message(message), False, 0.1)
    if isinstance(message, MESSAGES[state]):
        assert session.close_wanted() is None or session.close_wanted().how is not (  # type: ignore[union-attr]
            Ending.WE_REFUSED
        )
        assert not (session.state is State.CLOSING and state is not State.CLOSING)
    elif state is State.IDLE:
        assert session.state is State.IDLE  # no transport yet: nothing can come
    elif state is State.DRAINING:
        assert session.state is State.CLOSED  # it has said goodbye: nothing to refuse any more
    else:
        sentence = ended_by(session)
        assert type(message).__name__ in sentence
        assert state.value in sentence


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("call", sorted(set().union(*CALLS.values())))
def test_every_call_in_every_state_works_or_names_both(state: State, call: str) -> None:
    session = session_in(state)
    calls = {
        "start": lambda: session.start(0),
        "accept": lambda: session.accept(0),
        "refuse": lambda: session.refuse(Reason.BUSY, "busy", 0),
        "hang_up": lambda: session.hang_up("", 0),
        "send_frame": lambda: session.send_frame(frame(0, 0, key=True), 0),
        "request_keyframe": lambda: session.request_keyframe(0),
        "send_ready": session.send_ready,
        "send_stats": lambda: session.send_stats({}),
        "request_avatar": session.request_avatar,
        "avatar_known": lambda: session.avatar_known(AVATAR),
    }
    if call in CALLS[state]:
        calls[call]()
    else:
        with pytest.raises(LocalError, match=rf"{call} .*{state.value}"):
            calls[call]()


def test_side_that_neither_sends_nor_receives_cannot_be_made() -> None:
    with pytest.raises(LocalError):
        make_session(is_client=True, sends=False, receives=False)
