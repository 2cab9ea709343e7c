"""Compositing of training rays, the loss, and its gradient by every sample.

The rule: a program holds R rays × N samples at once and sums along the rays with scans; nothing
but the three passes over density and colour is read, and nothing is stored between them.
Reference: Max 1995; nerf.step.LossWeights. Twins: nerf.reference.composite,
nerf.cpu.composite.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def smooth(x, delta):
    """Smooth L1 with slope 1 outside ±delta."""
    a = tl.abs(x)
    return tl.where(a < delta, 0.5 * a * a / delta, a - 0.5 * delta)


@triton.jit
def clamp1(x):
    """x within ±1."""
    return tl.minimum(tl.maximum(x, -1.0), 1.0)


@triton.jit
def chunk(sigma, at, inside, through, dt, cutoff):
    """Weights [R, N], transmittance before and behind each sample, and behind the chunk [R]."""
    optical = tl.load(sigma + at, mask=inside, other=0.0) * dt
    before = through[:, None] * tl.exp(optical - tl.cumsum(optical, axis=1))
    counts = inside & (before >= cutoff)
    optical = tl.where(counts, optical, 0.0)
    behind = before * tl.exp(-optical)
    w = tl.where(counts, before - behind, 0.0)
    return w, behind, through * tl.exp(-tl.sum(optical, axis=1))


@triton.jit
def compose(ray_first, ray_count, rays, sample_t, sigma, rgb, target, target_alpha, background,
            hyper, at_step, state, grad_sigma, grad_rgb, totals, errors, dt, cutoff,
            R: tl.constexpr, N: tl.constexpr):  # fmt: skip
    """Gradients of the loss by density [S] and colour [S, 3], multiplied by the loss scale.

    `target`, `background` float32 [rays, 3], `target_alpha` [rays]; `totals` gets the sums over
    rays of the loss and of the squared colour error, `errors` [rays] each ray's mean of the latter.
    """
    h = hyper + tl.load(at_step) * 16
    huber, mask_rate, spread = tl.load(h + 9), tl.load(h + 10), tl.load(h + 11)
    r = tl.program_id(0) * R + tl.arange(0, R)
    live = r < tl.load(rays)
    first = tl.load(ray_first + r, mask=live, other=0)
    count = tl.load(ray_count + r, mask=live, other=0)
    most = tl.max(count, axis=0)
    j = tl.arange(0, N)[None, :]
    zero = tl.zeros([R], tl.float32)

    through = zero + 1.0
    c0, c1, c2, opacity, distance = zero, zero, zero, zero, zero
    for start in range(0, most, N):
        inside = start + j < count[:, None]
        at = first[:, None] + start + j
        w, _, through = chunk(sigma, at, inside, through, dt, cutoff)
        opacity += tl.sum(w, axis=1)
        distance += tl.sum(w * tl.load(sample_t + at, mask=inside, other=0.0), axis=1)
        c0 += tl.sum(w * tl.load(rgb + 3 * at, mask=inside, other=0.0), axis=1)
        c1 += tl.sum(w * tl.load(rgb + 3 * at + 1, mask=inside, other=0.0), axis=1)
        c2 += tl.sum(w * tl.load(rgb + 3 * at + 2, mask=inside, other=0.0), axis=1)
    mean = distance / tl.maximum(opacity, 1e-6)
    b0 = tl.load(background + 3 * r, mask=live, other=0.0)
    b1 = tl.load(background + 3 * r + 1, mask=live, other=0.0)
    b2 = tl.load(background + 3 * r + 2, mask=live, other=0.0)
    e0 = c0 + (1.0 - opacity) * b0 - tl.load(target + 3 * r, mask=live, other=0.0)
    e1 = c1 + (1.0 - opacity) * b1 - tl.load(target + 3 * r + 1, mask=live, other=0.0)
    e2 = c2 + (1.0 - opacity) * b2 - tl.load(target + 3 * r + 2, mask=live, other=0.0)
    ea = opacity - tl.load(target_alpha + r, mask=live, other=0.0)
    loss = (smooth(e0, huber) + smooth(e1, huber) + smooth(e2, huber)) / 3
    loss += mask_rate * smooth(ea, huber)
    g0, g1, g2 = clamp1(e0 / huber) / 3, clamp1(e1 / huber) / 3, clamp1(e2 / huber) / 3
    # what one more unit of a sample's weight costs, but for the sample's own colour and place
    common = clamp1(ea / huber) * mask_rate - g0 * b0 - g1 * b1 - g2 * b2

    behind_all = zero
    through = zero + 1.0
    for start in range(0, most, N):
        inside = start + j < count[:, None]
        at = first[:, None] + start + j
        w, _, through = chunk(sigma, at, inside, through, dt, cutoff)
        away = tl.load(sample_t + at, mask=inside, other=0.0) - mean[:, None]
        loss += spread * tl.sum(w * away * away, axis=1)
        g = cost(rgb, at, inside, g0, g1, g2, common) + spread * away * away
        behind_all += tl.sum(w * g, axis=1)

    scale = tl.load(state)
    through = zero + 1.0
    for start in range(0, most, N):
        inside = start + j < count[:, None]
        at = first[:, None] + start + j
        w, behind, through = chunk(sigma, at, inside, through, dt, cutoff)
        away = tl.load(sample_t + at, mask=inside, other=0.0) - mean[:, None]
        g = cost(rgb, at, inside, g0, g1, g2, common) + spread * away * away
        tail = behind_all[:, None] - tl.cumsum(w * g, axis=1)
        behind_all -= tl.sum(w * g, axis=1)
        moved = tl.where(w > 0.0, dt * (behind * g - tail), 0.0)
        tl.store(grad_sigma + at, moved * scale, mask=inside)
        tl.store(grad_rgb + 3 * at, w * g0[:, None] * scale, mask=inside)
        tl.store(grad_rgb + 3 * at + 1, w * g1[:, None] * scale, mask=inside)
        tl.store(grad_rgb + 3 * at + 2, w * g2[:, None] * scale, mask=inside)
    off = tl.where(live, e0 * e0 + e1 * e1 + e2 * e2, 0.0)
    tl.atomic_add(totals, tl.sum(tl.where(live, loss, 0.0), axis=0))
    tl.atomic_add(totals + 1, tl.sum(off, axis=0))
    tl.store(errors + r, off / 3, mask=live)


@triton.jit
def cost(rgb, at, inside, g0, g1, g2, common):
    """What a unit of weight of the samples `at` [R, N] costs through colour and opacity."""
    out = common[:, None] + g0[:, None] * tl.load(rgb + 3 * at, mask=inside, other=0.0)
    out += g1[:, None] * tl.load(rgb + 3 * at + 1, mask=inside, other=0.0)
    return out + g2[:, None] * tl.load(rgb + 3 * at + 2, mask=inside, other=0.0)
