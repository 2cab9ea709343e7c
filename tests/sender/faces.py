"""Faces that nobody filmed: placed by hand, for the tests of what follows a tracker."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from nerf.camera import rotation_matrix
from quic_transport.params import FaceParams
from sender.extractor import TrackedFace
from sender.portrait_crop import PORTRAIT_SCALE, crop_of, line_of_sight_turn

WIDTH, HEIGHT, FOCAL = 640, 480, 400.0


def face_at(
    u: float = 320.0, v: float = 240.0, side: float = 250.0, *, time: float = 0.0,
    expression: ArrayLike | float = 0.3, rotation: ArrayLike = (0.0, 0.0, 0.0),
    width: int = WIDTH, height: int = HEIGHT, focal: float = FOCAL,
) -> TrackedFace:  # fmt: skip
    """A face whose portrait is centred at (u, v) px with that side, looking as `rotation` says."""
    depth = focal / (PORTRAIT_SCALE * side)
    pose = np.eye(4)
    pose[:3, 3] = ((u - width / 2) * depth / focal, (height / 2 - v) * depth / focal, -depth)
    pose[:3, :3] = line_of_sight_turn(pose[:3, 3]).T @ rotation_matrix(*np.asarray(rotation))
    crop, angles, offset = crop_of(pose, focal, width, height)
    params = FaceParams(
        np.broadcast_to(np.asarray(expression, np.float32), (46,)), angles.astype(np.float32),
        time, offset.astype(np.float32),
    )  # fmt: skip
    assert math.isclose(crop.side, side, rel_tol=1e-6)
    return TrackedFace(params, pose, focal, np.zeros((4, 2), np.float32), crop, 1.0)
