"""The rows of the alignment's normal equations: one pass over the points, compiled.

The rule: plain arrays in and out; `plain_rows` says the same in numpy and is what the tests hold
the compiled one against. Small numpy calls cost more than the arithmetic at some hundred points.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sender.personal.motion import Motion, project

Float32 = NDArray[np.float32]

POINT_SHARE = 0.06
"""Neighbouring points err alike: a point counts as so many independent measurements."""
ROBUST = 1.5  # of a point's spread: beyond, a difference counts less and less
FACING = (0.15, 0.3)  # a point is seen from this cosine on, fully this much later
MOTION = 6
SHIFT = slice(3, MOTION)  # rows of a point's own shift, too
LIGHT = MOTION  # row of the change of light among the unknowns
RESIDUAL = LIGHT + 1
ROWS = RESIDUAL + 1


def weighted_rows(
    look: Any, points: Float32, normals: Float32, pivot: NDArray[Any], motion: Motion,
    pose: NDArray[Any], focal: float, middle: NDArray[Any], expected: Float32, inverse: Float32,
    rows: Float32,
) -> tuple[float, float]:  # fmt: skip
    """Fill `rows` [8, K]: the derivatives of the brightness residuals by motion and light, and the
    residuals, all times the root of each point's weight (which is the derivative by light);
    gives Σ visible·(residual / spread)² and Σ visible. `look`: planes [H, W, 3] and their corner;
    `pose`, `focal` and `middle` as `project` takes them; `expected` [K] brightness; `inverse` [K]
    of the spreads."""
    q = np.asarray(pivot, dtype=np.float64)
    turn = pose[:3, :3]
    centre = turn @ (q + motion.translation) + pose[:3, 3]
    sums = _fill(
        look.planes, look.corner[0] + 0.5, look.corner[1] + 0.5, points, normals,
        q.astype(np.float32), motion.rotation.astype(np.float32), turn.astype(np.float32),
        centre.astype(np.float32), np.float32(focal), middle.astype(np.float32), expected,
        inverse, rows,
    )  # fmt: skip
    return float(sums[0]), float(sums[1])


@numba.njit(cache=True, nogil=True, fastmath=False)
def _fill(planes, x0, y0, points, normals, pivot, m, t, centre, focal, middle, expected,
          inverse, rows):  # type: ignore[no-untyped-def]  # fmt: skip
    height, width = planes.shape[0], planes.shape[1]
    tm = np.empty((3, 3), np.float32)
    for i in range(3):
        for j in range(3):
            tm[i, j] = t[i, 0] * m[0, j] + t[i, 1] * m[1, j] + t[i, 2] * m[2, j]
    total, visible_sum = 0.0, 0.0
    for k in range(points.shape[0]):
        px, py, pz = points[k, 0] - pivot[0], points[k, 1] - pivot[1], points[k, 2] - pivot[2]
        ax = m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz
        ay = m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz
        az = m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz
        cx = t[0, 0] * ax + t[0, 1] * ay + t[0, 2] * az + centre[0]
        cy = t[1, 0] * ax + t[1, 1] * ay + t[1, 2] * az + centre[1]
        cz = t[2, 0] * ax + t[2, 1] * ay + t[2, 2] * az + centre[2]
        s = np.float32(-1.0) / cz
        x, y, f = cx * s, cy * s, focal * s
        # brightness and its slopes there
        u = min(max(middle[0] + focal * x - x0, 0.0), width - 1.001)
        v = min(max(middle[1] - focal * y - y0, 0.0), height - 1.001)
        iu, iv = int(u), int(v)
        fu, fv = np.float32(u - iu), np.float32(v - iv)
        w00, w01 = (1 - fu) * (1 - fv), fu * (1 - fv)
        w10, w11 = (1 - fu) * fv, fu * fv
        shade = (w00 * planes[iv, iu, 0] + w01 * planes[iv, iu + 1, 0]
                 + w10 * planes[iv + 1, iu, 0] + w11 * planes[iv + 1, iu + 1, 0])  # fmt: skip
        gx = (w00 * planes[iv, iu, 1] + w01 * planes[iv, iu + 1, 1]
              + w10 * planes[iv + 1, iu, 1] + w11 * planes[iv + 1, iu + 1, 1])  # fmt: skip
        gy = (w00 * planes[iv, iu, 2] + w01 * planes[iv, iu + 1, 2]
              + w10 * planes[iv + 1, iu, 2] + w11 * planes[iv + 1, iu + 1, 2])  # fmt: skip
        nx = tm[0, 0] * normals[k, 0] + tm[0, 1] * normals[k, 1] + tm[0, 2] * normals[k, 2]
        ny = tm[1, 0] * normals[k, 0] + tm[1, 1] * normals[k, 1] + tm[1, 2] * normals[k, 2]
        nz = tm[2, 0] * normals[k, 0] + tm[2, 1] * normals[k, 1] + tm[2, 2] * normals[k, 2]
        facing = -(nx * cx + ny * cy + nz * cz) / np.sqrt(cx * cx + cy * cy + cz * cz)
        visible = min(max((facing - FACING[0]) / FACING[1], 0.0), 1.0)
        left = shade - expected[k]
        relative = left * inverse[k]
        robust = 1.0 / (1.0 + (relative / ROBUST) ** 2)
        root = np.float32(np.sqrt(visible * robust * POINT_SHARE) * inverse[k])
        total += visible * relative * relative
        visible_sum += visible
        # d brightness / d head-frame motion of the point
        hx = f * (gx * (t[0, 0] + x * t[2, 0]) - gy * (t[1, 0] + y * t[2, 0])) * root
        hy = f * (gx * (t[0, 1] + x * t[2, 1]) - gy * (t[1, 1] + y * t[2, 1])) * root
        hz = f * (gx * (t[0, 2] + x * t[2, 2]) - gy * (t[1, 2] + y * t[2, 2])) * root
        rows[0, k] = ay * hz - az * hy
        rows[1, k] = az * hx - ax * hz
        rows[2, k] = ax * hy - ay * hx
        rows[3, k], rows[4, k], rows[5, k] = hx, hy, hz
        rows[6, k], rows[7, k] = root, left * root
    return total, visible_sum


def plain_rows(
    look: Any, points: Float32, normals: Float32, pivot: NDArray[Any], motion: Motion,
    pose: NDArray[Any], focal: float, middle: NDArray[Any], expected: Float32, inverse: Float32,
    rows: Float32,
) -> tuple[float, float]:  # fmt: skip
    """The twin of `weighted_rows`."""
    seen = project(points, normals, pivot, motion, pose, focal, middle)
    planes = look.sample(seen.pixels)
    left = planes[:, 0] - expected
    visible = np.clip((seen.facing - FACING[0]) / FACING[1], 0.0, 1.0)
    relative = left * inverse
    robust = 1.0 / (1.0 + (relative / ROBUST) ** 2)
    root = np.sqrt(visible * robust * POINT_SHARE) * inverse
    rows[:MOTION] = (planes[:, 1:, None] * seen.jacobian).sum(axis=1).T
    rows[LIGHT] = 1.0
    rows[RESIDUAL] = left
    rows *= root
    return float((visible * relative**2).sum()), float(visible.sum())
