"""The report's plots: arrays → inline SVG, readable in light and dark, small in bytes.

The rule: an SVG carries only geometry and class names; colours are the page's (report_page), so
that both themes work. However long the clip, a curve has at most two points per column.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 860, 170  # of a curve plot, in its own units
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 26  # margins around the axes
COLUMNS = 400  # a curve with more points is drawn as its range per column
REASON_CLASSES = 6

Floats = NDArray[np.float64]
Curve = tuple[str, Floats]
"""Name, values over time (NaN: a gap)."""


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers within low..high, about `count` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** np.floor(np.log10(raw))
    step = min((m * power for m in (1, 2, 5, 10) if m * power >= raw), default=10 * power)
    first = np.ceil(low / step) * step
    return [float(round(v, 9)) + 0.0 for v in np.arange(first, high + step * 1e-6, step)]


def thinned(time: Floats, values: Floats) -> tuple[Floats, Floats]:
    """A curve as at most two points per column, its lowest and highest; gaps stay gaps."""
    if len(time) <= 2 * COLUMNS:
        return time, values
    edges = np.linspace(0, len(time), COLUMNS + 1).astype(int)
    t, v = [], []
    for a, b in pairwise(edges):
        part = values[a:b]
        if not np.isfinite(part).any():
            t.append(time[a])
            v.append(np.nan)
            continue
        for i in sorted({int(np.nanargmin(part)), int(np.nanargmax(part))}):
            t.append(time[a + i])
            v.append(part[i])
    return np.array(t), np.array(v)


def _path(x: Floats, y: Floats) -> str:
    out, pen = [], False
    for px, py in zip(x, y, strict=True):
        if not np.isfinite(py):
            pen = False
            continue
        out.append(f"{'L' if pen else 'M'}{px:.1f} {py:.1f}")
        pen = True
    return "".join(out)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def svg(width: float, height: float, body: Sequence[str], label: str) -> str:
    """A drawing that scales with the page."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(body)}</svg>"
    )


def curves(
    label: str,
    time: Floats,
    series: Sequence[Curve],
    *,
    unit: str = "",
    gone: Floats | None = None,
    held_out_from: float | None = None,
    floor: float | None = None,
) -> str:
    """Curves over time, the times `gone` (left-out frames) shaded, and held-out time marked.

    `floor` puts that value at least at the bottom of the axis. "" where there is nothing to draw.
    """
    finite = np.concatenate([v[np.isfinite(v)] for _, v in series]) if series else np.empty(0)
    if not len(time) or not len(finite):
        return ""
    low, high = (float(x) for x in np.percentile(finite, [0.1, 99.9]))
    low = low if floor is None else min(low, floor)
    margin = 0.06 * (high - low) or max(1e-3, 0.05 * abs(high))
    low, high = low - margin * (floor is None), high + margin
    start, end = float(time[0]), max(float(time[-1]), float(time[0]) + 1e-3)

    def at_x(t: Floats | float) -> Floats:
        share = (np.asarray(t, dtype=np.float64) - start) / (end - start)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def at_y(v: Floats | float) -> Floats:
        share = (np.clip(v, low, high) - low) / (high - low)
        return np.asarray(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM))

    body = []
    if held_out_from is not None and held_out_from < end:
        x = float(at_x(held_out_from))
        body.append(
            f'<rect class="held" x="{x:.1f}" y="{TOP}" width="{WIDTH - RIGHT - x:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"/>'
        )
    if gone is not None and len(gone):
        columns = np.unique(np.round(at_x(gone), 0))
        marks = "".join(f"M{x:.0f} {TOP}V{HEIGHT - BOTTOM}" for x in columns)
        body.append(f'<path class="gone" d="{marks}"/>')
    for value in ticks(low, high, 4):
        y = float(at_y(value))
        body.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        body.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{_number(value)}{unit}</text>"
        )
    for value in ticks(start, end, 8):
        x = float(at_x(value))
        text = _clock(value) if end - start > 20 else f"{value:g} s"
        body.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{text}</text>'
        )
    for i, (_, values) in enumerate(series):
        t, v = thinned(time, values)
        body.append(f'<path class="curve c{i}" d="{_path(at_x(t), at_y(v))}"/>')
    return svg(WIDTH, HEIGHT, body, label)


def legend(names: Sequence[str]) -> str:
    """Names in the curves' colours."""
    return "".join(f'<span class="key k{i}">{escape(n)}</span>' for i, n in enumerate(names))


def timeline(time: Floats, reason: NDArray[np.str_], reasons: Sequence[str]) -> str:
    """A strip of the clip in which left-out frames stand in their reason's colour."""
    start, end = float(time[0]), max(float(time[-1]), float(time[0]) + 1e-3)
    width, height = WIDTH, 48
    scale = (width - LEFT - RIGHT) / (end - start)
    step = max(1.0, scale * (end - start) / max(1, len(time)))
    body = [f'<rect class="kept" x="{LEFT}" y="4" width="{width - LEFT - RIGHT}" height="20"/>']
    for i, name in enumerate(reasons):
        at = np.unique(np.round(LEFT + (time[reason == name] - start) * scale, 0))
        marks = "".join(f"M{x:.0f} 4h{step:.1f}v20h-{step:.1f}z" for x in at)
        body.append(f'<path class="reason r{i % REASON_CLASSES}" d="{marks}"/>')
    for value in ticks(start, end, 8):
        x = LEFT + (value - start) * scale
        text = _clock(value) if end - start > 20 else f"{value:g} s"
        body.append(f'<text class="tick" x="{x:.1f}" y="42" text-anchor="middle">{text}</text>')
    return svg(width, height, body, "Left-out frames over time")


def reason_keys(counts: dict[str, int], total: int) -> str:
    """The reasons in their colours, with counts."""
    return "".join(
        f'<span class="key q{i % REASON_CLASSES}">{escape(name)}: {count} frames '
        f"({100 * count / max(1, total):.1f} %)</span>"
        for i, (name, count) in enumerate(counts.items())
    )
