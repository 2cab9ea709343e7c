"""Steps without the host: rays are the footage's, poses move as the trainer's Adam moves them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nerf.backends import Choice
from nerf.camera import project
from nerf.cpu.pool import WorkerPool
from nerf.field import HeadField, cube_view
from nerf.step import LossWeights, Rates
from nerf.train import Trainer, TrainSettings, bounding_box
from tests.nerf.heads import SMALL, ball_footage, random_head
from tests.nerf.triton_here import triton_device

DEVICE = triton_device()

from nerf.gpu.engine import TritonEngine  # noqa: E402
from nerf.gpu.resident import ResidentTraining  # noqa: E402

FOOTAGE = ball_footage(5, 32)
BOXES = [bounding_box(a) for a in FOOTAGE.alpha]
POSES = [FOOTAGE.pose(i) for i in range(5)]
RATES = Rates(table=1e-2, expression=1e-2, network=1e-3)


def small_engine(field: HeadField, *_: Any, **__: Any) -> TritonEngine:
    return TritonEngine(field, DEVICE, steps=24, capacity=1 << 13, max_rays=96,
                        block=512 if DEVICE == "cpu" else 64)  # fmt: skip


def resident(field: HeadField) -> ResidentTraining:
    out = ResidentTraining(small_engine(field), FOOTAGE.rgb, FOOTAGE.alpha, BOXES, POSES,
                           FOOTAGE.camera)  # fmt: skip
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
