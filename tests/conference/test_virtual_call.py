"""Whole calls over simulated networks: they work, and the same seed is the same call."""

from __future__ import annotations

import itertools
import random
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conference.virtual_call import CLIENT, SERVER, VirtualCall
from netsim.generate import generate
from netsim.loss import IndependentLoss
from netsim.path import PathSettings
from netsim.settings import LinkSettings, Outage
from netsim.traces import Trace
from quic_transport.events import (
    AvatarReceived,
    CallEnded,
    Ending,
    Event,
    FrameReceived,
)
from quic_transport.offer import Offer
from tests.quic_transport.simulated import (
    AVATAR,
    coded_frame,
    default_owner,
    make_offer,
    make_session,
)

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Talk:
    """A call of synthetic frames and everything that happened in it."""

    both_ways: bool = False
    mode: str = "stream"
    log: list[tuple[float, int, str]] = field(default_factory=list)
    frames: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    """Of each side: (sequence, delay in s) of the frames that came."""
    sent: dict[int, int] = field(default_factory=lambda: {CLIENT: 0, SERVER: 0})
    avatars: list[bytes] = field(default_factory=list)
    ends: dict[int, CallEnded] = field(default_factory=dict)

    def offer(self) -> Offer:
        return make_offer(mode=self.mode)

    def run(
        self, up: LinkSettings, down: LinkSettings, seconds: float, seed: int = 1
    ) -> VirtualCall:
        both = self.both_ways
        sessions = (
            make_session(is_client=True, sends=True, receives=both, offer=self.offer()),
            make_session(
                is_client=False, sends=both, receives=True, offer=self.offer() if both else None
            ),
        )

        def on_event(side: int, event: Event, now: float) -> None:
            self.log.append((now, side, type(event).__name__))
            if isinstance(event, FrameReceived):
                delay = now - event.frame.capture_time
                self.frames.setdefault(side, []).append((event.frame.sequence, delay))
                sessions[side].frame_decoded(event.frame.sequence, now)
            elif isinstance(event, AvatarReceived):
                self.avatars.append(event.data)
            elif isinstance(event, CallEnded):
                self.ends[side] = event
            default_owner(sessions[side], event, now)

        def talk(now: float) -> None:
            for side in (CLIENT, SERVER) if both else (CLIENT,):
                session = sessions[side]
                if session.can_send_frame(now):
                    coded = coded_frame(self.sent[side], now, session.reference())
                    self.sent[side] += session.send_frame(coded, now)

        call = VirtualCall(*sessions, PathSettings(up, down), seed, on_event=on_event)
        call.every(0.05, talk)
        call.run(seconds)
        self.sessions = sessions
        return call


def test_virtual_call_perfect_path_delivers_every_frame() -> None:
    talk, link = Talk(), LinkSettings(delay_ms=40)
    call = talk.run(link, link, 20)
    sequences = [s for s, _ in talk.frames[SERVER]]
    assert sequences == list(range(len(sequences)))
    assert talk.sent[CLIENT] - 1 <= len(sequences)
    assert len(sequences) > 380
    assert max(d for _, d in talk.frames[SERVER][20:]) < 0.042
    assert talk.avatars == [AVATAR]
    assert all(link.counts().balanced() for link in call.path.links.values())


@pytest.mark.parametrize("seed", [1, 2])
def test_virtual_call_same_seed_is_the_same_call(seed: int) -> None:
    trace = generate("wifi", 60, seed)
    link = LinkSettings(trace=trace, loss=IndependentLoss(0.05), jitter_ms=10, queue_packets=100)
    talks = [Talk(both_ways=True) for _ in range(2)]
    reports = [talk.run(link, link, 40, seed).path.report(40) for talk in talks]
    assert talks[0].log == talks[1].log
    assert reports[0] == reports[1]
    assert len(talks[0].frames[CLIENT]) > 500 < len(talks[0].frames[SERVER])


def test_virtual_call_other_seed_is_another_call() -> None:
    link = LinkSettings(delay_ms=20, loss=IndependentLoss(0.1))
    talks = [Talk(), Talk()]
    for seed, talk in enumerate(talks):
        talk.run(link, link, 20, seed)
    assert talks[0].log != talks[1].log


def test_virtual_call_datagrams_lose_little_and_never_wait() -> None:
    talk, link = Talk(mode="datagram"), LinkSettings(delay_ms=50, loss=IndependentLoss(0.1))
    call = talk.run(link, link, 60)
    came = talk.frames[SERVER]
    assert len({s for s, _ in came}) == len(came)
    assert len(came) > 0.97 * talk.sent[CLIENT]
    assert max(d for _, d in came) < 0.25
    assert call.path.links["up"].counts().dropped["loss"] > 50
    assert talk.avatars == [AVATAR]


def test_virtual_call_datagrams_both_ways_are_deterministic() -> None:
    link = LinkSettings(delay_ms=30, loss=IndependentLoss(0.05), duplicate=0.1, reorder=0.1)
    talks = [Talk(both_ways=True, mode="datagram") for _ in range(2)]
    for talk in talks:
        talk.run(link, link, 20)
    assert talks[0].log == talks[1].log
    for side in (CLIENT, SERVER):
        assert len(talks[0].frames[side]) > 340
        assert not talks[0].ends


