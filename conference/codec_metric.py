"""How visible an error of each parameter is: a quadratic form, one per avatar.

The rule: what counts is what a receiver sees. A finite difference of our own renderer says how a
coefficient changes the picture, and the training frames' landmarks how it moves the face; the
form is the sum of both, in squared pixels of a face whose eyes are EYES_PX apart.
Reference: Gauss-Newton's J^T J; docs/codec.md has what each half is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.params import EXPRESSION_DIM, PARAM_DIM, ROTATION_DIM

Float64 = NDArray[np.float64]
Render = Callable[[Float64], NDArray[np.uint8]]
"""Parameters [49] → their picture, uint8 [S, S, 3]."""

EYES_PX = 130.0
EYES_M = 0.063
LEVELS_PER_PX = 1.7
"""Grey levels (of 255, root mean square over the picture) that count as much as one pixel."""
STEP_E, STEP_R = 0.04, 0.01  # of the finite differences: coefficient, radian
FLOOR_E, FLOOR_R = 1.5, 50.0  # px per unit, px per radian: nothing is invisible
RIDGE = 0.003
SPREAD_FLOOR = 1e-3
LANDMARKS = 478  # MediaPipe's mesh
LIPS = (
    0, 13, 14, 17, 37, 39, 40, 61, 78, 80, 81, 82, 84, 87, 88, 91, 95, 146, 178, 181, 185, 191, 267,
    269, 270, 291, 308, 310, 311, 312, 314, 317, 318, 321, 324, 375, 402, 405, 409, 415,
)  # fmt: skip
EYES = (
    7, 33, 133, 144, 145, 153, 154, 155, 157, 158, 159, 160, 161, 163, 173, 246, 249, 263, 362, 373,
    374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466, *range(468, 478),
)  # fmt: skip


def picture_metric(render: Render, frames: Float64, low: ArrayLike, high: ArrayLike) -> Float64:
    """[49, 49] mean over `frames` [n, 49] of J^T J, J the change of the picture in grey levels.
    `low` and `high` [46]: the coefficients that the head tells apart; beyond, nothing changes."""
    total = np.zeros((PARAM_DIM, PARAM_DIM))
    steps = np.array([STEP_E] * EXPRESSION_DIM + [STEP_R] * ROTATION_DIM)
    for frame in frames:
        rows = []
        for k in range(PARAM_DIM):
            more, less = frame.copy(), frame.copy()
            more[k] += steps[k]
            less[k] -= steps[k]
            for v in (more, less):
                v[:EXPRESSION_DIM] = np.clip(v[:EXPRESSION_DIM], low, high)
            change = render(more).astype(np.float32) - render(less)
            apart = max(more[k] - less[k], steps[k])  # a narrow range must not amplify rounding
            rows.append(change.reshape(-1) / np.float32(apart))
        j = np.stack(rows).astype(np.float64)
        total += j @ j.T / j.shape[1]
    return total / len(frames)


def landmark_metric(frames: Float64, landmarks: Float64, scale: float) -> Float64:
    """[49, 49] of the mesh [N, 478, 2] (in widths of the portrait, which shows 1 / `scale` metres)
    that `frames` [N, 49] have: a third each for all points, the lips, the eyes."""
    spread = frames.std(axis=0) + SPREAD_FLOOR
    z = (frames - frames.mean(axis=0)) / spread
    y = (landmarks - landmarks.mean(axis=0)).reshape(len(frames), -1)
    penalty = RIDGE * len(frames) * np.eye(PARAM_DIM)
    map_ = np.linalg.solve(z.T @ z + penalty, z.T @ y) / spread[:, None]
    j = map_.reshape(PARAM_DIM, LANDMARKS, 2) * (EYES_PX / (EYES_M * scale))
    return np.einsum("aij,bij,i->ab", j, j, landmark_weights())


def landmark_weights() -> Float64:
    """[478], their sum 1."""
    weights = np.full(LANDMARKS, 1 / 3 / LANDMARKS)
    weights[list(LIPS)] += 1 / 3 / len(LIPS)
    weights[list(EYES)] += 1 / 3 / len(EYES)
    return weights


def combined(pictures: ArrayLike, landmarks: ArrayLike | None) -> Float64:
    """The form that the codec works with; `landmarks` None: a set without a mesh."""
    form = np.asarray(pictures, dtype=np.float64) / LEVELS_PER_PX**2
    if landmarks is not None:
        form = form + np.asarray(landmarks)
    floor = np.array([FLOOR_E] * EXPRESSION_DIM + [FLOOR_R] * ROTATION_DIM)
    return np.asarray(form + np.diag(floor**2))


def read_meshes(folder: Path, names: NDArray[np.int64], width: int) -> Float64 | None:
    """[N, 478, 2] in portrait widths of the frames `names` of a training set; None without."""
    meshes = []
    for name in names.tolist():
        path = folder / "ori_imgs" / f"{name}.lms"
        try:
            mesh = np.fromstring(path.read_text(encoding="ascii"), sep=" ").reshape(-1, 2)
        except (OSError, ValueError):
            return None
        if mesh.shape != (LANDMARKS, 2):
            return None
        meshes.append(mesh / width)
    return np.stack(meshes) if meshes else None
