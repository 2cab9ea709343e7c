"""Points on the surface of a learned head, with their normals.

The rule: the surface lies where half of a ray's light has gone; points keep a distance from each
other, so that several views give one even cover. Lengths are metres in the head frame.
Reference: Mildenhall et al. 2020 (transmittance along a ray).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera
from nerf.field import Cube, cube_rays

Float32 = NDArray[np.float32]

SAMPLES = 160  # along a ray through the cube
SOLID = 0.9  # opacity from which a ray has a surface
NEIGHBOURS = 8  # of a normal's plane


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Points of a surface."""

    points: Float32
    """[K, 3] metres, head frame."""
    normals: Float32
    """[K, 3] unit, outwards."""

    def __len__(self) -> int:
        return len(self.points)


def seen_surface(
    density: Callable[[Float32], Float32], cube: Cube, pose: ArrayLike, camera: Camera,
    xy: ArrayLike, motion: ArrayLike | None = None,
) -> Surface:  # fmt: skip
    """The points that the pixels `xy` [N, 2] show under `pose` (head → camera), where there is a
    surface. `density` gives σ per cube edge at cube coordinates [M, 3]; `motion` as `cube_rays`."""
    origin, d = cube_rays(pose, camera, xy, cube, motion)
    with np.errstate(divide="ignore"):
        a, b = (0.0 - origin) / d, (1.0 - origin) / d
    near = np.maximum(np.minimum(a, b).max(axis=1), 0.0)
    far = np.maximum(np.maximum(a, b).min(axis=1), near)
    step = (far - near) / SAMPLES
    t = near[:, None] + step[:, None] * (np.arange(SAMPLES, dtype=np.float32) + 0.5)
    at = np.clip(origin + d[:, None] * t[..., None], 0.0, 1.0).astype(np.float32)
    sigma = density(np.ascontiguousarray(at.reshape(-1, 3))).reshape(t.shape)
    opacity = 1.0 - np.exp(-np.cumsum(sigma * step[:, None], axis=1))
    solid = opacity[:, -1] > SOLID
    first = (opacity > 0.5).argmax(axis=1)
    points = at[np.arange(len(at)), first][solid]
    view = d[solid]
    if len(points) <= NEIGHBOURS:
        return Surface(np.empty((0, 3), np.float32), np.empty((0, 3), np.float32))
    head = cube.to_head(points).astype(np.float32)
    return Surface(head, _normals(head, view))


def thinned(surfaces: list[Surface], spacing: float) -> Surface:
    """All points of which no earlier one lies in the same cell of `spacing` metres."""
    points = np.concatenate([s.points for s in surfaces])
    normals = np.concatenate([s.normals for s in surfaces])
    _, first = np.unique(np.floor(points / spacing).astype(np.int64), axis=0, return_index=True)
    keep = np.sort(first)
    return Surface(points[keep], normals[keep])


def _normals(points: Float32, view: Float32) -> Float32:
    """Of the plane through a point's nearest neighbours, against the ray that saw it."""
    out = np.empty_like(points)
    square = (points * points).sum(axis=1)
    for lo in range(0, len(points), 512):  # bounds the distance matrix
        part = points[lo : lo + 512]
        distance = square[None] - 2.0 * part @ points.T
        near = np.argpartition(distance, NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]
        around = points[near] - points[near].mean(axis=1, keepdims=True)
        out[lo : lo + 512] = np.linalg.svd(around, full_matrices=False)[2][:, 2]
    outwards = -np.sign((out * view).sum(axis=1, keepdims=True))
    return np.asarray(out * np.where(outwards == 0, 1.0, outwards), dtype=np.float32)
