"""The head's topology: one grid of skin from the crown to the neck's base, slit at lids and lips.

The rule: the topology and the canonical coordinates (centimetres, head frame of
docs/conventions.md) are the same for every person; eyes and mouth are *closed* here, and what
opens them are displacements. Everything is mirror-symmetric in x.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from portrait.performer.fields import curve, ramp

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

# Rings from the crown down. Each is a closed loop through a front, a side and a back point:
# front y, front z, side half-width, side y, side z, back y, back z, exponent of the front half.
RINGS = np.array(
    [
        [12.60, -3.60, 0.00, 12.60, -3.60, 12.60, -3.60, 2.00],
        [12.35, -0.70, 2.90, 12.20, -3.90, 12.30, -6.70, 2.00],
        [11.45, 2.00, 5.10, 11.05, -4.20, 11.20, -9.80, 2.00],
        [10.00, 3.95, 6.50, 9.20, -4.40, 9.20, -12.00, 2.05],
        [8.30, 5.00, 7.15, 7.20, -4.40, 7.00, -13.20, 2.15],
        [6.50, 5.50, 7.30, 5.20, -4.20, 4.80, -13.50, 2.20],
        [4.70, 5.60, 7.25, 3.40, -4.00, 2.60, -13.20, 2.15],
        [2.90, 5.15, 7.15, 2.00, -3.80, 0.80, -12.40, 2.05],
        [0.60, 5.10, 7.05, 0.30, -3.60, -1.20, -11.00, 2.00],
        [-1.80, 5.30, 6.85, -1.60, -3.30, -3.00, -9.60, 1.92],
        [-4.15, 5.40, 6.55, -3.50, -3.00, -4.60, -8.80, 1.85],
        [-6.00, 4.95, 6.20, -5.00, -2.80, -5.80, -8.50, 1.80],
        [-7.70, 4.95, 5.85, -6.10, -2.70, -7.00, -8.30, 1.78],
        [-8.90, 4.25, 5.45, -7.10, -2.80, -8.00, -8.20, 1.78],
        [-9.30, 3.00, 5.05, -7.80, -3.00, -9.00, -8.10, 1.85],
        [-9.65, 1.40, 4.95, -8.70, -3.10, -10.00, -8.20, 1.95],
        [-10.50, 0.20, 5.00, -10.00, -3.30, -11.20, -8.40, 2.00],
        [-12.40, -0.10, 5.20, -11.90, -3.60, -12.80, -8.80, 2.00],
        [-15.60, -0.30, 6.00, -15.00, -4.00, -15.20, -9.60, 2.00],
        [-19.50, 0.60, 8.50, -19.00, -4.30, -18.50, -10.80, 2.00],
    ]
)
ROW_COUNTS = (5, 6, 7, 8, 8, 8, 18, 20, 16, 22, 18, 9, 8, 6, 5, 5, 5, 5, 6)
COLUMN_SPANS = ((0.0, 48.0, 44), (48.0, 90.0, 16), (90.0, 180.0, 16))

EYE_RING, LIP_RING, JAW_RING = 7.0, 10.0, 13.35
EYE_CENTRE = np.array([3.15, 2.62, 3.00])  # of the left eye (x > 0)
EYE_RADIUS, LID_RADIUS, RIM_RADIUS = 1.22, 1.34, 1.17
CANTHUS_X = (1.85, 4.50)
MOUTH_HALF = 2.55


def lid_line(x: Floats) -> Floats:
    """Height of the closed lids' line at |x| (cm)."""
    s = np.clip((np.abs(x) - CANTHUS_X[0]) / (CANTHUS_X[1] - CANTHUS_X[0]), 0, 1) * 2 - 1
    return 2.56 + 0.07 * s - 0.24 * (1 - s * s)


def lip_line(x: Floats) -> Floats:
    """Height of the closed lips' line at x (cm): a flat bow."""
    q = np.clip(np.abs(x) / MOUTH_HALF, 0, 1.4)
    return -4.17 - 0.05 * np.exp(-0.5 * (x / 0.35) ** 2) - 0.02 * q**2 + 0.05 * np.sin(np.pi * q)


def lip_top(x: Floats) -> Floats:
    """Upper edge of the red of the upper lip."""
    q = np.abs(x) / MOUTH_HALF
    knots = np.array([0, 0.10, 0.22, 0.36, 0.6, 0.85, 1.0, 1.4])
    return curve(q, knots, [-3.50, -3.44, -3.33, -3.40, -3.68, -4.01, -4.15, -4.24])


def lip_bottom(x: Floats) -> Floats:
    """Lower edge of the red of the lower lip."""
    q = np.abs(x) / MOUTH_HALF
    return curve(q, [0, 0.2, 0.4, 0.65, 0.85, 1.0, 1.4],
                 [-5.22, -5.20, -5.12, -4.86, -4.50, -4.22, -4.26])  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class HeadMesh:
    """Topology and canonical coordinates, shared by every person. V vertices, T triangles."""

    rows: int
    """Grid rows, crown to neck base."""
    columns: int
    """Grid columns, the back seam twice; the middle one is the face's mid-line."""
    canon: Floats
    """[V, 3] cm: canonical position of the ring surface, lids and lips closed, no features."""
    ring: Floats
    """[V]: position along the rings, 0 crown .. 19 neck base."""
    phi: Floats
    """[V]: angle around the vertical axis, 0 at the face's mid-line, radians."""
    side: NDArray[np.int8]
    """[V]: +1 above the lips' line, -1 below it."""
    uv: Floats
    """[V, 2]: texture coordinates in [0, 1]."""
    triangles: Ints
    """[T, 3], counter-clockwise seen from outside."""
    seam: Ints
    """[rows, 2]: vertices that coincide at the back."""
    eye_slits: tuple[Ints, Ints]
    """Per eye (left x > 0, right): [n, 4] columns of the slit: upper margin, lower margin,
    upper rim, lower rim; the first and last are the corners (upper = lower)."""
    mouth_slit: Ints
    """[n, 4] as above, from the right corner (x < 0) to the left one."""


