"""The renderer's kernels against their plain twins: look-up, networks, marching, compositing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike

from nerf import reference
from nerf.camera import head_pose, portrait_camera
from nerf.config import FieldConfig
from nerf.cpu.lookup import displace, look_up
from nerf.cpu.march import coarsen, empty_radius, march
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import CpuRenderer
from nerf.cpu.shade import pack, shade
from nerf.cpu.stream import (
    VISIT,
    Rays,
    View,
    activate,
    exponential,
    fill,
    new_chunk,
    new_rays,
    start_rays,
    trace,
)
from nerf.cpu.tables import aligned
from nerf.cpu.vectors import ROWS
from nerf.field import HeadField, cube_rays, cube_view
from tests.nerf.heads import random_head
from tests.nerf.test_cpu_kernels import CONFIGS, arrays, random_field

CAMERA = portrait_camera(24, 0.5, 2.6)
POSE = head_pose((0.1, -0.3, 0.05), 0.5)


@pytest.mark.parametrize("config", CONFIGS)
def test_look_up_equals_reference(config: FieldConfig) -> None:
    field = random_field(config)
    xyz = np.random.default_rng(1).random((300, 3)).astype(np.float32)
    xyz[:3] = [[0, 0, 0], [1, 1, 1], [0.5, 0, 1]]  # type: ignore[assignment]
    table = aligned(config.entries)
    table[:] = field.mean
    out = np.full((300, 4 * config.levels), np.nan, np.float32)
    look_up(table, *arrays(config), xyz, 299, out)
    twin = reference.look_up(
        torch.from_numpy(table).double(), config, torch.from_numpy(xyz).double()
    )
    np.testing.assert_allclose(out[:299], twin.numpy()[:299], atol=2e-5)
    assert np.isnan(out[299]).all()


@pytest.mark.parametrize("config", CONFIGS)
def test_points_are_moved_as_the_references_warp_says(config: FieldConfig) -> None:
    field = random_field(config)
    xyz = np.random.default_rng(1).random((300, 3)).astype(np.float32)
    xyz[:4] = [[0, 0, 0], [1, 1, 1], [0.5, 0, 1], [-0.1, 1.1, 0.5]]  # type: ignore[assignment]
    table = aligned(config.entries)
    table[:] = field.mean
    moved, room = xyz.copy(), np.empty((300, 4), np.float32)
    displace(table, config.warp, moved, 299, room)
    twin = reference.warped(
        torch.from_numpy(table).double(), config, torch.from_numpy(xyz).double()
    )
    np.testing.assert_allclose(moved[:299], twin.numpy()[:299], atol=1e-6)
    np.testing.assert_array_equal(moved[299], xyz[299])
    assert (np.abs(moved - xyz).max() > 0.01) == (config.warp > 0)


@pytest.mark.parametrize("config", [
    *CONFIGS,
    FieldConfig(resolutions=(4, 9), log2_sizes=(10, 8), blended_levels=1, rank=3, hidden=40,
                density_layers=3, color_layers=3, geometry=21),
])  # fmt: skip
def test_shading_equals_the_networks_of_the_reference(config: FieldConfig) -> None:
    field = random_field(config, 3)
    rng = np.random.default_rng(4)
    features = rng.standard_normal((40, 4 * config.levels)).astype(np.float32)
    matrices = pack(field.networks, config.density_layers)
    hidden = np.zeros((2, ROWS, matrices.width), np.float32)
    out = np.full((40, 4), np.nan, np.float32)
    shade(features, 37, matrices.weights, matrices.shapes, matrices.density_layer,
          matrices.to_density, matrices.to_color, hidden, out)  # fmt: skip
    activate(out, 37, np.float32(1 / 50))
    sigma, rgb = reference.networks(
        torch.from_numpy(features).double(),
        [torch.from_numpy(w).double() for w in field.networks], config.density_layers,
    )  # fmt: skip
    np.testing.assert_allclose(out[:37, 0], -np.expm1(-sigma.numpy()[:37] / 50), atol=2e-6)
    np.testing.assert_allclose(out[:37, 1:], rgb.numpy()[:37], atol=2e-6)


def test_exponential_is_exact_to_float32() -> None:
    x = np.linspace(-79, 79, 4001).astype(np.float32)
    got = np.array([exponential(v) for v in x])
    np.testing.assert_allclose(got, np.exp(x.astype(np.float64)), rtol=3e-7)
    assert 0 < exponential(np.float32(-1e9)) < 1e-34
    assert np.isfinite(exponential(np.float32(1e9)))


def test_empty_radius_is_the_distance_to_the_nearest_occupied_voxel() -> None:
    rng = np.random.default_rng(5)
    fine = (rng.random((12, 12, 12)) < 0.01).astype(np.uint8)
    occupied = np.argwhere(fine)
    every = np.argwhere(np.ones_like(fine))
    expected = np.abs(every[:, None] - occupied[None]).max(-1).min(-1).reshape(fine.shape)
    np.testing.assert_array_equal(empty_radius(fine), expected)
    assert (empty_radius(np.zeros_like(fine)) == 255).all()


def every_pixel(field: HeadField, view: View) -> tuple[Rays, int]:
    """Rays through all pixels of CAMERA, and how many enter the cube."""
    y, x = np.mgrid[0 : CAMERA.height, 0 : CAMERA.width]
    rays = new_rays(x.size)
    rays.pixels[:] = np.stack([x.ravel(), y.ravel()], 1)
    rays.near[:], rays.far[:] = 0.0, 1e9
    return rays, start_rays(rays, x.size, view)


def view_of(field: HeadField, step: float, cutoff: float = 1e-5) -> View:
    origin, basis = cube_view(POSE, field.cube)
    lens = np.array([1 / CAMERA.fx, 1 / CAMERA.fy, CAMERA.cx, CAMERA.cy], np.float32)
    return View(lens, origin.astype(np.float32), np.ascontiguousarray(basis, np.float32),
                np.float32(step), np.float32(cutoff))  # fmt: skip


def test_stream_visits_the_samples_that_the_marcher_finds() -> None:
    field = random_head()
    field.occupancy = (np.random.default_rng(6).random((64, 64, 64)) < 0.02).astype(np.uint8)
    view = view_of(field, 1 / 96)
    rays, waiting = every_pixel(field, view)
    _, directions = cube_rays(POSE, CAMERA, rays.pixels + 0.5, field.cube)
    np.testing.assert_allclose(rays.directions, directions, atol=1e-6)
    chunk = new_chunk(1, 16)
    found: dict[int, list[float]] = {int(r): [] for r in rays.queue[:waiting]}
    radius = empty_radius(field.occupancy)
    while waiting:
        lo, kept = 0, 0
        while lo < waiting:
            _, hi = fill(rays, lo, waiting, view, radius, chunk)
            for i in range(lo, hi):
                r, first, count = rays.queue[i], rays.first[i], rays.taken[i]
                assert count <= VISIT
                found[int(r)] += chunk.t[first : first + count].tolist()
                if rays.cursor[r] >= 0:
                    rays.queue[kept] = r
                    kept += 1
            lo = hi
        waiting = kept
    alive = np.array(list(found), np.int32)
    room = (len(alive) * 200,)
    xyz, t = np.empty((*room, 3), np.float32), np.empty(room, np.float32)
    first, count = np.empty((2, len(alive)), np.int32)
    march(view.origin, rays.directions, alive, rays.start, np.zeros(len(rays.near), np.int32),
          rays.exit, view.step, field.occupancy, coarsen(field.occupancy), 200, xyz, t, first,
          count)  # fmt: skip
    expected = {int(r): t[a : a + n] for r, a, n in zip(alive, first, count, strict=True)}
    assert sum(map(len, found.values())) > 500

    def indices(r: int, positions: ArrayLike) -> set[int]:
        places = (np.asarray(positions) - rays.start[r]) / view.step - 0.5
        return set(np.rint(places).astype(int).tolist())

    differing = sum(len(indices(r, at) ^ indices(r, found[r])) for r, at in expected.items())
    assert differing <= 2  # a sample on a voxel's border may fall to either side


def test_traced_rays_composite_as_the_reference_does() -> None:
    field = random_head(2)
    field.occupancy = (np.random.default_rng(7).random((64, 64, 64)) < 0.5).astype(np.uint8)
    renderer = CpuRenderer(field, WorkerPool(1), steps=60)
    expression = np.full(46, 0.7)
    renderer.set_expression(expression)
    view = view_of(field, 1 / 60)
    rays, _ = every_pixel(field, view)
    config = field.config
    samples = trace(rays, len(rays.near), view, renderer.prepared, new_chunk(config.levels, 32))
    table = reference.blend_tables(
        *(torch.from_numpy(a) for a in (field.mean, field.tables, field.code(expression)))
    ).double()
    o, d = torch.from_numpy(view.origin).double(), torch.from_numpy(rays.directions).double()
    near, far = reference.clip_to_cube(o, d)
    t, exists = reference.lattice(near, far, 1 / 60)
    points = o + t[..., None] * d[:, None]
    inside = reference.occupied(points, torch.from_numpy(field.occupancy)) & exists
    weights = [torch.from_numpy(w).double() for w in field.networks]
    s, c = reference.networks(
        reference.encode(table, config, points[inside]), weights, config.density_layers
    )
    sigma = torch.zeros(t.shape, dtype=torch.float64).masked_scatter(inside, s)
    rgb = torch.zeros((*t.shape, 3), dtype=torch.float64)
    rgb[inside] = c
    color, opacity, depth, _ = reference.composite(sigma, rgb, t, 1 / 60, torch.zeros(3).double())
    assert 0.1 < float(opacity.mean()) < 0.9
    assert samples > 1000
    error = np.abs(rays.light[:, 1:4] - color.numpy()).max(axis=1)
    assert np.median(error) < 1e-5
    assert (error > 0.02).mean() < 0.02  # samples on a voxel's border
    assert np.median(np.abs(1 - rays.light[:, 0] - opacity.numpy())) < 1e-5
    seen = opacity.numpy() > 0.9
    mean = rays.light[seen, 4] / (1 - rays.light[seen, 0])
    assert np.median(np.abs(mean - depth.numpy()[seen])) < 1e-4


def test_light_behind_the_cutoff_is_not_the_backgrounds() -> None:
    field = random_head(2)
    renderer = CpuRenderer(field, WorkerPool(1), cutoff=0.2)
    renderer.set_expression(np.full(46, 0.5))
    rays, _ = every_pixel(field, view_of(field, 1 / 96))
    trace(rays, len(rays.near), view_of(field, 1 / 96, 0.2), renderer.prepared,
          new_chunk(field.config.levels, 32))  # fmt: skip
    left = rays.light[:, 0]
    assert (left == 0).any()
    assert not ((left > 0) & (left < 0.2)).any()


PLAIN_PROCESSOR = """
from llvmlite import binding
binding.get_host_cpu_features = dict
from nerf.cpu.vectors import LANES, ROWS
assert (LANES, ROWS) == (8, 4)
from tests.nerf import test_cpu_stream as tests
for config in tests.CONFIGS[:2]:
    tests.test_look_up_equals_reference(config)
    tests.test_shading_equals_the_networks_of_the_reference(config)
"""


def test_a_processor_without_wide_vectors_computes_the_same(tmp_path: Path) -> None:
    environment = os.environ | {
        "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", PLAIN_PROCESSOR], env=environment, text=True,
                          cwd=Path(__file__).parents[2], capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
