"""The head field: what is learned of a person, as plain arrays.

The rule: this is data with a shape, no behaviour of any backend. The field lives in a cube of the
head frame; inside it, coordinates run over [0, 1]³ and lengths are in cube edges.
Reference: Gao et al. 2022 (NeRFBlendShape): mean table + expression tables, two networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera
from nerf.config import FieldConfig
from nerf.expression import ExpressionCode

Float32 = NDArray[np.float32]

DENSITY_SHIFT = 2.5  # σ = exp(raw − shift): empty enough at the start
DENSITY_LIMIT = 11.0  # largest raw − shift: σ·dt stays finite in float32
OCCUPANCY_SIZE = 64


@dataclass(frozen=True, slots=True)
class Cube:
    """Where in the head frame the field lives."""

    center: tuple[float, float, float]
    """Metres, head frame."""
    edge: float
    """Metres, > 0."""

    def to_unit(self, points: ArrayLike) -> NDArray[np.float64]:
        """Head-frame points [..., 3] in metres → cube coordinates."""
        return (np.asarray(points, dtype=np.float64) - self.center) / self.edge + 0.5

    def to_head(self, points: ArrayLike) -> NDArray[np.float64]:
        """The inverse of `to_unit`."""
        return (np.asarray(points, dtype=np.float64) - 0.5) * self.edge + self.center


@dataclass(slots=True, eq=False)
class HeadField:
    """The weights of one person's head, on the CPU."""

    config: FieldConfig
    code: ExpressionCode
    cube: Cube
    mean: Float32
    """Float32 [E, 4], the mean table: the warp's grid (three numbers that move a point, in
    WARP_UNITs), then the hash tables of all levels, coarse to fine."""
    tables: Float32
    """Float32 [Eb, 4, B], the expression tables of warp and blended levels; B lies innermost."""
    networks: list[Float32]
    """Weight matrices [in, out] as `config.network_shapes()`; no biases."""
    occupancy: NDArray[np.uint8]
    """Uint8 [G, G, G], 1 where any trained expression has something; index order x, y, z."""
    correction: Float32
    """Float32 [6, 1 + 3 + k]: linear map from (1, rotation, centred expression) to the small rigid
    motion (rotation vector in radians, translation in cube edges) that aligns tracked poses."""

    def rigid_correction(self, rotation: ArrayLike, expression: ArrayLike) -> NDArray[np.float64]:
        """The 6 numbers of `correction` for one frame: rotation [3] radians, expression [k]."""
        return self.correction.astype(np.float64) @ self.pose_features(rotation, expression)

    def pose_features(self, rotation: ArrayLike, expression: ArrayLike) -> NDArray[np.float64]:
        """(1, rotation, clipped and centred expression) [1 + 3 + k]."""
        code, k = self.code, self.code.coefficients
        e = np.clip(np.asarray(expression, dtype=np.float64), code.low[:k], code.high[:k])
        return np.concatenate([[1.0], np.asarray(rotation, dtype=np.float64), e - code.mean[:k]])


def new_field(config: FieldConfig, code: ExpressionCode, cube: Cube,
              rng: np.random.Generator) -> HeadField:  # fmt: skip
    """Untrained weights: tables near zero, networks He-uniform, everything occupied."""

    def he(shape: tuple[int, int]) -> Float32:
        bound = np.sqrt(6.0 / shape[0])
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    g, warp = OCCUPANCY_SIZE, config.warp_entries
    mean = np.zeros((config.entries, 4), np.float32)
    mean[warp:] = rng.uniform(-1e-4, 1e-4, (config.entries - warp, 4))
    return HeadField(
        config=config,
        code=code,
        cube=cube,
        mean=mean,
        tables=np.zeros((config.blended_entries, 4, config.rank), np.float32),
        networks=[he(shape) for shape in config.network_shapes()],
        occupancy=np.ones((g, g, g), np.uint8),
        correction=np.zeros((6, 4 + code.coefficients), np.float32),
    )


def rotation_of(vector: ArrayLike) -> NDArray[np.float64]:
    """The rotation matrix [3, 3] of a rotation vector [3] (Rodrigues)."""
    v = np.asarray(vector, dtype=np.float64)
    angle = float(np.linalg.norm(v))
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    if angle < 1e-12:
        return np.eye(3) + k
    return np.eye(3) + np.sin(angle) / angle * k + (1 - np.cos(angle)) / angle**2 * (k @ k)


def cube_view(pose: ArrayLike, cube: Cube, rigid: ArrayLike | None = None,
              ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """The camera's centre [3] and axes (columns of [3, 3]) in cube coordinates; see `cube_rays`."""
    p = np.asarray(pose, dtype=np.float64)
    rot = p[:3, :3].T
    origin = cube.to_unit(-rot @ p[:3, 3])
    if rigid is not None:
        extra = rotation_of(np.asarray(rigid)[:3])
        origin = extra @ (origin - 0.5) + 0.5 + np.asarray(rigid)[3:]
        rot = extra @ rot
    return origin, rot


def cube_rays(pose: ArrayLike, camera: Camera, xy: ArrayLike, cube: Cube,
              rigid: ArrayLike | None = None) -> tuple[Float32, Float32]:  # fmt: skip
    """Origin [3] and unit directions [N, 3] in cube coordinates of the rays through pixels `xy`.

    `pose` [4, 4] is head → camera in metres; `rigid` [6] an additional rotation vector (radians)
    and translation (cube edges) applied to the rays about the cube's centre.
    """
    origin, rot = cube_view(pose, cube, rigid)
    q = np.asarray(xy, dtype=np.float32)
    d = np.empty((len(q), 3), np.float32)
    d[:, 0] = (q[:, 0] - np.float32(camera.cx)) / np.float32(camera.fx)
    d[:, 1] = (np.float32(camera.cy) - q[:, 1]) / np.float32(camera.fy)
    d[:, 2] = -1.0
    d = d @ rot.T.astype(np.float32)
    d /= np.sqrt((d * d).sum(axis=1, keepdims=True))
    return origin.astype(np.float32), np.ascontiguousarray(d)
