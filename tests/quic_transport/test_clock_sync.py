"""The peer's clock and the heartbeat."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.clock_sync import ClockSync
from quic_transport.heartbeat import Heartbeat, answer
from quic_transport.messages import Ping, Pong

DELAYS = st.floats(0, 2)


@given(st.floats(-1e5, 1e5), DELAYS, DELAYS, st.floats(0, 1))
def test_offset_is_within_the_stated_error(
    offset: float, there: float, back: float, held: float
) -> None:
    clock = ClockSync()
    arrived = 100 + there
    clock.add(100, arrived + offset, arrived + held + offset, arrived + held + back)
    best = clock.round_trip()
    assert best is not None
    assert best.rtt_s == pytest.approx(there + back, abs=1e-6)
    assert abs(best.offset_s - offset) <= best.error_s + 1e-6
    assert clock.to_ours(7 + offset) == pytest.approx(7, abs=best.error_s + 1e-6)


def test_least_delayed_sample_decides() -> None:
    clock, rng = ClockSync(), random.Random(1)
    for i in range(200):
        there, back = 0.01 + rng.random() * 0.2 * (i % 7), 0.01 + rng.random() * 0.2 * (i % 5)
        clock.add(i, i + there + 50, i + there + 50, i + there + back)
    best = clock.round_trip()
    assert best is not None
    assert best.offset_s == pytest.approx(50, abs=0.02)
    assert best.samples == 200


@given(*[st.floats(-1e9, 1e9)] * 4)
def test_impossible_times_never_give_an_impossible_round_trip(
    a: float, b: float, c: float, d: float
) -> None:
    clock = ClockSync()
    clock.add(a, b, c, d)
    best = clock.round_trip()
    assert best is None or best.rtt_s >= 0


def test_before_the_first_answer_nothing_is_shifted() -> None:
    clock = ClockSync()
    assert clock.round_trip() is None
    assert clock.to_ours(3.5) == 3.5


def test_heartbeat_pings_fast_then_rarely_and_only_silence_counts() -> None:
    beat = Heartbeat(0, ClockSync(), eager=True, timeout_s=4)
    times = []
    for _ in range(40):
        now = beat.ping_at
        times.append(now)
        beat.ping(now)
        beat.heard(now)
    steps = [b - a for a, b in itertools.pairwise(times)]
    assert steps[:4] == pytest.approx([0.15] * 4)
    assert steps[6] == pytest.approx(1)
    assert max(steps) == pytest.approx(steps[-1]) == pytest.approx(2)
    assert beat.lost_at == times[-1] + 4


def test_heartbeat_of_a_mere_sender_is_rare_until_it_gets_quiet() -> None:
    beat = Heartbeat(0, ClockSync(), eager=False, timeout_s=4)
    for _ in range(5):
        beat.ping(beat.ping_at)
    last = 0.6
    beat.heard(5.0)
    assert beat.ping_at == 7.0  # two seconds of silence
    beat.ping(7.0)
    assert beat.ping_at == 8.0
    assert last < 7.0


def test_heartbeat_forgives_a_silence_that_it_slept_through() -> None:
    beat = Heartbeat(0, ClockSync(), eager=True, timeout_s=4)
    beat.pardon(0.1, 1.0)
    assert beat.lost_at == 4
    beat.pardon(6.0, 7.0)
    assert beat.lost_at == 10
    beat.pardon(100.0, 8.0)
    assert beat.lost_at == 12  # never later than a full silence from now


def test_pong_that_answers_no_ping_of_ours_is_ignored() -> None:
    clock = ClockSync()
    beat = Heartbeat(0, clock, eager=True, timeout_s=4)
    ping = beat.ping(1.0)
    beat.answered(answer(Ping(ping.sent_us + 5), 2.0, 2.0), 2.0)
    assert clock.round_trip() is None
    pong = answer(ping, 2.0, 2.0)
    beat.answered(pong, 1.5)
    beat.answered(pong, 1.6)  # replayed
    best = clock.round_trip()
    assert best is not None
    assert best.samples == 1


def test_pings_and_pongs_wait_for_a_packet_where_one_will_leave() -> None:
    beat = Heartbeat(0, ClockSync(), eager=False, timeout_s=30)
    for _ in range(5):
        beat.ping(beat.ping_at)
    beat.heard(9.9)
    beat.asked(Ping(7), 9.9)
    assert beat.next_at(patient=True) == pytest.approx(10.25)
    assert beat.due(10.0, riding=False, patient=True) == []
    assert beat.due(10.0, riding=True, patient=True) == [Pong(7, 9_900_000, 10_000_000)]
    assert beat.due(10.62, riding=False, patient=True) == []
    assert [type(m) for m in beat.due(10.62, riding=True, patient=True)] == [Ping]


def test_pings_and_pongs_leave_alone_where_nothing_else_does() -> None:
    beat = Heartbeat(0, ClockSync(), eager=True, timeout_s=30)
    beat.asked(Ping(7), 0.1)
    assert beat.next_at(patient=False) == 0.0
    assert [type(m) for m in beat.due(0.1, riding=False, patient=False)] == [Pong, Ping]
    beat.asked(Ping(8), 0.12)
    assert beat.due(0.2, riding=False, patient=True) == []  # and a packet that was due never left
    late = beat.due(0.5, riding=False, patient=True)
    assert late[0] == Pong(8, 120_000, 500_000)


def test_pings_that_are_not_answered_are_few() -> None:
    beat = Heartbeat(0, ClockSync(), eager=True, timeout_s=30)
    said = 0
    for number in range(100):
        beat.asked(Ping(number), 0.0)
        said += sum(isinstance(m, Pong) for m in beat.due(0.0, riding=False, patient=True))
        assert number + 1 - said <= 4
