"""Whole calls between two sessions in virtual time, and what a session does with a bad peer."""

from __future__ import annotations

import hashlib
import itertools
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport import messages as msg
from quic_transport.call_state import CALLS, MESSAGES, State
from quic_transport.errors import LocalError, RemoteError
from quic_transport.events import (
    AvatarProgress,
    AvatarReceived,
    CallEnded,
    CallOpened,
    Ending,
    Event,
    FrameReceived,
    KeyframeWanted,
    PeerReady,
    PeerStats,
    Ringing,
)
from quic_transport.frame_stream import FrameWriter
from quic_transport.limits import Limits
from quic_transport.offer import Offer, Reason
from quic_transport.outbound import Progress
from quic_transport.session import Session
from tests.quic_transport.simulated import (
    AVATAR,
    TOKEN,
    Simulation,
    default_owner,
    frame,
    make_offer,
    make_session,
    talk,
)

CLIENT, SERVER = 0, 1


def caller_and_receiver(**kwargs: object) -> Simulation:
    """A client that sends to a server that receives."""
    client = make_session(is_client=True, sends=True, receives=False)
    server = make_session(is_client=False, sends=False, receives=True)
    return Simulation(client, server, **kwargs)  # type: ignore[arg-type]


# Whole calls


@pytest.mark.parametrize("roles", [(True, False), (False, True), (True, True)])
def test_call_brings_every_frame_in_order(roles: tuple[bool, bool]) -> None:
    """Client sends, server sends, both send."""
    sessions = [
        make_session(is_client=side == CLIENT, sends=roles[side], receives=roles[1 - side])
        for side in (CLIENT, SERVER)
    ]
    sim = Simulation(*sessions, delay_s=0.04)
    sim.run(0.5)
    for side in (CLIENT, SERVER):
        if roles[side]:
            before = len(sim.frames(1 - side))
            sent = talk(sim, side, 10)
            sim.run(sim.now + 0.2)
            got = sim.frames(1 - side)[before:]
            assert [e.frame.sequence for e in got] == sent == list(range(200))
            assert all(e.arrival - e.frame.capture_time == pytest.approx(0.04, abs=1e-3)
                       for e in got)  # fmt: skip
            avatars = [e for e in sim.events[1 - side] if isinstance(e, AvatarReceived)]
            assert [a.data for a in avatars] == [AVATAR]
    sessions[CLIENT].hang_up("enough", sim.now)
    sim.pump(CLIENT)
    sim.run(sim.now + 3)
    assert sim.end(CLIENT).how is Ending.HUNG_UP
    assert sim.end(SERVER).how is Ending.PEER_HUNG_UP
    assert sim.end(SERVER).sentence == "enough"
    assert sim.end(CLIENT).error() is None
    assert sim.end(SERVER).error() is None


def test_ready_stats_and_counts_cross() -> None:
    sim = caller_and_receiver()
    sim.run(1)
    sim.sessions[SERVER].send_ready()
    sim.sessions[SERVER].send_stats({"rendered": 3, "psnr": 29.5})
    sim.pump(SERVER)
    talk(sim, CLIENT, 2)
    sim.run(sim.now + 1)
    assert PeerReady() in sim.events[CLIENT]
    assert PeerStats({"rendered": 3.0, "psnr": 29.5}) in sim.events[CLIENT]
    sent, _ = sim.sessions[CLIENT].counts()
    _, received = sim.sessions[SERVER].counts()
    assert (sent.frames, sent.keyframes) == (received.frames, received.keyframes) == (40, 1)
    assert sent.payload_bytes == received.payload_bytes == 40 * 31
    assert sent.header_bytes < 2.1 * 40


def test_receiver_knows_the_senders_clock() -> None:
    sim = caller_and_receiver(delay_s=0.03, clock_offset_s=1234.5)
    talk(sim, CLIENT, 3)
    last = sim.frames(SERVER)[-1]
    ours = sim.sessions[SERVER].clock.to_ours(last.frame.capture_time)
    assert last.arrival - ours == pytest.approx(0.03, abs=2e-3)


