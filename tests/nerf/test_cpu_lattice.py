"""Where rays go: tiles that the head covers, and cells that are interpolated."""

from __future__ import annotations

import numpy as np
import pytest

from nerf.camera import Camera, head_pose, portrait_camera
from nerf.cpu.lattice import COVER, MARGIN, TILE, _interpolate, cover, settle_cells, spreads
from nerf.cpu.march import clip_rays, coarsen, march
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import BLOCK, CpuRenderer, outer_blocks
from nerf.cpu.stream import NOTHING, View, new_rays
from nerf.field import cube_rays, cube_view
from tests.nerf.heads import random_head


@pytest.mark.parametrize("distance", [0.45, 0.1])  # before the cube, and inside it
def test_near_and_far_hold_all_that_rays_can_meet(distance: float) -> None:
    field = random_head()
    field.occupancy[:] = 0
    field.occupancy[20:30, 33:50, 10:13] = 1
    camera = portrait_camera(160, 0.45, 2.6)
    pose = head_pose((0.2, 0.5, -0.3), distance)
    origin, basis = cube_view(pose, field.cube)
    lens = np.array([1 / camera.fx, 1 / camera.fy, camera.cx, camera.cy], np.float32)
    view = View(lens, origin.astype(np.float32), np.ascontiguousarray(basis, np.float32),
                np.float32(1 / 96), np.float32(0.01))  # fmt: skip
    cells = np.empty((160 // (2 * COVER), 160 // (2 * COVER), 2), np.float32)
    cover(outer_blocks(field.occupancy), np.float32(BLOCK / 64), view, cells)
    y, x = np.mgrid[0:160, 0:160]
    o, d = cube_rays(pose, camera, np.stack([x.ravel(), y.ravel()], 1) + 0.5, field.cube)
    start, exit_ = np.empty((2, len(d)), np.float32)
    clip_rays(o, d, start, exit_)
    alive = np.flatnonzero(exit_ > start).astype(np.int32)
    most = 200
    xyz, t = np.empty((most * len(alive), 3), np.float32), np.empty(most * len(alive), np.float32)
    first, count = np.empty((2, len(alive)), np.int32)
    march(o, d, alive, start, np.zeros(len(d), np.int32), exit_, np.float32(1 / 300),
          field.occupancy, coarsen(field.occupancy), most, xyz, t, first, count)  # fmt: skip
    hits = alive[count > 0]
    assert len(hits) > 100
    near, far = cells[hits // 160 // (2 * COVER), hits % 160 // (2 * COVER)].T
    assert (near <= t[first[count > 0]]).all()
    assert (far >= t[(first + count - 1)[count > 0]]).all()
    if distance > 0.2:
        assert (cells == (NOTHING, 0.0)).all(-1).mean() > 0.3
        assert (far - near).mean() < 0.5


def test_outer_blocks_are_the_occupied_ones_with_an_empty_side() -> None:
    fine = np.zeros((16, 16, 16), np.uint8)
    fine[2:12, 2:12, 2:12] = 1
    found = {tuple(b) for b in outer_blocks(fine).tolist()}
    every = {(x, y, z) for x in range(1, 6) for y in range(1, 6) for z in range(1, 6)}
    assert found == {b for b in every if min(b) == 1 or max(b) == 5}


def test_interpolation_is_catmull_rom() -> None:
    rng = np.random.default_rng(0)
    lattice = rng.random((9, 8, 6)).astype(np.float32)
    mid, across = np.empty((3, 6), np.float32), np.empty((4, 6), np.float32)
    kernel = np.array([-1, 9, 9, -1]) / 16
    padded = np.pad(lattice[..., :5], ((1, 2), (1, 2), (0, 0)), mode="edge").astype(np.float64)
    for j in range(9):
        for i in range(8):
            _interpolate(lattice, i, j, across, mid)
            window = padded[j : j + 4, i : i + 4]
            right, below = kernel @ window[1], np.einsum("k,kc->c", kernel, window[:, 1])
            both = np.einsum("j,i,jic->c", kernel, kernel, window)
            np.testing.assert_allclose(mid[:, :5], np.stack([right, below, both]), atol=1e-6)


def settled(lattice: np.ndarray, contrast: float) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """The picture of a lattice in one band, 0 where nothing was written, and the pixels listed."""
    size = 2 * len(lattice) - 2
    rgb, alpha = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.uint8)
    rays = new_rays(3 * lattice.shape[0] * lattice.shape[1])
    depth = np.zeros((size, size), np.float32)
    side = -(-len(lattice) // COVER)
    cells = np.full((side, side, 2), 9.0, np.float32)
    white = np.ones(3, np.float32)
    n = settle_cells(lattice, cells, 0, 1, np.float32(contrast), np.float32(0.01), white,
                     np.float32(0.3), rgb, alpha, depth, rays)  # fmt: skip
    return rgb, {(int(x), int(y)) for x, y in rays.pixels[:n]}


def test_cells_with_an_edge_get_rays_and_the_rest_does_not() -> None:
    lattice = np.zeros((17, 17, 6), np.float32)
    lattice[..., 1:4] = 0.25
    lattice[:, 9:, 1:4] = 0.75  # opaque, two greys that meet between columns 16 and 18
    rgb, listed = settled(lattice, 0.1)
    assert {x for x, _ in listed} == {14, 15, 16, 17, 18, 19}
    assert (rgb[:, :14] == 64).all()
    assert (rgb[:, 22:] == 191).all()
    assert not settled(lattice, 0.6)[1]


def test_clear_cells_show_the_background_and_cost_nothing() -> None:
    lattice = np.zeros((9, 9, 6), np.float32)
    lattice[..., 0] = 1.0
    rgb, listed = settled(lattice, 0.0)
    assert (rgb == 255).all()
    assert not listed
    assert spread_of(lattice, 4, 4) == -1
    lattice[4, 4, 0] = 0.9
    assert spread_of(lattice, 4, 4) == pytest.approx(0.1)


def spread_of(lattice: np.ndarray, row: int, column: int) -> float:
    """That of the cell right of and below a lattice point."""
    out, room = np.full((TILE, TILE), np.nan, np.float32), np.empty((TILE + 3, TILE, 8), np.float32)
    top, left = row // TILE * TILE, column // TILE * TILE
    spreads(lattice, top, left, room, out)
    return float(out[row - top, column - left])


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (8, 8), (9, 17), (30, 12)])
def test_a_cell_knows_how_its_neighbours_differ(rows: int, columns: int) -> None:
    lattice = np.random.default_rng(2).random((rows, columns, 6)).astype(np.float32)
    lattice[..., 0] *= 0.99
    for row in range(rows):
        for column in range(columns):
            top, left = min(max(row - 1, 0), rows - 4), min(max(column - 1, 0), columns - 4)
            around = lattice[top : top + 4, left : left + 4, :4]
            wanted = np.ptp(around, axis=(0, 1)).max()
            assert spread_of(lattice, row, column) == pytest.approx(wanted)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 5), (33, 48), (70, 31)])
