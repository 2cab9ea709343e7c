"""Multi-level hash encoding on the CPU: trilinear look-ups, forward and backward.

The rule: levels are the outer loop, so that one level's table stays in the core's cache while
all samples of a chunk pass. A backward call owns whole levels: no write conflicts, no atomics.
Reference: Müller et al. 2022, §3; primes and index rule as instant-ngp. Twin: nerf.reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

PRIME_Y = np.uint32(2654435761)
PRIME_Z = np.uint32(805459861)


def kernel(function: Any) -> Any:
    """Compile on first call, without the GIL; the result is cached beside the module."""
    return njit(function, nogil=True, fastmath=True, cache=True, error_model="numpy")


@kernel
def _corner(ix, iy, iz, dense, stride, mask):  # type: ignore[no-untyped-def]
    """Table index of a grid corner: row-major where the level is dense, else the spatial hash."""
    if dense:
        return np.int64(ix) + stride * (np.int64(iy) + stride * np.int64(iz))
    h = np.uint32(ix) ^ (np.uint32(iy) * PRIME_Y) ^ (np.uint32(iz) * PRIME_Z)
    return np.int64(h & mask)


@kernel
def _cell(x, res):  # type: ignore[no-untyped-def]
    """Cell index and fraction of coordinate x in [0, 1] on a level with `res` cells."""
    p = x * res
    i = np.int32(p)
    if i < 0:
        i = np.int32(0)
    if i > res - 1:
        i = np.int32(res - 1)
    return i, p - np.float32(i)


@kernel
def encode(table, offsets, resolutions, xyz, out):  # type: ignore[no-untyped-def]
    """Fill `out` [S, L·4] with the features of points `xyz` [S, 3] in [0, 1]³.

    `table` float32 [E, 4]; `offsets` int64 [L+1]; `resolutions` int64 [L].
    """
    count = xyz.shape[0]
    for level in range(resolutions.shape[0]):
        res = resolutions[level]
        first = offsets[level]
        size = offsets[level + 1] - first
        stride = res + 1
        dense = stride * stride * stride <= size
        mask = np.uint32(size - 1)
        scale = np.float32(res)
        col = 4 * level
        for s in range(count):
            ix, fx = _cell(xyz[s, 0], scale)
            iy, fy = _cell(xyz[s, 1], scale)
            iz, fz = _cell(xyz[s, 2], scale)
            a0 = np.float32(0.0)
            a1 = np.float32(0.0)
            a2 = np.float32(0.0)
            a3 = np.float32(0.0)
            for c in range(8):
                dx, dy, dz = c & 1, (c >> 1) & 1, c >> 2
                w = fx if dx else np.float32(1.0) - fx
                w *= fy if dy else np.float32(1.0) - fy
                w *= fz if dz else np.float32(1.0) - fz
                e = first + _corner(ix + dx, iy + dy, iz + dz, dense, stride, mask)
                a0 += w * table[e, 0]
                a1 += w * table[e, 1]
                a2 += w * table[e, 2]
                a3 += w * table[e, 3]
            out[s, col] = a0
            out[s, col + 1] = a1
            out[s, col + 2] = a2
            out[s, col + 3] = a3


@kernel
def scatter(grad_table, offsets, resolutions, level, xyz, grad_out):  # type: ignore[no-untyped-def]
    """Add to `grad_table` [E, 4] the gradient of one `level` for points `xyz` [S, 3].

    `grad_out` [S, L·4] is the loss's gradient with respect to the encoding.
    """
    res = resolutions[level]
    first = offsets[level]
    size = offsets[level + 1] - first
    stride = res + 1
    dense = stride * stride * stride <= size
    mask = np.uint32(size - 1)
    scale = np.float32(res)
    col = 4 * level
    for s in range(xyz.shape[0]):
        g0 = grad_out[s, col]
        g1 = grad_out[s, col + 1]
        g2 = grad_out[s, col + 2]
        g3 = grad_out[s, col + 3]
        ix, fx = _cell(xyz[s, 0], scale)
        iy, fy = _cell(xyz[s, 1], scale)
        iz, fz = _cell(xyz[s, 2], scale)
        for c in range(8):
            dx, dy, dz = c & 1, (c >> 1) & 1, c >> 2
            w = fx if dx else np.float32(1.0) - fx
            w *= fy if dy else np.float32(1.0) - fy
            w *= fz if dz else np.float32(1.0) - fz
            e = first + _corner(ix + dx, iy + dy, iz + dz, dense, stride, mask)
            grad_table[e, 0] += w * g0
            grad_table[e, 1] += w * g1
            grad_table[e, 2] += w * g2
            grad_table[e, 3] += w * g3


@kernel
def encode_point_gradient(table, offsets, resolutions, xyz, grad_out, grad_xyz):  # type: ignore[no-untyped-def]
    """Fill `grad_xyz` [S, 3] with the loss's gradient with respect to the points."""
    count = xyz.shape[0]
    for s in range(count):
        grad_xyz[s, 0] = 0.0
        grad_xyz[s, 1] = 0.0
        grad_xyz[s, 2] = 0.0
    for level in range(resolutions.shape[0]):
        res = resolutions[level]
        first = offsets[level]
        size = offsets[level + 1] - first
        stride = res + 1
        dense = stride * stride * stride <= size
        mask = np.uint32(size - 1)
        scale = np.float32(res)
        col = 4 * level
        one = np.float32(1.0)
        for s in range(count):
            ix, fx = _cell(xyz[s, 0], scale)
            iy, fy = _cell(xyz[s, 1], scale)
            iz, fz = _cell(xyz[s, 2], scale)
            g0 = grad_out[s, col]
            g1 = grad_out[s, col + 1]
            g2 = grad_out[s, col + 2]
            g3 = grad_out[s, col + 3]
            sx = np.float32(0.0)
            sy = np.float32(0.0)
            sz = np.float32(0.0)
            for c in range(8):
                dx, dy, dz = c & 1, (c >> 1) & 1, c >> 2
                wx = fx if dx else one - fx
                wy = fy if dy else one - fy
                wz = fz if dz else one - fz
                e = first + _corner(ix + dx, iy + dy, iz + dz, dense, stride, mask)
                v = g0 * table[e, 0] + g1 * table[e, 1] + g2 * table[e, 2] + g3 * table[e, 3]
                sx += (one if dx else -one) * wy * wz * v
                sy += (one if dy else -one) * wx * wz * v
                sz += (one if dz else -one) * wx * wy * v
            grad_xyz[s, 0] += scale * sx
            grad_xyz[s, 1] += scale * sy
            grad_xyz[s, 2] += scale * sz
