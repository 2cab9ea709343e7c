"""Many heads in one call: whatever draws, the pictures are those of each head alone."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest

from nerf.batch import HeadBatch, View
from nerf.camera import head_pose, portrait_camera
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import CpuRenderer
from tests.nerf.heads import SMALL, random_head
from tests.nerf.triton_here import triton_device

DEVICE = triton_device()

OTHER = dataclasses.replace(SMALL, hidden=8)
FIELDS = [random_head(0), random_head(1, OTHER), random_head(2, turned=True)]
EXPRESSION = np.random.default_rng(0).random(46)
POSE = head_pose((0.0, 0.3, 0.0), 0.5)
AWAY = POSE.copy()
AWAY[2, 3] = 5.0  # behind the camera: quick to draw, in the interpreter as well


def view(avatar: int, size: int, pose: np.ndarray = POSE) -> View:
    colour = (avatar / 4, 0.5, 1.0)
    return View(EXPRESSION, pose, portrait_camera(size, 0.5, 2.6), colour, avatar=avatar)


def test_pictures_of_one_call_are_those_of_each_head_alone() -> None:
    pool = WorkerPool(1)
    views = [view(2, 12), view(0, 12), view(1, 9)]
    drawn = HeadBatch(FIELDS, pool, "cpu").render_batch(views)
    for v, picture in zip(views, drawn, strict=True):
        alone = CpuRenderer(FIELDS[v.avatar], pool)
        alone.set_expression(FIELDS[v.avatar].code.seen(EXPRESSION, v.pose))
        wanted = alone.render(v.pose, v.camera, v.background)
        np.testing.assert_array_equal(picture.rgb, wanted.rgb)
    with pytest.raises(ValueError, match="no head 3"):
        HeadBatch(FIELDS, pool, "cpu").render_batch([view(3, 4)])


def test_heads_of_two_shapes_and_pictures_of_two_sizes_come_back_in_order() -> None:
    batch = HeadBatch(FIELDS, WorkerPool(1), backend="triton")
    assert batch.choice.backend == "triton"
    asked = [(2, 5), (1, 4), (0, 5), (0, 4)]
    drawn = batch.render_batch([view(a, s, AWAY) for a, s in asked])
    for (avatar, size), picture in zip(asked, drawn, strict=True):
        assert picture.rgb.shape == (size, size, 3)
        assert picture.rgb[0, 0, 0] == round(avatar / 4 * 255)


def test_when_triton_breaks_the_next_best_draws(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batch = HeadBatch(FIELDS[:1], WorkerPool(1), backend="triton")

    def broken(*_: object) -> None:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr("nerf.gpu.renderer.BatchRenderer.render_batch", broken)
    with caplog.at_level(logging.WARNING, logger="nerf.backends"):
        picture = batch.render_batch([view(0, 12)])[0]
    assert picture.alpha.max() > 100
    assert batch.choice.backend != "triton"
    assert [r.message.count("illegal memory access") for r in caplog.records] == [1]
