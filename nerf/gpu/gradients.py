"""The backward pass through networks and encoding, down to the tables and the points.

The rule: activations are computed again instead of stored. Table gradients are added atomically
(docs/gpu.md names the alternatives); weight gradients have no conflicts, each program adds to a
slab of its own and `gather` sums the slabs in order. A gradient that is not finite marks the step
as void.
Reference: Müller et al. 2022, §4. Twin: autograd through nerf.reference.
"""

from __future__ import annotations

import triton
import triton.language as tl

from nerf.gpu.encode import (
    UNIT,
    displace,
    encode,
    load_levels,
    point_gradient,
    scatter,
    side_by_side,
    warp_level,
)
from nerf.gpu.network import OUT, backward, forward
from nerf.gpu.samples import locate

GROWTH = tl.constexpr(2000.0)  # steps without overflow after which the loss scale doubles
LARGEST = tl.constexpr(65536.0)


@triton.jit
def clear(slab, count: tl.constexpr, N: tl.constexpr):
    """Zero a program's slab."""
    zero = tl.zeros([N], tl.float32)
    for start in range(0, count, N):
        i = start + tl.arange(0, N)
        tl.store(slab + i, zero, mask=i < count)


@triton.jit
def propagate(table, weights, levels, origin, directions, sample_t, sample_ray, counters, capacity,
              grad_sigma, grad_rgb, grad_table, slabs, rigid, state, L: tl.constexpr,
              WARP: tl.constexpr, H: tl.constexpr, LAYERS: tl.constexpr, TAP: tl.constexpr,
              WEIGHTS: tl.constexpr, S: tl.constexpr, RIGID: tl.constexpr):  # fmt: skip
    """From gradients by density and colour to those of everything that is learned.

    Adds to `grad_table` [E, 4]; fills `slabs` [programs, WEIGHTS] and, with RIGID, `rigid`
    [programs, 8]: the sums over samples of the moment about the cube's centre and of the force.
    """
    res, first, mask, exists = load_levels(levels, L)
    column = tl.arange(0, OUT)
    own = slabs + tl.program_id(0).to(tl.int64) * WEIGHTS
    clear(own, WEIGHTS, 1024)
    tl.debug_barrier()
    none = tl.zeros([S], tl.float32)
    m0, m1, m2, f0, f1, f2 = none, none, none, none, none, none
    count = tl.minimum(tl.load(counters), capacity)
    for block in range(tl.program_id(0), tl.cdiv(count, S), tl.num_programs(0)):
        tl.debug_barrier()  # the slab's last additions are seen by all
        i = block * S + tl.arange(0, S)
        sx, sy, sz, live = locate(origin, directions, sample_t, sample_ray, i, count)
        x, y, z = displace(table, sx, sy, sz, live, WARP, S)
        features = encode(table, x, y, z, live, res, first, mask, exists, S, L)
        xs, sigma, rgb = forward(weights, features, L * 4, H, LAYERS, TAP)
        grad_raw = tl.load(grad_sigma + i, mask=live, other=0.0) * sigma
        gc = tl.load(grad_rgb + i[:, None] * 3 + column[None, :],
                     mask=live[:, None] & (column < 3)[None, :], other=0.0)  # fmt: skip
        grad = backward(weights, own, xs, grad_raw, gc * rgb * (1.0 - rgb), L * 4, H, LAYERS, TAP)
        void = tl.sum(tl.sum((tl.abs(grad) < 3e38).to(tl.int32), axis=1), axis=0) < S * L * 4
        if void:
            tl.store(state + 2, 1.0)
        scatter(grad_table, grad, x, y, z, live, res, first, mask, exists, S, L)
        if RIGID or WARP > 0:
            gx, gy, gz = point_gradient(table, grad, x, y, z, live, res, first, mask, exists, S, L)
        if WARP > 0:
            wres, wfirst, wmask, wexists = warp_level(WARP)
            by = side_by_side(gx * UNIT, gy * UNIT, gz * UNIT)
            scatter(grad_table, by, sx, sy, sz, live, wres, wfirst, wmask, wexists, S, 1)
            if RIGID:
                hx, hy, hz = point_gradient(table, by, sx, sy, sz, live, wres, wfirst, wmask,
                                            wexists, S, 1)  # fmt: skip
                gx, gy, gz = gx + hx, gy + hy, gz + hz
        if RIGID:
            sx, sy, sz = sx - 0.5, sy - 0.5, sz - 0.5
            m0 += sy * gz - sz * gy
            m1 += sz * gx - sx * gz
            m2 += sx * gy - sy * gx
            f0 += gx
            f1 += gy
            f2 += gz
    if RIGID:
        out = rigid + tl.program_id(0) * 8
        tl.store(out, tl.sum(m0, axis=0))
        tl.store(out + 1, tl.sum(m1, axis=0))
        tl.store(out + 2, tl.sum(m2, axis=0))
        tl.store(out + 3, tl.sum(f0, axis=0))
        tl.store(out + 4, tl.sum(f1, axis=0))
        tl.store(out + 5, tl.sum(f2, axis=0))


@triton.jit
def gather(slabs, out, programs, count, N: tl.constexpr):
    """out[i] = Σ_p slabs[p, i], p in order: the sum does not depend on who was first."""
    i = tl.program_id(0) * N + tl.arange(0, N)
    value = tl.zeros([N], tl.float32)
    for p in range(programs):
        value += tl.load(slabs + p * count + i, mask=i < count, other=0.0)
    tl.store(out + i, value, mask=i < count)


@triton.jit
def settle(state, counters):
    """End a step: halve the loss scale after an overflow, double it after a long time without.

    `state` float32 [4]: loss scale, steps since it changed, whether this step overflowed, void
    steps in all. Clears the flag and the count of samples.
    """
    scale, age, void = tl.load(state), tl.load(state + 1), tl.load(state + 2)
    grown = age + 1.0 >= GROWTH
    scale = tl.where(void > 0.0, scale * 0.5, tl.where(grown, scale * 2.0, scale))
    tl.store(state, tl.minimum(tl.maximum(scale, 1.0), LARGEST))
    tl.store(state + 1, tl.where((void > 0.0) | grown, 0.0, age + 1.0))
    tl.store(state + 3, tl.load(state + 3) + void)
    tl.store(state + 2, 0.0)
    tl.store(counters + 1, tl.load(counters + 1) + tl.load(counters))
    tl.store(counters, 0)
