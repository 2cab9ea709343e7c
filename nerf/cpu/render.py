"""Rendering a head on the CPU: blend once, then march, encode, shade and composite in bands.

The rule: a band of rays (interleaved rows, so that bands weigh the same) goes through all stages
on one thread, in rounds of a few samples per ray; between rounds the rays that are finished drop
out, so nothing is shaded behind the skin.
Reference: Müller et al. 2022, appendix E; the paper, "Generate Module".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera
from nerf.cpu.composite import accumulate
from nerf.cpu.encode import encode
from nerf.cpu.march import clip_rays, coarsen, march
from nerf.cpu.networks import forward, split
from nerf.cpu.pool import WorkerPool
from nerf.cpu.tables import blend
from nerf.field import HeadField, cube_rays

Float32 = NDArray[np.float32]

STEPS = 96  # samples per cube edge; training takes 128: a quarter fewer samples for 0.02 dB
BAND = 8192  # rays per band, at most: few Python steps a picture, samples that fit a core's cache
ROUNDS = (3, 3, 3, 4, 8)  # samples per ray in the first, second, … round; the last repeats


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """One picture of a head."""

    rgb: NDArray[np.uint8]
    """[H, W, 3], over the background."""
    alpha: NDArray[np.uint8]
    """[H, W], coverage 0..255."""
    depth: NDArray[np.float32]
    """[H, W], metres along the ray to the expected surface; 0 where nothing is."""
    samples: int
    """How many points of the field were evaluated."""


class CpuRenderer:
    """Renders one `HeadField`. Not to be called from two threads at once."""

    def __init__(self, field: HeadField, pool: WorkerPool, *, steps: int = STEPS,
                 cutoff: float = 0.01, half: bool = False) -> None:  # fmt: skip
        """`steps` samples per cube edge; a ray ends below transmittance `cutoff`; `half` runs the
        networks in bfloat16 (worth it where the processor multiplies it natively)."""
        self.field = field
        self.pool = pool
        self.step = np.float32(1.0 / steps)
        self.cutoff = np.float32(cutoff)
        self.half = half
        config = field.config
        self._offsets = np.array(config.offsets(), np.int64)
        self._resolutions = np.array(config.resolutions, np.int64)
        self._table = np.empty((config.entries, 4), np.float32)
        dtype = torch.bfloat16 if half else torch.float32
        weights = [torch.from_numpy(w).to(dtype) for w in field.networks]
        self._density, self._color = split(weights, config.density_layers)
        self._fine = np.ascontiguousarray(field.occupancy)
        self._coarse = coarsen(self._fine)

    def set_expression(self, expression: ArrayLike) -> None:
        """Blend the tables for the frame's coefficients [K]."""
        code = self.field.code(expression)
        bounds = np.linspace(0, self.field.config.entries, self.pool.threads * 2 + 1).astype(int)

        def work(i: int) -> None:
            blend(self.field.mean, self.field.tables, code, bounds[i], bounds[i + 1], self._table)

        self.pool.map(work, range(len(bounds) - 1))

    def render(self, pose: ArrayLike, camera: Camera, background: ArrayLike = (1.0, 1.0, 1.0),
               rigid: ArrayLike | None = None) -> Rendered:  # fmt: skip
        """The picture under head → camera `pose` [4, 4] (metres), with the blended expression."""
        w, h = camera.width, camera.height
        color = np.empty((h, w, 3), np.float32)
        trans = np.empty((h, w), np.float32)
        depth = np.empty((h, w), np.float32)
        bands = min(h, max(2 * self.pool.threads, -(-h * w // BAND)))

        def work(band: int) -> int:
            rows = np.arange(band, h, bands, dtype=np.float32)
            xy = np.empty((len(rows), w, 2), np.float32)
            xy[..., 0] = np.arange(w, dtype=np.float32) + np.float32(0.5)
            xy[..., 1] = rows[:, None] + np.float32(0.5)
            origin, directions = cube_rays(pose, camera, xy.reshape(-1, 2), self.field.cube, rigid)
            own = slice(band, None, bands)
            c, t, d, count = self._band(origin, directions)
            color[own], trans[own] = c.reshape(-1, w, 3), t.reshape(-1, w)
            depth[own] = d.reshape(-1, w)
            return count

        samples = sum(self.pool.map(work, range(bands)))
        opacity = 1.0 - trans
        over = color + trans[..., None] * np.asarray(background, np.float32)
        rgb = np.clip(over * 255.0 + 0.5, 0, 255).astype(np.uint8)
        alpha = np.clip(opacity * 255.0 + 0.5, 0, 255).astype(np.uint8)
        metres = (
            np.where(opacity > 0.5, depth / np.maximum(opacity, 1e-6), 0) * self.field.cube.edge
        )
        return Rendered(rgb, alpha, metres.astype(np.float32), samples)

    def _band(self, origin: Float32, directions: Float32) -> tuple[Float32, Float32, Float32, int]:
        """Colour [R, 3] without background, transmittance [R], depth [R] and samples taken."""
        rays = len(directions)
        color = np.zeros((rays, 3), np.float32)
        trans, depth = np.ones(rays, np.float32), np.zeros(rays, np.float32)
        start = np.empty(rays, np.float32)
        exit_ = np.empty(rays, np.float32)
        clip_rays(origin, directions, start, exit_)
        alive = np.flatnonzero(exit_ > start).astype(np.int32)
        cursor = np.zeros(rays, np.int32)
        levels = self.field.config.levels
        samples = 0
        number = 0
        while len(alive):
            limit = ROUNDS[min(number, len(ROUNDS) - 1)]
            number += 1
            size = len(alive) * limit
            xyz = np.empty((size, 3), np.float32)
            t = np.empty(size, np.float32)
            first = np.empty(len(alive), np.int32)
            count = np.empty(len(alive), np.int32)
            total = march(origin, directions, alive, start, cursor, exit_, self.step, self._fine,
                          self._coarse, limit, xyz, t, first, count)  # fmt: skip
            if total:
                features = np.empty((total, 4 * levels), np.float32)
                encode(self._table, self._offsets, self._resolutions, xyz[:total], features)
                inputs = torch.from_numpy(features)
                acts = forward(
                    inputs.bfloat16() if self.half else inputs, self._density, self._color
                )
                sigma, rgb = acts.sigma.float().numpy(), acts.rgb.float().numpy()
            else:
                sigma, rgb = np.empty(0, np.float32), np.empty((0, 3), np.float32)
            kept = accumulate(alive, first, count, sigma, rgb, t, self.step, self.cutoff, cursor,
                              trans, color, depth)  # fmt: skip
            alive = alive[:kept]
            samples += total
        return color, trans, depth, samples
