"""Steps of light, blur, and stretches of time: what advice and pictures of the report share.

The rule: everything is relative to the clip itself, because cameras differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portrait.report_facts import ClipFacts

STEADY_TURN_DEG = 15.0  # a face that turns changes its brightness without any change of light
BLUR = 0.5  # of the median sharpness around it in time
STEP_S = 1.0
NEIGHBOURS = 50  # frames to each side that sharpness is compared with


def clock(seconds: float) -> str:
    """Minutes and seconds, as players show them: 0:31."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def span(times: NDArray[np.float64], gap: float = 2.0) -> str:
    """Where the frames at `times` mostly are: the stretch (gaps up to `gap` s) with most."""
    cuts = np.flatnonzero(np.diff(times) > gap) + 1
    longest = max(np.split(times, cuts), key=len)
    first, last = clock(float(longest[0])), clock(float(longest[-1]))
    where = f"at {first}" if first == last else f"from {first} to {last}"
    return where if len(cuts) == 0 else f"most {where}"


def percent(share: float) -> str:
    """A share in words: never 0 % for what exists."""
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"


def light_step(
    time: NDArray[np.float64], level: NDArray[np.float64], rotation_deg: NDArray[np.float64]
) -> tuple[float, float]:
    """(seconds, relative change) of the largest step between adjacent seconds with a still head."""
    best = (0.0, 0.0)
    starts = np.searchsorted(time, time - STEP_S)
    ends = np.searchsorted(time, time + STEP_S, side="right")
    for row in range(1, len(time)):
        a, b = int(starts[row]), int(ends[row])
        if time[row] - time[a] < 0.6 * STEP_S or time[b - 1] - time[row] < 0.6 * STEP_S:
            continue  # too near to an end, or beside a gap
        if not np.ptp(rotation_deg[a:b], axis=0).max() < STEADY_TURN_DEG:
            continue
        change = float(level[row:b].mean()) / max(float(level[a:row].mean()), 1.0) - 1
        if abs(change) > abs(best[1]):
            best = (float(time[row]), change)
    return best


def smoothed(time: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over one second around each frame."""
    total = np.concatenate([[0.0], np.cumsum(level)])
    a = np.searchsorted(time, time - STEP_S / 2)
    b = np.searchsorted(time, time + STEP_S / 2, side="right")
    return np.asarray((total[b] - total[a]) / (b - a))


def blurred(facts: ClipFacts) -> NDArray[np.bool_]:
    """[N] kept frames that are much softer than those around them."""
    rows = facts.kept & np.isfinite(facts.sharpness)
    out = np.zeros(len(facts.time), dtype=bool)
    if rows.sum() < 5:
        return out
    values = facts.sharpness[rows]
    around = np.array(
        [np.median(values[max(0, i - NEIGHBOURS) : i + NEIGHBOURS + 1]) for i in range(len(values))]
    )
    out[rows] = values < BLUR * around
    return out
