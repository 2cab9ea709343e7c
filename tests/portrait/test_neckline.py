"""The neck cut: fitted to a known jaw, projected as a NeRF's camera would."""

from __future__ import annotations

import numpy as np
import pytest

from nerf.camera import head_pose, portrait_camera, project
from portrait.neckline import JAW_LINE, MARGIN_M, Neckline, fit_neckline
from quic_transport.params import ARKIT46

JAW_OPEN = ARKIT46.index("jawOpen")
D, SCALE = 0.4, 2.6


def jaw() -> np.ndarray:
    x = np.linspace(-0.06, 0.06, len(JAW_LINE))
    return np.stack([x, -0.09 + 8 * x**2, 0.043 - 14 * x**2], axis=1)


def observe(n: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks of a jaw that drops 3 cm at jawOpen = 1, under turning."""
    rng = np.random.default_rng(2)
    rotation = rng.normal(0, 0.12, (n, 3))
    expression = np.zeros((n, 46), np.float32)
    expression[:, JAW_OPEN] = rng.random(n) ** 2
    camera = portrait_camera(1, D, SCALE)
    marks = np.zeros((n, 478, 2), np.float32)
    for i in range(n):
        points = jaw() - np.array([0, 0.03 * expression[i, JAW_OPEN], 0])
        marks[i, list(JAW_LINE)] = project(points, head_pose(rotation[i], D), camera)
    return marks + rng.normal(0, noise, marks.shape).astype(np.float32), rotation, expression


@pytest.fixture(scope="module")
def fitted() -> Neckline:
    return fit_neckline(*observe(400, 0.004), D, SCALE)


def test_fit_recovers_jaw_and_its_motion_below_the_landmark_noise(fitted: Neckline) -> None:
    marks, rotation, expression = observe(400, 0.0)
    margin = MARGIN_M * SCALE
    error = [
        fitted.curve(rotation[i], expression[i])[1:-1] - (0, margin) - marks[i, list(JAW_LINE)]
        for i in range(0, 400, 20)
    ]
    assert np.sqrt(np.mean(np.square(error))) < 0.002  # the noise was 0.004


def test_curve_is_the_same_for_the_same_numbers_only(fitted: Neckline) -> None:
    closed, opened = np.zeros(46), np.zeros(46)
    opened[JAW_OPEN] = 1.0
    drop = fitted.curve((0, 0, 0), opened) - fitted.curve((0, 0, 0), closed)
    assert drop[8, 1] == pytest.approx(0.03 * SCALE * D / (D - 0.043), rel=0.15)


@pytest.mark.parametrize(
    "rotation", [(0, 0, 0), (0.3, 0, 0), (0, 0.7, 0), (0, -0.7, 0.2), (0, 0, 0.5)]
)
def test_mask_keeps_the_face_and_cuts_the_neck(fitted: Neckline, rotation) -> None:
    mask = fitted.mask(rotation, np.zeros(46), 256)
    camera = portrait_camera(256, D, SCALE)
    kept = [(0, 0, 0.06), (0, 0.05, 0.05), (0, -0.06, 0.05), (0.06, 0.0, 0.0), (-0.06, 0.0, 0.0)]
    cut = [(0, -0.15, -0.02), (0.05, -0.17, -0.02), (-0.05, -0.17, -0.02)]
    for points, value in ((kept, 1.0), (cut, 0.0)):
        for x, y in project(points, head_pose(rotation, D), camera):
            if 0 <= x < 256 and 0 <= y < 256:
                assert mask[int(y), int(x)] == value, (points, x, y)
    assert 0 < ((mask > 0) & (mask < 1)).sum() < 256 * 12  # a thin soft edge
