"""How well the poses explain the landmarks: one rigid shape, fitted to all frames.

The rule: a head's bones do not move. With the poses as tracked, the landmarks' places on the head
are a linear least-squares problem (per landmark three numbers, the same 3×3 matrix for all);
frames are re-weighted so that bad ones cannot bend the shape. What is left over, in the half of
the landmarks that moves least with the face, is the reprojection error of a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerf.camera import rotation_matrix
from sender.portrait_crop import PORTRAIT_SCALE

ROUNDS = 4  # perspective and weights are those of the round before
RIGID_SHARE = 0.5
FLAT = 0.03**2  # radians²: depth is held to zero with the weight of so much turning

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Reprojection:
    """The fit of N frames with M landmarks."""

    shape: Float64
    """[M, 3] metres in the head's frame."""
    rigid: NDArray[np.int64]
    """The landmarks that the error is measured at."""
    error: Float64
    """[N] root mean square distance of these from where the pose puts them, portrait widths."""


def fit_rigid_shape(
    landmarks: NDArray[np.float32], rotation: Float64, distance_m: Float64
) -> Reprojection | None:
    """Fit landmarks [N, M, 2] in portrait widths under rotations [N, 3] and camera distances [N];
    None where there are too few of either."""
    n, m = landmarks.shape[:2]
    if n < 2 or m < 4 or not np.isfinite(landmarks).all():
        return None
    turn = np.stack([rotation_matrix(*r) for r in rotation])
    xy, toward = turn[:, :2], turn[:, 2]  # [N, 2, 3], [N, 3]
    seen = (landmarks.astype(np.float64) - 0.5) * (1.0, -1.0) / PORTRAIT_SCALE  # metres
    shape = np.zeros((m, 3))
    weight = np.ones(n)
    rigid = np.arange(m)
    error = np.zeros((n, m))
    for _ in range(ROUNDS):
        gram = np.einsum("n,nij,nik->jk", weight, xy, xy)
        gram[2, 2] += FLAT * weight.sum()
        closer = 1.0 - (toward @ shape.T) / distance_m[:, None]  # [N, M] depth over distance
        right = np.einsum("n,nij,nmi->mj", weight, xy, seen * closer[..., None])
        shape = np.linalg.solve(gram, right.T).T
        closer = 1.0 - (toward @ shape.T) / distance_m[:, None]
        put = np.einsum("nij,mj->nmi", xy, shape) / closer[..., None]
        error = np.linalg.norm(put - seen, axis=-1)
        spread = np.sqrt((weight[:, None] * error**2).sum(axis=0) / weight.sum())
        rigid = np.sort(np.argsort(spread)[: max(4, int(m * RIGID_SHARE))])
        frame = np.sqrt((error[:, rigid] ** 2).mean(axis=1))
        usual = max(float(np.median(frame)), 1e-9)
        weight = 1.0 / np.maximum(1.0, frame / (2.0 * usual)) ** 2
    frame = np.sqrt((error[:, rigid] ** 2).mean(axis=1))
    return Reprojection(shape, rigid, frame * PORTRAIT_SCALE)
