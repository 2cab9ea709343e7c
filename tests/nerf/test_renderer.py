"""What a receiver gets from the head renderer."""

from __future__ import annotations

import numpy as np
import pytest

import nerf.cpu.render as cpu_render
from nerf.camera import head_pose, project
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import CpuRenderer
from nerf.renderer import TURNED, HeadRenderer
from tests.nerf.heads import random_head

NEUTRAL = np.full(46, 0.5)


def test_head_appears_where_the_projection_says() -> None:
    field = random_head()
    field.occupancy[:] = 0
    field.occupancy[40:48, 20:26, 30:36] = 1  # a block to the right of and below the origin
    renderer = HeadRenderer(field, 0.5, 2.6, 2)
    shown = renderer.render_portrait(NEUTRAL, (0.0, 0.0, 0.0), 96)
    ys, xs = np.nonzero(shown.alpha > 60)
    corners = np.array([[x, y, z] for x in (40, 48) for y in (20, 26) for z in (30, 36)]) / 64
    xy = project(field.cube.to_head(corners), head_pose((0, 0, 0), 0.5), renderer.portrait(96))
    assert len(xs) > 10
    assert xs.min() >= xy[:, 0].min() - 1
    assert xs.max() <= xy[:, 0].max() + 1
    assert ys.min() >= xy[:, 1].min() - 1
    assert ys.max() <= xy[:, 1].max() + 1
    near = shown.depth[shown.alpha > 140]
    assert near.min() > 0.4
    assert near.max() < 0.6


def test_picture_depends_on_neither_threads_nor_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    field = random_head()
    one = HeadRenderer(field, 0.5, 2.6, 1).render_portrait(NEUTRAL, (0.1, 0.2, 0), 50)
    monkeypatch.setattr(cpu_render, "BANDS", 7)
    three = HeadRenderer(field, 0.5, 2.6, 3).render_portrait(NEUTRAL, (0.1, 0.2, 0), 50)
    np.testing.assert_array_equal(one.rgb, three.rgb)
    assert one.samples == three.samples


def test_nothing_occupied_shows_the_background() -> None:
    field = random_head()
    field.occupancy[:] = 0
    shown = HeadRenderer(field, 0.5, 2.6, 1).render_portrait(
        NEUTRAL, (0, 0, 0), 20, background=(1.0, 0.5, 0.0)
    )
    assert (shown.rgb == [255, 128, 0]).all()
    assert shown.alpha.max() == 0
    assert shown.samples == 0


def test_view_turns_the_picture_and_leaves_the_correction() -> None:
    field = random_head()
    field.correction[4, 2] = 0.5  # half a cube edge upwards per radian of tracked yaw
    renderer = HeadRenderer(field, 0.5, 2.6, 1)
    same = renderer.render_portrait(NEUTRAL, (0, 0.3, 0), 40, view=(0, 0.3, 0))
    plain = renderer.render_portrait(NEUTRAL, (0, 0.3, 0), 40)
    np.testing.assert_array_equal(same.rgb, plain.rgb)
    turned = renderer.render_portrait(NEUTRAL, (0, 0.3, 0), 40, view=(0, -0.3, 0))
    assert np.abs(turned.rgb.astype(int) - plain.rgb).mean() > 3
    field.correction[:] = 0
    assert np.abs(renderer.render_portrait(NEUTRAL, (0, 0.3, 0), 40).rgb.astype(int)
                  - plain.rgb).mean() > 1  # fmt: skip


def test_a_free_viewpoint_counts_as_a_turn_in_the_room_by_a_part() -> None:
    field = random_head(turned=True)
    renderer = HeadRenderer(field, 0.5, 2.6, 1)
    ahead = renderer.render_portrait(NEUTRAL, (0, 0, 0), 40)
    same = renderer.render_portrait(NEUTRAL, (0, 0, 0), 40, view=(0, 0, 0))
    np.testing.assert_array_equal(same.rgb, ahead.rgb)
    aside = renderer.render_portrait(NEUTRAL, (0, 0.3, 0), 40, view=(0, 0, 0))
    plain = CpuRenderer(field, WorkerPool(1))  # part of the way counts as a turn in the room
    plain.set_expression(field.code.face(NEUTRAL, (0, 0.3 * (1 - TURNED), 0)))
    wanted = plain.render(head_pose((0, 0, 0), 0.5), renderer.portrait(40), rigid=np.zeros(6))
    np.testing.assert_array_equal(aside.rgb, wanted.rgb)
    assert (aside.rgb != ahead.rgb).any()
    turned = renderer.render_portrait(NEUTRAL, (0, 0.3, 0), 40)
    field.code.projection[46:] = 0
    without = renderer.render_portrait(NEUTRAL, (0, 0.3, 0), 40)
    assert np.abs(turned.rgb.astype(int) - without.rgb).mean() > 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    renderer = HeadRenderer(random_head(), 0.5, 2.6, 1)
    broken = NEUTRAL.copy()
    broken[7] = bad
    with pytest.raises(ValueError, match="finite"):
        renderer.render_portrait(broken, (0, 0, 0), 16)


def test_warm_up_works_at_any_size() -> None:
    HeadRenderer(random_head(), 0.5, 2.6, 2).warm_up(17)


def test_longer_steps_take_fewer_samples_and_show_nearly_the_same() -> None:
    renderer = HeadRenderer(random_head(), 0.5, 2.6, 1)
    fine = renderer.render_portrait(NEUTRAL, (0, 0.2, 0), 60)
    renderer.set_stride(2.0)
    coarse = renderer.render_portrait(NEUTRAL, (0, 0.2, 0), 60)
    assert coarse.samples < 0.8 * fine.samples
    assert 0 < np.abs(coarse.rgb.astype(int) - fine.rgb).mean() < 10
    assert np.abs(coarse.alpha.astype(int) - fine.alpha).mean() < 10
    renderer.set_stride(1.0)
    np.testing.assert_array_equal(renderer.render_portrait(NEUTRAL, (0, 0.2, 0), 60).rgb, fine.rgb)
