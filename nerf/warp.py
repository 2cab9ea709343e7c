"""How a head's skin moves with its expression, read off the field's warp.

The rule: the warp says where a point is looked up; what was looked up there has gone the other way.
Reference: nerf.reference.warped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.config import WARP_UNIT
from nerf.expression import ANGLES
from nerf.field import HeadField

Float32 = NDArray[np.float32]


def skin_shift(field: HeadField, points: ArrayLike) -> Float32:
    """[3, k + 3, N] metres, head frame: how the skin at `points` [N, 3] (metres) moves per unit of
    each of the k coefficients and per radian of the angles under which the head is seen, to first
    order. Zero for a field without a warp."""
    p = np.asarray(points, dtype=np.float64)
    code, cells = field.code, field.config.warp
    moved = np.zeros((3, code.coefficients + ANGLES, len(p)), np.float32)
    if not cells:
        return moved
    at = field.cube.to_unit(p) * cells
    cell = np.clip(np.floor(at), 0, cells - 1).astype(np.int64)
    fraction = (at - cell).astype(np.float32)
    grid = field.tables[: field.config.warp_entries, :3]  # [W, 3, B]
    by_table = np.zeros((len(p), 3, grid.shape[2]), np.float32)
    for corner in range(8):
        far = np.array([corner & 1, corner >> 1 & 1, corner >> 2])
        x, y, z = (cell + far).T
        share = np.where(far == 1, fraction, 1 - fraction).prod(axis=1)
        by_table += share[:, None, None] * grid[x + (cells + 1) * (y + (cells + 1) * z)]
    by_number = (by_table @ code.projection.T).transpose(1, 2, 0)  # [3, K, N]
    moved[:, : by_number.shape[1]] = -WARP_UNIT * field.cube.edge * by_number
    return moved
