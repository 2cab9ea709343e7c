"""Pictures start when frames fall due, and between them only where there is time to spare."""

from __future__ import annotations

from itertools import pairwise

import pytest

from receiver.cadence import Cadence, CadenceSettings


def run(cadence: Cadence, cost: float, dues: list[float], until: float) -> list[float]:
    """Starts of pictures when each takes `cost` seconds and frames fall due at `dues`."""
    now, starts = 0.0, []
    while now < until:
        target = cadence.next_start(now, next((d for d in dues if d > now - 1e-9), None))
        cadence.started(target, target)
        starts.append(target)
        now = target + cost
        cadence.drawn(cost)
        dues = [d for d in dues if d > target + 1e-9]
    return starts


def test_cadence_slow_renderer_draws_one_picture_per_frame_at_its_instant() -> None:
    dues = [0.1 + 0.05 * i for i in range(20)]
    starts = run(Cadence(), 0.035, dues, 1.0)
    assert starts == pytest.approx(dues[: len(starts)])


def test_cadence_fast_renderer_fills_in_between_and_still_meets_every_frame() -> None:
    dues = [0.1 + 0.05 * i for i in range(40)]
    starts = run(Cadence(), 0.008, dues, 2.0)
    assert len(starts) == pytest.approx(3 * 38, abs=6)
    for due in dues[2:-2]:
        assert min(abs(s - due) for s in starts) < 1e-9


def test_cadence_uneven_frames_are_each_met() -> None:
    dues, at = [], 0.1
    for i in range(20):  # 30 fps thinned to 20: gaps of 33 and 67 ms
        dues.append(at)
        at += 0.0667 if i % 2 else 0.0333
    starts = run(Cadence(), 0.025, dues, dues[-1])
    for due in dues[1:-1]:
        assert min(abs(s - due) for s in starts) < 1e-9


def test_cadence_fixed_rate_keeps_its_grid() -> None:
    cadence = Cadence(CadenceSettings(display_fps=30.0))
    starts = run(cadence, 0.01, [0.1 + 0.05 * i for i in range(20)], 1.0)
    gaps = [b - a for a, b in pairwise(starts)]
    assert gaps == pytest.approx([1 / 30] * len(gaps))


def test_cadence_overloaded_renderer_does_not_build_a_backlog() -> None:
    starts = run(Cadence(), 0.2, [0.1 + 0.05 * i for i in range(100)], 3.0)
    gaps = [b - a for a, b in pairwise(starts)]
    assert max(gaps) < 0.26
    assert min(gaps) >= 0.2 - 1e-9
