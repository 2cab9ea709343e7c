"""What a table entry is worth is what pictures say when it is changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nerf import importance as module
from nerf.camera import head_pose, portrait_camera
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import CpuRenderer
from nerf.expression import ExpressionCode
from nerf.field import HeadField
from nerf.importance import importance, usual_views
from tests.nerf.heads import random_head

DISTANCE, SCALE = 0.6, 2.6
CHANGE = 0.2


def ball() -> HeadField:
    """Random weights in a ball."""
    field = random_head(2)
    field.mean *= 0.3
    g = field.occupancy.shape[0]
    axis = (np.arange(g) + 0.5) / g - 0.5
    inside = sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")) < 0.25**2
    return replace(field, occupancy=np.asarray(inside, np.uint8))


def test_importance_is_what_changed_pictures_say() -> None:
    field, pool = ball(), WorkerPool(1)
    own = np.eye(3, dtype=np.float32)
    far = np.full(3, 1e3, np.float32)
    given = replace(field, code=ExpressionCode(-far, far, 0 * far, own))
    codes = np.zeros((60, 3), np.float32)
    rotations = np.random.default_rng(0).uniform(-0.3, 0.3, (60, 3))
    before = field.mean.copy(), field.tables.copy(), [w.copy() for w in field.networks]
    worth = importance(field, codes, rotations, DISTANCE, SCALE, pool)
    np.testing.assert_array_equal(field.mean, before[0])
    np.testing.assert_array_equal(field.tables, before[1])
    for now, then in zip(field.networks, before[2], strict=True):
        np.testing.assert_array_equal(now, then)

    camera = portrait_camera(64, DISTANCE, SCALE)
    backgrounds = np.random.default_rng(1).random((8, 3))

    def pictures() -> np.ndarray:
        renderer = CpuRenderer(given, pool, steps=128)
        out = []
        for i, background in enumerate(backgrounds):
            renderer.set_expression(codes[i])
            pose = head_pose(rotations[i], DISTANCE)
            out.append(renderer.render(pose, camera, background).rgb)
        return np.stack(out).astype(np.float64) / 255

    still = pictures()
    used = np.flatnonzero(worth[:, 0] > 0)
    ranked = used[np.argsort(-worth[used, 0])]
    measured = []
    picked = np.concatenate([ranked[:6], ranked[len(ranked) // 2 :: len(ranked) // 12][:6]])
    for entry in picked:
        given.mean[entry, 0] += CHANGE
        measured.append(float(((pictures() - still) ** 2).sum(axis=-1).mean()))
        given.mean[entry, 0] -= CHANGE
    expected = worth[picked, 0] * CHANGE**2
    assert 0.5 < sum(measured[:6]) / expected[:6].sum() < 2.5  # pixels are rounded to 8 bits
    assert min(measured[:6]) > 3 * max(measured[6:])


def test_what_no_ray_reaches_is_worth_nothing() -> None:
    field = ball()
    codes, rotations = usual_views(field, -0.2 * np.ones(3), 0.2 * np.ones(3), 6)
    worth = importance(field, codes, rotations, DISTANCE, SCALE, WorkerPool(1))
    side = field.config.resolutions[0] + 1
    first = field.config.offsets()[0]
    dense = worth[first : first + side**3].reshape(side, side, side, 4)  # z slowest
    assert not dense[0].any()
    assert not dense[:, :, -1].any()
    assert dense[side // 2, side // 2].any()


def test_fog_costs_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SAMPLES", 1)
    field = ball()
    codes, rotations = usual_views(field, np.zeros(3), np.zeros(3), 5)
    one = importance(field, codes, rotations, DISTANCE, SCALE, WorkerPool(1))
    monkeypatch.setattr(module, "MOST_SAMPLES", 10**9)
    five = importance(field, codes, rotations, DISTANCE, SCALE, WorkerPool(1))
    assert 0.3 < one.sum() / five.sum() < 3.0  # a mean, whatever the number of pictures
    assert (one > 0).sum() < (five > 0).sum()


def test_usual_views_are_spread_as_training_is() -> None:
    codes, rotations = usual_views(random_head(), [-0.2, -0.5, 0.0], [0.1, 0.5, 0.0], 4000)
    assert codes.std() == pytest.approx(0.25, rel=0.05)
    assert rotations.min(axis=0) == pytest.approx([-0.2, -0.5, 0.0], abs=0.02)
    assert rotations.max(axis=0) == pytest.approx([0.1, 0.5, 0.0], abs=0.02)
