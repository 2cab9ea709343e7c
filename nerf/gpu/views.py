"""What is to be drawn, and how it is told to the kernels.

The rule: a view is twenty floats; everything that depends on the person lies on the device already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera
from nerf.field import Cube, cube_view

VIEW = 20  # nerf.gpu.march.VIEW


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One picture to draw."""

    expression: ArrayLike
    """[k] coefficients for a `nerf.batch.HeadBatch`, which adds how the head is seen; all numbers
    [K] of the face (`nerf.expression`) for a `nerf.gpu` renderer."""
    pose: ArrayLike
    """[4, 4] head → camera, metres."""
    camera: Camera
    background: ArrayLike = (1.0, 1.0, 1.0)
    """RGB in [0, 1]."""
    rigid: ArrayLike | None = None
    """[6] as `nerf.field.cube_rays` takes it."""
    avatar: int = 0
    """Which of the renderer's heads."""


def pack_view(view: View, cube: Cube, out: NDArray[np.float32]) -> None:
    """Fill `out` [VIEW]: origin, rotation by rows, fx fy cx cy, background, the cube's metres."""
    origin, rotation = cube_view(view.pose, cube, view.rigid)
    c = view.camera
    out[0:3], out[3:12] = origin, rotation.ravel()
    out[12:16] = c.fx, c.fy, c.cx, c.cy
    out[16:19], out[19] = np.asarray(view.background, np.float32), cube.edge
