"""What a clip covers: views of the head as a map, ranges of the 46 coefficients as bars (SVG).

The rule: as in report_plots, only geometry and class names; left and right are the person's own,
placed as a mirror shows them (+yaw is to the person's left).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from portrait.report_plots import Floats, svg

CELL_DEG = 5.0  # of the coverage map
MAP_DEG = (30.0, 20.0)  # least yaw and pitch that the map spans to each side
WANTED_DEG = (20.0, 10.0)  # inside, an empty cell is a view that will be guessed
USED = 0.2  # a coefficient from here on counts as used


def coverage_counts(yaw: Floats, pitch: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    """(counts [pitch, yaw], yaw edges, pitch edges); a cell of CELL_DEG has 0° in its middle."""

    def edges(values: Floats, least: float) -> Floats:
        reach = max(least, float(np.abs(values).max()) if len(values) else 0.0)
        cells = int(np.ceil((reach + CELL_DEG / 2) / CELL_DEG))
        return np.asarray((np.arange(-cells, cells + 2) - 0.5) * CELL_DEG, dtype=np.float64)

    across, down = edges(yaw, MAP_DEG[0]), edges(pitch, MAP_DEG[1])
    counts, _, _ = np.histogram2d(pitch, yaw, bins=(down, across))
    return counts.astype(np.int64), across, down


def coverage_map(rotation_deg: Floats) -> str:
    """Where the head was turned to, as a mirror shows it: the person's left at the left."""
    counts, across, down = coverage_counts(-rotation_deg[:, 1], rotation_deg[:, 0])
    cell, left, top = 26, 44, 24
    width, height = left + cell * counts.shape[1] + 10, top + cell * counts.shape[0] + 34
    most = max(1, int(counts.max()))
    body = []
    for row, column in np.ndindex(*counts.shape):
        n = int(counts[row, column])
        x_deg = (across[column] + across[column + 1]) / 2
        y_deg = (down[row] + down[row + 1]) / 2
        wanted = abs(x_deg) <= WANTED_DEG[0] and abs(y_deg) <= WANTED_DEG[1]
        x, y = left + column * cell, top + row * cell
        shade = 0.15 + 0.85 * np.log1p(n) / np.log1p(most) if n else 0.0
        kind = "full" if n else "missing" if wanted else "empty"
        style = f' fill-opacity="{shade:.2f}"' if n else ""
        body.append(
            f'<rect class="{kind}" x="{x + 1}" y="{y + 1}" width="{cell - 2}" '
            f'height="{cell - 2}"{style}><title>{_side(x_deg, "left", "right")}, '
            f"{_side(y_deg, 'up', 'down')}: {n} frames</title></rect>"
        )
    for column in range(0, counts.shape[1]):
        degrees = (across[column] + across[column + 1]) / 2
        if round(degrees) % 10 == 0:
            x = left + (column + 0.5) * cell
            body.append(f'<text class="tick" x="{x:.0f}" y="{height - 20}" text-anchor="middle">'
                        f"{abs(degrees):.0f}°</text>")  # fmt: skip
    for row in range(counts.shape[0]):
        degrees = (down[row] + down[row + 1]) / 2
        if round(degrees) % 10 == 0:
            y = top + (row + 0.5) * cell + 4
            body.append(f'<text class="tick" x="{left - 6}" y="{y:.0f}" text-anchor="end">'
                        f"{abs(degrees):.0f}°</text>")  # fmt: skip
    middle = left + cell * counts.shape[1] / 2
    for x, y, text in (
        (middle, 14, "up"), (middle, height - 4, "down"), (16, height - 4, "left"),
        (width - 22, height - 4, "right"),
    ):  # fmt: skip
        body.append(
            f'<text class="tick" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{text}</text>'
        )
    return svg(width, height, body, "How often the head was turned where")


def _side(degrees: float, negative: str, positive: str) -> str:
    return f"{abs(degrees):.0f}° {negative if degrees < 0 else positive}" if degrees else "0°"


def used_share(expression: NDArray[np.float32], schema: str) -> Floats:
    """[46] share of frames in which each coefficient is in use.

    arkit46: at least USED. Other schemas have no common zero: at least USED of the coefficient's
    own range away from its median.
    """
    if schema == "arkit46":
        return np.asarray((expression >= USED).mean(axis=0), dtype=np.float64)
    away = np.abs(expression - np.median(expression, axis=0))
    reach = np.maximum(np.ptp(expression, axis=0), 1e-6)
    return np.asarray((away >= USED * reach).mean(axis=0), dtype=np.float64)


def range_bars(names: Sequence[str], expression: NDArray[np.float32], used: Floats) -> str:
    """A bar per coefficient (p1 to p99, a tick at its extreme) and how often it is used."""
    low, high = np.percentile(expression, [1, 99], axis=0)
    furthest = expression.max(axis=0)
    floor, ceiling = min(0.0, float(low.min())), max(1.0, float(furthest.max()))
    label, bar, share, line = 150, 200, 62, 17

    def at(value: float) -> float:
        return label + bar * (value - floor) / (ceiling - floor)

    body = []
    for row, name in enumerate(names):
        y = row * line + 4
        kind = "used" if used[row] >= 0.005 else "unused"
        body.append(
            f'<text class="tick" x="{label - 8}" y="{y + 10}" text-anchor="end">{escape(name)}'
            f'</text><rect class="track" x="{label}" y="{y + 2}" width="{bar}" height="9"/>'
            f'<rect class="{kind}" x="{at(float(low[row])):.1f}" y="{y + 2}" '
            f'width="{max(1.0, at(float(high[row])) - at(float(low[row]))):.1f}" height="9"/>'
            f'<path class="extreme" d="M{at(float(furthest[row])):.1f} {y}v13"/>'
            f'<text class="tick" x="{label + bar + 8}" y="{y + 10}">{_share(used[row])}</text>'
        )
    return svg(label + bar + share, len(names) * line + 8, body, "Range of each coefficient")


def _share(value: float) -> str:
    return "never" if value == 0 else "<1 %" if value < 0.01 else f"{100 * value:.0f} %"
