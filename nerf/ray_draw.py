"""The rays of a training step: which pixels of a frame, and what they should show.

The rule: everything random comes from the generator that is handed in, in a fixed order, so that a
run repeats. Some rays fall evenly on the head's bounding box, a share on eyes and mouth, a share
where the head is still unlike (`nerf.error_map`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.error_map import ErrorMap
from nerf.field import Cube, cube_rays
from nerf.footage import Footage, bounding_box
from nerf.step import RayBatch


class RayDraw:
    """Draws rays of the first `count` frames of some footage."""

    def __init__(self, footage: Footage, count: int, cube: Cube, detail_share: float,
                 hard_share: float = 0.0) -> None:  # fmt: skip
        """`detail_share`: share of the rays through eyes and mouth, where those are known;
        `hard_share`: of those that go where errors are large, once they are known."""
        self.footage = footage
        self.cube = cube
        self.detail_share = detail_share
        self.hard_share = hard_share
        self.errors = ErrorMap(footage.rgb.shape[1])
        self._drawn = np.zeros((2, 0), np.int64)
        self.boxes = [bounding_box(a) for a in footage.alpha[:count]]
        """(x0, y0, x1, y1) per frame, in which rays are drawn."""

    def draw(self, frame: int, rays: int, rigid: ArrayLike, code: NDArray[np.float32],
             rng: np.random.Generator) -> RayBatch:  # fmt: skip
        """`rays` rays of a frame whose head is moved by `rigid` [6] (as `cube_rays` takes it) and
        whose table weights are `code` [B]."""
        footage = self.footage
        x0, y0, x1, y1 = self.boxes[frame]
        x = rng.integers(x0, x1, rays)
        y = rng.integers(y0, y1, rays)
        if footage.detail is not None and self.detail_share > 0:
            k = round(self.detail_share * rays)
            boxes = footage.detail[frame]
            low, high = np.split(boxes[rng.integers(0, len(boxes), k)], 2, axis=1)
            x[:k], y[:k] = rng.integers(low, high).T
        if self.errors.ready and (k := round(self.hard_share * rays)) > 0:
            x[-k:], y[-k:] = self.errors.draw(k, rng)
        self._drawn = np.stack([x, y])
        xy = np.stack([x + 0.5, y + 0.5], axis=-1)
        origin, directions = cube_rays(footage.pose(frame), footage.lens(frame), xy, self.cube,
                                       rigid)  # fmt: skip
        rgb = footage.rgb[frame, y, x].astype(np.float32) / 255
        alpha = footage.alpha[frame, y, x].astype(np.float32) / 255
        return RayBatch(code, origin, directions, rgb, alpha, np.ones_like(rgb))

    def learn(self, errors: NDArray[np.float32] | None) -> None:
        """What the rays drawn last were found to be wrong by, [R]; None: nobody knows."""
        if errors is not None and self.hard_share > 0:
            self.errors.note(self._drawn[0], self._drawn[1], errors)
