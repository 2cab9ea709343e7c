"""The plain PyTorch backend does what the CPU backend does."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from nerf.camera import head_pose, portrait_camera
from nerf.config import FieldConfig
from nerf.cpu.engine import CpuEngine
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import CpuRenderer
from nerf.expression import fit_expression_code
from nerf.field import Cube, HeadField, new_field
from nerf.step import LossWeights, Rates, RayBatch
from nerf.torch_backend import TorchEngine, TorchRenderer

CONFIG = FieldConfig(resolutions=(6, 11, 20), log2_sizes=(12, 11, 10), warp=3, blended_levels=2,
                     rank=4, hidden=16)  # fmt: skip
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(
        not torch.cuda.is_available(), reason="no CUDA device")]),
]  # fmt: skip


def make_field(seed: int = 0, dense: float = 6.0) -> HeadField:
    rng = np.random.default_rng(seed)
    code = fit_expression_code(rng.random((40, 46)), CONFIG.rank)
    field = new_field(CONFIG, code, Cube((0.0, 0.0, 0.0), 0.25), rng)
    field.mean[:] = rng.standard_normal(field.mean.shape)
    field.tables[:] = 0.3 * rng.standard_normal(field.tables.shape)
    field.networks[1][:, 0] *= dense
    field.occupancy = (rng.random((16, 16, 16)) < 0.4).astype(np.uint8)
    return field


def make_batch(rays: int = 64) -> RayBatch:
    rng = np.random.default_rng(1)
    directions = np.stack([*rng.uniform(-0.1, 0.1, (2, rays)), -np.ones(rays)], axis=1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return RayBatch(
        rng.standard_normal(CONFIG.rank).astype(np.float32) * 0.3,
        np.array([0.5, 0.5, 4.0], np.float32), directions.astype(np.float32),
        rng.random((rays, 3)).astype(np.float32), rng.random(rays).astype(np.float32),
        np.ones((rays, 3), np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
def test_one_step_equals_the_cpu_backends(device: str) -> None:
    ours, theirs = make_field(dense=1.0), make_field(dense=1.0)
    before = theirs.mean.copy()
    engine, twin = TorchEngine(ours, device, steps=48), CpuEngine(theirs, WorkerPool(1), steps=48)
    rates, loss = Rates(table=1e-2, expression=1e-2, network=1e-3), LossWeights(spread=2.0)
    a = engine.step(make_batch(), rates, loss, 0.3)
    b = twin.step(make_batch(), rates, loss, 0.3)
    engine.store()
    assert a.loss == pytest.approx(b.loss, rel=5e-3)
    assert np.linalg.norm(a.rigid_gradient - b.rigid_gradient) <= 0.02 * np.linalg.norm(
        b.rigid_gradient
    )
    # Adam's first step is ±rate for every entry: entries with a clear gradient must agree
    moved, wanted = ours.mean - before, theirs.mean - before
    assert (np.abs(wanted) > 0).sum() > 500
    assert np.mean(np.abs(moved - wanted) > 1e-3) < 0.01
    for x, y in zip(ours.networks, theirs.networks, strict=True):
        assert np.mean(np.abs(x - y) > 2e-4) < 0.02


@pytest.mark.parametrize("device", DEVICES)
def test_picture_equals_the_cpu_backends(device: str) -> None:
    field = make_field()
    expression = np.random.default_rng(2).random(46)
    pose, camera = head_pose((0.1, -0.3, 0.05), 0.5), portrait_camera(48, 0.5, 2.6)
    pictures = []
    for renderer in (TorchRenderer(field, device), CpuRenderer(field, WorkerPool(2), cutoff=1e-4)):
        renderer.set_expression(expression)
        pictures.append(renderer.render(pose, camera, (0.2, 0.5, 1.0)))
    off = np.abs(pictures[0].rgb.astype(int) - pictures[1].rgb.astype(int))
    assert pictures[1].alpha.max() > 200
    # a sample on a voxel's border may fall on either side
    assert np.mean(off > 2) < 0.01
    assert np.mean(np.abs(pictures[0].alpha.astype(int) - pictures[1].alpha) > 2) < 0.01


@pytest.mark.parametrize("device", DEVICES)
def test_steps_lower_the_loss_and_state_goes_on(device: str) -> None:
    field = make_field(dense=1.0)
    engine, batch = TorchEngine(field, device, steps=48), make_batch()
    rates, loss = Rates(table=2e-2, expression=1e-2, network=1e-3), LossWeights()
    losses = [engine.step(batch, rates, loss, 0.5).loss for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]
    engine.store()
    again = TorchEngine(copy.deepcopy(field), device, steps=48)
    again.load_state({k: np.asarray(v) for k, v in engine.state().items()})
    a, b = engine.step(batch, rates, loss, 0.5), again.step(batch, rates, loss, 0.5)
    assert a.loss == pytest.approx(b.loss, rel=1e-6)