def test_frames_before_a_goodbye_still_count_when_they_are_behind() -> None:
    sim = caller_and_receiver(bytes_per_s=400)  # a frame takes 80 ms, the goodbye passes it
    sim.run(60)
    client = sim.sessions[CLIENT]
    for i in range(3):
        client.send_frame(frame(i, sim.now, key=i == 0), sim.now)
    client.hang_up("done", sim.now)
    sim.pump(CLIENT)
    sim.run(sim.now + 5)
    assert len(sim.frames(SERVER)) == 3
    assert sim.end(SERVER).how is Ending.PEER_HUNG_UP


def test_dead_peer_is_reported_after_half_a_minute() -> None:
    sim = caller_and_receiver()
    talk(sim, CLIENT, 30)
    sim.cut = True
    for side in (CLIENT, SERVER):
        assert not any(isinstance(e, CallEnded) for e in sim.events[side])
    sim.run(sim.now + 29)
    for side in (CLIENT, SERVER):
        assert not any(isinstance(e, CallEnded) for e in sim.events[side])
    sim.run(sim.now + 2)
    for side in (CLIENT, SERVER):
        end = sim.end(side)
        assert end.how is Ending.PEER_LOST
        assert isinstance(end.error(), RemoteError)
        assert "silent" in end.sentence


def test_quiet_peer_is_not_lost() -> None:
    sim = caller_and_receiver()
    sim.run(600)
    for side in (CLIENT, SERVER):
        assert sim.sessions[side].state is State.OPEN


def test_side_that_was_starved_of_cpu_does_not_blame_its_peer() -> None:
    sim = caller_and_receiver()
    sim.run(10)
    server = sim.sessions[SERVER]
    timer = server.next_timer(sim.now)
    assert timer is not None
    server.handle_timer(timer + 60)  # our process slept for a minute
    assert server.state is State.OPEN
    server.handle_timer(timer + 60 + 30.1)
    assert server.state is State.CLOSED


# Stale data


def test_slow_link_drops_before_the_predictor_and_keeps_latency_low() -> None:
    """500 B/s carry 15 frames/s of 33 bytes; the sender has 20."""
    sim = caller_and_receiver(bytes_per_s=500)
    sim.run(60)
    sent = talk(sim, CLIENT, 60)
    sim.run(sim.now + 2)
    got = sim.frames(SERVER)
    assert [e.frame.sequence for e in got] == sent
    assert 600 < len(got) < 1000
    late = sorted(e.arrival - e.frame.capture_time for e in got)
    assert late[int(0.95 * len(late))] < 0.5
    assert [e.frame.key for e in got].count(True) == 1  # raw drops need no keyframe


def knows_the_avatar(session: Session, event: Event, now: float) -> None:
    if isinstance(event, CallOpened) and session.receiving:
        session.avatar_known(AVATAR)
    else:
        default_owner(session, event, now)


def standing(session: Session, now: float, *, unsent: int, acked: int) -> None:
    """The transport tells a client where it stands with its frames, on stream 2."""
    session.progress(Progress(2, unsent, acked, rtt_s=0.04, min_rtt_s=0.04), now)


def test_full_queue_is_dropped_as_a_whole_and_a_keyframe_follows() -> None:
    sim = caller_and_receiver(owner=knows_the_avatar)
    sim.run(5)
    client = sim.sessions[CLIENT]
    assert client.send_frame(frame(0, sim.now, key=True), sim.now)
    client.data_to_send(sim.now)  # handed over, and then the transport stands still
    standing(client, sim.now, unsent=34, acked=0)
    assert all(client.send_frame(frame(i, sim.now), sim.now) for i in (1, 2, 3))
    assert not client.can_send_frame(sim.now)
    assert not client.send_frame(frame(4, sim.now), sim.now)  # the caller did not ask
    assert client.keyframe_due()
    assert client.next_event() == KeyframeWanted("queue")
    assert not client.send_frame(frame(5, sim.now), sim.now)
    standing(client, sim.now, unsent=0, acked=999)
    assert client.can_send_frame(sim.now)
    assert client.send_frame(frame(6, sim.now, key=True), sim.now)
    assert not client.keyframe_due()
    assert client.counts()[0].dropped == 5


