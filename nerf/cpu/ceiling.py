"""What this machine could do: look-up and networks alone, on samples of a real picture.

The rule: the renderer's own kernels on the renderer's own samples, every thread of the pool at
once; what a picture costs beyond the two is marching, compositing, blending and waiting.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera
from nerf.cpu.lookup import displace, look_up
from nerf.cpu.render import CpuRenderer
from nerf.cpu.shade import shade
from nerf.cpu.stream import fill, new_chunk, new_rays, start_rays

PASSES = 3  # over the samples, their median counts, as for pictures
MOST = 200  # chunks


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How fast one of the two is alone."""

    per_core: float
    """Samples per second of processor time."""
    together: float
    """Samples per second of all threads."""


def samples_of(renderer: CpuRenderer, pose: ArrayLike,
               camera: Camera) -> list[NDArray[np.float32]]:  # fmt: skip
    """Chunks of the points that rays through the picture's middle meet first."""
    h, w = camera.height, camera.width
    y, x = np.mgrid[h // 4 : 3 * h // 4 : 2, w // 4 : 3 * w // 4 : 2]
    rays = new_rays(x.size)
    rays.pixels[:] = np.stack([x.ravel(), y.ravel()], axis=1)
    rays.near[:], rays.far[:] = 0.0, np.inf
    view = renderer.view(pose, camera)
    waiting = start_rays(rays, x.size, view)
    chunk = new_chunk(renderer.field.config.levels, 1)
    out: list[NDArray[np.float32]] = []
    at = 0
    while at < waiting and len(out) < MOST:
        total, at = fill(rays, at, waiting, view, renderer.prepared.radius, chunk)
        if total:
            out.append(chunk.xyz[:total].copy())
    return out


def ceilings(renderer: CpuRenderer, points: list[NDArray[np.float32]]) -> tuple[Ceiling, Ceiling]:
    """Look-up's (warp and levels) and the networks' on `points`, as `samples_of` gives them."""
    p, pool = renderer.prepared, renderer.pool
    width = int(p.shapes[:, 2].max())
    rooms = [new_chunk(renderer.field.config.levels, width) for _ in range(pool.threads)]
    count = sum(map(len, points))

    def encode(thread: int) -> float:
        began = time.thread_time()
        c = rooms[thread]
        for xyz in points:
            n = len(xyz)
            c.xyz[:n] = xyz  # the warp moves them
            displace(p.table, p.warp, c.xyz, n, c.answers)
            look_up(p.table, p.offsets, p.resolutions, c.xyz, n, c.features)
        return time.thread_time() - began

    def multiply(thread: int) -> float:
        began = time.thread_time()
        c = rooms[thread]
        for xyz in points:
            shade(c.features, len(xyz), p.weights, p.shapes, p.density_layer, p.to_density,
                  p.to_color, c.hidden, c.answers)  # fmt: skip
        return time.thread_time() - began

    found = []
    for work in (encode, multiply):
        spent, waited = [], []
        for _ in range(PASSES):
            began = time.perf_counter()
            spent += pool.map(work, range(pool.threads))
            waited.append(time.perf_counter() - began)
        found.append(Ceiling(count / median(spent), pool.threads * count / median(waited)))
    return found[0], found[1]
