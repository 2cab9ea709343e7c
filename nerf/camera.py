"""Cameras, head poses and rays: the one place where axes are fixed.

The rule: lengths are metres, angles radians, pixels have their centre at +0.5, and every frame
is right-handed. Head frame: x to the image's right when the face looks into the camera (the
person's left), y up, z out of the face. Camera frame (OpenGL, as NeRF's): x right, y up, looking
down −z. A frontal face has R = identity. See docs/conventions.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera in pixels."""

    fx: float
    """Focal length along x, pixels, > 0."""
    fy: float
    """Focal length along y, pixels, > 0."""
    cx: float
    """Principal point x, pixels from the left edge (a pixel's centre is at +0.5)."""
    cy: float
    """Principal point y, pixels from the top edge."""
    width: int
    """Image width, pixels."""
    height: int
    """Image height, pixels."""

    def __post_init__(self) -> None:
        if self.fx <= 0 or self.fy <= 0 or self.width < 1 or self.height < 1:
            raise ValueError(f"a camera needs positive focal lengths and sizes, not {self}")

    def resized(self, width: int, height: int) -> Camera:
        """The same view with another number of pixels."""
        sx, sy = width / self.width, height / self.height
        return replace(self, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy,
                       width=width, height=height)  # fmt: skip

    def every(self, step: int) -> Camera:
        """The camera whose pixels are every `step`th one of these, from the first one on: its
        picture is this one's `[::step, ::step]`."""
        return replace(self, fx=self.fx / step, fy=self.fy / step,
                       cx=(self.cx - 0.5) / step + 0.5, cy=(self.cy - 0.5) / step + 0.5,
                       width=-(-self.width // step), height=-(-self.height // step))  # fmt: skip


def portrait_camera(size: int, distance: float, scale: float) -> Camera:
    """The square camera of the stabilised portrait: `scale` portrait widths per metre at depth
    `distance` (metres), principal point in the middle, `size` pixels wide."""
    return portrait_at((0.0, 0.0, -distance), size, scale)


def portrait_at(position: ArrayLike, size: int, scale: float) -> Camera:
    """The stabilised portrait, `size` pixels wide, as what it is: a square of a picture whose
    camera sees the head's origin at `position` [3] (metres, camera axes). The origin lies in the
    portrait's middle, the principal point where the whole picture has it."""
    x, y, z = (float(v) for v in np.asarray(position, dtype=np.float64))
    focal = scale * -z * size
    return Camera(focal, focal, size * (0.5 - scale * x), size * (0.5 + scale * y), size, size)


def rotation_matrix(pitch: float, yaw: float, roll: float) -> Float64:
    """R = Rz(roll) · Ry(yaw) · Rx(pitch), [3, 3], head → camera; angles in radians.

    Positive pitch looks down, positive yaw turns to the image's right, positive roll tilts the
    top of the head to the image's left (counter-clockwise as the viewer sees it).
    """
    cp, sp, cy, sy = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    cr, sr = np.cos(roll), np.sin(roll)
    rx = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return rz @ ry @ rx


def euler_angles(rotation: ArrayLike) -> tuple[float, float, float]:
    """(pitch, yaw, roll) of a rotation matrix [3, 3], the inverse of `rotation_matrix`.

    At yaw = ±90° pitch and roll are not separable; roll is then put at 0.
    """
    r = np.asarray(rotation, dtype=np.float64)
    yaw = float(np.arcsin(np.clip(-r[2, 0], -1.0, 1.0)))
    if abs(r[2, 0]) > 1.0 - 1e-9:
        return float(np.arctan2(-r[1, 2], r[1, 1])), yaw, 0.0
    return float(np.arctan2(r[2, 1], r[2, 2])), yaw, float(np.arctan2(r[1, 0], r[0, 0]))


def head_pose(rotation: ArrayLike, distance: float, shift: ArrayLike = (0.0, 0.0, 0.0)) -> Float64:
    """The head → camera transform [4, 4] of the stabilised portrait.

    `rotation` is (pitch, yaw, roll) or a matrix [3, 3]; the head's origin lies `distance` metres
    in front of the camera, moved by `shift` (metres, camera axes).
    """
    r = np.asarray(rotation, dtype=np.float64)
    pose = np.eye(4)
    pose[:3, :3] = r if r.shape == (3, 3) else rotation_matrix(*r)
    pose[:3, 3] = np.asarray(shift, dtype=np.float64) + np.array([0.0, 0.0, -distance])
    return pose


def line_of_sight_turn(direction: ArrayLike) -> Float64:
    """The smallest rotation [3, 3] that takes `direction` [3] to (0, 0, −1) (Rodrigues). What lies
    in the camera or right behind it is in no line of sight: any numbers, but finite ones."""
    x, y, z = np.asarray(direction, dtype=np.float64) / max(float(np.linalg.norm(direction)), 1e-12)
    f = 1.0 / max(1.0 - z, 1e-12)
    return np.array([[1.0 - f * x * x, -f * x * y, x], [-f * x * y, 1.0 - f * y * y, y],
                     [-x, -y, -z]])  # fmt: skip


def seen_pose(rotation: ArrayLike, position: ArrayLike) -> Float64:
    """Head → camera [4, 4] of a head at `position` [3] (metres, camera axes, z < 0) that is seen
    under `rotation`: (pitch, yaw, roll) or a matrix [3, 3], along the line of sight."""
    pose = head_pose(rotation, 0.0)
    pose[:3, :3] = line_of_sight_turn(position).T @ pose[:3, :3]
    pose[:3, 3] = position
    return pose


def seen_rotation(pose: ArrayLike) -> Float64:
    """[3, 3] along the line of sight, the inverse of `seen_pose`; for a head in the middle, the
    pose's own."""
    p = np.asarray(pose, dtype=np.float64)
    return line_of_sight_turn(p[:3, 3]) @ p[:3, :3]


def invert_pose(pose: ArrayLike) -> Float64:
    """The inverse of a rigid transform [4, 4]."""
    p = np.asarray(pose, dtype=np.float64)
    out = np.eye(4)
    out[:3, :3] = p[:3, :3].T
    out[:3, 3] = -p[:3, :3].T @ p[:3, 3]
    return out


def project(points: ArrayLike, pose: ArrayLike, camera: Camera) -> Float64:
    """Pixels [N, 2] of head-frame points [N, 3] (metres) under a head → camera pose [4, 4]."""
    p = np.asarray(pose, dtype=np.float64)
    c = np.asarray(points, dtype=np.float64) @ p[:3, :3].T + p[:3, 3]
    x = camera.cx + camera.fx * c[:, 0] / -c[:, 2]
    y = camera.cy - camera.fy * c[:, 1] / -c[:, 2]
    return np.stack([x, y], axis=-1)


def pixel_rays(pose: ArrayLike, camera: Camera, xy: ArrayLike) -> tuple[Float64, Float64]:
    """Origin [3] and unit directions [N, 3] in the head frame of the rays through pixels `xy`.

    `xy` [N, 2] in pixels (add 0.5 to an index to hit the centre); `pose` is head → camera.
    """
    p = np.asarray(pose, dtype=np.float64)
    q = np.asarray(xy, dtype=np.float64)
    d = np.stack([(q[:, 0] - camera.cx) / camera.fx, (camera.cy - q[:, 1]) / camera.fy,
                  -np.ones(len(q))], axis=-1)  # fmt: skip
    d = d @ p[:3, :3]  # rows times R = Rᵀ applied to each direction
    origin = -p[:3, :3].T @ p[:3, 3]
    return origin, d / np.linalg.norm(d, axis=-1, keepdims=True)
