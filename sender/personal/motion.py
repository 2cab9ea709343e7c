"""Small rigid motions of a head, and where they take its points in the portrait.

The rule: a motion is a rotation vector (radians) and a translation (metres) in the head frame,
about a pivot; pixel centres lie at +0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sender.portrait_crop import line_of_sight_turn
from sender.smoothing import rotation_exp, rotation_log

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """X → R (X − pivot) + pivot + t."""

    rotation: Float64
    """[3, 3]"""
    translation: Float64
    """[3] metres."""

    @staticmethod
    def of(vector: ArrayLike) -> Motion:
        """From rotation vector and translation [6]."""
        v = np.asarray(vector, dtype=np.float64)
        return Motion(rotation_exp(v[:3]), v[3:].copy())

    def vector(self) -> Float64:
        """[6], the inverse of `of`."""
        return np.concatenate([rotation_log(self.rotation), self.translation])

    def after(self, step: ArrayLike) -> Motion:
        """This motion, and then the small one `step` [6]."""
        s = np.asarray(step, dtype=np.float64)
        return Motion(rotation_exp(s[:3]) @ self.rotation, self.translation + s[3:])

    def apply(self, pose: ArrayLike, pivot: ArrayLike) -> Float64:
        """The head → camera pose [4, 4] of the moved head."""
        p, c = np.asarray(pose, dtype=np.float64), np.asarray(pivot, dtype=np.float64)
        out = np.eye(4)
        out[:3, :3] = p[:3, :3] @ self.rotation
        out[:3, 3] = p[:3, :3] @ (c + self.translation - self.rotation @ c) + p[:3, 3]
        return out


def portrait_pose(rotation: Float64, position: ArrayLike) -> Float64:
    """Head → camera [4, 4] of a head at `position` [3] (metres, camera axes) that is seen under a
    rotation matrix [3, 3] along the line of sight."""
    out = np.eye(4)
    out[:3, :3] = line_of_sight_turn(position).T @ rotation
    out[:3, 3] = position
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Projected:
    """Points of a moved head in the portrait."""

    pixels: Float32
    """[K, 2]"""
    jacobian: Float32
    """[K, 2, 6] of the pixels by a further small motion."""
    facing: Float32
    """[K] cosine between a point's normal and the way to the camera."""


def project(
    points: Float32, normals: Float32, pivot: ArrayLike, motion: Motion, pose: Float64,
    focal_px: float, middle: ArrayLike,
) -> Projected:  # fmt: skip
    """Where the points [K, 3] of a head moved by `motion` from head → camera `pose` [4, 4] lie in a
    picture with a focal length of `focal_px` and its principal point at `middle` [2], pixels."""
    rotation = pose[:3, :3]
    q = np.asarray(pivot, dtype=np.float64)
    arm = (points - q.astype(np.float32)) @ motion.rotation.T.astype(np.float32)
    turn = rotation.astype(np.float32)
    centre = rotation @ (q + motion.translation) + pose[:3, 3]
    camera = arm @ turn.T + centre.astype(np.float32)
    k = np.float32(-1.0) / camera[:, 2]
    x, y = camera[:, 0] * k, camera[:, 1] * k
    pixels = np.empty((len(points), 2), np.float32)
    u, v = (float(m) for m in np.asarray(middle, dtype=np.float64))
    pixels[:, 0], pixels[:, 1] = u + focal_px * x, v - focal_px * y
    # d pixel / d camera is (1, 0, x) and −(0, 1, y) times k·f; through the turn to the head frame:
    kf = (np.float32(focal_px) * k)[:, None]
    jacobian = np.empty((len(points), 2, 6), np.float32)
    jacobian[:, 0, 3:] = kf * (turn[0] + x[:, None] * turn[2])
    jacobian[:, 1, 3:] = -kf * (turn[1] + y[:, None] * turn[2])
    # d(δω × arm) = −[arm]× δω, and a row times −[arm]× is arm × row
    ax, ay, az = (arm[:, i : i + 1] for i in range(3))
    hx, hy, hz = (jacobian[:, :, i] for i in (3, 4, 5))
    jacobian[:, :, 0] = ay * hz - az * hy
    jacobian[:, :, 1] = az * hx - ax * hz
    jacobian[:, :, 2] = ax * hy - ay * hx
    n = normals @ (rotation @ motion.rotation).T.astype(np.float32)
    facing = -np.einsum("ij,ij->i", n, camera) / np.sqrt(np.einsum("ij,ij->i", camera, camera))
    return Projected(pixels, jacobian, facing)
