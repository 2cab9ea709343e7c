"""The encoding, forward: an entry is one vector.

The rule: a table entry's four features are one 128-bit load and one lane each; a block of points
passes level after level, so that its features stay in the first cache. Twin: nerf.reference.
"""

from __future__ import annotations

import numpy as np

from nerf.config import WARP_UNIT
from nerf.cpu.encode import cell, corners, kernel
from nerf.cpu.vectors import trilinear


@kernel
def _level(base, res, size, xyz, to, row):  # type: ignore[no-untyped-def]
    """A level of `size` entries at address `base` for all points; features go to address `to`, a
    point's `row` bytes after those of the one before."""
    cells, last = np.float32(res), np.int32(res - 1)
    stride, mask = np.uint32(res + 1), np.uint32(size - 1)
    dense = (res + 1) * (res + 1) * (res + 1) <= size
    for s in range(xyz.shape[0]):
        ix, fx = cell(xyz[s, 0], cells, last)
        iy, fy = cell(xyz[s, 1], cells, last)
        iz, fz = cell(xyz[s, 2], cells, last)
        i0, i1, i2, i3, i4, i5, i6, i7 = corners(ix, iy, iz, dense, stride, mask)
        trilinear(base, i0, i1, i2, i3, i4, i5, i6, i7, fx, fy, fz, to + row * np.uint64(s))


@kernel
def displace(table, cells, xyz, count, room):  # type: ignore[no-untyped-def]
    """Move the first `count` points `xyz` [S, 3] as the warp's grid of `cells` cells says.

    `table` as `look_up` takes it; `room` contiguous float32 [≥ count, 4] is overwritten.
    """
    if cells == 0:
        return
    points, unit = xyz[:count], np.float32(WARP_UNIT)
    _level(np.uint64(table.ctypes.data), cells, (cells + 1) * (cells + 1) * (cells + 1), points,
           np.uint64(room.ctypes.data), np.uint64(16))  # fmt: skip
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
        base = np.uint64(table.ctypes.data) + np.uint64(16 * offsets[level])
        to = np.uint64(out.ctypes.data) + np.uint64(16 * level)
        _level(base, resolutions[level], offsets[level + 1] - offsets[level], points, to, row)