def test_queue_that_waits_too_long_goes_as_a_whole() -> None:
    sim = caller_and_receiver(owner=knows_the_avatar)
    sim.run(5)
    client = sim.sessions[CLIENT]
    client.send_frame(frame(0, sim.now, key=True), sim.now)
    client.data_to_send(sim.now)
    standing(client, sim.now, unsent=34, acked=0)
    client.send_frame(frame(1, sim.now), sim.now)
    later = sim.now + 0.5
    assert not client.can_send_frame(later)
    standing(client, later, unsent=0, acked=999)
    assert [out for out in client.data_to_send(later) if out.stream_id == 2] == []
    assert client.keyframe_due()
    assert client.can_send_frame(later)


def test_unconfirmed_frames_stop_the_sender_even_if_the_transport_takes_more() -> None:
    sim = caller_and_receiver(owner=knows_the_avatar)
    sim.run(5)
    client, now = sim.sessions[CLIENT], sim.now
    client.send_frame(frame(0, now, key=True), now)
    client.data_to_send(now)
    standing(client, now, unsent=0, acked=0)
    assert client.can_send_frame(now + 0.28)
    assert not client.can_send_frame(now + 0.30)
    standing(client, now + 0.31, unsent=0, acked=999)
    assert client.can_send_frame(now + 0.31)
    assert not client.keyframe_due()


def test_keyframe_requests_are_limited_at_both_ends() -> None:
    sim = caller_and_receiver()
    talk(sim, CLIENT, 1)
    server = sim.sessions[SERVER]
    asked = 0
    for _ in range(100):  # a decoder that complains about every frame of two seconds
        asked += server.request_keyframe(sim.now)
        sim.pump(SERVER)
        sim.run(sim.now + 0.02)
    assert 6 <= asked <= 9
    wanted = [e for e in sim.events[CLIENT] if isinstance(e, KeyframeWanted)]
    assert len(wanted) == asked
    talk(sim, CLIENT, 0.2)
    assert not sim.sessions[CLIENT].keyframe_due()
    assert sim.sessions[SERVER].counts()[1].keyframes == 2


# The avatar


def avatar_call(
    avatar: bytes, owner: object = default_owner, handed: bytes | None = None, **kwargs: float
) -> Simulation:
    offer = make_offer(avatar)
    client = make_session(
        is_client=True, sends=True, receives=False, offer=offer, avatar=handed or avatar
    )
    server = make_session(is_client=False, sends=False, receives=True)
    return Simulation(client, server, owner=owner, **kwargs)  # type: ignore[arg-type]


def test_avatar_crosses_beside_the_frames_without_delaying_them() -> None:
    """1 Mbps, 400 kB: 3.2 s at best. No frame may wait for more than 60 ms of queue."""
    avatar = random.Random(3).randbytes(400_000)
    sim = avatar_call(avatar, bytes_per_s=125_000, delay_s=0.02)
    talk(sim, CLIENT, 8)
    received = [e for e in sim.events[SERVER] if isinstance(e, AvatarReceived)]
    assert [e.data for e in received] == [avatar]
    late = [e.arrival - e.frame.capture_time for e in sim.frames(SERVER)]
    assert len(late) > 150
    assert sorted(late)[int(0.95 * len(late))] < 0.02 + 0.08
    for side, sending in ((CLIENT, True), (SERVER, False)):
        progress = [e for e in sim.events[side] if isinstance(e, AvatarProgress)]
        assert progress[-1] == AvatarProgress(400_000, 400_000, sending)


