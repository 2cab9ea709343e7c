"""The playout buffer never runs backwards, keeps K frames of delay and blends honestly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.params import EXPRESSION_HIGH, EXPRESSION_LOW, FaceParams
from receiver.playout import PlayoutBuffer, PlayoutSettings

INTERVAL = 0.05


def face(time: float, jaw: float = 0.0, yaw: float = 0.0) -> FaceParams:
    expression = np.zeros(46, np.float32)
    expression[21] = jaw
    return FaceParams(expression, np.array([0.0, yaw, 0.0], np.float32), time)


def filled(delay_frames: float, count: int, transit: float = 0.02) -> PlayoutBuffer:
    """A buffer to which frames 0.. came punctually, frame i with jaw i/100."""
    buffer = PlayoutBuffer(PlayoutSettings(delay_frames=delay_frames))
    for i in range(count):
        buffer.push(i, face(i * INTERVAL, jaw=i / 100), i * INTERVAL + transit)
    return buffer


@pytest.mark.parametrize("k", [0.0, 1.0, 3.0, 40.0])
def test_playout_punctual_frames_are_due_k_intervals_after_arrival(k: float) -> None:
    buffer = filled(k, 10, transit=0.02)
    assert buffer.due_time(0.2) == pytest.approx(0.2 + 0.02 + k * INTERVAL)


def test_playout_at_a_frames_instant_shows_exactly_that_frame() -> None:
    buffer = filled(1, 3)
    due = buffer.due_time(INTERVAL)
    assert due is not None
    sample = buffer.sample(due)
    assert sample is not None
    assert sample.used == (1,)
    assert [sequence for sequence, _ in sample.reached] == [0, 1]
    assert sample.params.expression[21] == np.float32(0.01)


def test_playout_between_two_frames_blends_both() -> None:
    buffer = filled(1, 3)
    due = buffer.due_time(1.5 * INTERVAL)
    assert due is not None
    sample = buffer.sample(due)
    assert sample is not None
    assert sample.used == (1, 2)
    assert sample.params.expression[21] == pytest.approx(0.015, abs=1e-5)


def test_playout_unlimited_k_loses_nothing_under_heavy_jitter() -> None:
    rng = np.random.default_rng(5)
    buffer = PlayoutBuffer(PlayoutSettings(delay_frames=100))
    arrivals = sorted((i * INTERVAL + rng.uniform(0, 2.0), i) for i in range(80))
    seen: list[int] = []
    for tick in range(1200):
        now = tick * 0.01
        while arrivals and arrivals[0][0] <= now:
            at, i = arrivals.pop(0)
            buffer.push(i, face(i * INTERVAL), at)
        sample = buffer.sample(now)
        seen += [sequence for sequence, _ in sample.reached] if sample else []
    assert seen == list(range(80))
    assert buffer.take_superseded() == []


def test_playout_missing_frames_extrapolates_a_bounded_time_then_holds() -> None:
    buffer = filled(0, 10)
    last = 9 * INTERVAL + 0.02
    values, held = [], []
    for ahead in np.arange(0.0, 0.5, 0.01):
        sample = buffer.sample(last + float(ahead))
        assert sample is not None
        values.append(float(sample.params.expression[21]))
        held.append(sample.held)
    assert values[0] == pytest.approx(0.09, abs=1e-5)
    assert values[-1] == pytest.approx(0.10, abs=1e-5)  # half of T = 0.1 s at 0.2 per second
    assert np.all(np.diff(values) >= -1e-6)
    assert not held[5]
    assert held[-1]


def test_playout_after_a_pause_does_not_anticipate_the_next_frame() -> None:
    buffer = PlayoutBuffer()
    buffer.push(0, face(0.0, jaw=0.0), 0.02)
    buffer.push(1, face(2.0, jaw=1.0), 2.02)
    early = buffer.sample(2.02 - 0.02)  # media time 1.93: more than one interval before
    assert early is not None
    assert early.params.expression[21] == 0.0
    half = buffer.sample(2.02 + 0.025)  # media time 1.975
    assert half is not None
    assert half.params.expression[21] == pytest.approx(0.5, abs=0.02)


def test_playout_angle_across_pi_takes_the_short_way() -> None:
    buffer = PlayoutBuffer()
    buffer.push(0, face(0.0, yaw=math.pi - 0.1), 0.0)
    buffer.push(1, face(INTERVAL, yaw=-math.pi + 0.1), INTERVAL)
    sample = buffer.sample(1.5 * INTERVAL)
    assert sample is not None
    assert abs(abs(float(sample.params.rotation[1])) - math.pi) < 1e-3


def test_playout_overtaken_frame_is_superseded_not_shown() -> None:
    buffer = PlayoutBuffer(PlayoutSettings(delay_frames=0))
    buffer.push(0, face(0.0), 0.0)
    buffer.push(2, face(0.10), 0.10)
    assert buffer.sample(0.10) is not None
    buffer.push(1, face(0.05), 0.12)
    assert buffer.take_superseded() == [1]


def test_playout_late_but_newest_frame_is_still_shown() -> None:
    buffer = filled(1, 3)
    buffer.sample(5.0)
    buffer.push(3, face(3 * INTERVAL, jaw=0.5), 5.1)
    sample = buffer.sample(5.11)
    assert sample is not None
    assert sample.used == (3,)


def test_playout_slower_path_is_followed_slowly_and_faster_path_too() -> None:
    buffer = PlayoutBuffer(PlayoutSettings(window=1.0))
    now = 0.0
    for i in range(200):
        now = i * INTERVAL + (0.02 if i < 60 else 0.3)
        buffer.push(i, face(i * INTERVAL), now)
    due = buffer.due_time(200 * INTERVAL)
    # within a little of the delay that the change itself asked for, which is still being given back
    assert due == pytest.approx(200 * INTERVAL + 0.3 + INTERVAL, abs=0.03)


def test_playout_clock_jump_is_taken_at_once() -> None:
    buffer = filled(1, 5)
    buffer.push(5, face(5 * INTERVAL), 100.0)
    for i in range(6, 300):
        buffer.push(i, face(i * INTERVAL), 100.0 + (i - 5) * INTERVAL)
    due = buffer.due_time(300 * INTERVAL)
    assert due == pytest.approx(100.0 + 295 * INTERVAL + INTERVAL, abs=1e-6)


def test_playout_drawing_time_moves_samples_ahead_by_at_most_half_the_delay() -> None:
    for k, drawing, ahead in ((1, 0.01, 0.01), (1, 0.2, 0.025), (4, 0.03, 0.03), (0, 0.03, 0.0)):
        buffer = PlayoutBuffer(PlayoutSettings(delay_frames=k))
        buffer.anticipate(drawing)
        for i in range(100):
            buffer.push(i, face(i * INTERVAL), i * INTERVAL + 0.02)
        assert buffer.due_time(0.0) == pytest.approx(0.02 + k * INTERVAL - ahead)


def test_playout_capacity_is_never_exceeded() -> None:
    buffer = PlayoutBuffer(PlayoutSettings(capacity=8))
    for i in range(50):
        buffer.push(i, face(i * INTERVAL), 0.0)
        assert len(buffer) <= 8
    assert buffer.take_superseded() == list(range(42))


@given(
    k=st.floats(0, 5),
    delays=st.lists(st.floats(0.0, 0.4), min_size=1, max_size=40),
    ticks=st.lists(st.floats(0.001, 0.2), min_size=1, max_size=60),
)
def test_playout_any_arrivals_time_never_runs_backwards_and_books_balance(
    k: float, delays: list[float], ticks: list[float]
) -> None:
    buffer = PlayoutBuffer(PlayoutSettings(delay_frames=k))
    arrivals = sorted((i * INTERVAL + d, i) for i, d in enumerate(delays))
    now, shown, media, pushed = 0.0, set[int](), -math.inf, 0
    for tick in ticks:
        now += tick
        while arrivals and arrivals[0][0] <= now:
            at, i = arrivals.pop(0)
            buffer.push(i, face(i * INTERVAL, jaw=(i % 7) / 3 - 0.5), at)
            pushed += 1
        sample = buffer.sample(now)
        if sample is None:
            continue
        assert sample.media_time >= media
        assert float(sample.params.expression.min()) >= EXPRESSION_LOW
        assert float(sample.params.expression.max()) <= EXPRESSION_HIGH
        media = sample.media_time
        shown |= set(sample.used)
    superseded = buffer.take_superseded()
    assert not shown & set(superseded)
    assert len(shown) + len(superseded) + len(set(buffer.unshown())) == pushed


def test_playout_correction_below_zero_is_shown_between_and_beyond_frames_within_reach() -> None:
    buffer = PlayoutBuffer(PlayoutSettings(delay_frames=1.0))
    for k, jaw in enumerate((-0.1, -0.3, -0.45)):
        buffer.push(k, face(k * INTERVAL, jaw=jaw), k * INTERVAL)
    shown = []
    for frames in (1.0, 1.5, 2.0, 3.0):
        due = buffer.due_time(frames * INTERVAL)
        assert due is not None
        sample = buffer.sample(due)
        assert sample is not None
        shown.append(float(sample.params.expression[21]))
    assert shown == pytest.approx([-0.3, -0.375, -0.45, EXPRESSION_LOW])


def test_playout_blends_place_and_body_where_they_come_and_leaves_them_out_where_not() -> None:
    buffer = PlayoutBuffer(PlayoutSettings(delay_frames=1.0, frame_interval=0.05))
    for k in range(3):
        plain = face(0.05 * k)
        buffer.push(k, FaceParams(plain.expression, plain.rotation, plain.capture_time,
                                  np.array([0.1 * k, 0, 0], np.float32),
                                  np.array([4.0 * k, -k, 0, 0], np.float32)), 0.05 * k)  # fmt: skip
    sample = buffer.sample(0.05 + 0.025 + 0.05)
    assert sample is not None
    assert sample.params.offset == pytest.approx([0.15, 0, 0])
    assert sample.params.body == pytest.approx([6, -1.5, 0, 0])
    assert filled(1.0, 2).sample(1.0).params.body is None  # type: ignore[union-attr]
