"""Triton's training step is autograd's through nerf.reference; kernels run in the interpreter where
there is no GPU.

Tolerances (interpreter; a GPU has yet to confirm them), norm of the difference over the norm: fp32
1e-5 (2e-5 of tables and pose); fp16 products 0.05 of tables' moments and pose, 0.02 of networks'.
"""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from nerf import reference
from nerf.config import FieldConfig
from nerf.field import HeadField
from nerf.step import LossWeights, Rates, RayBatch
from nerf.torch_backend import TorchEngine
from tests.nerf.heads import SMALL, random_head
from tests.nerf.triton_here import triton_device

DEVICE = triton_device()

from nerf.gpu.engine import TritonEngine  # noqa: E402
from nerf.gpu.packing import join, sizes_of, split_gradient, views  # noqa: E402

DEEP = FieldConfig(resolutions=(5, 9, 14, 23, 30), log2_sizes=(12, 9, 9, 9, 9), warp=0,
                   blended_levels=5, rank=2, hidden=24, density_layers=2, color_layers=2,
                   geometry=20)  # fmt: skip
RATES = Rates(table=1e-2, expression=1e-2, network=1e-3, decay=1e-3)
LOSS = LossWeights(spread=2.0)
STEPS = 24


def thin_head(config: FieldConfig = SMALL) -> HeadField:
    """Light passes through everything, so everything has a gradient."""
    field = random_head(0, config)
    field.networks[config.density_layers][:, 0] /= 6
    field.occupancy = (np.random.default_rng(0).random((16, 16, 16)) < 0.4).astype(np.uint8)
    return field


def batch_of(config: FieldConfig, rays: int = 30) -> RayBatch:
    rng = np.random.default_rng(1)
    directions = np.stack([*rng.uniform(-0.13, 0.13, (2, rays)), -np.ones(rays)], axis=1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return RayBatch(
        rng.standard_normal(config.rank).astype(np.float32) * 0.3,
        np.array([0.5, 0.5, 4.0], np.float32), directions.astype(np.float32),
        rng.random((rays, 3)).astype(np.float32), rng.random(rays).astype(np.float32),
        rng.random((rays, 3)).astype(np.float32),
    )  # fmt: skip


def engine(field: HeadField, precision: torch.dtype = torch.float32, *,
           capacity: int = 2048) -> TritonEngine:  # fmt: skip
    return TritonEngine(field, DEVICE, steps=STEPS, capacity=capacity, max_rays=32, cutoff=0.0,
                        precision=precision, block=256 if DEVICE == "cpu" else 64)  # fmt: skip


def apart(a: object, b: object) -> float:
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.linalg.norm(x - y) / np.linalg.norm(y))


@pytest.mark.parametrize(("config", "precision", "tables", "networks"), [
    (SMALL, torch.float32, 2e-5, 1e-5), (SMALL, torch.float16, 0.05, 0.02),
    (DEEP, torch.float32, 2e-5, 1e-5), (DEEP, torch.float16, 0.05, 0.02),
])  # fmt: skip
def test_one_step_equals_autograds(
    config: FieldConfig, precision: torch.dtype, tables: float, networks: float
) -> None:
    ours, theirs, before = thin_head(config), thin_head(config), thin_head(config)
    mine, twin = engine(ours, precision), TorchEngine(theirs, "cpu", steps=STEPS)
    a = mine.step(batch_of(config), RATES, LOSS, 0.3)
    b = twin.step(batch_of(config), RATES, LOSS, 0.3)
    assert a.samples == b.samples > 200
    assert a.loss == pytest.approx(b.loss, rel=1e-3)
    assert a.error == pytest.approx(b.error, rel=1e-3)
    assert apart(a.rigid_gradient, b.rigid_gradient) < tables
    assert a.errors is not None
    assert b.errors is not None
    np.testing.assert_allclose(a.errors, b.errors, rtol=2e-2, atol=1e-4)
    x, y = mine.state(), twin.state()
    assert np.count_nonzero(y["moment1"]) > 2000
    for name, value in y.items():
        assert apart(x[name], value) <= (tables if name.startswith("moment") else networks), name
    mine.store()
    twin.store()
    if precision == torch.float32:  # in half precision a first step of Adam is all signs
        assert apart(ours.mean - before.mean, theirs.mean - before.mean) < 1e-3
        assert apart(ours.tables - before.tables, theirs.tables - before.tables) < 1e-3
        for w, v, o in zip(ours.networks, theirs.networks, before.networks, strict=True):
            assert apart(w - o, v - o) < 1e-3


