"""A clip tells how far its camera was."""

from __future__ import annotations

import numpy as np
import pytest

from nerf.camera import head_pose, portrait_camera, project
from portrait.distance import FARTHEST, NEAREST, USUAL, camera_distance

NOISE = 0.0004  # portrait widths: a fifth of a pixel of 512


def head(rng: np.random.Generator, count: int = 60) -> np.ndarray:
    """Points all round the front of a head [count, 3], metres."""
    across, down = rng.uniform(-0.07, 0.07, count), rng.uniform(-0.08, 0.08, count)
    return np.stack([across, down, 0.07 - 9 * across**2 - 3 * down**2], axis=1)


def filmed(distance: float, turns: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks [N, M, 2] and rotations [N, 3] of a head that turns by `turns` radians."""
    rng = np.random.default_rng(seed)
    points, camera = head(rng), portrait_camera(1, distance, 2.6)
    rotation = rng.normal(0, turns, (300, 3))
    seen = np.stack([project(points, head_pose(r, distance), camera) for r in rotation])
    seen += rng.normal(0, NOISE, seen.shape)
    return seen.astype(np.float32), rotation


@pytest.mark.parametrize("distance", [0.35, 0.6, 1.0])
def test_a_head_that_turns_shows_the_distance(distance: float) -> None:
    landmarks, rotation = filmed(distance, 0.12, 1)
    told = camera_distance(landmarks, rotation, np.full(300, 0.3))
    assert distance / 1.35 < told < distance * 1.35


def test_far_is_as_far_as_it_matters() -> None:
    landmarks, rotation = filmed(6.0, 0.12, 2)
    told = camera_distance(landmarks, rotation, np.full(300, 0.3))
    assert 1.2 < told <= FARTHEST * 1.001


def test_a_head_that_holds_still_is_at_the_usual_distance() -> None:
    landmarks, rotation = filmed(0.5, 0.0005, 3)
    told = camera_distance(landmarks, rotation, np.full(300, 0.3))
    assert USUAL / 1.4 < told < USUAL * 1.4


def test_without_landmarks_the_tracker_is_believed() -> None:
    nothing = np.zeros((50, 0, 2), np.float32)
    assert camera_distance(nothing, np.zeros((50, 3)), np.full(50, 0.47)) == pytest.approx(0.47)
    assert NEAREST < 0.47 < FARTHEST
