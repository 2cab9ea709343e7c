"""The encoding again, forward only and more than twice as fast: an entry is one vector.

The rule: a table entry's four features are one 128-bit load and one lane each; a block of points
passes level after level, so that its features stay in the first cache. Twin: nerf.reference.
"""

from __future__ import annotations

import numpy as np

from nerf.config import WARP_UNIT
from nerf.cpu.encode import PRIME_Y, PRIME_Z, kernel
from nerf.cpu.vectors import trilinear


@kernel
def _cell(x, cells, last):  # type: ignore[no-untyped-def]
    """Cell index, 0..last, and fraction of coordinate x in [0, 1]."""
    p = x * cells
    i = min(max(np.int32(p), np.int32(0)), last)
    return np.uint32(i), p - np.float32(i)


@kernel
def _dense_level(base, res, xyz, to, row):  # type: ignore[no-untyped-def]
    """A level whose table is row-major, for all points."""
    cells, last, one = np.float32(res), np.int32(res - 1), np.uint32(1)
    stride = np.uint32(res + 1)
    plane = stride * stride
    for s in range(xyz.shape[0]):
        ix, fx = _cell(xyz[s, 0], cells, last)
        iy, fy = _cell(xyz[s, 1], cells, last)
        iz, fz = _cell(xyz[s, 2], cells, last)
        i0 = ix + stride * iy + plane * iz
        i2, i4, i6 = i0 + stride, i0 + plane, i0 + plane + stride
        trilinear(base, np.uint64(i0), np.uint64(i0 + one), np.uint64(i2), np.uint64(i2 + one),
                  np.uint64(i4), np.uint64(i4 + one), np.uint64(i6), np.uint64(i6 + one),
                  fx, fy, fz, to + row * np.uint64(s))  # fmt: skip


@kernel
def _hashed_level(base, res, mask, xyz, to, row):  # type: ignore[no-untyped-def]
    """A level whose table is a spatial hash of `mask` + 1 entries."""
    cells, last, one = np.float32(res), np.int32(res - 1), np.uint32(1)
    for s in range(xyz.shape[0]):
        x0, fx = _cell(xyz[s, 0], cells, last)
        iy, fy = _cell(xyz[s, 1], cells, last)
        iz, fz = _cell(xyz[s, 2], cells, last)
        x1, y0, z0 = x0 + one, iy * PRIME_Y, iz * PRIME_Z
        y1, z1 = y0 + PRIME_Y, z0 + PRIME_Z
        h00, h10, h01, h11 = y0 ^ z0, y1 ^ z0, y0 ^ z1, y1 ^ z1
        trilinear(base, np.uint64((x0 ^ h00) & mask), np.uint64((x1 ^ h00) & mask),
                  np.uint64((x0 ^ h10) & mask), np.uint64((x1 ^ h10) & mask),
                  np.uint64((x0 ^ h01) & mask), np.uint64((x1 ^ h01) & mask),
                  np.uint64((x0 ^ h11) & mask), np.uint64((x1 ^ h11) & mask),
                  fx, fy, fz, to + row * np.uint64(s))  # fmt: skip


@kernel
def displace(table, cells, xyz, count, room):  # type: ignore[no-untyped-def]
    """Move the first `count` points `xyz` [S, 3] as the warp's grid of `cells` cells says.

    `table` as `look_up` takes it; `room` contiguous float32 [≥ count, 4] is overwritten.
    """
    if cells == 0:
        return
    points, unit = xyz[:count], np.float32(WARP_UNIT)
    _dense_level(np.uint64(table.ctypes.data), cells, points, np.uint64(room.ctypes.data),
                 np.uint64(16))  # fmt: skip
    for s in range(count):
        for c in range(3):
            points[s, c] += unit * room[s, c]


@kernel
def look_up(table, offsets, resolutions, xyz, count, out):  # type: ignore[no-untyped-def]
    """Fill `out` [≥ count, L·4] with the features of the first `count` points `xyz` [S, 3].

    `table` float32 [E, 4], contiguous and aligned to 16 bytes; `out` contiguous float32.
    """
    points = xyz[:count]
    row = np.uint64(4 * out.shape[1])
    for level in range(resolutions.shape[0]):
        res = resolutions[level]
        size = offsets[level + 1] - offsets[level]
        base = np.uint64(table.ctypes.data) + np.uint64(16 * offsets[level])
        to = np.uint64(out.ctypes.data) + np.uint64(16 * level)
        if (res + 1) * (res + 1) * (res + 1) <= size:
            _dense_level(base, res, points, to, row)
        else:
            _hashed_level(base, res, np.uint32(size - 1), points, to, row)
