"""From 46 coefficients to the few numbers that blend the expression tables.

The rule: coefficients are clipped to what training saw, then centred, then projected by a fixed
matrix; with rank 46 the matrix is diagonal (a table per coefficient), with fewer its columns are
the principal components of the training expressions. Reference: Gao et al. 2022, §3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float32 = NDArray[np.float32]

SPREAD = 4.0  # code 1 is this many standard deviations
SPREAD_FLOOR = 0.2  # coefficients that hardly move must not amplify tracker noise


@dataclass(frozen=True, slots=True, eq=False)
class ExpressionCode:
    """The affine map from K expression coefficients to B table weights."""

    low: Float32
    """Float32 [K], smallest training value."""
    high: Float32
    """Float32 [K], largest training value."""
    mean: Float32
    """Float32 [K], training mean: the expression of the mean table."""
    projection: Float32
    """Float32 [K, B]."""

    def __post_init__(self) -> None:
        k = self.low.shape[0]
        if not (self.high.shape == self.mean.shape == (k,) and self.projection.shape[0] == k):
            raise ValueError("an expression code's arrays must agree in their first dimension")

    def __call__(self, expression: ArrayLike) -> Float32:
        """Table weights [B] (or [N, B]) of coefficients [K] (or [N, K])."""
        e = np.clip(np.asarray(expression, dtype=np.float32), self.low, self.high)
        return np.ascontiguousarray((e - self.mean) @ self.projection, dtype=np.float32)


def fit_expression_code(expressions: ArrayLike, rank: int) -> ExpressionCode:
    """The code of training expressions [N, K] with B = `rank` tables (K: one per coefficient)."""
    e = np.asarray(expressions, dtype=np.float64)
    if e.ndim != 2 or len(e) == 0:
        raise ValueError(f"expressions must have shape (N, K), not {e.shape}")
    mean = e.mean(axis=0)
    count = e.shape[1]
    if rank >= count:
        projection = np.diag(1.0 / np.maximum(SPREAD * e.std(axis=0), SPREAD_FLOOR))
    else:
        _, _, vt = np.linalg.svd(e - mean, full_matrices=True)
        axes = vt[:rank].T
        spread = ((e - mean) @ axes).std(axis=0)
        projection = axes / np.maximum(SPREAD * spread, SPREAD_FLOOR)
    as32 = [
        np.ascontiguousarray(a, dtype=np.float32) for a in (e.min(0), e.max(0), mean, projection)
    ]
    return ExpressionCode(*as32)
