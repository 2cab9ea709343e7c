"""Hash tables on the device: blending them by expression, and their sparse Adam step.

The rule: one frame has one expression, so tables are blended once per frame, at the memory's speed;
only entries with a gradient are updated, and the gradient is cleared in the same pass.
Reference: Gao et al. 2022, eq. 2; Kingma & Ba 2015. Twins: nerf.reference.blend_tables,
nerf.cpu.tables.step_tables.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def blend(mean, tables, codes, avatar_of, out, count, blended, rank, N: tl.constexpr):
    """out[t, e] = mean[a, e] + Σ_b codes[t, b] · tables[a, b, e], with a = avatar_of[t].

    `mean` [A, count], `tables` [A, rank, blended], `codes` [T, rank], `out` [T, count].
    """
    t = tl.program_id(1)
    a = tl.load(avatar_of + t).to(tl.int64)
    e = tl.program_id(0) * N + tl.arange(0, N)
    value = tl.load(mean + a * count + e, mask=e < count, other=0.0).to(tl.float32)
    inside = e < blended
    row = tables + a * rank * blended
    if tl.program_id(0) * N < blended:
        for b in range(rank):
            c = tl.load(codes + t * rank + b)
            value += c * tl.load(row + b * blended + e, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + t.to(tl.int64) * count + e, value.to(out.dtype.element_ty), mask=e < count)


@triton.jit
def step_tables(mean, tables, moment1, moment2, grad, code, hyper, at_step, state, count, blended,
                rank, N: tl.constexpr):  # fmt: skip
    """Adam on the entries that have a gradient; clears `grad` behind itself.

    `hyper` float32 [steps, 16]: table rate, expression rate (both bias-corrected), network rate,
    its two corrections, β1, β2, decay (`nerf.gpu.engine.hyper_row`), row `at_step[0]`. `state`
    float32: loss scale, steps since it changed, and whether a gradient overflowed: then nothing
    moves. The expression tables share the mean table's second moment, as on the CPU.
    """
    h = hyper + tl.load(at_step) * 16
    beta1, beta2 = tl.load(h + 5), tl.load(h + 6)
    e = tl.program_id(0) * N + tl.arange(0, N)
    inside = e < count
    good = tl.load(state + 2) + tl.zeros([N], tl.float32) == 0.0
    g = tl.load(grad + e, mask=inside, other=0.0)
    touched = inside & (g != 0.0)
    tl.store(grad + e, tl.zeros([N], tl.float32), mask=touched)
    touched = touched & good
    g = g / tl.load(state)
    m = beta1 * tl.load(moment1 + e, mask=touched, other=0.0) + (1.0 - beta1) * g
    s = beta2 * tl.load(moment2 + e, mask=touched, other=0.0) + (1.0 - beta2) * g * g
    scale = 1.0 / (tl.sqrt(s) + 1e-12)
    old = tl.load(mean + e, mask=touched, other=0.0)
    tl.store(moment1 + e, m, mask=touched)
    tl.store(moment2 + e, s, mask=touched)
    tl.store(mean + e, old - tl.load(h) * m * scale, mask=touched)
    own = touched & (e < blended)
    if tl.program_id(0) * N < blended:
        step = tl.load(h + 1) * g * scale
        kept = 1.0 - tl.load(h + 7)
        for b in range(rank):
            at = tables + b * blended + e
            tl.store(at, tl.load(at, mask=own, other=0.0) * kept - step * tl.load(code + b),
                     mask=own)  # fmt: skip


@triton.jit
def step_networks(weights, moment1, moment2, grad, hyper, at_step, state, count, N: tl.constexpr):
    """Dense Adam on the flat network weights; see `step_tables` for `hyper` and `state`."""
    h = hyper + tl.load(at_step) * 16
    beta1, beta2 = tl.load(h + 5), tl.load(h + 6)
    i = tl.program_id(0) * N + tl.arange(0, N)
    moves = (i < count) & (tl.load(state + 2) + tl.zeros([N], tl.float32) == 0.0)
    g = tl.load(grad + i, mask=moves, other=0.0) / tl.load(state)
    m = beta1 * tl.load(moment1 + i, mask=moves, other=0.0) + (1.0 - beta1) * g
    s = beta2 * tl.load(moment2 + i, mask=moves, other=0.0) + (1.0 - beta2) * g * g
    tl.store(moment1 + i, m, mask=moves)
    tl.store(moment2 + i, s, mask=moves)
    old = tl.load(weights + i, mask=moves, other=0.0)
    step = tl.load(h + 2) / tl.load(h + 3) * m / (tl.sqrt(s / tl.load(h + 4)) + 1e-15)
    tl.store(weights + i, old - step, mask=moves)
