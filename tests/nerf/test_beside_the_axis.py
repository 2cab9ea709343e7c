"""Footage of a head that leaves the middle of its camera's picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nerf.camera import portrait_at, seen_pose
from nerf.field import Cube
from nerf.footage import Footage
from nerf.occupancy import visual_hull, voxel_centers
from nerf.ray_draw import RayDraw
from tests.nerf.heads import ball, ball_footage

RADIUS = 0.08
CUBE = Cube((0.0, 0.0, 0.0), 0.22)
RIGID, CODE = np.zeros(6), np.zeros(3, np.float32)


@pytest.fixture(scope="module")
def beside() -> Footage:
    """A ball that was filmed all over the picture, near and far."""
    footage = ball_footage(6, 64, RADIUS)
    rng = np.random.default_rng(3)
    position = np.stack([rng.uniform(-0.25, 0.25, 6), rng.uniform(-0.2, 0.2, 6),
                         -rng.uniform(0.45, 0.7, 6)], axis=1)  # fmt: skip
    shown = [
        ball(portrait_at(p, 64, 2.6), r, float(e[0]), RADIUS, seen_pose(r, p))
        for r, p, e in zip(footage.rotation, position, footage.expression, strict=True)
    ]
    rgb, alpha = (np.stack(a) for a in zip(*shown, strict=True))
    return replace(footage, rgb=rgb, alpha=alpha, position=position)


def hits(footage: Footage) -> np.ndarray:
    """Whether rays that the matte is sure of meet the ball, or miss it where there is none."""
    draw = RayDraw(footage, len(footage), CUBE, 0.0)
    right = []
    for frame in range(len(footage)):
        batch = draw.draw(frame, 600, RIGID, CODE, np.random.default_rng(frame))
        from_middle = batch.origin - 0.5
        along = batch.directions @ from_middle
        off = np.sqrt((from_middle @ from_middle) - along**2) * CUBE.edge
        sure = (batch.alpha < 0.02) | (batch.alpha > 0.98)
        right.append(((off < RADIUS) == (batch.alpha > 0.5))[sure])
    return np.concatenate(right)


def test_rays_start_where_the_films_camera_was(beside: Footage) -> None:
    assert hits(beside).all()
    assert hits(replace(beside, position=None)).mean() < 0.995  # as if it sat in the middle


def test_no_voxel_of_the_ball_is_outside_of_the_hull(beside: Footage) -> None:
    views = [(beside.pose(i), beside.lens(i)) for i in range(len(beside))]
    hull = visual_hull(beside.alpha, views, CUBE, misses=0.0)
    inside = np.linalg.norm(CUBE.to_head(voxel_centers()), axis=1).reshape(hull.shape) < RADIUS
    assert hull[inside].all()
    assert hull.sum() < 2 * inside.sum()
