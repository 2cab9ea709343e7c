"""Rays and occupancy-guided steps in Triton: device functions for a block of rays.

The rule: the sample lattice is `nerf.cpu.march`'s, t0 + (k + 0.5)·dt whatever the occupancy; empty
voxels, and empty blocks of 4³ of them, are left in one jump. Reference: Müller et al. 2022, app. E.
"""

from __future__ import annotations

import triton
import triton.language as tl

VIEW = tl.constexpr(20)  # floats of a view: origin, rotation, fx fy cx cy, background, metres


@triton.jit
def ray(view, pixel, W):
    """Unit direction (three [R]) in cube axes of the rays through `pixel` [R] of a `view`."""
    px = (pixel % W).to(tl.float32) + 0.5
    py = (pixel // W).to(tl.float32) + 0.5
    u = (px - tl.load(view + 14)) / tl.load(view + 12)
    v = (tl.load(view + 15) - py) / tl.load(view + 13)
    dx = u * tl.load(view + 3) + v * tl.load(view + 4) - tl.load(view + 5)
    dy = u * tl.load(view + 6) + v * tl.load(view + 7) - tl.load(view + 8)
    dz = u * tl.load(view + 9) + v * tl.load(view + 10) - tl.load(view + 11)
    n = tl.sqrt(dx * dx + dy * dy + dz * dz)
    return dx / n, dy / n, dz / n


@triton.jit
def slab(o, d, near, far):
    """Narrow [near, far] to where coordinate o + t·d lies in [0, 1]."""
    flat = tl.abs(d) < 1e-9
    safe = tl.where(flat, 1.0, d)
    a = (0.0 - o) / safe
    b = (1.0 - o) / safe
    centre = o + 0.0 * d  # the interpreter has no products of scalar and block truths
    outside = flat & ((centre < 0.0) | (centre > 1.0))
    near = tl.where(flat, near, tl.maximum(near, tl.minimum(a, b)))
    far = tl.where(flat, tl.where(outside, -1.0, far), tl.minimum(far, tl.maximum(a, b)))
    return near, far


@triton.jit
def clip(ox, oy, oz, dx, dy, dz):
    """Where rays enter and leave the cube [0, 1]³; a ray that misses has exit < entry."""
    near = dx * 0.0
    far = near + 1e9
    near, far = slab(ox, dx, near, far)
    near, far = slab(oy, dy, near, far)
    near, far = slab(oz, dz, near, far)
    return near, far


@triton.jit
def leave(p, d, cells):
    """Distance along one axis from coordinate `p` to the border of its cell."""
    q = p * cells
    border = tl.where(d > 0, tl.floor(q) + 1.0, tl.ceil(q) - 1.0)
    flat = tl.abs(d) <= 1e-9
    return tl.where(flat, 1e9, (border - q) / (tl.where(flat, 1.0, d) * cells))


@triton.jit
def voxel(x, y, z, G: tl.constexpr):
    """Index of the voxel of a [G, G, G] grid."""
    ix = tl.minimum(tl.maximum((x * G).to(tl.int32), 0), G - 1)
    iy = tl.minimum(tl.maximum((y * G).to(tl.int32), 0), G - 1)
    iz = tl.minimum(tl.maximum((z * G).to(tl.int32), 0), G - 1)
    return (ix * G + iy) * G + iz


@triton.jit
def seek(k, seeking, t0, end, ox, oy, oz, dx, dy, dz, dt, fine, coarse, G: tl.constexpr):
    """One step of the rays that are `seeking` from lattice index k towards an occupied voxel.

    Returns k (-1: the ray has left the cube) and which rays still seek.
    """
    t = t0 + (k.to(tl.float32) + 0.5) * dt
    inside = t < end  # false as well for what is no number: no ray seeks for ever
    k = tl.where(seeking & (inside == 0), -1, k)
    seeking = seeking & inside
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    block = tl.load(coarse + voxel(x, y, z, G // 4), mask=seeking, other=0) > 0
    full = tl.load(fine + voxel(x, y, z, G), mask=seeking & block, other=0) > 0
    cells = tl.where(block, G * 1.0, (G // 4) * 1.0)
    out = tl.minimum(leave(x, dx, cells), tl.minimum(leave(y, dy, cells), leave(z, dz, cells)))
    jump = tl.maximum(tl.ceil(tl.maximum(out, 0.0) / dt).to(tl.int32), 1)
    seeking = seeking & (full == 0)
    return tl.where(seeking, k + jump, k), seeking
