"""Whole calls between two sessions in virtual time, and that nothing stale is ever sent."""

from __future__ import annotations

import pytest

from quic_transport.call_state import State
from quic_transport.errors import RemoteError
from quic_transport.events import (
    AvatarReceived,
    CallEnded,
    Ending,
    KeyframeWanted,
    PeerReady,
    PeerStats,
)
from quic_transport.outbound import Progress
from quic_transport.session import Session
from tests.quic_transport.sessions import caller_and_receiver, knows_the_avatar
from tests.quic_transport.simulated import (
    AVATAR,
    Simulation,
    frame,
    make_session,
    talk,
)

CLIENT, SERVER = 0, 1


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
