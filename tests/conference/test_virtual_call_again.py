"""Calls in virtual time whose ends move, or are another process, and what that costs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conference.virtual_call import CLIENT, SERVER, VirtualCall
from netsim.loss import IndependentLoss
from netsim.path import PathSettings
from netsim.settings import LinkSettings, Outage
from quic_transport.events import (
    CallEnded,
    CallOpened,
    Event,
    FrameReceived,
)
from quic_transport.kept_tickets import KeptTickets
from quic_transport.messages import Hello
from quic_transport.session import Session
from quic_transport.tickets import Tickets, TicketStore
from tests.quic_transport.simulated import (
    AVATAR,
    TOKEN,
    coded_frame,
    default_owner,
    make_offer,
    make_session,
)


@dataclass
class Roaming:
    """Datagrams from the client, whose sessions and whose peer's may be replaced."""

    log: list[tuple[float, int]] = field(default_factory=list)
    """When which frame came to the server."""
    keys: list[int] = field(default_factory=list)
    sent: int = 0
    opened: int = 0
    ended: list[CallEnded] = field(default_factory=list)

    def run(
        self, link: LinkSettings, seconds: float, *, restart_at: float = 1e9,
        move_at: tuple[float, ...] = (), stores: tuple[TicketStore | None, ...] = (None, None),
    ) -> VirtualCall:  # fmt: skip
        """`stores`: the tickets of the server's first process, and of its second."""
        offer = make_offer(mode="datagram")

        def pair(attempt: int, presumed: Hello | None = None) -> tuple[Session, Session]:
            client = Session(
                is_client=True, token=TOKEN, offer=offer, avatar=AVATAR, call_id=b"the call",
                attempt=attempt, presumed=presumed,
            )  # fmt: skip
            return client, make_session(is_client=False, sends=False, receives=True)

        sessions = pair(0)
        talks = sessions[CLIENT]

        def on_event(side: int, event: Event, now: float) -> None:
            nonlocal talks
            if isinstance(event, FrameReceived):
                self.log.append((now, event.frame.sequence))
                self.keys += [event.frame.sequence] * event.frame.key
                sessions[SERVER].frame_decoded(event.frame.sequence, now)
            elif isinstance(event, CallOpened) and side == CLIENT:
                talks = sessions[CLIENT]  # not before: the old connection might have been well
                self.opened += 1
            elif isinstance(event, CallEnded):
                self.ended.append(event)
            default_owner(sessions[side], event, now)

        def capture(now: float) -> None:
            speaks = sessions[CLIENT] if sessions[CLIENT].presumes else talks
            if speaks.can_send_frame(now):
                coded = coded_frame(self.sent, now, speaks.reference())
                self.sent += speaks.send_frame(coded, now)

        def restart() -> None:
            nonlocal sessions
            sessions = pair(1, sessions[CLIENT].peer)
            call.restart_server(sessions[SERVER], sessions[CLIENT], stores[1])

        path = PathSettings(link, link)
        call = VirtualCall(*sessions, path, 1, on_event=on_event, tickets=stores[0])
        call.every(0.05, capture)
        call.at(restart_at, restart)
        for at in move_at:
            call.at(at, call.move_client)
        call.run(seconds)
        return call

    def first_after(self, time: float) -> float:
        return next(at for at, _ in self.log if at > time)


@pytest.mark.parametrize("rtt_s", [0.02, 0.1, 0.3])
def test_virtual_call_finds_a_restarted_listener_again(rtt_s: float) -> None:
    call = Roaming()
    call.run(LinkSettings(delay_ms=500 * rtt_s), 30, restart_at=15.01)
    assert call.opened == 2
    assert not call.ended
    back = call.first_after(15.01 + rtt_s)  # what was under way still came to the old one
    assert back - 15.01 < 0.05 + 2 * rtt_s + 0.06  # a frame, its notice, a handshake, a frame
    first = next(s for at, s in call.log if at == back)
    assert first in call.keys
    numbers = [s for _, s in call.log]
    assert sorted(set(numbers)) == sorted(numbers)
    assert len(numbers) > 20 * (30 - 1 - 3 * rtt_s) - 20


