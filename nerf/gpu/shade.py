"""Pictures in two launches: find the rays that meet something, then shade them to their end.

The rule: nothing is decided on the host. `find` writes the background and appends every other ray
to its view's queue; `shade` keeps a block of rays in registers, one sample of each per turn through
encoding, networks and compositing, and refills the places of rays that have ended from the queue,
so that the tensor cores always see full blocks. A ray's numbers do not depend on its place.
Reference: Müller et al. 2022, app. E; Laine et al. 2013 (persistent threads).
Twin: nerf.torch_backend.
"""

from __future__ import annotations

import triton
import triton.language as tl

from nerf.gpu.encode import displace, encode, load_levels
from nerf.gpu.march import VIEW, clip, ray, seek
from nerf.gpu.network import OUT, forward


@triton.jit
def find(views, which, fine, coarse, queue, queue_k, counters, rgb, alpha, depth,
         W, HT, dt, G: tl.constexpr, TILE: tl.constexpr):  # fmt: skip
    """Queue the rays of each view that meet an occupied voxel; the others show the background.

    `queue`, `queue_k` int32 [V, H·W]: pixel and first lattice index; `counters` int32 [V, 4]: rays
    queued, rays taken, samples. `which` int32 [V, 4]: a view's avatar, table, width and height, at
    most W and HT, the room for it. A program looks at TILE × TILE pixels of view `program_id(1)`.
    """
    v = tl.program_id(1)
    tiles = tl.cdiv(W, TILE)
    lane = tl.arange(0, TILE * TILE)
    x = (tl.program_id(0) % tiles) * TILE + lane % TILE
    y = (tl.program_id(0) // tiles) * TILE + lane // TILE
    shown = (x < tl.load(which + 4 * v + 2)) & (y < tl.load(which + 4 * v + 3))
    pixel = tl.where(shown, y * W + x, 0)
    view = views + v * VIEW
    a = tl.load(which + 4 * v).to(tl.int64)
    ox, oy, oz = tl.load(view), tl.load(view + 1), tl.load(view + 2)
    dx, dy, dz = ray(view, pixel, W)
    near, far = clip(ox, oy, oz, dx, dy, dz)
    k = tl.zeros([TILE * TILE], tl.int32)
    seeking = shown & (far > near)
    k = tl.where(seeking, k, -1)
    n = tl.sum(seeking.to(tl.int32), axis=0)
    while n > 0:
        for _ in tl.static_range(2):
            k, seeking = seek(k, seeking, near, far, ox, oy, oz, dx, dy, dz, dt,
                              fine + a * G * G * G, coarse + a * (G // 4) * (G // 4) * (G // 4),
                              G)  # fmt: skip
        n = tl.sum(seeking.to(tl.int32), axis=0)
    meets = shown & (k >= 0)
    own = v.to(tl.int64) * W * HT
    base = tl.atomic_add(counters + 4 * v, tl.sum(meets.to(tl.int32), axis=0))
    place = base + tl.cumsum(meets.to(tl.int32), axis=0) - 1
    tl.store(queue + own + place, pixel, mask=meets)
    tl.store(queue_k + own + place, k, mask=meets)
    empty = shown & (k < 0)
    zero = tl.zeros([TILE * TILE], tl.float32)
    for c in tl.static_range(3):
        color = tl.minimum(tl.maximum(tl.load(view + 16 + c) * 255.0 + 0.5, 0.0), 255.0)
        tl.store(rgb + (own + pixel) * 3 + c, (zero + color).to(tl.int32).to(tl.uint8), mask=empty)
    tl.store(alpha + own + pixel, zero.to(tl.int32).to(tl.uint8), mask=empty)
    tl.store(depth + own + pixel, zero, mask=empty)


@triton.jit
def shade(views, which, tables, weights, levels, fine, coarse, queue, queue_k, counters,
          rgb, alpha, depth, W, HT, dt, cutoff, entries, G: tl.constexpr, L: tl.constexpr,
          WARP: tl.constexpr, H: tl.constexpr, LAYERS: tl.constexpr, TAP: tl.constexpr,
          WEIGHTS: tl.constexpr, S: tl.constexpr, SEEKS: tl.constexpr):  # fmt: skip
    """Shade the queued rays of view `program_id(1)`, S at a time.

    `tables` [T, E, 4] blended tables, `weights` [A, WEIGHTS] packed networks. Rays make at most
    SEEKS steps through the grid per turn.
    """
    v = tl.program_id(1)
    view = views + v * VIEW
    a = tl.load(which + 4 * v).to(tl.int64)
    table = tables + tl.load(which + 4 * v + 1).to(tl.int64) * entries * 4
    net = weights + a * WEIGHTS
    fine = fine + a * G * G * G
    coarse = coarse + a * (G // 4) * (G // 4) * (G // 4)
    own = v.to(tl.int64) * W * HT
    ox, oy, oz = tl.load(view), tl.load(view + 1), tl.load(view + 2)
    res, first, mask, exists = load_levels(levels, L)
    column = tl.arange(0, OUT)
    behind = tl.load(view + 16 + column, mask=column < 3, other=0.0)
    edge = tl.load(view + 19)
    total = tl.load(counters + 4 * v)

    pixel = tl.full([S], -1, tl.int32)
    k = tl.zeros([S], tl.int32)
    seeking = pixel >= 0
    none = tl.zeros([S], tl.float32)
    dx, dy, dz, near, far = none, none, none, none, none
    through, distance = none + 1.0, none
    color = tl.zeros([S, OUT], tl.float32)
    samples = tl.zeros([S], tl.int32)
    vacant = S
    more = total > 0
    while more | (vacant < S):
        if more & ((vacant >= S // 8) | (vacant == S)):
            free = pixel < 0
            base = tl.atomic_add(counters + 4 * v + 1, vacant)
            place = base + tl.cumsum(free.to(tl.int32), axis=0) - 1
            taken = free & (place < total)
            more = base + vacant < total
            pixel = tl.where(taken, tl.load(queue + own + place, mask=taken, other=0), pixel)
            k = tl.where(taken, tl.load(queue_k + own + place, mask=taken, other=0), k)
            dx, dy, dz = ray(view, tl.maximum(pixel, 0), W)
            near, far = clip(ox, oy, oz, dx, dy, dz)
            through = tl.where(taken, 1.0, through)
            distance = tl.where(taken, 0.0, distance)
            color = tl.where(taken[:, None], 0.0, color)
        ready = (pixel >= 0) & (seeking == 0)
        t = near + (k.to(tl.float32) + 0.5) * dt
        x, y, z = displace(table, ox + t * dx, oy + t * dy, oz + t * dz, ready, WARP, S)
        features = encode(table, x, y, z, ready, res, first, mask, exists, S, L)
        _, sigma, shown = forward(net, features, L * 4, H, LAYERS, TAP)
        keep = tl.where(ready, tl.exp(-sigma * dt), 1.0)
        w = through * (1.0 - keep)
        color += w[:, None] * shown
        distance += w * t
        through = through * keep
        samples += ready.to(tl.int32)
        ended = ready & (through < cutoff)
        seeking = (pixel >= 0) & (ended == 0)
        k = tl.where(ready, k + 1, k)
        for _ in tl.static_range(SEEKS):
            k, seeking = seek(k, seeking, near, far, ox, oy, oz, dx, dy, dz, dt, fine, coarse, G)
        ended = ended | ((pixel >= 0) & (k < 0))
        opaque = 1.0 - through
        metres = tl.where(opaque > 0.5, distance / tl.maximum(opaque, 1e-6) * edge, 0.0)
        # what is left at the cutoff takes the colour seen so far, not the background's
        gain = tl.where(through < cutoff, 1.0 / tl.maximum(opaque, 1e-6), 1.0)
        rest = tl.where(through < cutoff, 0.0, through)
        opaque = 1.0 - rest
        at = own + tl.maximum(pixel, 0)
        bytes_ = (color * gain[:, None] + rest[:, None] * behind[None, :]) * 255.0 + 0.5
        bytes_ = tl.minimum(tl.maximum(bytes_, 0.0), 255.0).to(tl.int32).to(tl.uint8)
        tl.store(rgb + at[:, None] * 3 + column[None, :], bytes_,
                 mask=ended[:, None] & (column < 3)[None, :])  # fmt: skip
        byte = tl.minimum(tl.maximum(opaque * 255.0 + 0.5, 0.0), 255.0).to(tl.int32).to(tl.uint8)
        tl.store(alpha + at, byte, mask=ended)
        tl.store(depth + at, metres, mask=ended)
        pixel = tl.where(ended, -1, pixel)
        vacant = tl.sum((pixel < 0).to(tl.int32), axis=0)
    tl.atomic_add(counters + 4 * v + 2, tl.sum(samples, axis=0))
