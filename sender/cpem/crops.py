"""The square that PE-Net looks at, and what its rotation and translation mean for us.

The rule: the square is cut exactly as CPEM cuts it (the network answers for no other), and its
answer is turned into a head → camera pose of the whole picture without inventing anything:

- CPEM's rotation is R = Rz·Ry·Rx of its three angles; the published code multiplies row vectors
  by the transpose, which is the same. x points to the image's right, y up, z out of the face, and
  its camera looks down −z from z = 10: our conventions, so the angles need no change of sign.
- Its unit is the decimetre of the morphable model (Basel 2009): 10 units are one metre. The size
  of a head is the model's guess from the picture, and right for a person of average size.
- Its camera sees the 224 px square with a focal length of 1015 px, 12.6°, wherever the face is.
  No real camera is known, so we take the picture's vertical field of view to be 63°, as for
  the other trackers, and keep what both cameras agree on: where the head's origin lies in the
  picture, how many pixels a metre has there, and how the head looks along the line of sight.
- The head's origin is the morphable model's, inside the head; it is not MediaPipe's. An avatar
  belongs to one tracker, so they are never mixed.

CPEM's own drawings are ambiguous by half a pixel of the 224; the axis is put into the middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sender.portrait_crop import line_of_sight_turn, rotation_matrix

Float64 = NDArray[np.float64]

INPUT_PX = 224
GROWTH = 1.25  # side of the square over the box's mean side
DROP = 0.12  # the square's centre lies so many mean sides below the box's
FOCAL_PX = 1015.0  # of CPEM's camera, in pixels of the 224
CAMERA_Z = 10.0  # units in front of the model's origin
UNIT_M = 0.1
NEAREST_M = 0.2  # in CPEM's camera; what is nearer is no face
HALF_FOV = math.radians(31.5)


@dataclass(frozen=True, slots=True)
class Square:
    """An upright square of the picture."""

    left: int
    """Pixels from the picture's left edge, negative beyond it."""
    top: int
    """Pixels from its top edge."""
    side: int
    """Pixels, >= 1."""

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [224, 224, 3]; black beyond the picture. Bilinear, as CPEM was trained."""
        import cv2

        height, width = image.shape[:2]
        pixels = np.zeros((self.side, self.side, 3), dtype=np.uint8)
        x0, x1 = max(self.left, 0), min(self.left + self.side, width)
        y0, y1 = max(self.top, 0), min(self.top + self.side, height)
        if x0 < x1 and y0 < y1:
            place = np.s_[y0 - self.top : y1 - self.top, x0 - self.left : x1 - self.left]
            pixels[place] = image[y0:y1, x0:x1]
        out = cv2.resize(pixels, (INPUT_PX, INPUT_PX), interpolation=cv2.INTER_LINEAR)
        return np.asarray(out, dtype=np.uint8)


def square_of(box: ArrayLike) -> Square:
    """The square around a detected face's box (left, top, right, bottom) in pixels."""
    left, top, right, bottom = (float(x) for x in np.asarray(box, dtype=np.float64))
    mean = (right - left + bottom - top) / 2
    side = max(1, int(GROWTH * mean))
    x = (left + right) / 2 - side / 2
    y = (top + bottom) / 2 + DROP * mean - side / 2
    return Square(round(x), round(y), side)


def focal_of(height: int) -> float:
    """The focal length in pixels that we give a picture `height` px high."""
    return height / 2 / math.tan(HALF_FOV)


def rotation_of(angles: ArrayLike) -> Float64:
    """Head → camera [3, 3] of CPEM's angles (x, y, z) in radians: in our own order."""
    return rotation_matrix(angles)


def head_pose(
    angles: ArrayLike, translation: ArrayLike, square: Square, width: int, height: int
) -> Float64 | None:
    """Head → camera [4, 4] in metres of the whole picture; None for what is no head in front.

    `angles` [3] radians and `translation` [3] units are PE-Net's answer for `square`.
    """
    t = UNIT_M * (np.asarray(translation, dtype=np.float64) - (0.0, 0.0, CAMERA_Z))
    rotation = rotation_of(angles)
    if not (np.isfinite(t).all() and np.isfinite(rotation).all() and t[2] < -NEAREST_M):
        return None
    per_metre = FOCAL_PX * square.side / INPUT_PX / -t[2]  # picture pixels at the head
    u = square.left + square.side / 2 + per_metre * t[0]
    v = square.top + square.side / 2 - per_metre * t[1]
    focal = focal_of(height)
    depth = focal / per_metre
    out = np.eye(4)
    out[:3, 3] = ((u - width / 2) / per_metre, (height / 2 - v) / per_metre, -depth)
    out[:3, :3] = line_of_sight_turn(out[:3, 3]).T @ line_of_sight_turn(t) @ rotation
    return out