@pytest.mark.parametrize("have", [1, 5000, len(AVATAR) - 1, len(AVATAR)])
def test_avatar_is_resumed_where_it_broke_off(have: int) -> None:
    def owner(session: Session, event: Event, now: float) -> None:
        if isinstance(event, CallOpened) and session.receiving:
            session.request_avatar(AVATAR[:have])
        else:
            default_owner(session, event, now)

    sim = avatar_call(AVATAR, owner)
    sim.run(2)
    assert [e.data for e in sim.events[SERVER] if isinstance(e, AvatarReceived)] == [AVATAR]


def test_avatar_with_a_wrong_beginning_is_asked_for_again() -> None:
    def owner(session: Session, event: Event, now: float) -> None:
        if isinstance(event, CallOpened) and session.receiving:
            session.request_avatar(b"something else")
        else:
            default_owner(session, event, now)

    sim = avatar_call(AVATAR, owner)
    sim.run(2)
    assert [e.data for e in sim.events[SERVER] if isinstance(e, AvatarReceived)] == [AVATAR]


def test_avatar_that_is_not_the_announced_one_is_refused() -> None:
    sim = avatar_call(AVATAR, handed=bytes(len(AVATAR)))
    sim.run(3)
    assert sim.end(SERVER).how is Ending.WE_REFUSED
    assert "SHA-256" in sim.end(SERVER).sentence
    assert sim.end(CLIENT).how is Ending.PEER_REFUSED
    assert isinstance(sim.end(CLIENT).error(), RemoteError)


def test_partial_avatar_can_be_kept_for_the_next_call() -> None:
    avatar = os.urandom(200_000)
    sim = avatar_call(avatar, bytes_per_s=50_000)
    sim.run(1)
    partial = sim.sessions[SERVER].avatar_partial()
    assert partial is not None
    assert partial[0] == hashlib.sha256(avatar).hexdigest()
    assert 1000 < len(partial[1]) < 100_000
    assert avatar.startswith(partial[1])


def test_avatar_that_is_not_handed_out_ends_the_call_with_a_sentence() -> None:
    client = make_session(is_client=True, sends=True, receives=False, avatar=None)
    server = make_session(is_client=False, sends=False, receives=True)
    sim = Simulation(client, server)
    sim.run(2)
    assert sim.end(CLIENT).reason is Reason.AVATAR
    assert "does not hand out" in sim.end(SERVER).sentence


def test_known_avatar_is_not_sent() -> None:
    sim = avatar_call(AVATAR, knows_the_avatar, bytes_per_s=10_000)
    sim.run(1)
    (got,) = [e for e in sim.events[SERVER] if isinstance(e, AvatarReceived)]
    assert got.cached
    assert not [e for e in sim.events[CLIENT] if isinstance(e, AvatarProgress)]


# Refusals


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


# What is legal when


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


# Bad peers


def open_pair(limits: Limits | None = None) -> Session:
    """A server session in an open call with a sending client that we play."""
    session = make_session(is_client=False, sends=False, receives=True, limits=limits)
    session.start(0)
    session.receive(0, msg.encode_message(msg.Hello(TOKEN, False, make_offer())), False, 0)
    session.accept(0)
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


def test_offer_whose_avatar_has_another_size_is_our_mistake() -> None:
    offer: Offer = make_offer()
    with pytest.raises(LocalError, match="avatar_size"):
        Session(is_client=True, token=TOKEN, offer=offer, avatar=b"short")


def test_pacer_backs_off_on_standing_delay_and_recovers() -> None:
    from quic_transport.avatar_transfer import MIN_WINDOW, START_WINDOW, Pacer

    pacer = Pacer(1e9)
    now = 0.0
    for _ in range(30):
        now += 0.02
        pacer.acked(5000, 0.02, 0.02, now)
    grown = pacer.window
    assert grown > 5 * START_WINDOW
    for _ in range(200):
        now += 0.02
        pacer.acked(1000, 0.12, 0.02, now)
    assert pacer.window == MIN_WINDOW
    for i in range(200):  # single hiccups are no standing delay
        now += 0.02
        pacer.acked(1000, 0.12 if i % 8 else 0.02, 0.02, now)
    assert pacer.window > MIN_WINDOW
    assert pacer.budget(0, now) % 1100 == 0


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
