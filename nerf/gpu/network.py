"""The joined networks on tensor cores: device functions for a block of samples.

The rule: inputs of every product in the weights' precision, sums in float32; activations of a
forward pass stay in registers as a tuple until the backward pass has used them. The layout of the
packed weights is `nerf.gpu.packing`'s. Twin: nerf.reference.networks.
"""

from __future__ import annotations

import triton
import triton.language as tl

SHIFT = tl.constexpr(2.5)  # nerf.field.DENSITY_SHIFT
LIMIT = tl.constexpr(11.0)  # nerf.field.DENSITY_LIMIT
OUT = tl.constexpr(16)  # nerf.gpu.packing.OUT


@triton.jit
def matrix(base, rows: tl.constexpr, columns: tl.constexpr):
    """A row-major matrix."""
    at = tl.arange(0, rows)[:, None] * columns + tl.arange(0, columns)[None, :]
    return tl.load(base + at)


@triton.jit
def matrix_at(i: tl.constexpr, D: tl.constexpr, H: tl.constexpr):
    """Offset of layer `i`'s matrix in the packed weights."""
    return (i > 0) * D * H + (i - 1) * (i > 0) * H * H


@triton.jit
def forward(weights, features, D: tl.constexpr, H: tl.constexpr, LAYERS: tl.constexpr,
            TAP: tl.constexpr):  # fmt: skip
    """Activations before each layer and after the last (a tuple of LAYERS + 1), density [S] and
    colour [S, OUT] of features float32 [S, D]."""
    kind = weights.dtype.element_ty
    xs = (features.to(kind),)
    sigma = tl.sum(features, axis=1)  # replaced at the tap
    for i in tl.static_range(LAYERS):
        w = matrix(weights + matrix_at(i, D, H), D if i == 0 else H, H)
        x = tl.maximum(tl.dot(xs[i], w, input_precision="ieee", out_dtype=tl.float32), 0.0)
        if i + 1 == TAP:
            tap = tl.load(weights + matrix_at(LAYERS, D, H) + H * OUT + tl.arange(0, H))
            raw = tl.sum(x * tap.to(tl.float32)[None, :], axis=1)
            sigma = tl.exp(tl.minimum(raw - SHIFT, LIMIT))
        xs = xs + (x.to(kind),)  # type: ignore[assignment]  # noqa: RUF005
    last = matrix(weights + matrix_at(LAYERS, D, H), H, OUT)
    rgb = tl.sigmoid(tl.dot(xs[LAYERS], last, input_precision="ieee", out_dtype=tl.float32))
    return xs, sigma, rgb


@triton.jit
def accumulate(slab, value, rows: tl.constexpr, columns: tl.constexpr):
    """Add `value` [rows, columns] to a matrix that no other program touches."""
    at = slab + tl.arange(0, rows)[:, None] * columns + tl.arange(0, columns)[None, :]
    tl.store(at, tl.load(at) + value)


@triton.jit
def backward(weights, slab, xs, grad_raw, grad_last, D: tl.constexpr, H: tl.constexpr,
             LAYERS: tl.constexpr, TAP: tl.constexpr):  # fmt: skip
    """The gradient float32 [S, D] by the features; the weights' is added to `slab`.

    `grad_raw` [S] is the loss's by the density before its exponential, `grad_last` [S, OUT] by the
    colours before their sigmoid.
    """
    kind = weights.dtype.element_ty
    last = matrix_at(LAYERS, D, H)
    g16 = grad_last.to(kind)
    accumulate(slab + last, tl.dot(tl.trans(xs[LAYERS]), g16, input_precision="ieee"), H, OUT)
    tap_at = tl.arange(0, H)
    tap = tl.load(weights + last + H * OUT + tap_at).to(tl.float32)
    own = slab + last + H * OUT + tap_at
    tl.store(own, tl.load(own) + tl.sum(xs[TAP].to(tl.float32) * grad_raw[:, None], axis=0))
    g = tl.dot(g16, tl.trans(matrix(weights + last, H, OUT)), input_precision="ieee")
    for back in tl.static_range(LAYERS):
        if LAYERS - back == TAP:
            g += grad_raw[:, None] * tap[None, :]
        g16 = tl.where(xs[LAYERS - back] > 0.0, g, 0.0).to(kind)
        before = xs[LAYERS - 1 - back]
        at = matrix_at(LAYERS - 1 - back, D, H)
        into = tl.dot(tl.trans(before), g16, input_precision="ieee")
        accumulate(slab + at, into, D if back == LAYERS - 1 else H, H)
        w = matrix(weights + at, D if back == LAYERS - 1 else H, H)
        g = tl.dot(g16, tl.trans(w), input_precision="ieee")
    return g
