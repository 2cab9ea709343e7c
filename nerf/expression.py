"""From the numbers of a face to the few numbers that blend the expression tables.

The rule: a face's numbers are its coefficients and, where the head learned with them, the angles
under which it is seen. They are clipped to about what training saw, then centred, then projected
by a fixed matrix; with a table for each the matrix is diagonal, with fewer its columns are the
principal components of the training faces. The angles stand for what a turn changes: the light, the
neck, what the crop does to a head beside the axis. Reference: Gao et al. 2022, §3.2 (coefficients).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import euler_angles, seen_rotation

Float32 = NDArray[np.float32]

SPREAD = 4.0  # code 1 is this many standard deviations
SPREAD_FLOOR = 0.2  # coefficients that hardly move must not amplify tracker noise
ANGLES = 3  # pitch, yaw, roll
BEYOND = 0.4
"""Of each coefficient's range in training: how far outside it may go. A personal tracker refines
coefficients after the range is taken, and what is linear may be continued a little."""


@dataclass(frozen=True, slots=True, eq=False)
class ExpressionCode:
    """The affine map from the K numbers of a face to B table weights."""

    low: Float32
    """Float32 [K], least value that is believed."""
    high: Float32
    """Float32 [K], greatest value that is believed."""
    mean: Float32
    """Float32 [K], training mean: the face of the mean table."""
    projection: Float32
    """Float32 [K, B]."""
    angles: int = 0
    """How many of the K numbers, the last ones, are angles in radians: 0 or `ANGLES`."""

    def __post_init__(self) -> None:
        k = self.low.shape[0]
        if not (self.high.shape == self.mean.shape == (k,) and self.projection.shape[0] == k):
            raise ValueError("an expression code's arrays must agree in their first dimension")
        if self.angles not in (0, ANGLES) or k < self.angles:
            raise ValueError(f"a face has no angles or {ANGLES}, not {self.angles} of {k} numbers")

    @property
    def coefficients(self) -> int:
        """How many of the K numbers are expression coefficients."""
        return len(self.mean) - self.angles

    def face(self, expression: ArrayLike, rotation: ArrayLike) -> Float32:
        """The numbers [K] (or [N, K]) of a face: coefficients, and how the head is seen (pitch,
        yaw, roll; radians), which is left out where the head learned without."""
        e = np.asarray(expression, dtype=np.float32)
        if not self.angles:
            return e
        return np.concatenate([e, np.asarray(rotation, dtype=np.float32)], axis=-1)

    def seen(self, expression: ArrayLike, pose: ArrayLike) -> Float32:
        """The numbers [K] of a face with these coefficients under a head → camera pose [4, 4];
        angles are those along the line of sight."""
        return self.face(expression, euler_angles(seen_rotation(pose)))

    def __call__(self, face: ArrayLike) -> Float32:
        """Table weights [B] (or [N, B]) of a face's numbers [K] (or [N, K])."""
        e = np.clip(np.asarray(face, dtype=np.float32), self.low, self.high)
        return np.ascontiguousarray((e - self.mean) @ self.projection, dtype=np.float32)


def fit_expression_code(
    expressions: ArrayLike, rank: int, rotations: ArrayLike | None = None, beyond: float = 0.0
) -> ExpressionCode:
    """The code of training expressions [N, k], with their `rotations` [N, 3] if these count, with
    B = `rank` tables (as many as numbers: one for each). Coefficients are believed `beyond` their
    range by this share of it."""
    e = np.asarray(expressions, dtype=np.float64)
    if e.ndim != 2 or len(e) == 0:
        raise ValueError(f"expressions must have shape (N, K), not {e.shape}")
    angles = 0 if rotations is None else ANGLES
    if rotations is not None:
        e = np.concatenate([e, np.asarray(rotations, dtype=np.float64)], axis=1)
    low, high = e.min(axis=0), e.max(axis=0)
    more = beyond * (high - low)
    more[len(low) - angles :] = 0.0
    mean = e.mean(axis=0)
    count = e.shape[1]
    if rank >= count:
        projection = np.diag(1.0 / np.maximum(SPREAD * e.std(axis=0), SPREAD_FLOOR))
    else:
        _, _, vt = np.linalg.svd(e - mean, full_matrices=True)
        axes = vt[:rank].T
        spread = ((e - mean) @ axes).std(axis=0)
        projection = axes / np.maximum(SPREAD * spread, SPREAD_FLOOR)
    low, high, mean, projection = (
        np.ascontiguousarray(a, dtype=np.float32)
        for a in (low - more, high + more, mean, projection)
    )
    return ExpressionCode(low, high, mean, projection, angles)
