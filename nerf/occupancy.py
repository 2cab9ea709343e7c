"""Where in the cube anything can be: visual hull first, then the densities that training finds.

The rule: a voxel outside the hull is never opened again, so no floater can grow where a mask has
ruled the head out; a voxel inside stays occupied while any trained expression fills it.
Reference: Laurentini 1994 (visual hull); Gao et al. 2022 (a grid over all expressions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera, project
from nerf.field import OCCUPANCY_SIZE, Cube

FRONT = 0.105  # metres: nothing of a head lies further in front of its origin (nose tip: 0.075)
EARS = -0.02  # metres: the ears' depth behind the head's origin
BACK = 1.3  # depth of the head behind its ears over half its width
ROOM = 1.5  # of the ellipsoid's 1: hair is no ellipsoid either
DECAY = 0.95  # of a voxel's remembered density, per refresh
OPAQUE = 0.01  # in training a voxel counts where one step through it absorbs this much light
OPAQUE_FINAL = 0.03  # in the finished avatar: a fifth fewer samples for 0.03 dB
FOG = (OPAQUE_FINAL, OPAQUE, OPAQUE / 10, 0.0)  # tried in this order: a head that had little time
MOST_LOST = 0.2  # dB    is still fog, and most of its light comes from voxels that absorb little


def fit_cube(mattes: ArrayLike, camera: Camera, distance: float) -> Cube:
    """The cube that holds the head of mattes uint8 [N, H, W], seen at `distance` metres."""
    m = np.asarray(mattes)
    ys, xs = np.flatnonzero((m > 127).any(axis=(0, 2))), np.flatnonzero((m > 127).any(axis=(0, 1)))
    if len(xs) == 0 or len(ys) == 0:
        raise ValueError("the mattes are empty: there is no head to learn")
    metres = distance / camera.fx
    left, right = (xs[0] - camera.cx) * metres, (xs[-1] + 1 - camera.cx) * metres
    top, bottom = (camera.cy - ys[0]) * metres, (camera.cy - ys[-1] - 1) * metres
    edge = float(np.clip(1.08 * max(right - left, top - bottom), 0.20, 0.40))
    return Cube(((left + right) / 2, (top + bottom) / 2, FRONT - edge / 2), edge)


def voxel_centers(size: int = OCCUPANCY_SIZE) -> NDArray[np.float32]:
    """Cube coordinates [size³, 3] of the voxels' centres, x slowest (the grid's own order)."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    return np.ascontiguousarray(grid.reshape(-1, 3))


def visual_hull(mattes: ArrayLike, views: Sequence[tuple[ArrayLike, Camera]], cube: Cube, *,
                misses: float = 0.04) -> NDArray[np.bool_]:  # fmt: skip
    """The voxels [G, G, G] that lie inside (nearly) every matte uint8 [N, H, W].

    `views` are the frames' head → camera poses [4, 4] and cameras; a voxel may fall outside a share
    `misses` of the mattes, and mattes are grown by one voxel, because tracked poses are not exact.
    """
    m = np.asarray(mattes)
    h, w = m.shape[1:]
    points = cube.to_head(voxel_centers())
    outside = np.zeros(len(points), np.int32)
    for matte, (pose, camera) in zip(m, views, strict=True):
        grow = int(np.ceil(cube.edge / OCCUPANCY_SIZE * camera.fx / -np.asarray(pose)[2, 3]))
        kernel = np.ones((2 * grow + 1, 2 * grow + 1), np.uint8)
        grown = cv2.dilate((matte > 12).astype(np.uint8), kernel)
        xy = np.floor(project(points, pose, camera)).astype(np.int32)
        seen = (xy[:, 0] >= 0) & (xy[:, 0] < w) & (xy[:, 1] >= 0) & (xy[:, 1] < h)
        inside = np.zeros(len(points), bool)
        inside[seen] = grown[xy[seen, 1], xy[seen, 0]] > 0
        outside += ~inside
    g = OCCUPANCY_SIZE
    return (outside <= misses * len(m)).reshape(g, g, g)


def round_back(hull: NDArray[np.bool_], cube: Cube) -> NDArray[np.bool_]:
    """A visual hull [G, G, G] without what no head has: the cone behind it that a camera which
    never saw the back of the head leaves open, and in which floaters grow.

    Behind EARS a head fits an ellipsoid as wide and high as the hull is there, and BACK times as
    deep as half its width (skulls are 1.2 to 1.4 times as long as wide; hair is in the width).
    """
    points = cube.to_head(voxel_centers()).reshape(*hull.shape, 3)
    depth = points[0, 0, :, 2]
    plane = hull[:, :, int(np.argmin(np.abs(depth - EARS)))]
    if not plane.any():
        return hull
    xs, ys = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    low = np.array([points[xs[0], 0, 0, 0], points[0, ys[0], 0, 1]])
    high = np.array([points[xs[-1], 0, 0, 0], points[0, ys[-1], 0, 1]])
    half = np.maximum((high - low) / 2, 1e-3) + cube.edge / len(depth)
    across = (points[..., :2] - (low + high) / 2) / half
    behind = np.maximum(EARS - points[..., 2], 0.0) / (BACK * half[0])
    # Below the middle nothing narrows: a jaw and hair on the neck are no ellipsoid.
    across[..., 1] = np.maximum(across[..., 1], 0.0)
    return hull & ((points[..., 2] >= EARS) | ((across**2).sum(axis=-1) + behind**2 <= ROOM))


class Occupancy:
    """The grid during training: remembered densities inside a fixed hull."""

    def __init__(self, hull: NDArray[np.bool_]) -> None:
        self.hull = hull
        self.voxels = np.flatnonzero(hull.ravel())
        self.density = np.zeros(hull.shape, np.float32)
        self._centers = voxel_centers(hull.shape[0])

    def refresh(self, density_at: Callable[[NDArray[np.float32]], NDArray[np.float32]],
                rng: np.random.Generator, decay: float = DECAY) -> None:  # fmt: skip
        """Look at every voxel of the hull once, at a random point of it, and remember the maximum.

        `density_at` maps cube coordinates [V, 3] to densities [V] under the current expression.
        """
        size = self.hull.shape[0]
        jitter = rng.uniform(-0.5, 0.5, (len(self.voxels), 3)).astype(np.float32) / size
        found = density_at(self._centers[self.voxels] + jitter)
        flat = self.density.ravel()
        flat[self.voxels] = np.maximum(flat[self.voxels] * decay, found)

    def forget(self) -> None:
        """Start over inside the hull, keeping nothing remembered."""
        self.density[:] = 0.0

    def grid(self, step: float, opaque: float = OPAQUE) -> NDArray[np.uint8]:
        """Uint8 [G, G, G]: 1 where a step of `step` cube edges absorbs at least `opaque`, or more
        than the mean does, as long as everything is thin."""
        threshold = min(-np.log1p(-opaque) / step, float(self.density[self.hull].mean()))
        return np.ascontiguousarray((self.density > threshold).astype(np.uint8))
