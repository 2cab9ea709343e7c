"""Footage on the device: training rays drawn there, poses refined there, the batch steered there.

The rule: a step reads its frame's number, its seed and its rates from lists that the host sent for
many steps at once, and leaves everything that the next step needs on the device.
Reference: Salmon et al. 2011 (Philox); Kingma & Ba 2015. Twins: nerf.train.Trainer, nerf.ray_draw.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def pose_of(poses, rigid, frame):
    """The frame's camera centre and rotation (12 numbers) after its rigid motion (Rodrigues)."""
    p = poses + frame * 12
    m = rigid + frame * 6
    vx, vy, vz = tl.load(m), tl.load(m + 1), tl.load(m + 2)
    square = vx * vx + vy * vy + vz * vz
    angle = tl.sqrt(square)
    small = square < 1e-12
    safe = tl.where(small, 1.0, angle)
    a = tl.where(small, 1.0, tl.sin(safe) / safe)
    b = tl.where(small, 0.5, (1.0 - tl.cos(safe)) / (safe * safe))
    r00, r01, r02 = 1.0 - b * (vy * vy + vz * vz), b * vx * vy - a * vz, b * vx * vz + a * vy
    r10, r11, r12 = b * vx * vy + a * vz, 1.0 - b * (vx * vx + vz * vz), b * vy * vz - a * vx
    r20, r21, r22 = b * vx * vz - a * vy, b * vy * vz + a * vx, 1.0 - b * (vx * vx + vy * vy)
    ox, oy, oz = tl.load(p) - 0.5, tl.load(p + 1) - 0.5, tl.load(p + 2) - 0.5
    cx = r00 * ox + r01 * oy + r02 * oz + 0.5 + tl.load(m + 3)
    cy = r10 * ox + r11 * oy + r12 * oz + 0.5 + tl.load(m + 4)
    cz = r20 * ox + r21 * oy + r22 * oz + 0.5 + tl.load(m + 5)
    q0, q1, q2 = tl.load(p + 3), tl.load(p + 4), tl.load(p + 5)
    q3, q4, q5 = tl.load(p + 6), tl.load(p + 7), tl.load(p + 8)
    q6, q7, q8 = tl.load(p + 9), tl.load(p + 10), tl.load(p + 11)
    return (cx, cy, cz,
            r00 * q0 + r01 * q3 + r02 * q6, r00 * q1 + r01 * q4 + r02 * q7,
            r00 * q2 + r01 * q5 + r02 * q8,
            r10 * q0 + r11 * q3 + r12 * q6, r10 * q1 + r11 * q4 + r12 * q7,
            r10 * q2 + r11 * q5 + r12 * q8,
            r20 * q0 + r21 * q3 + r22 * q6, r20 * q1 + r21 * q4 + r22 * q7,
            r20 * q2 + r21 * q5 + r22 * q8)  # fmt: skip


@triton.jit
def inside_box(box, seed, r):
    """A random pixel (x, y), int32 [N], of each box (x0, y0, x1, y1) at `box` [N], or of one."""
    x0, y0, x1, y1 = tl.load(box), tl.load(box + 1), tl.load(box + 2), tl.load(box + 3)
    x = x0 + (tl.rand(seed, 3 * r) * (x1 - x0).to(tl.float32)).to(tl.int32)
    y = y0 + (tl.rand(seed, 3 * r + 1) * (y1 - y0).to(tl.float32)).to(tl.int32)
    return tl.minimum(x, x1 - 1), tl.minimum(y, y1 - 1)


