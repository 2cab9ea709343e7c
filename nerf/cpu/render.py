"""Rendering a head on the CPU: blend once, then march, look up, shade and composite in bands.

The rule: rays go where the picture needs them (`nerf.cpu.lattice`), and a band of rays goes through
all stages on one thread in one call (`nerf.cpu.stream`). Buffers are kept from picture to picture.
Reference: Müller et al. 2022, appendix E; the paper, "Generate Module".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera
from nerf.cpu.lattice import (
    CONTRAST,
    COVER,
    MARGIN,
    TILE,
    cover,
    keep_lattice,
    lattice_pixels,
    put_rays,
    settle_cells,
)
from nerf.cpu.march import empty_radius
from nerf.cpu.pool import WorkerPool
from nerf.cpu.shade import pack
from nerf.cpu.stream import Chunk, Field, Rays, View, new_chunk, new_rays, trace
from nerf.cpu.tables import aligned, blend_moved, moved_entries
from nerf.field import HeadField, cube_view

Float32 = NDArray[np.float32]

STEPS = 96  # samples per cube edge; training takes 128: a quarter fewer samples for 0.02 dB
BLOCK = 2  # voxels per edge of the blocks that are projected to find near and far
BANDS = 4  # per thread: what one thread has not begun when the others are done, they take


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
                 cutoff: float = 0.01, contrast: float = CONTRAST) -> None:  # fmt: skip
        """`steps` samples per cube edge; a ray ends below transmittance `cutoff`; a cell of pixels
        that vary by more than `contrast` (0..1) gets a ray for each, so 0 leaves nothing out."""
        self.field = field
        self.pool = pool
        self.step = np.float32(1.0 / steps)
        self.cutoff = np.float32(cutoff)
        self.contrast = np.float32(contrast)
        self.stride = 1.0
        """Length of the steps relative to `steps`: more is faster and worse."""
        config = field.config
        self._table = aligned(config.entries)
        self._table[:] = field.mean
        self._moved = moved_entries(field.tables)
        matrices = pack(field.networks, config.density_layers)
        fine = np.ascontiguousarray(field.occupancy)
        self.prepared = Field(
            self._table, config.warp, np.array(config.offsets(), np.int64),
            np.array(config.resolutions, np.int64), empty_radius(fine), matrices.weights,
            matrices.shapes, matrices.density_layer, matrices.to_density, matrices.to_color,
        )  # fmt: skip
        self._width = matrices.width
        self._blocks = outer_blocks(fine)
        self._lattice = np.empty((0, 0, 6), np.float32)
        self._lattice_room = np.empty(0, np.float32)
        self._cells = np.empty((0, 0, 2), np.float32)
        self._rays: list[Rays] = []
        self._chunks: list[Chunk] = []

    def set_expression(self, expression: ArrayLike) -> None:
        """Blend the tables for the numbers [K] of a face (`nerf.expression`)."""
        code, entries = self.field.code(expression), self._moved
        bounds = np.linspace(0, len(entries), self.pool.threads * 2 + 1).astype(int)

        def work(i: int) -> None:
            blend_moved(self.field.mean, self.field.tables, code, entries, bounds[i],
                        bounds[i + 1], self._table)  # fmt: skip

        self.pool.map(work, range(len(bounds) - 1))

    def view(self, pose: ArrayLike, camera: Camera, rigid: ArrayLike | None = None) -> View:
        """What the kernels know of a picture."""
        origin, basis = cube_view(pose, self.field.cube, rigid)
        lens = np.array([1 / camera.fx, 1 / camera.fy, camera.cx, camera.cy], np.float32)
        return View(lens, origin.astype(np.float32), np.ascontiguousarray(basis, np.float32),
                    np.float32(self.step * self.stride), self.cutoff)  # fmt: skip

    def render(self, pose: ArrayLike, camera: Camera, background: ArrayLike = (1.0, 1.0, 1.0),
               rigid: ArrayLike | None = None) -> Rendered:  # fmt: skip
        """The picture under head → camera `pose` [4, 4] (metres), with the blended expression."""
        w, h = camera.width, camera.height
        view = self.view(pose, camera, rigid)
        behind, edge = np.asarray(background, np.float32), np.float32(self.field.cube.edge)
        bands = self._reserve(max(h // 2 + 1, 4), max(w // 2 + 1, 4))
        lattice, cells = self._lattice, self._cells
        cover(self._blocks, np.float32(BLOCK / len(self.field.occupancy)), view, cells)
        margin = np.float32(MARGIN) * view.step
        rgb, alpha = np.empty((h, w, 3), np.uint8), np.empty((h, w), np.uint8)
        depth = np.empty((h, w), np.float32)

        def sparse(band: int) -> int:
            rays, chunk = self._rays[band], self._chunks[band]
            count = lattice_pixels(lattice, cells, band, bands, rays)
            samples = trace(rays, count, view, self.prepared, chunk)
            keep_lattice(rays, count, lattice)
            return int(samples)

        def dense(band: int) -> int:
            rays, chunk = self._rays[band], self._chunks[band]
            count = settle_cells(lattice, cells, band, bands, self.contrast, margin, behind, edge,
                                 rgb, alpha, depth, rays)  # fmt: skip
            samples = trace(rays, count, view, self.prepared, chunk)
            put_rays(rays, count, behind, edge, rgb, alpha, depth)
            return int(samples)

        samples = sum(self.pool.map(sparse, range(bands)))
        samples += sum(self.pool.map(dense, range(bands)))
        return Rendered(rgb, alpha, depth, samples)

    def _reserve(self, rows: int, columns: int) -> int:
        """Room for a lattice of this size; returns the number of bands. A head that comes nearer
        and goes away again costs no new memory."""
        down, across = -(-rows // TILE), -(-columns // TILE)
        bands = min(down * across, BANDS * self.pool.threads)
        if self._lattice.shape[:2] != (rows, columns):
            self._lattice_room = grown(self._lattice_room, rows * columns * 6)
            self._lattice = self._lattice_room[: rows * columns * 6].reshape(rows, columns, 6)
            self._cells = np.empty((-(-rows // COVER), -(-columns // COVER), 2), np.float32)
        most = 3 * TILE * TILE * -(-down * across // bands)
        if len(self._rays) < bands or len(self._rays[0].near) < most:
            self._rays = [new_rays(most) for _ in range(max(bands, len(self._rays)))]
        while len(self._chunks) < bands:
            self._chunks.append(new_chunk(self.field.config.levels, self._width))
        return bands


def grown(room: Float32, count: int) -> Float32:
    """`room` if it holds `count` floats, else a larger one."""
    return room if len(room) >= count else np.empty(count, np.float32)


def outer_blocks(fine: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The occupied blocks of BLOCK³ voxels [B, 3] that have a neighbour which is not."""
    g = len(fine) // BLOCK
    blocks = fine.reshape(g, BLOCK, g, BLOCK, g, BLOCK).max(axis=(1, 3, 5)) > 0
    around = np.pad(blocks, 1)
    buried = blocks.copy()
    for axis in range(3):
        for shift in (-1, 1):
            buried &= np.roll(around, shift, axis)[1:-1, 1:-1, 1:-1]
    return np.argwhere(blocks & ~buried).astype(np.int32)
