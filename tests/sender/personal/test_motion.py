"""Small motions: round trips, derivatives and what a portrait shows of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sender.personal.motion import Motion, portrait_pose, project
from sender.portrait_crop import euler_angles, rotation_matrix

small = arrays(np.float64, 6, elements=st.floats(-0.05, 0.05))
angles = arrays(np.float64, 3, elements=st.floats(-0.7, 0.7))
PIVOT = np.array([0.0, 0.01, -0.02])
POINTS = np.array([[0.03, 0.05, 0.02], [-0.04, -0.03, 0.05], [0.0, 0.0, 0.08]], np.float32)
NORMALS = np.array([[0.0, 0.0, 1.0]] * 3, np.float32)
POSITION = np.array([0.08, -0.05, -0.6])  # of the head before the camera
MIDDLE = (140.0, 110.0)


def shown(motion: Motion, turn: np.ndarray) -> np.ndarray:
    return project(
        POINTS, NORMALS, PIVOT, motion, portrait_pose(turn, POSITION), 400.0, MIDDLE
    ).pixels


@given(small)
def test_vector_and_motion_are_inverses(vector: np.ndarray) -> None:
    assert np.allclose(Motion.of(vector).vector(), vector, atol=1e-9)


@given(angles)
def test_rotation_matrix_and_angles_are_inverses(vector: np.ndarray) -> None:
    assert np.allclose(euler_angles(rotation_matrix(vector)), vector, atol=1e-9)


@given(small, angles)
def test_the_jacobian_is_the_derivative(vector: np.ndarray, turn: np.ndarray) -> None:
    motion, rotation = Motion.of(vector), rotation_matrix(turn)
    pose = portrait_pose(rotation, POSITION)
    jacobian = project(POINTS, NORMALS, PIVOT, motion, pose, 400.0, MIDDLE).jacobian
    h = 1e-3
    for k in range(6):
        step = np.eye(6)[k] * h
        slope = (shown(motion.after(step), rotation) - shown(motion.after(-step), rotation)) / 2 / h
        assert np.allclose(jacobian[:, :, k], slope, rtol=2e-2, atol=1.0)


@given(small, angles)
def test_projecting_equals_the_moved_pose(vector: np.ndarray, turn: np.ndarray) -> None:
    pose = Motion.of(vector).apply(portrait_pose(rotation_matrix(turn), POSITION), PIVOT)
    camera = POINTS @ pose[:3, :3].T + pose[:3, 3]
    expected = np.stack([140 + 400 * camera[:, 0] / -camera[:, 2],
                         110 - 400 * camera[:, 1] / -camera[:, 2]], axis=1)  # fmt: skip
    assert np.allclose(shown(Motion.of(vector), rotation_matrix(turn)), expected, atol=1e-2)


def test_what_faces_away_says_so() -> None:
    seen = project(POINTS, np.array([[0, 0, 1.0], [0, 0, -1.0], [1.0, 0, 0]], np.float32), PIVOT,
                   Motion.of(np.zeros(6)), portrait_pose(np.eye(3), (0.0, 0.0, -0.6)), 400.0,
                   MIDDLE)  # fmt: skip
    assert seen.facing[0] > 0.9
    assert seen.facing[1] < -0.9
    assert abs(seen.facing[2]) < 0.2
