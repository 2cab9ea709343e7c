"""Every CPU kernel against its PyTorch twin, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nerf import reference
from nerf.config import FieldConfig
from nerf.cpu.encode import point_gradient, scatter
from nerf.cpu.engine import CpuEngine
from nerf.cpu.lookup import look_up
from nerf.cpu.march import clip_rays, coarsen, march
from nerf.cpu.pool import WorkerPool
from nerf.cpu.tables import aligned, blend, blend_moved, moved_entries
from nerf.expression import fit_expression_code
from nerf.field import Cube, HeadField, new_field
from nerf.step import LossWeights, Rates, RayBatch

CONFIGS = [
    FieldConfig(resolutions=(4, 9), log2_sizes=(10, 8), warp=5, blended_levels=1, rank=3,
                hidden=16),
    FieldConfig(resolutions=(16, 25, 40), log2_sizes=(14, 12, 12), warp=0, blended_levels=2,
                rank=5, hidden=16, density_layers=2),
    FieldConfig(resolutions=(7,), log2_sizes=(6,), warp=3, blended_levels=0, rank=1, hidden=8,
                geometry=5, color_layers=2),
]  # fmt: skip


def random_field(config: FieldConfig, seed: int = 0) -> HeadField:
    rng = np.random.default_rng(seed)
    code = fit_expression_code(rng.random((30, 46)), config.rank)
    field = new_field(config, code, Cube((0.0, 0.0, 0.0), 0.25), rng)
    field.mean[:] = rng.standard_normal(field.mean.shape) * 0.5
    field.tables[:] = rng.standard_normal(field.tables.shape) * 0.5
    return field


def arrays(config: FieldConfig) -> tuple[np.ndarray, np.ndarray]:
    return np.array(config.offsets(), np.int64), np.array(config.resolutions, np.int64)


@pytest.mark.parametrize("config", CONFIGS)
def test_blend_equals_reference(config: FieldConfig) -> None:
    field = random_field(config)
    code = np.random.default_rng(1).standard_normal(config.rank).astype(np.float32)
    out = np.empty_like(field.mean)
    blend(field.mean, field.tables, code, 0, config.entries // 2, out)
    blend(field.mean, field.tables, code, config.entries // 2, config.entries, out)
    twin = reference.blend_tables(*map(torch.from_numpy, (field.mean, field.tables, code)))
    np.testing.assert_allclose(out, twin.numpy(), atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_entries_that_no_expression_moves_need_no_blending(config: FieldConfig) -> None:
    field, rng = random_field(config, 4), np.random.default_rng(6)
    field.tables[rng.random(len(field.tables)) < 0.6] = 0.0
    code = rng.standard_normal(config.rank).astype(np.float32)
    wanted, out = aligned(config.entries), aligned(config.entries)
    blend(field.mean, field.tables, code, 0, config.entries, wanted)
    moved = moved_entries(field.tables)
    assert len(moved) <= 0.5 * len(field.tables)
    out[:] = field.mean
    half = len(moved) // 2
    blend_moved(field.mean, field.tables, code, moved, 0, half, out)
    blend_moved(field.mean, field.tables, code, moved, half, len(moved), out)
    np.testing.assert_allclose(out, wanted, rtol=1e-6, atol=1e-6)


def test_blend_of_one_hot_code_is_that_table() -> None:
    field = random_field(CONFIGS[1])
    code = np.eye(field.config.rank, dtype=np.float32)[2]
    out = np.empty_like(field.mean)
    blend(field.mean, field.tables, code, 0, field.config.entries, out)
    n = field.config.blended_entries
    np.testing.assert_allclose(out[:n], field.mean[:n] + field.tables[..., 2], atol=1e-6)
    np.testing.assert_array_equal(out[n:], field.mean[n:])


@pytest.mark.parametrize("config", CONFIGS)
def test_encode_equals_reference_forward_and_backward(config: FieldConfig) -> None:
    field = random_field(config)
    rng = np.random.default_rng(2)
    xyz = rng.random((200, 3)).astype(np.float32)
    xyz[:4] = [[0, 0, 0], [1, 1, 1], [0.5, 0, 1], [0.25, 0.75, 0.5]]  # type: ignore[assignment]
    grad = rng.standard_normal((200, 4 * config.levels)).astype(np.float32)
    offsets, resolutions = arrays(config)
    out, given = np.empty_like(grad), aligned(config.entries)
    given[:] = field.mean
    look_up(given, offsets, resolutions, xyz, len(xyz), out)
    table = torch.from_numpy(field.mean).double().requires_grad_()
    points = torch.from_numpy(xyz).double().requires_grad_()
    twin = reference.look_up(table, config, points)
    np.testing.assert_allclose(out, twin.detach().numpy(), atol=2e-5)
    twin.backward(torch.from_numpy(grad).double())
    grad_table = aligned(config.entries)
    for level in range(config.levels):
        scatter(grad_table, offsets, resolutions, level, xyz, grad)
    assert table.grad is not None
    assert points.grad is not None
    np.testing.assert_allclose(grad_table, table.grad.numpy(), atol=1e-4)
    grad_xyz = np.ones((len(xyz), 4), np.float32)  # it is added to
    point_gradient(given, offsets, resolutions, xyz, grad, grad_xyz)
    np.testing.assert_array_equal(grad_xyz[:, 3], 1.0)
    grad_xyz = grad_xyz[:, :3] - 1
    # on a cell's border (rows 0..3) float32 and float64 may pick different cells
    np.testing.assert_allclose(grad_xyz[4:], points.grad.numpy()[4:], rtol=2e-3, atol=5e-3)


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_march_emits_exactly_the_occupied_lattice_points(limit: int) -> None:
    rng = np.random.default_rng(3)
    fine = (rng.random((16, 16, 16)) < 0.15).astype(np.uint8)
    origin = np.array([0.4, 0.6, 3.0], np.float32)
    directions = rng.standard_normal((50, 3)).astype(np.float32) * 0.15 - [0, 0, 1]
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    start, exit_ = np.empty(50, np.float32), np.empty(50, np.float32)
    clip_rays(origin, directions, start, exit_)
    dt = np.float32(1 / 64)
    alive = np.flatnonzero(exit_ > start).astype(np.int32)
    cursor = np.zeros(50, np.int32)
    found: dict[int, list[float]] = {int(r): [] for r in alive}
    while (cursor[alive] >= 0).any():
        going = alive[cursor[alive] >= 0]
        xyz, t = (
            np.empty((len(going) * limit, 3), np.float32),
            np.empty(len(going) * limit, np.float32),
        )
        first, count = np.empty(len(going), np.int32), np.empty(len(going), np.int32)
        march(origin, directions, going, start, cursor, exit_, dt, fine, coarsen(fine), limit,
              xyz, t, first, count)  # fmt: skip
        for i, r in enumerate(going):
            found[int(r)] += t[first[i] : first[i] + count[i]].tolist()
    o, d = torch.from_numpy(origin), torch.from_numpy(directions)
    near, _far = reference.clip_to_cube(o, d)
    np.testing.assert_allclose(near.numpy()[alive], start[alive], atol=1e-5)
    ts, exists = reference.lattice(torch.from_numpy(start), torch.from_numpy(exit_), float(dt))
    points = o + ts[..., None] * d[:, None]
    inside = reference.occupied(points, torch.from_numpy(fine)) & exists
    margin = ((points * 16) % 1 - 0.5).abs().amax(-1) < 0.499  # not on a voxel's border
    wrong = 0
    for r in alive:
        expected = {round(float(v), 5) for v in ts[r][inside[r] & margin[r]]}
        got = {round(v, 5) for v in found[int(r)]}
        assert len(got) == len(found[int(r)])
        wrong += len(expected - got)
    assert sum(map(len, found.values())) > 200
    assert wrong == 0


def assert_close(got: object, expected: torch.Tensor) -> None:
    """Equal to 1 % in the Euclidean norm: the kernels work in float32, stop at transmittance 1e-3,
    and a sample on a cell's border may fall into the other cell (worst seen: 0.4 %)."""
    e = expected.numpy()
    assert np.linalg.norm(np.asarray(got) - e) <= 0.01 * np.linalg.norm(e)