@pytest.mark.parametrize("rtt_s", [0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("phase_s", [0.0, 0.01, 0.02, 0.03, 0.04])
def test_virtual_call_listener_that_kept_its_tickets_is_back_within_a_round_trip(
    rtt_s: float, phase_s: float, tmp_path: Path
) -> None:
    """Another process in the same folder: the hello and the first frames are early data."""
    call, at = Roaming(), 15.001 + phase_s
    stores = KeptTickets(tmp_path), KeptTickets(tmp_path)
    call.run(LinkSettings(delay_ms=500 * rtt_s), 20, restart_at=at, stores=stores)
    assert call.opened == 2
    assert not call.ended
    back = call.first_after(at)
    assert back - at < rtt_s + 0.1
    assert next(s for t, s in call.log if t == back) in call.keys
    numbers = [s for _, s in call.log]
    assert sorted(set(numbers)) == sorted(numbers)
    assert [t for t, _ in call.log][-1] > 19.9 - rtt_s


@pytest.mark.parametrize("rtt_s", [0.02, 0.1, 0.3])
def test_virtual_call_listener_that_lost_its_tickets_costs_one_round_trip_more(
    rtt_s: float,
) -> None:
    """What it cannot read as early data comes again at once, not when it is found missing."""
    call = Roaming()
    link = LinkSettings(delay_ms=500 * rtt_s)
    call.run(link, 20, restart_at=15.01, stores=(Tickets(), Tickets()))
    assert call.opened == 2
    assert not call.ended
    assert rtt_s + 0.01 < call.first_after(15.01 + rtt_s / 2) - 15.01 < 2 * rtt_s + 0.11
    assert len(call.log) > 20 * (20 - 1 - 3 * rtt_s) - 20


@pytest.mark.parametrize("rtt_s", [0.02, 0.1, 0.3])
def test_virtual_call_listener_restarted_in_an_outage_is_back_with_the_network(
    rtt_s: float, tmp_path: Path
) -> None:
    """Half a round trip later than a listener that packets are under way to."""
    call = Roaming()
    link = LinkSettings(delay_ms=500 * rtt_s, outages=(Outage(15.0, 5.0),))
    stores = KeptTickets(tmp_path), KeptTickets(tmp_path)
    call.run(link, 25, restart_at=17.51, stores=stores)
    assert call.opened == 2
    assert not call.ended
    assert call.first_after(16.0) - 20.0 < 1.5 * rtt_s + 0.1


@pytest.mark.parametrize("kept", [True, False])
def test_virtual_call_early_data_through_loss(kept: bool) -> None:
    first, second = Tickets(), Tickets()
    call, link = Roaming(), LinkSettings(delay_ms=50, loss=IndependentLoss(0.2))
    call.run(link, 40, restart_at=15.01, stores=(first, first if kept else second))
    assert call.opened == 2
    assert not call.ended
    assert call.first_after(16.0) < 20.0
    assert len([at for at, _ in call.log if at > 20]) > 300


def test_virtual_call_finds_a_restarted_listener_again_through_loss() -> None:
    call = Roaming()
    call.run(LinkSettings(delay_ms=50, loss=IndependentLoss(0.2)), 40, restart_at=15.01)
    assert call.opened == 2
    assert not call.ended
    assert call.first_after(16.0) < 20.0
    assert len([at for at, _ in call.log if at > 20]) > 300


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_virtual_call_goes_on_from_another_address(share: float) -> None:
    loss = IndependentLoss(share) if share else None
    call = Roaming()
    call.run(LinkSettings(delay_ms=50, loss=loss), 30, move_at=(10.01, 15.0, 20.02))
    assert call.opened == 1
    assert not call.ended
    arrivals = [at for at, _ in call.log if at > 5]
    gap = max(b - a for a, b in itertools.pairwise(arrivals))
    assert gap < (0.06 if share == 0 else 0.5)
    assert len([s for s in call.keys if s > 100]) == 0  # the reports find their way too


def test_virtual_call_that_moves_and_comes_back_is_deterministic() -> None:
    calls = [Roaming(), Roaming()]
    link = LinkSettings(delay_ms=30, loss=IndependentLoss(0.1), jitter_ms=5)
    for call in calls:
        call.run(link, 25, restart_at=8.0, move_at=(15.0,))
    assert calls[0].log == calls[1].log
