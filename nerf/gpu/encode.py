"""Multi-level hash encoding in Triton: device functions for a block of samples.

The rule: a block holds [samples, levels] look-ups at once, each of four neighbouring numbers (one
64-bit load in half precision); the result is [samples, levels · 4], as a matrix product wants it.
Reference: Müller et al. 2022, §3. Twin: nerf.reference.encode.
"""

from __future__ import annotations

import triton
import triton.language as tl

PRIME_Y = tl.constexpr(-1640531535)  # 2654435761 as a signed number: products wrap the same
PRIME_Z = tl.constexpr(805459861)


@triton.jit
def cell(x, res):
    """Cell index and fraction, both [S, L], of coordinates x [S] on levels of `res` [L] cells."""
    p = x[:, None] * res.to(tl.float32)[None, :]
    i = tl.minimum(tl.maximum(p.to(tl.int32), 0), res[None, :] - 1)
    return i, p - i.to(tl.float32)


@triton.jit
def entry(ix, iy, iz, res, first, mask):
    """Table entry of a grid corner, [S, L]: row-major where `mask` is -1, else the spatial hash."""
    stride = res[None, :] + 1
    row = ix + stride * (iy + stride * iz)
    h = (ix ^ (iy * PRIME_Y) ^ (iz * PRIME_Z)) & mask[None, :]
    return first[None, :] + tl.where(mask[None, :] == -1, row, h)


@triton.jit
def share(fraction, far: tl.constexpr):
    """The weight of a corner along one axis."""
    return fraction if far else 1.0 - fraction


@triton.jit
def load_levels(levels, L: tl.constexpr):
    """(resolution, first entry, hash mask, exists), each [L]."""
    i = tl.arange(0, L)
    return tl.load(levels + i), tl.load(levels + L + i), tl.load(levels + 2 * L + i), tl.load(
        levels + 3 * L + i) > 0  # fmt: skip


@triton.jit
def encode(table, x, y, z, live, res, first, mask, exists, S: tl.constexpr, L: tl.constexpr):
    """Features float32 [S, L·4] of the points (x, y, z) [S] that are `live`, zero elsewhere."""
    ix, fx = cell(x, res)
    iy, fy = cell(y, res)
    iz, fz = cell(z, res)
    wanted = (live[:, None] & exists[None, :])[:, :, None]
    four = tl.arange(0, 4)[None, None, :]
    out = tl.zeros([S, L, 4], tl.float32)
    for corner in tl.static_range(8):
        w = share(fx, corner & 1) * share(fy, (corner >> 1) & 1) * share(fz, corner >> 2)
        e = entry(ix + (corner & 1), iy + ((corner >> 1) & 1), iz + (corner >> 2), res, first, mask)
        v = tl.load(table + (e * 4)[:, :, None] + four, mask=wanted, other=0.0)
        out += w[:, :, None] * v.to(tl.float32)
    return tl.reshape(out, [S, L * 4])


@triton.jit
def scatter(grad_table, grad, x, y, z, live, res, first, mask, exists,
            S: tl.constexpr, L: tl.constexpr):  # fmt: skip
    """Add the gradient float32 [S, L·4] of the features to `grad_table` [E, 4], atomically."""
    ix, fx = cell(x, res)
    iy, fy = cell(y, res)
    iz, fz = cell(z, res)
    wanted = (live[:, None] & exists[None, :])[:, :, None]
    four = tl.arange(0, 4)[None, None, :]
    g = tl.reshape(grad, [S, L, 4])
    for corner in tl.static_range(8):
        w = share(fx, corner & 1) * share(fy, (corner >> 1) & 1) * share(fz, corner >> 2)
        e = entry(ix + (corner & 1), iy + ((corner >> 1) & 1), iz + (corner >> 2), res, first, mask)
        at = grad_table + (e * 4)[:, :, None] + four
        tl.atomic_add(at, w[:, :, None] * g, mask=wanted & (g != 0.0), sem="relaxed")


@triton.jit
def point_gradient(table, grad, x, y, z, live, res, first, mask, exists,
                   S: tl.constexpr, L: tl.constexpr):  # fmt: skip
    """The gradient by the points, three times float32 [S], of the features' [S, L·4]."""
    ix, fx = cell(x, res)
    iy, fy = cell(y, res)
    iz, fz = cell(z, res)
    wanted = (live[:, None] & exists[None, :])[:, :, None]
    four = tl.arange(0, 4)[None, None, :]
    g = tl.reshape(grad, [S, L, 4])
    gx = tl.zeros([S, L], tl.float32)
    gy = tl.zeros([S, L], tl.float32)
    gz = tl.zeros([S, L], tl.float32)
    for corner in tl.static_range(8):
        wx, wy, wz = share(fx, corner & 1), share(fy, (corner >> 1) & 1), share(fz, corner >> 2)
        e = entry(ix + (corner & 1), iy + ((corner >> 1) & 1), iz + (corner >> 2), res, first, mask)
        v = tl.load(table + (e * 4)[:, :, None] + four, mask=wanted, other=0.0)
        s = tl.sum(v.to(tl.float32) * g, axis=2)
        gx += (s if corner & 1 else -s) * wy * wz
        gy += (s if (corner >> 1) & 1 else -s) * wx * wz
        gz += (s if corner >> 2 else -s) * wx * wy
    scale = res.to(tl.float32)[None, :]
    return tl.sum(gx * scale, axis=1), tl.sum(gy * scale, axis=1), tl.sum(gz * scale, axis=1)