def test_virtual_call_datagrams_come_back_with_the_network() -> None:
    link = LinkSettings(delay_ms=50, outages=(Outage(20.0, 5.0),))
    talk = Talk(mode="datagram")
    talk.run(link, link, 40)
    came = [at for at, side, name in talk.log if name == "FrameReceived" and at > 20.1]
    assert 25.0 < came[0] < 25.2  # one round trip and 100 ms


def test_virtual_call_datagrams_on_12_kbps_do_not_queue() -> None:
    link = LinkSettings(delay_ms=20, trace=Trace.steady(12), queue_packets=100)
    talk = Talk(mode="datagram")
    talk.run(link, link, 60)
    assert talk.avatars == [AVATAR]  # which took most of the first 15 s
    delays = sorted(d for _, d in talk.frames[SERVER][-300:])
    assert delays[int(0.95 * len(delays))] < 0.25


def test_virtual_call_stream_per_gop_recovers_on_the_next_stream() -> None:
    link = LinkSettings(delay_ms=50, loss=IndependentLoss(0.1))
    talk = Talk(mode="stream-per-gop")
    talk.run(link, link, 30)
    assert not talk.ends
    numbers = [s for s, _ in talk.frames[SERVER]]
    assert len(set(numbers)) == len(numbers) > 400


def test_virtual_call_loss_delays_but_loses_nothing() -> None:
    """The frames' stream is reliable: what is lost comes again, a round trip later."""
    talk, link = Talk(), LinkSettings(delay_ms=50, loss=IndependentLoss(0.1))
    call = talk.run(link, link, 60)
    sequences = [s for s, _ in talk.frames[SERVER]]
    assert sequences == list(range(len(sequences)))
    late = sum(d > 0.06 for _, d in talk.frames[SERVER]) / len(sequences)
    assert 0.1 < late < 0.6
    assert call.path.links["up"].counts().dropped["loss"] > 50


def test_virtual_call_short_outage_is_survived_and_a_long_one_noticed() -> None:
    short = LinkSettings(delay_ms=20, outages=(Outage(10.0, 2.0),))
    talk = Talk()
    talk.run(short, short, 20)
    assert not talk.ends
    assert talk.frames[SERVER][-1][1] < 0.1
    long = LinkSettings(delay_ms=20, outages=(Outage(10.0, 60.0),))
    talk = Talk()
    talk.run(long, long, 45)
    assert talk.ends[CLIENT].how is talk.ends[SERVER].how is Ending.PEER_LOST
    ended = [at for at, _, name in talk.log if name == "CallEnded"]
    assert all(39.9 <= at <= 40.2 for at in ended), ended


def test_virtual_call_to_a_dead_network_ends() -> None:
    talk, link = Talk(), LinkSettings(trace=Trace.steady(0))
    talk.run(link, link, 120)
    assert talk.log == [(pytest.approx(talk.log[0][0]), CLIENT, "CallEnded")]


def test_virtual_call_hang_up_ends_both_sides() -> None:
    talk, link = Talk(), LinkSettings(delay_ms=30)
    call = talk.run(link, link, 5)
    call.at(6.0, lambda: talk.sessions[CLIENT].hang_up("bye", call.now))
    call.run(10)
    assert talk.ends[CLIENT].how is Ending.HUNG_UP
    assert talk.ends[SERVER].how is Ending.PEER_HUNG_UP


def test_example_of_an_hour_runs_shorter_as_documented() -> None:
    path = ROOT / "examples" / "hour_of_calling.py"
    run = subprocess.run(
        [sys.executable, str(path), "gprs", "60"], cwd=ROOT, capture_output=True, text=True,
        check=True, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    found = re.search(r"(\d+) frames captured, (\d+) decoded, (\d+) ms p50", run.stdout)
    assert found is not None
    assert int(found[1]) == 1201
    assert 100 < int(found[2]) < 1201
    assert int(found[3]) > 280
    assert "60 s of calling took" in run.stderr


@pytest.mark.parametrize(("kbps", "most_s"), [(1000, 0.04), (256, 0.08)])
def test_virtual_call_avatar_crosses_beside_datagrams_without_delaying_them(
    kbps: float, most_s: float
) -> None:
    avatar = random.Random(1).randbytes(150_000)
    sender = make_session(
        is_client=True, sends=True, receives=False, avatar=avatar,
        offer=make_offer(avatar, mode="datagram"),
    )  # fmt: skip
    receiver = make_session(is_client=False, sends=False, receives=True)
    delays: list[float] = []
    avatars: list[bytes] = []
    count = itertools.count()

    def on_event(side: int, event: Event, now: float) -> None:
        if isinstance(event, FrameReceived):
            delays.append(now - event.frame.capture_time)
            receiver.frame_decoded(event.frame.sequence, now)
        elif isinstance(event, AvatarReceived):
            avatars.append(event.data)
        default_owner((sender, receiver)[side], event, now)

    def capture(now: float) -> None:
        if sender.can_send_frame(now):
            sender.send_frame(coded_frame(next(count), now, sender.reference()), now)

    link = LinkSettings(delay_ms=20, trace=Trace.steady(kbps), queue_packets=200)
    call = VirtualCall(sender, receiver, PathSettings(link, link), on_event=on_event)
    call.every(0.05, capture)
    call.run(30)
    assert avatars == [avatar]
    assert sorted(delays)[int(0.95 * len(delays))] < most_s
