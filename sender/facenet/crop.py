"""The upright square that PE-Net looks at, and what its numbers mean in the whole picture.

The rule: pure geometry, used by training and by the live sender alike. A crop is a square of the
picture, turned so that the face stands upright in it. Rolling a camera about its own axis turns
the picture, the face and the crop's place alike; therefore PE-Net answers for the rolled camera,
and `head_pose` turns its answer back. Pixel centres lie at +0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sender.portrait_crop import whole_pixels

Float64 = NDArray[np.float64]

INPUT_PX = 112
"""Side of PE-Net's input, pixels."""
MARGIN = 1.4
"""Side of the crop over the longer side of the upright box around the landmarks."""
EYES = (33, 263)
"""Outer corners of the person's right and left eye among the 478 landmarks."""
METRE_PX = 700.0
"""Unit of PE-Net's scale output: this many crop pixels per metre is 0."""


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """A turned square of the picture."""

    x: float
    """Pixels from the picture's left edge to the square's centre."""
    y: float
    """Pixels from its top edge."""
    side: float
    """Pixels along the square's side, > 0."""
    angle: float
    """Radians by which the face leans counter-clockwise as seen, −π..π."""

    def affine(self, size: int = INPUT_PX) -> Float64:
        """[2, 3]: picture pixels → pixels of the crop that is `size` px wide."""
        k = size / self.side
        c, s = k * math.cos(self.angle), k * math.sin(self.angle)
        turn = np.array([[c, -s], [s, c]])
        shift = np.array([size / 2, size / 2]) - turn @ (self.x, self.y)
        return np.column_stack([turn, shift])

    def cut(self, image: NDArray[np.uint8], size: int = INPUT_PX) -> NDArray[np.uint8]:
        """The crop, uint8 [size, size, 3]; black beyond the picture. Shrinking averages."""
        import cv2

        height, width = image.shape[:2]
        shrink = max(1, math.ceil(self.side / size / 1.5))
        reach = self.side * 0.5 * (abs(math.cos(self.angle)) + abs(math.sin(self.angle)))
        left, right = whole_pixels(self.x - reach, self.x + reach, width, shrink)
        top, bottom = whole_pixels(self.y - reach, self.y + reach, height, shrink)
        if right <= left or bottom <= top:  # all of it lies beyond the picture
            return np.zeros((size, size, 3), np.uint8)
        image = image[top:bottom, left:right]
        if shrink > 1:
            small = (image.shape[1] // shrink, image.shape[0] // shrink)
            image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8)
        inside = FaceCrop((self.x - left) / shrink, (self.y - top) / shrink, self.side / shrink,
                          self.angle)  # fmt: skip
        a = inside.affine(size)
        a[:, 2] += 0.5 * a[:, :2].sum(axis=1) - 0.5  # to OpenCV's integer pixel centres
        out = cv2.warpAffine(image, a, (size, size), flags=cv2.INTER_LINEAR)
        return np.asarray(out, dtype=np.uint8)

    def to_picture(self, points: ArrayLike) -> Float64:
        """Points [N, 2] in units of the side about the centre → picture pixels."""
        p = np.asarray(points, dtype=np.float64) * self.side
        c, s = math.cos(self.angle), math.sin(self.angle)
        return p @ np.array([[c, -s], [s, c]]) + (self.x, self.y)

    def to_crop(self, points: ArrayLike) -> Float64:
        """The inverse of `to_picture`."""
        p = (np.asarray(points, dtype=np.float64) - (self.x, self.y)) / self.side
        c, s = math.cos(self.angle), math.sin(self.angle)
        return p @ np.array([[c, s], [-s, c]])

    def place(self, focal_px: float, width: int, height: int) -> Float64:
        """[3] for PE-Net: direction of the centre in the rolled camera (tangents, x right, y up)
        and the log of half the crop's angle of view."""
        right, up = (self.x - width / 2) / focal_px, (height / 2 - self.y) / focal_px
        c, s = math.cos(self.angle), math.sin(self.angle)
        return np.array([c * right + s * up, c * up - s * right,
                         math.log(self.side / (2 * focal_px)) + 1.5])  # fmt: skip


def crop_around(landmarks: ArrayLike) -> FaceCrop:
    """The crop for landmarks [478, 2] in picture pixels."""
    p = np.asarray(landmarks, dtype=np.float64)
    right, left = p[EYES[0]], p[EYES[1]]
    angle = math.atan2(right[1] - left[1], left[0] - right[0])
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    upright = p @ turn.T
    low, high = upright.min(axis=0), upright.max(axis=0)
    centre = turn.T @ ((low + high) / 2)
    return FaceCrop(float(centre[0]), float(centre[1]), float(MARGIN * (high - low).max()), angle)


def rotation_of_six(six: ArrayLike) -> Float64:
    """The rotation whose first two columns are nearest to `six` (Zhou et al. 2019, 6-D)."""
    ax, ay, az, bx, by, bz = np.asarray(six, dtype=np.float64).tolist()
    n = max(math.sqrt(ax * ax + ay * ay + az * az), 1e-9)
    ax, ay, az = ax / n, ay / n, az / n
    along = ax * bx + ay * by + az * bz
    bx, by, bz = bx - along * ax, by - along * ay, bz - along * az
    n = max(math.sqrt(bx * bx + by * by + bz * bz), 1e-9)
    bx, by, bz = bx / n, by / n, bz / n
    return np.array([
        [ax, bx, ay * bz - az * by],
        [ay, by, az * bx - ax * bz],
        [az, bz, ax * by - ay * bx],
    ])  # fmt: skip


def roll(angle: float) -> Float64:
    """Rz(angle)."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def head_pose(
    crop: FaceCrop, rotation: Float64, origin: ArrayLike, log_scale: float,
    focal_px: float, width: int, height: int,
) -> Float64:  # fmt: skip
    """Head → camera [4, 4] in metres of the whole picture.

    `rotation` [3, 3] in the rolled camera, `origin` [2] of the head in units of the crop's side
    about its centre, `log_scale` of its pixels per metre (see METRE_PX).
    """
    u, v = crop.to_picture(np.asarray(origin, dtype=np.float64)[None])[0]
    per_metre = math.exp(log_scale) * METRE_PX / INPUT_PX * crop.side
    depth = focal_px / per_metre
    out = np.eye(4)
    out[:3, :3] = roll(crop.angle) @ rotation
    out[:3, 3] = ((u - width / 2) * depth / focal_px, (height / 2 - v) * depth / focal_px, -depth)
    return out
