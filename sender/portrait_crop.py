"""The stabilised portrait: the square in which the head's origin never moves and never grows.

The rule: pure geometry, exactly docs/conventions.md ("The stabilised portrait"); training and the
live sender both call `crop_of`, so they can't differ. Pixel coordinates have their centres at
+0.5; the conversion to OpenCV's integer centres happens in `apply` only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.errors import LocalError

PORTRAIT_SCALE = 2.6
"""Portrait widths per metre at the head's depth."""

Float64 = NDArray[np.float64]
Image = NDArray[np.uint8]
Part = tuple[int, int, int, int]
"""x0, y0, x1, y1: pixels of a portrait, the last ones not included."""


@dataclass(frozen=True, slots=True)
class PortraitCrop:
    """A square of the full picture."""

    u: float
    """Pixels from the left edge to the square's centre, where the head's origin projects."""
    v: float
    """Pixels from the top edge to the square's centre."""
    side: float
    """Pixels along the square's side, > 0."""

    def affine(self, size: int) -> Float64:
        """[2, 3]: full-picture pixels → pixels of the portrait that is `size` px wide."""
        k = size / self.side
        return np.array([[k, 0.0, size / 2 - k * self.u], [0.0, k, size / 2 - k * self.v]])

    def map_points(self, points: ArrayLike, size: int) -> NDArray[np.float32]:
        """Full-picture points [N, 2] in pixels → portrait pixels, float32 [N, 2]."""
        p = np.asarray(points, dtype=np.float64)
        a = self.affine(size)
        return (p @ a[:, :2].T + a[:, 2]).astype(np.float32)

    def apply(
        self, image: NDArray[np.uint8], size: int, border: int = 255,
        part: Part | None = None,
    ) -> NDArray[np.uint8]:  # fmt: skip
        """The portrait, uint8 [size, size(, C)]; what lies beyond the picture gets `border`.

        Shrinking averages over the covered pixels, enlarging is bicubic. `part`: only these of its
        pixels, uint8 [y1 - y0, x1 - x0(, C)].
        """
        step = max(1, math.ceil(self.side / size - 0.01))  # super-sampling when shrinking
        return self._warped(image, size, step, border, part or (0, 0, size, size))

    def grey(self, image: NDArray[np.uint8], size: int, part: Part) -> NDArray[np.uint8]:
        """The brightness of a `part` of the portrait, uint8 [y1 - y0, x1 - x0], of an RGB picture.

        As `apply` and a conversion would give it, but the picture is first cut to what the part
        covers, made grey, and shrunk by whole pixels as far as that loses nothing: a quarter of
        the time, and hardly more for a large picture.
        """
        import cv2

        height, width = image.shape[:2]
        shrink = max(1, int(self.side / size))
        x0, y0, x1, y1 = (q * self.side / size - self.side / 2 for q in part)
        left, right = whole_pixels(self.u + x0, self.u + x1, width, shrink)
        top, bottom = whole_pixels(self.v + y0, self.v + y1, height, shrink)
        if right <= left or bottom <= top:  # all of it lies beyond the picture
            return np.full((part[3] - part[1], part[2] - part[0]), 255, np.uint8)
        grey = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
        if shrink > 1:
            small = ((right - left) // shrink, (bottom - top) // shrink)
            grey = cv2.resize(grey, small, interpolation=cv2.INTER_AREA)
        inside = PortraitCrop(
            (self.u - left) / shrink, (self.v - top) / shrink, self.side / shrink
        )  # fmt: skip
        # Between once and twice as large as the portrait: plain interpolation loses nothing here.
        return inside._warped(np.asarray(grey, dtype=np.uint8), size, 1, 255, part)

    def _warped(
        self, image: NDArray[np.uint8], size: int, step: int, border: int, part: Part
    ) -> NDArray[np.uint8]:
        """`part` of the portrait, sampled `step` × `step` times per pixel."""
        import cv2

        a = self.affine(size * step)
        a[:, 2] += 0.5 * a[:, :2].sum(axis=1) - 0.5  # to OpenCV's integer pixel centres
        x0, y0, x1, y1 = part
        a[:, 2] -= (step * x0, step * y0)
        big = cv2.warpAffine(
            image,
            a,
            ((x1 - x0) * step, (y1 - y0) * step),
            flags=cv2.INTER_CUBIC if self.side < size else cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(border,) * 4,
        )
        if step > 1:
            big = cv2.resize(big, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        return np.asarray(big, dtype=np.uint8)


def whole_pixels(low: float, high: float, end: int, multiple: int) -> tuple[int, int]:
    """First and end of the pixels around low..high that are there, with room to interpolate.

    Both are multiples of `multiple`, however the crop moves: blocks that are averaged stay the
    same pixels from frame to frame (a grid that moves along doubles a tracker's tremble).
    """
    first = max(0, (math.floor(low) // multiple - 2) * multiple)
    last = min(end // multiple, math.ceil(high) // multiple + 3) * multiple
    return first, last


def crop_of(
    pose: ArrayLike,
    focal_px: float,
    width: int,
    height: int,
    scale: float = PORTRAIT_SCALE,
) -> tuple[PortraitCrop, Float64, Float64]:
    """The crop, the rotation (pitch, yaw, roll) along the line of sight, and the offset.

    `pose` is head → camera [4, 4] in metres of a full picture of `width`×`height` pixels whose
    principal point is its middle; LocalError if the head is not in front of the camera.
    """
    p = np.asarray(pose, dtype=np.float64)
    t = p[:3, 3]
    if not (np.isfinite(p).all() and t[2] < -1e-6):
        raise LocalError(f"the head must lie in front of the camera, not at {t.tolist()}")
    pixels_per_metre = focal_px / -t[2]
    u = width / 2 + pixels_per_metre * t[0]
    v = height / 2 - pixels_per_metre * t[1]
    crop = PortraitCrop(float(u), float(v), float(pixels_per_metre / scale))
    rotation = euler_angles(line_of_sight_turn(t) @ p[:3, :3])
    return crop, rotation, offset_of(crop, width, height)


def offset_of(crop: PortraitCrop, width: int, height: int) -> Float64:
    """[3]: the crop's place in the picture in portrait widths, and the log of its relative size."""
    return np.array(
        [
            (crop.u - width / 2) / crop.side,
            (crop.v - height / 2) / crop.side,
            math.log(crop.side / min(width, height)),
        ]
    )


def crop_at(offset: ArrayLike, width: int, height: int) -> PortraitCrop:
    """The inverse of `offset_of`, for a picture of any size."""
    dx, dy, log_size = (float(x) for x in np.asarray(offset, dtype=np.float64))
    side = math.exp(log_size) * min(width, height)
    return PortraitCrop(width / 2 + dx * side, height / 2 + dy * side, side)


def line_of_sight_turn(direction: ArrayLike) -> Float64:
    """The smallest rotation [3, 3] that takes `direction` to (0, 0, −1) (Rodrigues)."""
    x, y, z = (float(c) for c in np.asarray(direction, dtype=np.float64))
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    # Axis times sine is d × (0, 0, −1) = (−y, x, 0), the cosine −z; written out, since a frame
    # needs this several times and numpy's small products cost more than the rest of it.
    f = 1.0 / (1.0 - z)
    return np.array([
        [1.0 - f * x * x, -f * x * y, x],
        [-f * x * y, 1.0 - f * y * y, y],
        [-x, -y, -z],
    ])  # fmt: skip


def rotation_matrix(angles: ArrayLike) -> Float64:
    """R = Rz(roll)·Ry(yaw)·Rx(pitch), [3, 3], of (pitch, yaw, roll) in radians."""
    pitch, yaw, roll = (float(a) for a in np.asarray(angles, dtype=np.float64))
    cp, sp, cy, sy = math.cos(pitch), math.sin(pitch), math.cos(yaw), math.sin(yaw)
    cr, sr = math.cos(roll), math.sin(roll)
    return np.array([
        [cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp],
        [sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp],
        [-sy, cy * sp, cy * cp],
    ])  # fmt: skip


def euler_angles(rotation: ArrayLike) -> Float64:
    """(pitch, yaw, roll) [3], the inverse of `rotation_matrix`."""
    r = np.asarray(rotation, dtype=np.float64).tolist()
    yaw = math.asin(min(1.0, max(-1.0, -r[2][0])))
    if abs(r[2][0]) > 1.0 - 1e-9:
        return np.array([math.atan2(-r[1][2], r[1][1]), yaw, 0.0])
    return np.array([math.atan2(r[2][1], r[2][2]), yaw, math.atan2(r[1][0], r[0][0])])
