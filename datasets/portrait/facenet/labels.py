"""What PE-Net is taught, from a pack's labels: where the whole picture's camera stood.

The rule: a teacher's matrix and its landmarks must agree in one camera. Landmarks are seen through
one mean rigid face (fitted where the camera is known); where a crop's place in its picture is not
stored, the same face tells it: p = principal + focal·n for the directions n of the face's points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.pack import POINTS, Pack

Floats = NDArray[np.float64]


def mean_face(landmarks: Floats, matrix: Floats, camera: Floats) -> Floats:
    """The rigid face [478, 3] (units of `matrix`) whose projections fit landmarks [N, 478, 2] best.

    `matrix` [N, 4, 4] head → camera, `camera` [N, 3] focal and principal point in pixels. Every
    point is a linear least squares problem: its line of sight crosses it in each picture.
    """
    f, b = camera[:, :1], camera[:, 1:]
    r, t = matrix[:, :3, :3], matrix[:, :3, 3]
    out = np.empty((POINTS, 3))
    weight = (f[:, 0] / -t[:, 2])[:, None, None]  # pixels per unit: errors count in pixels
    for k in range(POINTS):
        n = (landmarks[:, k] - b) / f * (1.0, -1.0)  # tangents, y up
        # (R X + t)_xy + n (R X + t)_z = 0
        a = r[:, :2] + n[..., None] * r[:, 2:]
        y = -(t[:, :2] + n * t[:, 2:])
        out[k] = np.linalg.lstsq((a * weight).reshape(-1, 3), (y * weight[..., 0]).ravel(),
                                 rcond=None)[0]  # fmt: skip
    return out


def fitted_camera(face: Floats, landmarks: Floats, matrix: Floats) -> tuple[Floats, Floats]:
    """(camera [N, 3], RMS residual [N] in pixels) by which each crop sees the rigid face."""
    seen = np.einsum("nij,kj->nki", matrix[:, :3, :3], face) + matrix[:, None, :3, 3]
    n = seen[..., :2] / -seen[..., 2:] * (1.0, -1.0)  # y down, as pixels
    mean_n, mean_p = n.mean(axis=1, keepdims=True), landmarks.mean(axis=1, keepdims=True)
    dn, dp = n - mean_n, landmarks - mean_p
    focal = (dn * dp).sum(axis=(1, 2)) / (dn**2).sum(axis=(1, 2))
    principal = mean_p[:, 0] - focal[:, None] * mean_n[:, 0]
    residual = np.sqrt(((dp - focal[:, None, None] * dn) ** 2).sum(axis=2).mean(axis=1))
    return np.column_stack([focal, principal]), residual


def with_cameras(packs: list[Pack]) -> list[Floats]:
    """The camera [N, 3] of every crop of every pack, NaN without a face; the packs' known cameras
    determine the rigid face that finds the others."""
    known = [(p.landmarks, p.matrix, p.camera, np.isfinite(p.camera[:, 0])) for p in packs]
    face = mean_face(*(
        np.concatenate([k[i][k[3]] for k in known]).astype(np.float64)[:4000] for i in range(3)
    ))  # fmt: skip
    out = []
    for pack in packs:
        camera = np.full((len(pack), 3), np.nan)
        rows = np.flatnonzero(~pack.no_face)
        camera[rows], _ = fitted_camera(
            face, pack.landmarks[rows].astype(np.float64), pack.matrix[rows].astype(np.float64)
        )
        out.append(camera)
    return out


def mirror_order(face: Floats) -> NDArray[np.int64]:
    """[478]: which landmark is the mirror image of each, from the rigid face's symmetry."""
    mirrored = face * (-1.0, 1.0, 1.0)
    distance = ((face[None] - mirrored[:, None]) ** 2).sum(axis=2)
    return np.asarray(distance.argmin(axis=1), dtype=np.int64)
