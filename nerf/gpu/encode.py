"""Multi-level hash encoding in Triton: device functions for a block of samples.

The rule: a block holds [8 corners, samples, levels] look-ups at once, each of four neighbouring
numbers (one 64-bit load in half precision). The corners lie in one thread's registers, so their sum
moves nothing between threads, and only points and features ever do. The result is
[samples, levels · 4], as a matrix product wants it.
Reference: Müller et al. 2022, §3. Twin: nerf.reference.encode.
"""

from __future__ import annotations

import triton
import triton.language as tl

PRIME_Y = tl.constexpr(-1640531535)  # 2654435761 as a signed number: products wrap the same
PRIME_Z = tl.constexpr(805459861)
UNIT = tl.constexpr(0.015)  # nerf.config.WARP_UNIT


@triton.jit
def load_levels(levels, L: tl.constexpr):
    """(resolution, first entry, hash mask, exists), each [L]."""
    i = tl.arange(0, L)
    return tl.load(levels + i), tl.load(levels + L + i), tl.load(levels + 2 * L + i), tl.load(
        levels + 3 * L + i) > 0  # fmt: skip


@triton.jit
def cell(x, res):
    """Cell index and fraction, [1, S, L, 1], of coordinates x [S] on levels of `res` [L] cells."""
    p = x[None, :, None, None] * res.to(tl.float32)[None, None, :, None]
    i = tl.minimum(tl.maximum(p.to(tl.int32), 0), res[None, None, :, None] - 1)
    return i, p - i.to(tl.float32)


@triton.jit
def corner(axis: tl.constexpr):
    """Whether each of the eight corners lies on the far side of its cell, [8, 1, 1, 1] of 0, 1."""
    return ((tl.arange(0, 8) >> axis) & 1)[:, None, None, None]


@triton.jit
def share(fraction, axis: tl.constexpr):
    """The corners' weights along one axis, [8, S, L, 1]."""
    return tl.where(corner(axis) == 1, fraction, 1.0 - fraction)


@triton.jit
def numbers(ix, iy, iz, res, first, mask):
    """Where the corners' four numbers lie in a table, [8, S, L, 4]: row-major where `mask` is -1,
    else by the spatial hash."""
    ix, iy, iz = ix + corner(0), iy + corner(1), iz + corner(2)
    stride = res[None, None, :, None] + 1
    row = ix + stride * (iy + stride * iz)
    h = (ix ^ (iy * PRIME_Y) ^ (iz * PRIME_Z)) & mask[None, None, :, None]
    entry = first[None, None, :, None] + tl.where(mask[None, None, :, None] == -1, row, h)
    return 4 * entry + tl.arange(0, 4)[None, None, None, :]


@triton.jit
def encode(table, x, y, z, live, res, first, mask, exists, S: tl.constexpr, L: tl.constexpr):
    """Features float32 [S, L·4] of the points (x, y, z) [S] that are `live`, zero elsewhere."""
    ix, fx = cell(x, res)
    iy, fy = cell(y, res)
    iz, fz = cell(z, res)
    wanted = live[None, :, None, None] & exists[None, None, :, None]
    at = table + numbers(ix, iy, iz, res, first, mask)
    v = tl.load(at, mask=wanted, other=0.0).to(tl.float32)
    w = share(fx, 0) * share(fy, 1) * share(fz, 2)
    return tl.reshape(tl.sum(w * v, axis=0), [S, L * 4])


@triton.jit
def scatter(grad_table, grad, x, y, z, live, res, first, mask, exists,
            S: tl.constexpr, L: tl.constexpr):  # fmt: skip
    """Add the gradient float32 [S, L·4] of the features to `grad_table` [E, 4], atomically."""
    ix, fx = cell(x, res)
    iy, fy = cell(y, res)
    iz, fz = cell(z, res)
    wanted = live[None, :, None, None] & exists[None, None, :, None]
    g = tl.reshape(grad, [1, S, L, 4])
    value = share(fx, 0) * share(fy, 1) * share(fz, 2) * g
    at = grad_table + numbers(ix, iy, iz, res, first, mask)
    tl.atomic_add(at, value, mask=wanted & (value != 0.0), sem="relaxed")


@triton.jit
def point_gradient(table, grad, x, y, z, live, res, first, mask, exists,
                   S: tl.constexpr, L: tl.constexpr):  # fmt: skip
    """The gradient by the points, three times float32 [S], of the features' [S, L·4]."""
    ix, fx = cell(x, res)
    iy, fy = cell(y, res)
    iz, fz = cell(z, res)
    wanted = live[None, :, None, None] & exists[None, None, :, None]
    at = table + numbers(ix, iy, iz, res, first, mask)
    v = tl.load(at, mask=wanted, other=0.0).to(tl.float32)
    wx, wy, wz = share(fx, 0), share(fy, 1), share(fz, 2)
    cells = v * tl.reshape(grad, [1, S, L, 4]) * res.to(tl.float32)[None, None, :, None]
    return (whole(cells * (wy * wz * (2 * corner(0) - 1))),
            whole(cells * (wx * wz * (2 * corner(1) - 1))),
            whole(cells * (wx * wy * (2 * corner(2) - 1))))  # fmt: skip


@triton.jit
def whole(x):
    """The sum over corners, levels and features, [S], of x [8, S, L, 4]."""
    return tl.sum(tl.sum(tl.sum(x, axis=0), axis=2), axis=1)


@triton.jit
def warp_level(WARP: tl.constexpr):
    """The warp's grid as `load_levels` gives levels, each [1]."""
    zero = tl.full([1], 0, tl.int32)
    return zero + WARP, zero, zero - 1, zero == 0


@triton.jit
def displace(table, x, y, z, live, WARP: tl.constexpr, S: tl.constexpr):
    """Where the points [S] are looked up: moved by the warp's grid of WARP cells, if any."""
    if WARP > 0:
        res, first, mask, exists = warp_level(WARP)
        by = encode(table, x, y, z, live, res, first, mask, exists, S, 1) * UNIT
        x, y, z = x + column(by, 0), y + column(by, 1), z + column(by, 2)
    return x, y, z


@triton.jit
def column(rows, c: tl.constexpr):
    """[S] of [S, 4]."""
    return tl.sum(tl.where(tl.arange(0, 4)[None, :] == c, rows, 0.0), axis=1)


@triton.jit
def side_by_side(x, y, z):
    """[S, 4] of three [S], the last column zero."""
    c = tl.arange(0, 4)[None, :]
    yz = tl.where(c == 1, y[:, None], tl.where(c == 2, z[:, None], 0.0))
    return tl.where(c == 0, x[:, None], yz)
