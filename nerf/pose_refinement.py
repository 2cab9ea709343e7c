"""Per-frame poses that move with the training: a small rigid motion of the head for each frame.

The rule: the mean over frames stays zero, or the head itself would wander. Reference: Kingma & Ba
2015 (Adam, one memory per frame); Lin et al. 2021 (BARF). Twin: nerf.gpu.frames.advance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]

KEEP, ADD = 0.9, 0.1  # Adam's betas and what they leave: a frame comes once per pass,
KEEP_SQUARE, ADD_SQUARE = 0.95, 0.05  # so both memories are short


class PoseRefinement:
    """The frames' rigid motions and Adam's memories of them."""

    def __init__(self, frames: int) -> None:
        self.rigid: Float64 = np.zeros((frames, 6))
        """[N, 6] as `cube_rays` takes them: rotation vectors (radians), cube edges."""
        self.moment1: Float64 = np.zeros((frames, 6))
        self.moment2: Float64 = np.zeros((frames, 6))
        self.count = np.zeros(frames, int)
        """How often each frame was moved."""

    def move(self, frame: int, gradient: Float64, rate: float) -> None:
        """Adam's step for one frame, against the loss gradient [6] by its motion."""
        self.count[frame] += 1
        n = self.count[frame]
        self.moment1[frame] = KEEP * self.moment1[frame] + ADD * gradient
        self.moment2[frame] = KEEP_SQUARE * self.moment2[frame] + ADD_SQUARE * gradient**2
        m = self.moment1[frame] / (1 - KEEP**n)
        v = self.moment2[frame] / (1 - KEEP_SQUARE**n)
        self.rigid[frame] -= rate * m / (np.sqrt(v) + 1e-12)

    def centre(self) -> None:
        """Take the mean motion out."""
        self.rigid -= self.rigid.mean(axis=0)

    def begin(self, rigid: ArrayLike) -> None:
        """Go on from these motions [N, 6], with no memory of how they came about."""
        self.rigid[:] = rigid
        self.moment1[:], self.moment2[:], self.count[:] = 0.0, 0.0, 0

    def take(self, rigid: Float64, moment1: Float64, moment2: Float64,
             count: NDArray[np.int64]) -> None:  # fmt: skip
        """Take over motions and memories as they stand elsewhere (a device, a checkpoint)."""
        self.rigid[:], self.moment1[:], self.moment2[:] = rigid, moment1, moment2
        self.count[:] = count