def test_any_shape_is_drawn_whole(width: int, height: int) -> None:
    field = random_head()
    renderer = CpuRenderer(field, WorkerPool(2), contrast=0.0)
    renderer.set_expression(np.full(46, 0.5))
    square = portrait_camera(96, 0.5, 2.6)
    camera = Camera(square.fx, square.fy, width / 2, height / 2, width, height)
    pose = head_pose((0, 0.2, 0), 0.5)
    shown = renderer.render(pose, camera)
    # the same pixels in the middle of a larger picture
    large = Camera(square.fx, square.fy, width / 2 + 10, height / 2 + 6, width + 20, height + 12)
    around = renderer.render(pose, large)
    difference = np.abs(shown.rgb.astype(int) - around.rgb[6 : 6 + height, 10 : 10 + width])
    assert difference.max() <= 2
    assert shown.alpha.max() > 200
    assert shown.depth.shape == (height, width)


def test_what_is_interpolated_stays_near_what_rays_would_show() -> None:
    field = random_head(1)
    field.mean[:] *= 0.4  # smoother
    pose, camera = head_pose((0.1, 0.3, 0), 0.5), portrait_camera(128, 0.5, 2.6)
    pictures = []
    for contrast in (0.0, 0.08):
        renderer = CpuRenderer(field, WorkerPool(2), contrast=contrast)
        renderer.set_expression(np.full(46, 0.5))
        pictures.append(renderer.render(pose, camera))
    every, few = pictures
    assert few.samples < 0.95 * every.samples
    assert np.abs(few.rgb.astype(int) - every.rgb).mean() < 0.5
    assert np.abs(few.rgb.astype(int) - every.rgb).max() <= 30
    assert MARGIN >= 1