@triton.jit
def unlike(heights, seed, r, W, HT, C: tl.constexpr, HALVINGS: tl.constexpr):
    """A random pixel (x, y) for each of `r` [N], of a cell drawn by `heights` [C²]: sums of the
    cells' shares from the first on, the last 1. Twin: nerf.error_map.ErrorMap.draw."""
    u = tl.rand(seed, 3 * r + 2)
    low = tl.zeros_like(r)
    high = low + C * C - 1
    for _ in tl.static_range(HALVINGS):
        middle = (low + high) // 2
        beyond = tl.load(heights + middle) < u
        low = tl.where(beyond, middle + 1, low)
        high = tl.where(beyond, high, middle)
    low = tl.minimum(low, C * C - 1)
    x = ((low % C).to(tl.float32) + tl.rand(seed, 3 * r)) * (W / C)
    y = ((low // C).to(tl.float32) + tl.rand(seed, 3 * r + 1)) * (HT / C)
    return tl.minimum(x.to(tl.int32), W - 1), tl.minimum(y.to(tl.int32), HT - 1)


@triton.jit
def draw(rgb, alpha, boxes, parts, heights, mix, poses, rigid, codes, lens, order, seeds, at_step,
         rays, origin, code, directions, target, target_alpha, background, cells, W, HT, rank,
         PARTS: tl.constexpr, C: tl.constexpr, HALVINGS: tl.constexpr, B: tl.constexpr,
         N: tl.constexpr):  # fmt: skip
    """The rays of this step: random pixels of its frame, what they show, and its code.

    `rgb` uint8 [F, H, W, 3], `alpha` [F, H, W], `boxes` int32 [F, 4], `poses` float32 [F, 12],
    `lens` [F, 4] fx fy cx cy; the colour behind is white, as in the pictures. `mix` float32 [2]:
    the share of the rays, the first ones, through `parts` int32 [F, PARTS, 4], and that of the
    last ones, drawn by `heights` (`unlike`); the others fall evenly on the frame's box. `cells`
    int32 [rays] tells in which of C² cells of the picture a ray lies.
    """
    step = tl.load(at_step)
    frame = tl.load(order + step)
    seed = tl.load(seeds + step)
    r = tl.program_id(0) * N + tl.arange(0, N)
    count = tl.load(rays)
    live = r < count
    x, y = inside_box(boxes + 4 * frame, seed, r)
    if PARTS > 0:
        first = r < (tl.load(mix) * count.to(tl.float32) + 0.5).to(tl.int32)
        part = tl.minimum((tl.rand(seed, 3 * r + 2) * PARTS).to(tl.int32), PARTS - 1)
        px, py = inside_box(parts + 4 * (frame * PARTS + part), seed, r)
        x, y = tl.where(first, px, x), tl.where(first, py, y)
    last = r >= count - (tl.load(mix + 1) * count.to(tl.float32) + 0.5).to(tl.int32)
    ux, uy = unlike(heights, seed, r, W, HT, C, HALVINGS)
    x, y = tl.where(last, ux, x), tl.where(last, uy, y)
    tl.store(cells + r, (y * C // HT) * C + x * C // W, mask=live)
    cx, cy, cz, q0, q1, q2, q3, q4, q5, q6, q7, q8 = pose_of(poses, rigid, frame)
    own = lens + 4 * frame
    u = (x.to(tl.float32) + 0.5 - tl.load(own + 2)) / tl.load(own)
    v = (tl.load(own + 3) - y.to(tl.float32) - 0.5) / tl.load(own + 1)
    dx, dy, dz = u * q0 + v * q1 - q2, u * q3 + v * q4 - q5, u * q6 + v * q7 - q8
    n = tl.sqrt(dx * dx + dy * dy + dz * dz)
    tl.store(directions + 3 * r, dx / n, mask=live)
    tl.store(directions + 3 * r + 1, dy / n, mask=live)
    tl.store(directions + 3 * r + 2, dz / n, mask=live)
    at = (frame.to(tl.int64) * HT + y) * W + x
    for c in tl.static_range(3):
        seen = tl.load(rgb + 3 * at + c, mask=live, other=0).to(tl.float32) / 255.0
        tl.store(target + 3 * r + c, seen, mask=live)
        tl.store(background + 3 * r + c, seen * 0.0 + 1.0, mask=live)
    tl.store(target_alpha + r, tl.load(alpha + at, mask=live, other=0).to(tl.float32) / 255.0,
             mask=live)  # fmt: skip
    if tl.program_id(0) == 0:
        tl.store(origin, cx)
        tl.store(origin + 1, cy)
        tl.store(origin + 2, cz)
        b = tl.arange(0, B)
        tl.store(code + b, tl.load(codes + frame * rank + b, mask=b < rank, other=0.0),
                 mask=b < rank)  # fmt: skip


@triton.jit
def note(cells, errors, rays, sums, C: tl.constexpr, N: tl.constexpr):
    """Add the step's rays to `sums` float32 [2, C²]: how many fell into a cell, and their mean
    squared colour `errors` [rays]."""
    r = tl.program_id(0) * N + tl.arange(0, N)
    live = r < tl.load(rays)
    at = sums + tl.load(cells + r, mask=live, other=0)
    tl.atomic_add(at, tl.full([N], 1.0, tl.float32), mask=live, sem="relaxed")
    tl.atomic_add(at + C * C, tl.load(errors + r, mask=live, other=0.0), mask=live, sem="relaxed")


@triton.jit
def advance(slabs, rigid, moment1, moment2, count, order, hyper, at_step, state, rays, counters,
            samples, programs, most, P: tl.constexpr, REFINE: tl.constexpr):  # fmt: skip
    """Adam on the frame's rigid motion [6], the next step's number of rays, and on to that step.

    `slabs` [programs, 8] the last step's gradients, `counters` int32 [3]: samples, their sum, sum
    of rays. The number of rays follows the share of `samples` that the step took.
    """
    step = tl.load(at_step)
    if REFINE:
        frame = tl.load(order + step)
        i = tl.arange(0, 8)
        p = tl.arange(0, P)
        g = tl.load(slabs + p[:, None] * 8 + i[None, :], mask=(p < programs)[:, None], other=0.0)
        moves = (i < 6) & (tl.load(state + 2) + tl.zeros([8], tl.float32) == 0.0)
        g = tl.sum(g, axis=0) / tl.load(state)
        n = tl.load(count + frame) + 1
        at = frame * 6 + i
        m = 0.9 * tl.load(moment1 + at, mask=moves, other=0.0) + 0.1 * g
        s = 0.95 * tl.load(moment2 + at, mask=moves, other=0.0) + 0.05 * g * g
        tl.store(moment1 + at, m, mask=moves)
        tl.store(moment2 + at, s, mask=moves)
        tl.store(count + frame, n)
        nf = n.to(tl.float32)
        fix1 = 1.0 - tl.exp2(nf * -0.15200309344504997)  # log2 0.9
        fix2 = 1.0 - tl.exp2(nf * -0.07400058144377693)  # log2 0.95
        rate = tl.load(hyper + step * 16 + 12)
        old = tl.load(rigid + at, mask=moves, other=0.0)
        moved = old - rate * (m / fix1) / (tl.sqrt(s / fix2) + 1e-12)
        tl.store(rigid + at, moved, mask=moves)
    took = tl.load(counters)
    now = tl.load(rays)
    tl.store(counters + 2, tl.load(counters + 2) + now)
    wanted = now.to(tl.float32) * samples / tl.maximum(took, 1).to(tl.float32)
    steered = (0.9 * now.to(tl.float32) + 0.1 * wanted).to(tl.int32)
    tl.store(rays, tl.minimum(tl.maximum(steered, 256), most))
    tl.store(at_step, step + 1)
