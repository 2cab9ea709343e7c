"""Volume rendering on the CPU: accumulate samples along rays, and its gradient.

The rule: a ray's samples arrive front to back in one or more rounds; weights are
w = T·(1 − exp(−σ·dt)), and what transmittance is left shows the background.
Reference: Max 1995; Mildenhall et al. 2020, eq. 3. Twin: nerf.reference.
"""

from __future__ import annotations

import numpy as np

from nerf.cpu.encode import kernel


@kernel
def accumulate(alive, first, count, sigma, rgb, t, dt, cutoff, cursor,
               trans, color, depth):  # type: ignore[no-untyped-def]  # fmt: skip
    """Add one round of samples to the rays `alive` [A]; return how many rays go on.

    `sigma` [S] per unit length, `rgb` [S, 3], `t` [S]; `trans` [R], `color` [R, 3] and `depth`
    [R] (sum of w·t) are updated. Rays that go on (transmittance above `cutoff`, not yet out of the
    cube) are moved to the front of `alive`.
    """
    kept = 0
    for i in range(alive.shape[0]):
        r = alive[i]
        tr = trans[r]
        c0, c1, c2, d = color[r, 0], color[r, 1], color[r, 2], depth[r]
        for s in range(first[i], first[i] + count[i]):
            keep = np.exp(-sigma[s] * dt)
            w = tr * (np.float32(1.0) - keep)
            c0 += w * rgb[s, 0]
            c1 += w * rgb[s, 1]
            c2 += w * rgb[s, 2]
            d += w * t[s]
            tr *= keep
            if tr < cutoff:
                break
        trans[r] = tr
        color[r, 0], color[r, 1], color[r, 2], depth[r] = c0, c1, c2, d
        if tr >= cutoff and cursor[r] >= 0:
            alive[kept] = r
            kept += 1
    return kept


@kernel
def ray_weights(ray, sigma, dt, cutoff, trans, weight):  # type: ignore[no-untyped-def]
    """Fill `weight` [S]; `ray` int32 [S] must list each ray's samples front to back.

    `trans` [R] holds the transmittance (ones on entry; what is left on return). A sample behind
    `cutoff` weighs nothing, exactly as in `accumulate`.
    """
    for s in range(ray.shape[0]):
        r = ray[s]
        tr = trans[r]
        if tr < cutoff:
            weight[s] = 0.0
            continue
        keep = np.exp(-sigma[s] * dt)
        weight[s] = tr * (np.float32(1.0) - keep)
        trans[r] = tr * keep


@kernel
def ray_sums(ray, weight, rgb, t, color, opacity, depth):  # type: ignore[no-untyped-def]
    """Sum w·rgb, w and w·t of each ray into `color` [R, 3], `opacity` [R] and `depth` [R]."""
    for s in range(ray.shape[0]):
        r = ray[s]
        w = weight[s]
        color[r, 0] += w * rgb[s, 0]
        color[r, 1] += w * rgb[s, 1]
        color[r, 2] += w * rgb[s, 2]
        opacity[r] += w
        depth[r] += w * t[s]


@kernel
def ray_gradient(ray, weight, sigma, rgb, t, dt, background, grad_color, grad_opacity, mean_t,
                 grad_spread, trans, tail, grad_sigma, grad_rgb):  # type: ignore[no-untyped-def]  # fmt: skip
    """Gradient of a loss on (colour over background, opacity, spread Σ w (t − t̄)²).

    `grad_color` [R, 3], `grad_opacity` [R], `grad_spread` [R] are the loss's derivatives; `trans`
    [R] the transmittance behind the last sample (used up); `tail` [R] zeros. Walks each ray back to
    front: dL/dσ_i = dt·(T_{i+1}·g_i − Σ_{j>i} w_j·g_j). Fills `grad_sigma` [S], `grad_rgb` [S, 3].
    """
    for s in range(ray.shape[0] - 1, -1, -1):
        r = ray[s]
        w = weight[s]
        if w == 0.0:
            grad_sigma[s] = 0.0
            grad_rgb[s, 0] = 0.0
            grad_rgb[s, 1] = 0.0
            grad_rgb[s, 2] = 0.0
            continue
        away = t[s] - mean_t[r]
        g = grad_opacity[r] + grad_spread[r] * away * away
        for c in range(3):
            gc = grad_color[r, c]
            g += gc * (rgb[s, c] - background[r, c])
            grad_rgb[s, c] = gc * w
        after = trans[r]
        grad_sigma[s] = dt * (after * g - tail[r])
        tail[r] += w * g
        trans[r] = after + w
