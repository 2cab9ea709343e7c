"""The blended table and its grids on the CPU: from points to features, and back to both.

The rule: a point is moved by the warp, then looked up in every level; backwards the same in the
other order. Gradients of one grid are added by one thread (`scatter`). Twin: nerf.reference.encode.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerf.config import FEATURES, WARP_UNIT, FieldConfig
from nerf.cpu.encode import point_gradient, scatter
from nerf.cpu.lookup import displace, look_up
from nerf.cpu.tables import aligned

Float32 = NDArray[np.float32]
WARP = -1  # as a level


class Encoding:
    """One frame's table, and its gradient under way."""

    def __init__(self, config: FieldConfig) -> None:
        self.table, self.grad = aligned(config.entries), aligned(config.entries)
        self.warp = config.warp
        self._levels = (np.array(config.offsets(), np.int64),
                        np.array(config.resolutions, np.int64))  # fmt: skip
        self._grid = np.array([0, config.warp_entries], np.int64), np.array([config.warp], np.int64)
        self.grids = list(range(config.levels - 1, -1, -1)) + ([WARP] if config.warp else [])
        """What `scatter` may be called for, the dearest first."""

    def warped(self, xyz: Float32) -> Float32:
        """Where the points [S, 3] are looked up."""
        if not self.warp:
            return xyz
        moved, room = xyz.copy(), np.empty((len(xyz), FEATURES), np.float32)
        displace(self.table, self.warp, moved, len(moved), room)
        return moved

    def features(self, looked_up: Float32) -> Float32:
        """[S, L·4] of points [S, 3] that `warped` gave."""
        out = np.empty((len(looked_up), FEATURES * len(self._levels[1])), np.float32)
        look_up(self.table, *self._levels, looked_up, len(looked_up), out)
        return out

    def point_gradient(self, looked_up: Float32, grad_features: Float32) -> Float32:
        """The loss's gradient by the points that were looked up, and 0: [S, 4]."""
        out = np.zeros((len(looked_up), FEATURES), np.float32)
        point_gradient(self.table, *self._levels, looked_up, grad_features, out)
        return out

    def through_warp(self, xyz: Float32, grad_points: Float32, grad_warp: Float32) -> Float32:
        """The gradient [S, 4] by points before the warp moved them, of `grad_points` by those after
        and `grad_warp`, the same in WARP_UNITs."""
        if not self.warp:
            return grad_points
        out = grad_points.copy()
        point_gradient(self.table, *self._grid, xyz, grad_warp, out)
        return out

    def scatter(self, grid: int, xyz: Float32, grad_out: Float32) -> None:
        """Add to `grad` what one of `grids` gets of points [S, 3]: `grad_out` is by all levels'
        features at points that were looked up, or by the warp's numbers at points before it."""
        if grid == WARP:
            scatter(self.grad, *self._grid, 0, xyz, grad_out)
        else:
            scatter(self.grad, *self._levels, grid, xyz, grad_out)


def in_units(grad_points: Float32) -> Float32:
    """The gradient by the warp's numbers of that by points."""
    return np.asarray(grad_points * np.float32(WARP_UNIT))
