"""A painted ball that plays a head: exact pictures of known poses, expressions and light."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.seat import Seat
from sender.personal.align import sight
from sender.personal.motion import Motion

DISTANCE, SCALE = 0.6, 2.6
SEAT = Seat(DISTANCE, SCALE)
RADIUS = 0.09
CENTRE = np.array([0.0, 0.01, -0.02])  # of the ball in the head frame
LIFT = 0.25  # radii by which coefficient 2 lifts the skin, where it lifts it


def lifted(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of LIFT the skin at these places (radii from the middle) moves."""
    return np.asarray(np.exp(-((x / 0.6) ** 2) - ((y - 0.3) / 0.35) ** 2))


def paint(points: NDArray[np.float64], expression: ArrayLike) -> NDArray[np.float64]:
    """RGB of 0..1 at surface points [N, 3]; coefficient 0 darkens a "mouth", 1 lights a "brow",
    2 moves skin up from where it is at 0.1."""
    e = np.asarray(expression, dtype=np.float64)
    x, y, _ = ((points - CENTRE) / RADIUS).T
    y = y - LIFT * (e[2] - 0.1) * lifted(x, y)
    base = 0.5 + 0.12 * np.sin(9 * x + 2 * y) * np.cos(7 * y) + 0.08 * np.sin(17 * x * y + 5 * y)
    rgb = np.stack([base + 0.1, base, base - 0.08 * np.cos(6 * x)], axis=1)
    mouth = np.exp(-((x / 0.3) ** 2) - ((y + 0.5) / 0.12) ** 2)
    brow = np.exp(-((x / 0.4) ** 2) - ((y - 0.45) / 0.1) ** 2)
    return np.asarray(rgb - 0.35 * e[0] * mouth[:, None] + 0.25 * e[1] * brow[:, None])


def picture(
    rotation: ArrayLike, expression: ArrayLike, motion: ArrayLike = (0.0,) * 6, size: int = 256,
    offset: ArrayLike | None = None, seat: Seat = SEAT,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:  # fmt: skip
    """The portrait, uint8 [S, S, 3], and the ball's matte, uint8 [S, S]. `motion`: where the ball
    really is, about `CENTRE`, when `rotation` is what was measured; `offset`: where in the whole
    picture, for a `seat` that has a usual one."""
    start, focal, middle = sight(seat, rotation, offset, size)
    pose = Motion.of(motion).apply(start, CENTRE)
    at = np.arange(size) + 0.5
    u, v = np.meshgrid(at, at)
    d = np.stack([(u - middle[0]) / focal, (middle[1] - v) / focal, -np.ones_like(u)], axis=-1)
    centre = pose[:3, :3] @ CENTRE + pose[:3, 3]
    a, b = (d * d).sum(-1), d @ centre
    inside = b * b - a * (centre @ centre - RADIUS**2)
    hit = inside > 0
    t = (b[hit] - np.sqrt(inside[hit])) / a[hit]
    points = (t[:, None] * d[hit] - pose[:3, 3]) @ pose[:3, :3]
    out = np.full((size, size, 3), 0.75)
    out[hit] = paint(points, expression)
    return (np.clip(out, 0, 1) * 255).round().astype(np.uint8), (255 * hit).astype(np.uint8)
