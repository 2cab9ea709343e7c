"""Steps without the host: rays are the footage's, poses move as the trainer's Adam moves them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nerf.backends import Choice
from nerf.camera import project
from nerf.cpu.pool import WorkerPool
from nerf.error_map import CELLS, WARM_UP, ErrorMap
from nerf.field import HeadField, cube_view
from nerf.step import LossWeights, Rates
from nerf.train import Trainer, TrainSettings, bounding_box
from tests.nerf.heads import SMALL, ball_footage, random_head
from tests.nerf.triton_here import triton_device

DEVICE = triton_device()

import triton  # noqa: E402
import triton.language as tl  # noqa: E402

from nerf.gpu.engine import TritonEngine  # noqa: E402
from nerf.gpu.frames import unlike  # noqa: E402
from nerf.gpu.resident import HALVINGS, ResidentTraining  # noqa: E402

FOOTAGE = ball_footage(5, 32)
BOXES = [bounding_box(a) for a in FOOTAGE.alpha]
POSES = [FOOTAGE.pose(i) for i in range(5)]
VIEWS = [(FOOTAGE.pose(i), FOOTAGE.lens(i)) for i in range(5)]
RATES = Rates(table=1e-2, expression=1e-2, network=1e-3)


def small_engine(field: HeadField, *_: Any, **__: Any) -> TritonEngine:
    return TritonEngine(field, DEVICE, steps=24, capacity=1 << 13, max_rays=96,
                        block=512 if DEVICE == "cpu" else 64)  # fmt: skip


PARTS = np.array([[(8 + i, 9, 11 + i, 12), (20, 21, 21, 24)] for i in range(5)])


def resident(field: HeadField) -> ResidentTraining:
    out = ResidentTraining(small_engine(field), FOOTAGE.rgb, FOOTAGE.alpha, BOXES, VIEWS, PARTS)
    codes = field.code(FOOTAGE.expression)
    rigid = np.random.default_rng(0).normal(0, 0.02, (5, 6))
    out.believe(codes, rigid, np.zeros((5, 6)), np.zeros((5, 6)), np.zeros(5))
    return out


def test_rays_are_pixels_of_the_frame_seen_from_its_moved_pose() -> None:
    field = random_head()
    ours = resident(field)
    rigid = ours.poses()[0][4]
    ours.run([4], [7], [RATES], LossWeights(), [0.5], [0.0], 80, 1e6, refine=False)
    e = ours.engine
    origin, axes = cube_view(POSES[4], field.cube, rigid)
    np.testing.assert_allclose(e.origin.cpu(), origin, atol=1e-5)
    directions = e.directions[:80].cpu().numpy()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-5)
    seen = np.eye(4)
    xy = project(directions @ axes, seen, FOOTAGE.camera)  # as the camera sees them
    pixel = np.floor(xy).astype(int)
    np.testing.assert_allclose(xy, pixel + 0.5, atol=1e-3)
    x0, y0, x1, y1 = BOXES[4]
    assert (pixel >= [x0, y0]).all()
    assert (pixel < [x1, y1]).all()
    assert len(np.unique(pixel, axis=0)) > 40
    there = (4, pixel[:, 1], pixel[:, 0])
    np.testing.assert_allclose(e.target[:80].cpu(), FOOTAGE.rgb[there] / 255, atol=1e-6)
    np.testing.assert_allclose(e.target_alpha[:80].cpu(), FOOTAGE.alpha[there] / 255, atol=1e-6)
    np.testing.assert_allclose(e.code.cpu(), field.code(FOOTAGE.expression[4]), atol=1e-6)


def pixels_of(ours: ResidentTraining, frame: int, count: int, field: HeadField) -> np.ndarray:
    """[count, 2] (x, y) of the last step's rays."""
    _, axes = cube_view(POSES[frame], field.cube, ours.poses()[0][frame])
    directions = ours.engine.directions[:count].cpu().numpy()
    return np.floor(project(directions @ axes, np.eye(4), FOOTAGE.camera)).astype(int)


def test_the_first_rays_go_through_the_parts_and_the_last_where_errors_are_large() -> None:
    field = random_head()
    ours = resident(field)
    errors = ErrorMap(32)
    y, x = np.mgrid[:32, :32]
    unlike = np.where((x == 5) & (y == 27), 0.09, 0.0).ravel().astype(np.float32)
    for _ in range(WARM_UP):
        errors.note(x.ravel(), y.ravel(), unlike)
    ours.aim(0.25, 0.5, errors.heights())
    ours.run([3], [7], [RATES], LossWeights(), [0.5], [0.0], 80, 1e6, refine=False)
    pixel = pixels_of(ours, 3, 80, field)
    within = [(low <= pixel).all(axis=1) & (pixel < high).all(axis=1)
              for low, high in ((b[:2], b[2:]) for b in PARTS[3])]  # fmt: skip
    assert (within[0] | within[1])[:20].all()
    assert within[0][:20].any()
    assert within[1][:20].any()
    assert len(np.unique(pixel[:20], axis=0)) > 6
    assert (pixel[40:] == (5, 27)).all()
    middle, (x0, y0, x1, y1) = pixel[20:40], BOXES[3]
    assert ((middle >= (x0, y0)) & (middle < (x1, y1))).all()
    assert len(np.unique(middle, axis=0)) > 10


