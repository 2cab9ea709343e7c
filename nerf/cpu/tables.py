"""Hash tables on the CPU: blending them by expression, and their sparse Adam step.

The rule: one frame has one expression, so the tables are blended once per frame. Only entries
that the frame touched are updated. Reference: Gao et al. 2022, eq. 2; Kingma & Ba 2015.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerf.cpu.encode import kernel


def aligned(entries: int) -> NDArray[np.float32]:
    """Float32 zeros [entries, 4] whose rows never straddle 16 bytes."""
    raw = np.zeros(4 * entries + 4, np.float32)
    skip = (-raw.ctypes.data % 16) // 4
    return raw[skip : skip + 4 * entries].reshape(entries, 4)


@kernel
def _blend_entry(mean, tables, code, e, out):  # type: ignore[no-untyped-def]
    """out[e] of `blend`, for an entry that has expression tables."""
    for f in range(4):
        a = np.float32(0.0)
        for b in range(tables.shape[2]):
            a += code[b] * tables[e, f, b]
        out[e, f] = mean[e, f] + a


@kernel
def blend(mean, tables, code, lo, hi, out):  # type: ignore[no-untyped-def]
    """out[e] = mean[e] + Σ_b code[b]·tables[e, :, b] for entries lo ≤ e < hi.

    `mean`, `out` float32 [E, 4]; `tables` float32 [Eb, 4, B] for the first Eb entries.
    """
    blended = tables.shape[0]
    for e in range(lo, hi):
        if e < blended:
            _blend_entry(mean, tables, code, e, out)
        else:
            for f in range(4):
                out[e, f] = mean[e, f]


def moved_entries(tables: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which entries of expression tables [Eb, 4, B] any expression changes: in a stored avatar
    about half, the rest lie where no ray goes."""
    return np.flatnonzero(tables.any(axis=(1, 2)))


@kernel
def blend_moved(mean, tables, code, entries, lo, hi, out):  # type: ignore[no-untyped-def]
    """`blend` for `entries[lo:hi]` alone; `out` holds the mean elsewhere."""
    for i in range(lo, hi):
        _blend_entry(mean, tables, code, entries[i], out)


@kernel
def step_tables(mean, tables, moment1, moment2, grad, code, lo, hi,
                rate, expression_rate, beta1, beta2, decay, eps):  # type: ignore[no-untyped-def]  # fmt: skip
    """Adam on the entries lo ≤ e < hi that have a gradient; clears `grad` behind itself.

    The mean table has both moments; an expression table's gradient is code[b] times the mean's, so
    it shares the second moment and needs no state of its own. `decay` shrinks expression tables.
    """
    rank = tables.shape[2]
    blended = tables.shape[0]
    for e in range(lo, hi):
        for f in range(4):
            g = grad[e, f]
            if g == 0.0:
                continue
            grad[e, f] = 0.0
            m = beta1 * moment1[e, f] + (np.float32(1.0) - beta1) * g
            v = beta2 * moment2[e, f] + (np.float32(1.0) - beta2) * g * g
            moment1[e, f] = m
            moment2[e, f] = v
            scale = np.float32(1.0) / (np.sqrt(v) + eps)
            mean[e, f] -= rate * m * scale
            if e < blended:
                step = expression_rate * g * scale
                for b in range(rank):
                    old = tables[e, f, b]
                    tables[e, f, b] = old - step * code[b] - decay * old
