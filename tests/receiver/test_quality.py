"""Quality that follows what the machine has time for, in simulated time."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.quality import FULL, LADDER, LOAD, MOST_PATIENCE_S, Quality, QualityControl

FPS = 20.0
BUDGET_MS = 1000 * LOAD / FPS


def call(control: QualityControl, full_ms: Callable[[float], float], seconds: float,
         began: float = 0.0) -> list[tuple[float, Quality]]:  # fmt: skip
    """Draw at FPS on a machine that needs `full_ms(now)` at full quality; every change."""
    changes = [(began, control.quality)]
    now = began
    while now < began + seconds:
        spent = 1 + full_ms(now) * control.quality.cost
        now += max(1 / FPS, spent / 1000)
        quality = control.adapt(spent, now)
        if quality != changes[-1][1]:
            changes.append((now, quality))
    return changes


def test_a_fast_machine_draws_at_full_quality() -> None:
    control = QualityControl(FPS)
    assert call(control, lambda _: 0.7 * BUDGET_MS, 60.0) == [(0.0, FULL)]
    assert control.quality.note == ""


def test_a_slow_machine_comes_down_within_a_second_and_keeps_the_rate() -> None:
    control = QualityControl(FPS)
    changes = call(control, lambda _: 2.2 * BUDGET_MS, 30.0)
    assert changes[1][0] < 1.0
    assert len(changes) == 2  # at once to the level that fits, and there it stays
    assert control.quality.share < 1
    assert control.quality.stride == 1
    assert 1 + 2.2 * BUDGET_MS * control.quality.cost < BUDGET_MS
    assert "59 %" in control.quality.note


def test_resolution_is_given_up_before_steps_and_nothing_below_the_last() -> None:
    for above, below in itertools.pairwise(LADDER):
        assert below.cost < above.cost
        assert below.share == 0.5 or below.stride == 1
    control = QualityControl(FPS)
    call(control, lambda _: 100 * BUDGET_MS, 60.0)
    assert control.quality == LADDER[-1]
    assert "steps" in control.quality.note


def test_quality_comes_back_when_there_is_time_again() -> None:
    control = QualityControl(FPS)
    call(control, lambda now: (3.0 if now < 5 else 0.5) * BUDGET_MS, 5.0)
    assert control.quality != FULL
    changes = call(control, lambda _: 0.5 * BUDGET_MS, 30.0, began=5.0)
    assert control.quality == FULL
    costs = [quality.cost for _, quality in changes]
    assert costs == sorted(costs)
    assert all(b[0] - a[0] >= 3.0 for a, b in itertools.pairwise(changes))


def test_one_slow_picture_changes_nothing() -> None:
    control = QualityControl(FPS)
    for i in range(200):
        control.adapt(20 * BUDGET_MS if i % 10 == 5 else 0.6 * BUDGET_MS, i / FPS)
    assert control.quality == FULL


def test_a_machine_at_the_border_settles() -> None:
    """Full quality does not fit, although the level below looks as if it might: steps up become
    rarer and rarer."""
    control = QualityControl(FPS)

    def full_ms(now: float) -> float:
        return BUDGET_MS * (1.3 if control.quality == FULL else 0.7)

    changes = call(control, full_ms, 600.0)
    ups = [t for (t, q), (_, before) in zip(changes[1:], changes, strict=False)
           if q.cost > before.cost]  # fmt: skip
    assert 2 <= len(ups) <= 24  # two levels each time
    gaps = [b - a for a, b in itertools.pairwise(ups)]
    assert gaps[-1] >= MOST_PATIENCE_S > gaps[0]


@given(st.lists(st.floats(0.0, 1e6), max_size=300), st.floats(1.0, 240.0))
def test_any_times_give_a_level_of_the_ladder(times: list[float], fps: float) -> None:
    control = QualityControl(fps)
    assert all(control.adapt(ms, i / fps) in LADDER for i, ms in enumerate(times))


def test_a_frame_rate_must_be_positive() -> None:
    with pytest.raises(ValueError, match="above 0"):
        QualityControl(0.0)
