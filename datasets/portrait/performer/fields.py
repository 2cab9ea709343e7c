"""Smooth bumps and ramps, the brush strokes with which the performer is drawn.

The rule: pure functions of arrays, no state; every ramp is C1, so that shading shows no edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def bump(x: ArrayLike, y: ArrayLike, cx: float, cy: float, sx: float, sy: float) -> Array:
    """A Gaussian hill of height 1 at (cx, cy) with standard deviations (sx, sy)."""
    dx = (np.asarray(x, np.float64) - cx) / sx
    dy = (np.asarray(y, np.float64) - cy) / sy
    out: Array = np.exp(-0.5 * (dx * dx + dy * dy))
    return out


def ramp(x: ArrayLike, low: ArrayLike, high: ArrayLike) -> Array:
    """0 at `low`, 1 at `high`, smooth between; `low` may lie above `high`."""
    a, b = np.asarray(low, np.float64), np.asarray(high, np.float64)
    t: Array = np.clip((np.asarray(x, np.float64) - a) / (b - a), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def ridge(d: ArrayLike, sigma: float) -> Array:
    """A Gaussian of the distance `d` to a line."""
    q = np.asarray(d, np.float64) / sigma
    out: Array = np.exp(-0.5 * q * q)
    return out


def smooth_max(a: ArrayLike, b: ArrayLike, width: float) -> Array:
    """The larger of two heights with a fillet of about `width`."""
    p, q = np.asarray(a, np.float64), np.asarray(b, np.float64)
    h = np.clip(0.5 + 0.5 * (p - q) / width, 0.0, 1.0)
    return q * (1 - h) + p * h + width * h * (1 - h)


def curve(x: ArrayLike, knots: ArrayLike, values: ArrayLike) -> Array:
    """A smooth curve through (knots, values): cubic Hermite with finite-difference slopes."""
    k, v = np.asarray(knots, np.float64), np.asarray(values, np.float64)
    q = np.clip(np.asarray(x, np.float64), k[0], k[-1])
    slope = np.gradient(v, k, axis=0)
    i = np.clip(np.searchsorted(k, q, side="right") - 1, 0, len(k) - 2)
    h = k[i + 1] - k[i]
    t = (q - k[i]) / h
    if v.ndim > 1:
        t, h = t[..., None], h[..., None]
    t2, t3 = t * t, t * t * t
    out: Array = (
        (2 * t3 - 3 * t2 + 1) * v[i]
        + (t3 - 2 * t2 + t) * h * slope[i]
        + (3 * t2 - 2 * t3) * v[i + 1]
        + (t3 - t2) * h * slope[i + 1]
    )
    return out


def value_noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int]) -> Array:
    """Smooth noise in [-1, 1] of shape [height, width] with `cells` lattice cells (rows, columns);
    it repeats along the width."""
    rows, columns = cells
    lattice = rng.uniform(-1.0, 1.0, (rows + 1, columns))
    y = np.linspace(0, rows, height, endpoint=False)
    x = np.linspace(0, columns, width, endpoint=False)
    j, i = y.astype(int), x.astype(int)
    ty, tx = y - j, x - i
    ty, tx = (ty * ty * (3 - 2 * ty))[:, None], (tx * tx * (3 - 2 * tx))[None, :]
    k = (i + 1) % columns
    top = lattice[j][:, i] * (1 - tx) + lattice[j][:, k] * tx
    low = lattice[j + 1][:, i] * (1 - tx) + lattice[j + 1][:, k] * tx
    return top * (1 - ty) + low * ty
