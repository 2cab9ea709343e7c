"""Samples of training rays: found, packed without gaps, and evaluated.

The rule: how many there are is known to the device only; every kernel reads the count there. Blocks
of rays that no longer fit into the buffers take no part in the step and leave a gap marked -1.
Twins: nerf.cpu.march, nerf.reference.
"""

from __future__ import annotations

import triton
import triton.language as tl

from nerf.gpu.encode import displace, encode, load_levels
from nerf.gpu.march import clip, voxel
from nerf.gpu.network import OUT, forward


@triton.jit
def walk(origin, directions, rays, fine, hyper, at_step, ray_first, ray_count, sample_t,
         sample_ray, counters, capacity, dt, G: tl.constexpr, R: tl.constexpr,
         N: tl.constexpr):  # fmt: skip
    """List the occupied lattice points of the first `rays[0]` rays.

    All N points of a ray are looked at side by side: a step has few rays, and a walk from voxel to
    voxel would wait for memory at each. Fills `ray_first`, `ray_count` int32 [rays], `sample_t` and
    `sample_ray` [capacity]; the number of places taken is added to `counters[0]`. The lattice is
    moved by `hyper`'s jitter.
    """
    r = tl.program_id(0) * R + tl.arange(0, R)
    live = r < tl.load(rays)
    jitter = tl.load(hyper + tl.load(at_step) * 16 + 8)
    ox, oy, oz = tl.load(origin), tl.load(origin + 1), tl.load(origin + 2)
    dx = tl.load(directions + 3 * r, mask=live, other=1.0)
    dy = tl.load(directions + 3 * r + 1, mask=live, other=0.0)
    dz = tl.load(directions + 3 * r + 2, mask=live, other=0.0)
    near, far = clip(ox, oy, oz, dx, dy, dz)
    far = tl.where(live & (far > near), far, -1.0)
    k = tl.arange(0, N).to(tl.float32)[None, :] + 0.5
    t = (near - jitter * dt)[:, None] + k * dt
    x, y, z = ox + t * dx[:, None], oy + t * dy[:, None], oz + t * dz[:, None]
    inside = t < far[:, None]
    hit = inside & (tl.load(fine + voxel(x, y, z, G), mask=inside, other=0) > 0)
    rank = tl.cumsum(hit.to(tl.int32), axis=1)
    count = tl.sum(hit.to(tl.int32), axis=1)
    total = tl.sum(count, axis=0)
    base = tl.atomic_add(counters, total)
    fits = base + total <= capacity
    first = base + tl.cumsum(count, axis=0) - count
    tl.store(ray_first + r, first, mask=live)
    tl.store(ray_count + r, tl.where(fits, count, 0), mask=live)
    place = first[:, None] + rank - 1
    listed = hit & (place < capacity)
    tl.store(sample_t + place, t, mask=listed)
    tl.store(sample_ray + place, tl.where(fits, r, -1)[:, None] + 0 * place, mask=listed)


@triton.jit
def locate(origin, directions, sample_t, sample_ray, i, count):
    """Points (three [S]) of the samples `i` [S], and which of them exist."""
    r = tl.load(sample_ray + i, mask=i < count, other=-1)
    live = r >= 0
    t = tl.load(sample_t + i, mask=live, other=0.0)
    x = tl.load(origin) + t * tl.load(directions + 3 * r, mask=live, other=0.0)
    y = tl.load(origin + 1) + t * tl.load(directions + 3 * r + 1, mask=live, other=0.0)
    z = tl.load(origin + 2) + t * tl.load(directions + 3 * r + 2, mask=live, other=0.0)
    return x, y, z, live


@triton.jit
def evaluate(table, weights, levels, origin, directions, sample_t, sample_ray, counters, capacity,
             sigma_out, rgb_out, L: tl.constexpr, WARP: tl.constexpr, H: tl.constexpr,
             LAYERS: tl.constexpr, TAP: tl.constexpr, S: tl.constexpr):  # fmt: skip
    """Density [capacity] and colour [capacity, 3] of all listed samples."""
    res, first, mask, exists = load_levels(levels, L)
    column = tl.arange(0, OUT)
    count = tl.minimum(tl.load(counters), capacity)
    for block in range(tl.program_id(0), tl.cdiv(count, S), tl.num_programs(0)):
        i = block * S + tl.arange(0, S)
        x, y, z, live = locate(origin, directions, sample_t, sample_ray, i, count)
        x, y, z = displace(table, x, y, z, live, WARP, S)
        features = encode(table, x, y, z, live, res, first, mask, exists, S, L)
        _, sigma, rgb = forward(weights, features, L * 4, H, LAYERS, TAP)
        tl.store(sigma_out + i, sigma, mask=live)
        tl.store(rgb_out + i[:, None] * 3 + column[None, :], rgb,
                 mask=live[:, None] & (column < 3)[None, :])  # fmt: skip


@triton.jit
def density(table, weights, levels, points, out, count, L: tl.constexpr, WARP: tl.constexpr,
            H: tl.constexpr, LAYERS: tl.constexpr, TAP: tl.constexpr, S: tl.constexpr):  # fmt: skip
    """Density [count] of `points` [count, 3]."""
    res, first, mask, exists = load_levels(levels, L)
    i = tl.program_id(0) * S + tl.arange(0, S)
    live = i < count
    x = tl.load(points + 3 * i, mask=live, other=0.0)
    y = tl.load(points + 3 * i + 1, mask=live, other=0.0)
    z = tl.load(points + 3 * i + 2, mask=live, other=0.0)
    x, y, z = displace(table, x, y, z, live, WARP, S)
    features = encode(table, x, y, z, live, res, first, mask, exists, S, L)
    _, sigma, _ = forward(weights, features, L * 4, H, LAYERS, TAP)
    tl.store(out + i, sigma, mask=live)
