"""How an avatar crosses beside a call: resumed, verified, only where it may, at its own pace."""

from __future__ import annotations

import hashlib
import os
import random

import pytest

from quic_transport.errors import LocalError, RemoteError
from quic_transport.events import (
    AvatarProgress,
    AvatarReceived,
    CallOpened,
    Ending,
    Event,
)
from quic_transport.offer import Offer, Reason
from quic_transport.session import Session
from tests.quic_transport.sessions import knows_the_avatar
from tests.quic_transport.simulated import (
    AVATAR,
    TOKEN,
    Simulation,
    default_owner,
    make_offer,
    make_session,
    talk,
)

CLIENT, SERVER = 0, 1


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
