"""The pictures of one person that a head is learned from, and which of them are held out.

The rule: frames are in time order, and the last ones are never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerf.camera import Camera, head_pose, portrait_at, seen_pose


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """Frames of one person in the stabilised portrait, in time order."""

    rgb: NDArray[np.uint8]
    """[N, S, S, 3], head on white."""
    alpha: NDArray[np.uint8]
    """[N, S, S], the head's matte."""
    rotation: NDArray[np.float64]
    """[N, 3], radians, as tracked."""
    expression: NDArray[np.float32]
    """[N, K], as tracked."""
    camera: Camera
    """The portrait camera, S × S pixels, of a head in the middle."""
    distance: float
    """Metres from the camera to the head's origin."""
    detail: NDArray[np.int64] | None = None
    """[N, B, 4] boxes (x0, y0, x1, y1) of the eyes and the mouth, pixels, inside the picture; None
    where they are not known."""
    position: NDArray[np.float64] | None = None
    """[N, 3] metres, camera axes: where the film's camera sees each head's origin; None: in the
    middle, at `distance`."""

    def __len__(self) -> int:
        return len(self.rgb)

    def pose(self, index: int) -> NDArray[np.float64]:
        """The tracked head → camera pose [4, 4] of a frame."""
        if self.position is None:
            return head_pose(self.rotation[index], self.distance)
        return seen_pose(self.rotation[index], self.position[index])

    def lens(self, index: int) -> Camera:
        """The camera that took a frame's portrait, S × S pixels."""
        if self.position is None:
            return self.camera
        scale = self.camera.fx / (self.distance * self.camera.width)
        return portrait_at(self.position[index], self.camera.width, scale)


def train_count(frames: int, holdout: float) -> int:
    """How many of `frames` frames are trained on; the rest, at the end, are held out."""
    return max(1, frames - round(frames * holdout))


def bounding_box(alpha: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of the matte, grown by a tenth of the picture; the whole one if empty."""
    h, w = alpha.shape
    ys, xs = np.flatnonzero((alpha > 8).any(axis=1)), np.flatnonzero((alpha > 8).any(axis=0))
    if len(xs) == 0:
        return 0, 0, w, h
    margin = w // 12
    return (max(xs[0] - margin, 0), max(ys[0] - margin, 0),
            min(xs[-1] + 1 + margin, w), min(ys[-1] + 1 + margin, h))  # fmt: skip
