"""Multi-level hash encoding on the CPU, backwards: to the tables and to the points.

The rule: levels are the outer loop, so that one level's table stays in the core's cache while
all samples of a chunk pass. A backward call owns whole levels: no write conflicts, no atomics.
Forward: nerf.cpu.lookup. Reference: Müller et al. 2022, §3; primes and index rule as instant-ngp.
Twin: nerf.reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from nerf.cpu.vectors import trilinear_slope, trilinear_spread

PRIME_Y = np.uint32(2654435761)
PRIME_Z = np.uint32(805459861)


def kernel(function: Any) -> Any:
    """Compile on first call, without the GIL; the result is cached beside the module."""
    return njit(function, nogil=True, fastmath=True, cache=True, error_model="numpy")


@kernel
def cell(x, cells, last):  # type: ignore[no-untyped-def]
    """Cell index, 0..last, and fraction of coordinate x; outside of [0, 1] the border's cell."""
    p = x * cells
    i = min(max(np.int32(p), np.int32(0)), last)
    return np.uint32(i), p - np.float32(i)


@kernel
def corners(ix, iy, iz, dense, stride, mask):  # type: ignore[no-untyped-def]
    """Table indices of a cell's corners, x fastest: row-major where the level is dense, else the
    spatial hash."""
    # What a level is stays outside of the callers' loops: with all of it in here `scatter` takes
    # twice as long.
    one = np.uint32(1)
    x1 = ix + one
    if dense:
        i0 = ix + stride * (iy + stride * iz)
        i2, i4 = i0 + stride, i0 + stride * stride
        i6 = i4 + stride
        return (np.uint64(i0), np.uint64(i0 + one), np.uint64(i2), np.uint64(i2 + one),
                np.uint64(i4), np.uint64(i4 + one), np.uint64(i6), np.uint64(i6 + one))  # fmt: skip
    y0, z0 = iy * PRIME_Y, iz * PRIME_Z
    y1, z1 = y0 + PRIME_Y, z0 + PRIME_Z
    h00, h10, h01, h11 = y0 ^ z0, y1 ^ z0, y0 ^ z1, y1 ^ z1
    return (np.uint64((ix ^ h00) & mask), np.uint64((x1 ^ h00) & mask),
            np.uint64((ix ^ h10) & mask), np.uint64((x1 ^ h10) & mask),
            np.uint64((ix ^ h01) & mask), np.uint64((x1 ^ h01) & mask),
            np.uint64((ix ^ h11) & mask), np.uint64((x1 ^ h11) & mask))  # fmt: skip


@kernel
def scatter(grad_table, offsets, resolutions, level, xyz, grad_out):  # type: ignore[no-untyped-def]
    """Add to `grad_table` [E, 4] the gradient of one `level` for points `xyz` [S, 3].

    `grad_out` [S, L·4] is the loss's gradient with respect to the encoding; `grad_table` is
    contiguous and aligned to 16 bytes.
    """
    res = resolutions[level]
    size = offsets[level + 1] - offsets[level]
    dense = (res + 1) * (res + 1) * (res + 1) <= size
    cells, last = np.float32(res), np.int32(res - 1)
    stride, mask = np.uint32(res + 1), np.uint32(size - 1)
    base = np.uint64(grad_table.ctypes.data) + np.uint64(16 * offsets[level])
    down = np.uint64(grad_out.ctypes.data) + np.uint64(16 * level)
    row = np.uint64(4 * grad_out.shape[1])
    for s in range(xyz.shape[0]):
        ix, fx = cell(xyz[s, 0], cells, last)
        iy, fy = cell(xyz[s, 1], cells, last)
        iz, fz = cell(xyz[s, 2], cells, last)
        i0, i1, i2, i3, i4, i5, i6, i7 = corners(ix, iy, iz, dense, stride, mask)
        trilinear_spread(base, i0, i1, i2, i3, i4, i5, i6, i7, fx, fy, fz,
                         down + row * np.uint64(s))  # fmt: skip


@kernel
def point_gradient(table, offsets, resolutions, xyz, grad_out, grad_xyz):  # type: ignore[no-untyped-def]
    """Add to `grad_xyz` [S, 4] the loss's gradient with respect to the points, and 0.

    `table` [E, 4] as `nerf.cpu.lookup.look_up` takes it; `grad_out` [S, L·4] contiguous.
    """
    row = np.uint64(4 * grad_out.shape[1])
    to = np.uint64(grad_xyz.ctypes.data)
    for level in range(resolutions.shape[0]):
        res = resolutions[level]
        size = offsets[level + 1] - offsets[level]
        dense = (res + 1) * (res + 1) * (res + 1) <= size
        cells, last = np.float32(res), np.int32(res - 1)
        stride, mask = np.uint32(res + 1), np.uint32(size - 1)
        base = np.uint64(table.ctypes.data) + np.uint64(16 * offsets[level])
        down = np.uint64(grad_out.ctypes.data) + np.uint64(16 * level)
        for s in range(xyz.shape[0]):
            ix, fx = cell(xyz[s, 0], cells, last)
            iy, fy = cell(xyz[s, 1], cells, last)
            iz, fz = cell(xyz[s, 2], cells, last)
            i0, i1, i2, i3, i4, i5, i6, i7 = corners(ix, iy, iz, dense, stride, mask)
            trilinear_slope(base, i0, i1, i2, i3, i4, i5, i6, i7, fx, fy, fz,
                            down + row * np.uint64(s), cells,
                            to + np.uint64(16 * s))  # fmt: skip
