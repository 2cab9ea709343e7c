"""Who is refused, by which side, and what both of them are told."""

from __future__ import annotations

import pytest

from quic_transport import messages as msg
from quic_transport.errors import LocalError
from quic_transport.events import (
    CallEnded,
    CallOpened,
    Ending,
    Event,
    Ringing,
)
from quic_transport.offer import Reason
from quic_transport.session import Session
from tests.quic_transport.sessions import caller_and_receiver
from tests.quic_transport.simulated import (
    TOKEN,
    Simulation,
    make_offer,
    make_session,
)

CLIENT, SERVER = 0, 1


def refused(client: Session, server: Session) -> tuple[CallEnded, CallEnded]:
    sim = Simulation(client, server)
    sim.run(3)
    assert not any(isinstance(e, CallOpened) for e in sim.events[CLIENT])
    ends = sim.end(CLIENT), sim.end(SERVER)
    assert {e.how for e in ends} == {Ending.WE_REFUSED, Ending.PEER_REFUSED}
    assert ends[0].reason is ends[1].reason
    return ends


def test_wrong_token_is_refused_before_anybody_rings() -> None:
    client = make_session(is_client=True, sends=True, receives=False, token=b"x" * 16)
    server = make_session(is_client=False, sends=False, receives=True)
    sim = Simulation(client, server)
    sim.run(3)
    assert not any(isinstance(e, Ringing) for e in sim.events[SERVER])
    assert sim.end(CLIENT).reason is Reason.WRONG_TOKEN
    assert isinstance(sim.end(CLIENT).error(), LocalError)
    assert "ask for" in sim.end(CLIENT).sentence


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": "flame100"}, Reason.SCHEMA),
        ({"profile": "telepathy"}, Reason.PROFILE),
        ({"mode": "carrier pigeon"}, Reason.PROFILE),
        ({"avatar_size": 65 * 2**20}, Reason.AVATAR),
    ],
)
@pytest.mark.parametrize("sender_is_client", [True, False])
def test_offer_that_does_not_fit_is_refused(
    changes: dict[str, object], reason: Reason, sender_is_client: bool
) -> None:
    offer = make_offer(**changes)  # type: ignore[arg-type]
    client, server = (
        make_session(
            is_client=is_client, sends=is_client == sender_is_client,
            receives=is_client != sender_is_client, offer=offer if is_client == sender_is_client
            else None, avatar=None,
        )
        for is_client in (True, False)
    )  # fmt: skip
    ends = refused(client, server)
    assert ends[0].reason is reason


@pytest.mark.parametrize("sends", [True, False])
def test_two_senders_or_two_receivers_have_nothing_to_say(sends: bool) -> None:
    client, server = (
        make_session(is_client=c, sends=sends, receives=not sends) for c in (True, False)
    )
    assert refused(client, server)[0].reason is Reason.ROLES


@pytest.mark.parametrize("version", [1, 2, 4])
def test_other_version_is_refused_by_its_first_field(version: int) -> None:
    server = make_session(is_client=False, sends=False, receives=True)
    server.start(0)
    body = bytes([version]) + b"\x10" + TOKEN + b"whatever that version puts here"
    server.receive(0, bytes([msg.Hello.kind, len(body)]) + body, False, 0.1)
    (out,) = server.data_to_send(0.1)
    kind, length = out.data[0], out.data[1]
    refusal = msg.decode_message(kind, out.data[2 : 2 + length])
    assert isinstance(refusal, msg.Refuse)
    assert refusal.reason is Reason.VERSION
    assert "update both" in refusal.sentence


def test_owner_may_refuse_a_ringing_call() -> None:
    def owner(session: Session, event: Event, now: float) -> None:
        if isinstance(event, Ringing):
            session.refuse(Reason.BUSY, "in another call", now)

    client = make_session(is_client=True, sends=True, receives=False)
    server = make_session(is_client=False, sends=False, receives=True)
    sim = Simulation(client, server, owner=owner)
    sim.run(3)
    assert sim.end(CLIENT).reason is Reason.BUSY
    assert sim.end(CLIENT).sentence == "the peer refused: in another call"


def test_silent_stranger_is_dropped_after_the_hello_time() -> None:
    for is_client in (True, False):
        session = make_session(is_client=is_client, sends=is_client, receives=not is_client)
        session.start(10)
        assert session.next_timer(10) == 35
        session.handle_timer(35)
        end = session.next_event()
        assert isinstance(end, CallEnded)
        assert end.reason is Reason.TIMEOUT
        assert session.close_wanted() is end


@pytest.mark.parametrize(
    ("code", "how", "reason"),
    [
        (0x100, Ending.PEER_HUNG_UP, Reason.HUNG_UP),
        (0x103, Ending.PEER_REFUSED, Reason.BUSY),
        (0x1FF, Ending.PEER_REFUSED, Reason.FAILED),
        (0, Ending.PEER_LOST, Reason.FAILED),
        (7, Ending.PEER_LOST, Reason.FAILED),
    ],
)
def test_closed_connection_is_told_by_its_code(code: int, how: Ending, reason: Reason) -> None:
    sim = caller_and_receiver()
    sim.run(1)
    sim.sessions[CLIENT].transport_closed(code, "bad \x1b[31m words")
    sim.pump(CLIENT)
    end = sim.end(CLIENT)
    assert (end.how, end.reason) == (how, reason)
    assert end.sentence.isprintable()
