"""The rasteriser: triangles to samples, a z-buffer of 1/depth, smooth normals.

The rule: numba kernels without the interpreter lock and without threads of their own; who films
runs several frames side by side. Four samples per pixel (a 2x2 grid).
"""

from __future__ import annotations

import numpy as np
from numba import njit

SAMPLES = 2  # per pixel and axis


@njit(nogil=True, cache=True, fastmath=True)
def vertex_normals(points, triangles, seam, out):  # type: ignore[no-untyped-def]
    """Area-weighted unit normals [V, 3] into `out`; both vertices of a seam pair get the sum."""
    out[:] = 0.0
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = (points[j, 0] - points[i, 0], points[j, 1] - points[i, 1],
                      points[j, 2] - points[i, 2])  # fmt: skip
        bx, by, bz = (points[k, 0] - points[i, 0], points[k, 1] - points[i, 1],
                      points[k, 2] - points[i, 2])  # fmt: skip
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            out[v, 0] += nx
            out[v, 1] += ny
            out[v, 2] += nz
    for s in range(seam.shape[0]):
        a, b = seam[s, 0], seam[s, 1]
        for c in range(3):
            both = out[a, c] + out[b, c]
            out[a, c] = both
            out[b, c] = both
    for v in range(out.shape[0]):
        n = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2) + 1e-20
        out[v, 0] /= n
        out[v, 1] /= n
        out[v, 2] /= n


@njit(nogil=True, cache=True, fastmath=True)
def project(points, fx, fy, cx, cy, scale, out):  # type: ignore[no-untyped-def]
    """Camera-frame points [V, 3] → (x, y) in samples and 1/depth, into `out` [V, 3].

    1/depth is 0 for what lies behind the camera or within 2 cm of it.
    """
    for v in range(points.shape[0]):
        depth = -points[v, 2]
        if depth < 0.02:
            out[v, 0] = 0.0
            out[v, 1] = 0.0
            out[v, 2] = 0.0
        else:
            w = 1.0 / depth
            out[v, 0] = (cx + fx * points[v, 0] * w) * scale
            out[v, 1] = (cy - fy * points[v, 1] * w) * scale
            out[v, 2] = w


@njit(nogil=True, cache=True, fastmath=True)
def rasterise(screen, triangles, one_sided, nearest, ids):  # type: ignore[no-untyped-def]
    """Fill `ids` [h, w] (int32, -1 where empty) and `nearest` [h, w] (1/depth, 0 where empty)."""
    height, width = ids.shape
    half, one = np.float32(0.5), np.float32(1.0)
    slack = np.float32(-1e-4)  # of a triangle: no cracks between neighbours
    ids[:] = -1
    nearest[:] = 0.0
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        wi, wj, wk = screen[i, 2], screen[j, 2], screen[k, 2]
        if wi == 0.0 or wj == 0.0 or wk == 0.0:
            continue
        x0, y0, x1, y1 = screen[i, 0], screen[i, 1], screen[j, 0], screen[j, 1]
        x2, y2 = screen[k, 0], screen[k, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        # rows grow downwards: what is counter-clockwise seen from outside has a negative area
        if area == 0.0 or (area > 0.0 and one_sided[t]):
            continue
        left = max(int(np.ceil(min(x0, x1, x2) - 0.5)), 0)
        right = min(int(np.floor(max(x0, x1, x2) - 0.5)), width - 1)
        top = max(int(np.ceil(min(y0, y1, y2) - 0.5)), 0)
        bottom = min(int(np.floor(max(y0, y1, y2) - 0.5)), height - 1)
        if left > right or top > bottom:
            continue
        inv = one / area
        a0, b0 = (y1 - y2) * inv, (x2 - x1) * inv
        a1, b1 = (y2 - y0) * inv, (x0 - x2) * inv
        for y in range(top, bottom + 1):
            py = y + half
            l0 = a0 * (left + half - x1) + b0 * (py - y1)
            l1 = a1 * (left + half - x2) + b1 * (py - y2)
            entered = False
            for x in range(left, right + 1):
                l2 = one - l0 - l1
                if l0 >= slack and l1 >= slack and l2 >= slack:
                    entered = True
                    w = l0 * wi + l1 * wj + l2 * wk
                    if w > nearest[y, x]:
                        nearest[y, x] = w
                        ids[y, x] = t
                elif entered:  # a triangle is convex: the rest of the row is outside
                    break
                l0 += a0
                l1 += a1


@njit(nogil=True, cache=True, fastmath=True)
def displace(points, moved, table, coefficients):  # type: ignore[no-untyped-def]
    """Add Σ coefficient · displacement to the rows `moved` of `points`."""
    for c in range(table.shape[0]):
        k = coefficients[c]
        if k == 0.0:
            continue
        for f in range(moved.shape[0]):
            v = moved[f]
            points[v, 0] += k * table[c, f, 0]
            points[v, 1] += k * table[c, f, 1]
            points[v, 2] += k * table[c, f, 2]
