"""How far the camera was from the head: by how much what is nearer looks larger.

The rule: trackers guess a lens (63° of height), so they put whoever fills a picture that somebody
cropped at 30 cm, and a head learned from there flares out behind the face. The clip itself
knows better: of all distances, the true one lets one rigid shape explain the landmarks of all
frames best. Where a head hardly turns the curve is flat, and a weak prior decides.
Reference: Hartley & Zisserman 2004, ch. 6 (affine cameras as the limit of perspective ones).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from portrait.reprojection import fit_rigid_shape

NEAREST, FARTHEST = 0.3, 2.0  # metres; beyond, a head's depth changes its picture by a few percent
CANDIDATES = 14
USUAL = 0.8  # metres from a camera
PRIOR = 0.002  # of the error, for a distance that is e times the usual one or 1 / e of it
MOST_FRAMES = 200

Float64 = NDArray[np.float64]


def camera_distance(landmarks: NDArray[np.float32], rotation: Float64, measured: Float64) -> float:
    """Metres from the camera to the head's origin, of landmarks [N, M, 2] in portrait widths under
    rotations [N, 3]; without enough landmarks the median of what the tracker `measured` [N]."""
    some = np.unique(np.linspace(0, len(rotation) - 1, MOST_FRAMES).astype(int))
    best, least = float(np.median(measured)), math.inf
    for distance in np.geomspace(NEAREST, FARTHEST, CANDIDATES):
        fit = fit_rigid_shape(landmarks[some], rotation[some], np.full(len(some), distance))
        if fit is None:
            return best
        error = float(np.sqrt((fit.error**2).mean()))
        error *= 1 + PRIOR * math.log(distance / USUAL) ** 2
        if error < least:
            best, least = float(distance), error
    return best
