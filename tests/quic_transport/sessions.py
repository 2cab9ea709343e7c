"""Pairs of sessions, and sessions in a given state, for the tests of sessions."""

from __future__ import annotations

from quic_transport import messages as msg
from quic_transport.call_state import State
from quic_transport.events import (
    CallOpened,
    Event,
)
from quic_transport.offer import Reason
from quic_transport.session import Session
from tests.quic_transport.simulated import (
    AVATAR,
    TOKEN,
    Simulation,
    default_owner,
    make_offer,
    make_session,
)


def caller_and_receiver(**kwargs: object) -> Simulation:
    """A client that sends to a server that receives."""
    client = make_session(is_client=True, sends=True, receives=False)
    server = make_session(is_client=False, sends=False, receives=True)
    return Simulation(client, server, **kwargs)  # type: ignore[arg-type]


def knows_the_avatar(session: Session, event: Event, now: float) -> None:
    if isinstance(event, CallOpened) and session.receiving:
        session.avatar_known(AVATAR)
    else:
        default_owner(session, event, now)


def session_in(state: State) -> Session:
    """A sending and receiving session in `state`; a client only where it must be."""
    is_client = state is State.CALLING
    session = make_session(is_client=is_client, sends=True, receives=True)
    if state is State.IDLE:
        return session
    session.start(0)
    if state in (State.CALLING, State.LISTENING):
        return session
    session.receive(0, msg.encode_message(msg.Hello(TOKEN, True, make_offer())), False, 0)
    if state is not State.RINGING:
        session.accept(0)
    if state is State.DRAINING:
        session.receive(0, msg.encode_message(msg.Bye("")), False, 0)
    if state is State.CLOSING:
        session.hang_up("", 0)
    if state is State.CLOSED:
        session.transport_closed(0x100, "")
    while session.next_event() is not None:
        pass
    session.data_to_send(0)
    assert session.state is state
    return session


def ended_by(session: Session) -> str:
    """The sentence of the protocol error that a session answered with."""
    assert session.state is State.CLOSING
    data = b"".join(out.data for out in session.data_to_send(0) if out.stream_id == 0)
    splitter = msg.MessageSplitter()
    splitter.feed(data)
    said = []
    while (raw := splitter.next_raw()) is not None:
        said.append(msg.decode_message(*raw))
    last = said[-1]
    assert isinstance(last, msg.Refuse)
    assert last.reason is Reason.PROTOCOL
    return last.sentence
