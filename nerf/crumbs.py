"""Crumbs: specks that float where no picture of the film looked, and show only from the side.

The rule: what a film saw the surface of is never touched; elsewhere a voxel stays only as part of
something three voxels thick (a morphological opening by the six neighbours).
Reference: Serra 1982 (opening).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera
from nerf.field import Cube, cube_rays

Bools = NDArray[np.bool_]


def grown(solid: Bools) -> Bools:
    """[G, G, G] with the six neighbours of every voxel; nothing lies outside the grid."""
    out = solid.copy()
    for axis in range(3):
        whole, moved = np.moveaxis(out, axis, 0), np.moveaxis(solid, axis, 0)
        whole[1:] |= moved[:-1]
        whole[:-1] |= moved[1:]
    return out


def without_crumbs(occupied: NDArray[np.uint8], seen: Bools) -> NDArray[np.uint8]:
    """The grid [G, G, G] without what is thin and not beside a voxel that was `seen`."""
    solid = occupied > 0
    opened = grown(~grown(~solid))
    return np.ascontiguousarray((solid & (opened | grown(seen))).astype(np.uint8))


def mark_surface(seen: Bools, depth: NDArray[np.float32], pose: ArrayLike, camera: Camera,
                 cube: Cube, rigid: ArrayLike | None = None) -> None:  # fmt: skip
    """Set in `seen` [G, G, G] the voxels of a picture's surface: `depth` [H, W] metres along the
    rays of `camera` under a head → camera pose [4, 4], 0 where there is none."""
    ys, xs = np.nonzero(depth > 0)
    origin, rays = cube_rays(pose, camera, np.stack([xs, ys], axis=-1) + 0.5, cube, rigid)
    points = origin + rays * (depth[ys, xs] / np.float32(cube.edge))[:, None]
    voxels = np.floor(points * len(seen)).astype(int)
    voxels = voxels[((voxels >= 0) & (voxels < len(seen))).all(axis=1)]
    seen[tuple(voxels.T)] = True