def twin_loss(engine: CpuEngine, batch: RayBatch, loss: LossWeights, mean: torch.Tensor,
              tables: torch.Tensor, weights: list[torch.Tensor], rigid: torch.Tensor,
              jitter: float) -> torch.Tensor:  # fmt: skip
    """The step's loss, from the reference's parts, in float64."""
    config = engine.field.config
    table = reference.blend_tables(mean, tables, torch.from_numpy(batch.code).double())
    origin = torch.from_numpy(batch.origin).double()
    directions = torch.from_numpy(batch.directions).double()
    near, far = reference.clip_to_cube(origin, directions)
    dt = float(engine.step_length)
    near = near - jitter * dt
    t, exists = reference.lattice(near, far, dt)
    points = origin + t[..., None] * directions[:, None]
    inside = reference.occupied(points, torch.from_numpy(engine.field.occupancy)) & exists
    moved = points - 0.5
    moved = moved + torch.cross(rigid[:3].expand_as(moved), moved, dim=-1) + 0.5 + rigid[3:]
    features = reference.encode(table, config, moved[inside])
    s, c = reference.networks(features, weights, config.density_layers)
    sigma = torch.zeros(t.shape, dtype=torch.float64).masked_scatter(inside, s)
    rgb = torch.zeros((*t.shape, 3), dtype=torch.float64)
    rgb[inside] = c
    color, opacity, _, spread = reference.composite(
        sigma, rgb, t, dt, torch.from_numpy(batch.background).double()
    )
    target = torch.from_numpy(batch.rgb).double()
    matte = torch.from_numpy(batch.alpha).double()
    return (
        reference.smooth_l1(color - target, loss.huber).sum() / 3
        + loss.mask * reference.smooth_l1(opacity - matte, loss.huber).sum()
        + loss.spread * spread.sum()
    )


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("config", CONFIGS)
def test_training_step_has_the_gradients_of_the_reference(
    config: FieldConfig, threads: int
) -> None:
    field = random_field(config, 4)
    rng = np.random.default_rng(5)
    field.occupancy = (rng.random((16, 16, 16)) < 0.5).astype(np.uint8)
    engine = CpuEngine(field, WorkerPool(threads), steps=24)
    directions = np.stack([*rng.uniform(-0.12, 0.12, (2, 40)), -np.ones(40)], axis=1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    batch = RayBatch(
        rng.standard_normal(config.rank).astype(np.float32) * 0.3,
        np.array([0.5, 0.5, 4.0], np.float32), directions.astype(np.float32),
        rng.random((40, 3)).astype(np.float32), rng.random(40).astype(np.float32),
        np.ones((40, 3), np.float32),
    )  # fmt: skip
    loss = LossWeights(spread=2.0)
    mean = torch.from_numpy(field.mean.copy()).double().requires_grad_()
    tables = torch.from_numpy(field.tables.copy()).double().requires_grad_()
    weights = [torch.from_numpy(w.copy()).double().requires_grad_() for w in field.networks]
    rigid = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    expected = twin_loss(engine, batch, loss, mean, tables, weights, rigid, 0.3)
    expected.backward()

    captured: dict[str, np.ndarray] = {}
    original = engine._over_entries

    def capture(work) -> None:  # type: ignore[no-untyped-def]
        captured["table"] = engine.encoding.grad.copy()
        original(work)

    engine._over_entries = capture  # type: ignore[method-assign]
    nets: list[torch.Tensor] = []
    engine._step_networks = lambda gradients, rate: nets.extend(gradients)  # type: ignore
    result = engine.step(batch, Rates(table=0.0, expression=0.0, network=0.0), loss, 0.3)

    assert result.loss == pytest.approx(float(expected.detach()) / 40, rel=2e-3)
    assert mean.grad is not None
    assert tables.grad is not None
    assert rigid.grad is not None
    n = config.blended_entries
    assert_close(captured["table"], mean.grad)
    assert_close(captured["table"][:n, :, None] * batch.code, tables.grad)
    for i, weight in enumerate(weights):
        assert weight.grad is not None
        assert_close(nets[i].numpy(), weight.grad)
    assert_close(result.rigid_gradient, rigid.grad)