def test_densities_equal_the_references() -> None:
    field, rng = thin_head(DEEP), np.random.default_rng(3)
    mine, twin = engine(field), TorchEngine(field, "cpu", steps=STEPS)
    xyz, code = rng.random((300, 3)).astype(np.float32), batch_of(DEEP).code
    xyz[:3] = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 0.5]])  # the cube's border
    for each in (mine, twin):
        each.blend(code)
    np.testing.assert_allclose(mine.density_at(xyz), twin.density_at(xyz), rtol=1e-5)
    assert len(mine.density_at(xyz[:0])) == 0


def test_steps_lower_the_loss_and_state_goes_on() -> None:
    field, batch = thin_head(), batch_of(SMALL)
    mine = engine(field, torch.float16)
    rates = Rates(table=3e-2, expression=1e-2, network=1e-3)
    losses = [mine.step(batch, rates, LossWeights(), 0.5, rigid=False).loss for _ in range(5)]
    assert losses[-1] < 0.97 * losses[0]
    mine.store()
    again = engine(copy.deepcopy(field), torch.float16)
    again.load_state({k: np.asarray(v) for k, v in mine.state().items()})
    a, b = (e.step(batch, rates, LossWeights(), 0.5) for e in (mine, again))
    assert a.loss == pytest.approx(b.loss, rel=1e-6)
    assert not np.allclose(a.rigid_gradient, 0)


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_an_overflow_voids_the_step_and_halves_the_scale() -> None:
    field = thin_head()
    before = copy.deepcopy(field)
    mine = engine(field, torch.float16)
    scale = float(mine.loss_scale)
    mine.step(batch_of(SMALL), RATES, dataclasses.replace(LOSS, mask=1e9), 0.3)
    mine.store()
    np.testing.assert_array_equal(field.mean, before.mean)
    np.testing.assert_array_equal(field.networks[0], before.networks[0])
    assert float(mine.loss_scale) == scale / 2
    assert mine.voided == 1


def test_rays_that_do_not_fit_take_no_part() -> None:
    config, batch = SMALL, batch_of(SMALL)
    full = engine(thin_head()).step(batch, RATES, LOSS, 0.3).samples
    field = thin_head()
    mine = engine(field, capacity=full - 1)
    mine.step(batch, RATES, LOSS, 0.3)
    kept = mine.rays_kept()
    assert 0 < kept.sum() < len(kept)
    # the others' gradient is that of a batch without them
    fewer = RayBatch(batch.code, batch.origin, batch.directions[kept], batch.rgb[kept],
                     batch.alpha[kept], batch.background[kept])  # fmt: skip
    twin = TorchEngine(thin_head(), "cpu", steps=STEPS)
    twin.step(fewer, RATES, LOSS, 0.3)
    assert apart(mine.state()["moment1"], twin.state()["moment1"]) < 1e-5
    assert config.rank == len(batch.code)


def test_joined_networks_and_their_gradient_equal_autograds() -> None:
    rng = np.random.default_rng(5)
    nets = [torch.tensor(w).requires_grad_() for w in thin_head(DEEP).networks]
    features = torch.tensor(rng.standard_normal((40, 20)).astype(np.float32))
    sizes = sizes_of(DEEP)
    flat = torch.zeros(sizes.weights)
    with torch.no_grad():
        join(nets, DEEP, flat)
    packed = flat.clone().requires_grad_()
    parts = views(packed, sizes)
    x = torch.nn.functional.pad(features, (0, sizes.inputs - 20))
    tapped = x
    for i, matrix in enumerate(parts[:-2]):
        x = torch.relu(x @ matrix)
        tapped = x if i + 1 == sizes.tap else tapped
    raw, rgb = tapped @ parts[-1], torch.sigmoid((x @ parts[-2])[:, :3])
    sigma, wanted = reference.networks(features, nets, DEEP.density_layers)
    torch.testing.assert_close(torch.exp(raw - 2.5), sigma, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rgb, wanted, rtol=1e-4, atol=1e-5)
    grad = torch.autograd.grad((raw * raw).sum() + (rgb**2).sum(), packed)[0]
    theirs = torch.autograd.grad(((torch.log(sigma) + 2.5) ** 2).sum() + (wanted**2).sum(), nets)
    ours = [torch.zeros_like(w) for w in nets]
    with torch.no_grad():
        split_gradient(grad, nets, DEEP, ours)
    for a, b in zip(ours, theirs, strict=True):
        assert apart(a, b) < 1e-4