@triton.jit
def pick(heights, out, C: tl.constexpr, H: tl.constexpr, N: tl.constexpr):
    r = tl.arange(0, N)
    x, y = unlike(heights, 7, r, C, C, C, H)
    tl.store(out + r, y * C + x)


def test_cells_are_drawn_as_often_as_the_map_says() -> None:
    errors, n = ErrorMap(CELLS), 1 << 15
    errors.error[:] = np.random.default_rng(4).random((CELLS, CELLS)) ** 4
    heights = errors.heights()
    out = torch.zeros(n, dtype=torch.int32, device=DEVICE)
    on_device = torch.tensor(heights.astype(np.float32), device=DEVICE)
    pick[(1,)](on_device, out, C=CELLS, H=HALVINGS, N=n)
    drawn = np.bincount(out.cpu().numpy(), minlength=CELLS * CELLS).reshape(-1, 16).sum(axis=1)
    expected = np.diff(heights, prepend=0.0).reshape(-1, 16).sum(axis=1) * n
    assert expected.min() > 20
    chi = ((drawn - expected) ** 2 / expected).mean()
    assert 0.6 < chi < 1.5  # 256 groups of cells: 1 with a deviation of 0.09


def test_errors_are_summed_cell_by_cell_until_they_are_asked_for() -> None:
    field = random_head()
    ours, errors = resident(field), ErrorMap(32)
    ours.run([4], [7], [RATES], LossWeights(), [0.5], [0.0], 80, 1e6, refine=False)
    pixel = pixels_of(ours, 4, 80, field)
    each = ours.engine.errors[:80].cpu().numpy()
    errors.note(pixel[:, 0], pixel[:, 1], each)
    counts, sums = ours.errors()
    twin = ErrorMap(32)
    twin.add(counts, sums)
    np.testing.assert_allclose(twin.state(), errors.state(), atol=1e-6)
    assert counts.sum() == 80
    assert not ours.errors()[0].any()


def test_a_pose_moves_by_adam_and_the_others_stay() -> None:
    ours = resident(random_head())
    before = ours.poses()[0]
    result, rays = ours.run([2], [1], [RATES], LossWeights(), [0.2], [0.01], 60, 1.0, refine=True)
    slabs = ours.engine.rigid_slabs[:, :6].sum(dim=0).double().cpu().numpy() / 1024
    rigid, moment1, moment2, count = ours.poses()
    np.testing.assert_allclose(rigid[2], before[2] - 0.01 * np.sign(slabs), rtol=1e-3)
    np.testing.assert_allclose(moment1[2], 0.1 * slabs, rtol=1e-3)
    np.testing.assert_allclose(moment2[2], 0.05 * slabs**2, rtol=1e-3)
    np.testing.assert_array_equal(count, [0, 0, 1, 0, 0])
    np.testing.assert_array_equal(np.delete(rigid, 2, 0), np.delete(before, 2, 0))
    assert result.samples > 60
    assert rays == 96  # 256 at least, but no more than the engine takes


def test_trainer_learns_by_stretches_and_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(field: HeadField, *_: Any) -> tuple[TritonEngine, Choice]:
        return small_engine(field), Choice("triton", DEVICE)

    monkeypatch.setattr("nerf.train.open_engine", opened)
    settings = TrainSettings(config=SMALL, steps=5, size=32, pose_start=0.4, samples=1000)
    trainer = Trainer(FOOTAGE, replace(settings, holdout=0.4), WorkerPool(1), DEVICE, "triton")
    assert trainer.resident is not None
    first = trainer.step()
    assert trainer.step_index == 3  # a whole pass over the training frames
    assert trainer.engine.state()["count"] == 3
    assert trainer.rays_of.errors.steps == 3
    assert trainer.rays_of.errors.known.any()
    assert not trainer.rigid.any()
    trainer.engine.store()
    moved = trainer.field.mean.copy()
    second = trainer.step()
    assert trainer.done
    assert trainer.step_index == 5
    trainer.engine.store()
    assert np.mean(trainer.field.mean != moved) > 0.2
    assert 0 < second.error < 1
    assert first.samples > 0
    assert trainer.rigid.any()
    assert trainer.average is not None
    last = trainer.field.mean.copy()
    trainer.average.leave()
    trainer.engine.store()
    share = 1 - np.exp(-0.4 / 0.1)  # looked at after 0.6 and all of the run
    np.testing.assert_allclose(trainer.field.mean, moved + share * (last - moved), atol=1e-6)
    trainer.believe(np.zeros((3, 6)), FOOTAGE.expression[:3], FOOTAGE.rotation[:3], fixed=True)
    trainer.step()
    np.testing.assert_array_equal(trainer.resident.poses()[0], 0)
