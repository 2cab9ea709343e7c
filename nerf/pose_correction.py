"""A linear map that takes the tracker's systematic pose error out.

The rule: it sees only what crosses the wire (rotation and expression), so the receiver can apply
it, and its strength is chosen on the end of the training frames, never on held-out ones. A general
tracker's error depends on the face it sees: an open jaw or a raised brow moves its pose. Training
refines each frame's pose; this is the part of those refinements that can be predicted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.field import HeadField

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
VALIDATION = 0.2  # share of the frames, the last ones, on which the strength is chosen


def pose_features(
    field: HeadField, rotations: ArrayLike, expressions: ArrayLike
) -> NDArray[np.float64]:
    """`HeadField.pose_features` of frames [N, …] as a matrix [N, 1 + 3 + K]."""
    pairs = zip(np.asarray(rotations), np.asarray(expressions), strict=True)
    return np.stack([field.pose_features(r, e) for r, e in pairs])


def fit_correction(features: ArrayLike, motions: ArrayLike) -> NDArray[np.float32]:
    """The ridge map [6, F] from features [N, F] (first column one) to rigid motions [N, 6].

    Strength per output by validation on the last fifth of the frames; an output that no strength
    predicts better than a constant gets the constant alone.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(motions, dtype=np.float64)
    split = max(1, round(len(x) * (1 - VALIDATION)))
    if split >= len(x):
        split = len(x)
    out = np.zeros((y.shape[1], x.shape[1]))
    for column in range(y.shape[1]):
        best, error = None, np.inf
        if split < len(x):
            constant = y[:split, column].mean()
            error = float(((y[split:, column] - constant) ** 2).mean())
            for strength in STRENGTHS:
                w = _ridge(x[:split], y[:split, column], strength)
                e = float(((x[split:] @ w - y[split:, column]) ** 2).mean())
                if e < error:
                    best, error = strength, e
        if best is None:
            out[column, 0] = y[:, column].mean()
        else:
            out[column] = _ridge(x, y[:, column], best)
    return out.astype(np.float32)


def _ridge(x: NDArray[np.float64], y: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """Ridge regression on standardised columns; the first (constant) column is not penalised."""
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-2)
    mean[0], scale[0] = 0.0, 1.0
    z = (x - mean) / scale
    penalty = strength * len(x) * np.eye(x.shape[1])
    penalty[0, 0] = 0.0
    w = np.linalg.solve(z.T @ z + penalty, z.T @ y) / scale
    w[0] -= float(mean @ w)
    return w