def ring_points(ring: Floats, phi: Floats) -> Floats:
    """Points [..., 3] of the smooth ring surface."""
    p = curve(ring, np.arange(len(RINGS)), RINGS)
    yf, zf, w, ys, zs, yb, zb, power = np.moveaxis(p, -1, 0)
    s, c = np.sin(phi), np.cos(phi)
    front = c > 0
    e = np.where(front, 2.0 / power, 1.0)
    x = np.maximum(w, 0) * np.sign(s) * np.abs(s) ** e
    away = np.abs(c) ** e
    z = zs + np.where(front, zf - zs, zb - zs) * away
    y = ys + np.where(front, yf - ys, yb - ys) * c * c
    return np.stack([x, y, z], axis=-1)


def _grid() -> tuple[Floats, Floats]:
    rings = [np.linspace(k, k + 1, n, endpoint=False) for k, n in enumerate(ROW_COUNTS)]
    rows = np.concatenate([*rings, [float(len(ROW_COUNTS))]])
    half = np.concatenate(
        [np.linspace(a, b, n, endpoint=False) for a, b, n in COLUMN_SPANS] + [np.array([180.0])]
    )
    phi = np.radians(np.concatenate([-half[:0:-1], half]))
    return rows, phi


def _warped(ring: Floats, phi: Floats) -> Floats:
    """Ring points whose eye row lies on the lids' line and whose lip row on the lips' line."""
    points = ring_points(ring, phi)
    for at, line, span, inner, outer in (
        (EYE_RING, lid_line, 0.55, 5.2, 6.2),
        (LIP_RING, lip_line, 0.8, 3.2, 5.0),
    ):
        on_line = ring_points(np.full_like(phi, at), phi)
        x = on_line[..., 0]
        shift = (line(x) - on_line[..., 1]) * ramp(np.abs(x), outer, inner) * (np.cos(phi) > 0)
        points[..., 1] += shift * ramp(np.abs(ring - at), span, 0.0)
    return points


@cache
def head_mesh() -> HeadMesh:
    """The one head mesh."""
    rows, phis = _grid()
    n_rows, n_columns = len(rows), len(phis)
    ring, phi = (a.ravel() for a in np.meshgrid(rows, phis, indexing="ij"))
    canon = _warped(ring, phi)
    index = np.arange(n_rows * n_columns).reshape(n_rows, n_columns)
    upper, lower = index, index.copy()  # of the strip below each row: its upper edge's vertices
    parents: list[int] = []
    strips: list[NDArray[np.int64]] = []

    def duplicate(vertex: int) -> int:
        size = n_rows * n_columns
        parents.append(vertex if vertex < size else parents[vertex - size])
        return n_rows * n_columns + len(parents) - 1

    def slit(row: int, columns: NDArray[np.int64]) -> Ints:
        out = []
        for k, i in enumerate(columns):
            top = int(upper[row, i])
            corner = k in (0, len(columns) - 1)
            low = top if corner else duplicate(top)
            lower[row, i] = low
            out.append([top, low, duplicate(top), duplicate(low if corner else top)])
        s = np.array(out)
        for a, b, flip in ((0, 2, False), (1, 3, True)):
            quad = np.stack([s[:-1, a], s[1:, a], s[1:, b], s[:-1, b]], axis=1)
            strips.append(quad[:, ::-1] if flip else quad)
        return s.astype(np.int32)

    eye_row = int(np.argmin(np.abs(rows - EYE_RING)))
    lip_row = int(np.argmin(np.abs(rows - LIP_RING)))
    x = canon[:, 0].reshape(n_rows, n_columns)
    front = np.abs(phis) < np.pi / 2
    mask = front & (x[eye_row] > CANTHUS_X[0] - 0.05) & (x[eye_row] < CANTHUS_X[1] + 0.05)
    left = np.flatnonzero(mask)
    eyes = (slit(eye_row, left), slit(eye_row, (n_columns - 1 - left)[::-1]))
    mouth = slit(lip_row, np.flatnonzero(front & (np.abs(x[lip_row]) < MOUTH_HALF + 0.05)))

    side = np.where(ring <= LIP_RING, 1, -1).astype(np.int8)
    add = np.array(parents)
    extra_side = side[add].copy()
    for column in (1, 3):
        extra_side[mouth[1:-1, column] - len(ring)] = -1
    a, b = lower[:-1], upper[1:]
    quads = np.stack([a[:, :-1], b[:, :-1], b[:, 1:], a[:, 1:]], axis=-1).reshape(-1, 4)
    quads = np.concatenate([quads, *strips])
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    u, v = np.meshgrid(np.linspace(0, 1, n_columns), np.linspace(0, 1, n_rows))
    uv = np.stack([u.ravel(), v.ravel()], axis=1)
    return HeadMesh(
        rows=n_rows, columns=n_columns,
        canon=np.concatenate([canon, canon[add]]),
        ring=np.concatenate([ring, ring[add]]), phi=np.concatenate([phi, phi[add]]),
        side=np.concatenate([side, extra_side]),
        uv=np.concatenate([uv, uv[add]]),
        triangles=triangles.astype(np.int32),
        seam=np.stack([index[:, 0], index[:, -1]], axis=1).astype(np.int32),
        eye_slits=eyes, mouth_slit=mouth,
    )  # fmt: skip
