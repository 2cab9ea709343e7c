"""CPEM's square and the pose that its answer means, against its published formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerf.camera import Camera, project, rotation_matrix
from sender.cpem.crops import Square, focal_of, head_pose, rotation_of, square_of
from sender.portrait_crop import crop_of, euler_angles, line_of_sight_turn

ANGLES = st.tuples(*[st.floats(-0.9, 0.9)] * 3)
PLACE = st.floats(-0.6, 0.6)
EDGE = st.integers(-80, 500)
SIDE = st.integers(40, 600)


def published_projection(points, angles, translation) -> np.ndarray:
    """Points [N, 3] of CPEM's model (decimetres) → pixels [N, 2] of its 224 px square, as its
    code multiplies: rows times the transposed rotation, z turned round, camera 10 units off."""
    (a, b, c) = angles
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    rows = points @ (z @ y @ x).T + translation
    depth = 10.0 - rows[:, 2]
    return np.stack([112 + 1015 * rows[:, 0] / depth, 112 - 1015 * rows[:, 1] / depth], axis=-1)


def test_square_follows_the_published_rule() -> None:
    assert square_of((100, 200, 180, 320)) == Square(78, 210, 125)  # mean side 100
    assert square_of((-30, -10, 30, 50)) == Square(round(-37.5), round(27.2 - 37.5), 75)


@given(st.floats(-500, 1500), st.floats(-500, 1500), st.floats(8, 900), st.floats(8, 900))
def test_square_is_a_quarter_larger_than_the_box_and_lower(left, top, w, h) -> None:
    square = square_of((left, top, left + w, top + h))
    mean = (w + h) / 2
    assert 1.25 * mean - 1 - 1e-9 <= square.side <= 1.25 * mean + 1e-9
    assert square.left + square.side / 2 == pytest.approx(left + w / 2, abs=0.51)
    assert square.top + square.side / 2 == pytest.approx(top + h / 2 + 0.12 * mean, abs=0.51)


def test_cut_of_a_square_of_the_input_size_is_the_picture_and_black_beyond_it() -> None:
    image = np.random.default_rng(0).integers(1, 256, (300, 260, 3)).astype(np.uint8)
    cut = Square(-20, 150, 224).cut(image)
    np.testing.assert_array_equal(cut[:150, 20:], image[150:300, :204])
    assert not cut[150:].any()
    assert not cut[:, :20].any()


@given(EDGE, EDGE, SIDE)
def test_cut_never_fails_and_is_black_without_the_picture(left: int, top: int, side: int) -> None:
    image = np.full((90, 120, 3), 200, dtype=np.uint8)
    cut = Square(left, top, side).cut(image)
    assert cut.shape == (224, 224, 3)
    touches = left < 120 and top < 90 and left + side > 0 and top + side > 0
    if not touches:
        assert not cut.any()
    if left >= 0 and top >= 0 and left + side <= 120 and top + side <= 90:
        assert (cut == 200).all()


@given(ANGLES)
def test_rotation_is_our_convention(angles) -> None:
    np.testing.assert_allclose(rotation_of(angles), rotation_matrix(*angles), atol=1e-12)


@given(ANGLES, PLACE, PLACE, st.floats(-2.0, 2.0), EDGE, EDGE, SIDE)
def test_pose_puts_small_things_where_cpem_draws_them(a, x, y, z, left, top, side) -> None:
    """Near the head's origin both cameras agree: in place, size and direction."""
    width, height = 640, 480
    square, translation = Square(left, top, side), (x, y, z)
    pose = head_pose(a, translation, square, width, height)
    assert pose is not None
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
    f = focal_of(height)
    assert 2 * np.degrees(np.arctan(height / 2 / f)) == pytest.approx(63.0)
    camera = Camera(f, f, width / 2, height / 2, width, height)
    points = 1e-4 * np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])  # metres
    ours = project(points, pose, camera)
    theirs = published_projection(points * 10, a, np.array(translation)) * side / 224
    np.testing.assert_allclose(ours[0], theirs[0] + (left, top), atol=1e-6)
    # Flat sensors stretch what is off their axis, by 1/cos² at most, hence the slack.
    scale = f / -pose[2, 3]
    tilt = max(np.hypot(*pose[:2, 3]) / -pose[2, 3], np.hypot(x, y) / (10 - z))
    gap = np.abs((ours[1:] - ours[0]) - (theirs[1:] - theirs[0])).max()
    assert gap <= scale * 1e-4 * (tilt**2 + tilt * 0.01 + 1e-3)


@given(ANGLES, PLACE, PLACE, st.floats(-2.0, 2.0))
def test_rotation_that_is_sent_is_cpems_along_the_line_of_sight(a, x, y, z) -> None:
    pose = head_pose(a, (x, y, z), Square(30, 40, 300), 640, 480)
    assert pose is not None
    _, rotation, _ = crop_of(pose, focal_of(480), 640, 480)
    seen = line_of_sight_turn((x, y, z - 10.0)) @ rotation_matrix(*a)
    np.testing.assert_allclose(rotation, euler_angles(seen), atol=1e-6)


def test_pose_in_metres_of_a_head_in_the_middle() -> None:
    """A square over the whole height, head one metre from CPEM's camera: focal length 1015/224
    of the height there, so the 63° camera has it nearer by the ratio of the two."""
    pose = head_pose((0, 0, 0), (0, 0, 0), Square(0, 0, 480), 480, 480)
    assert pose is not None
    distance = focal_of(480) / (1015 * 480 / 224)
    np.testing.assert_allclose(pose[:3, 3], (0, 0, -distance), atol=1e-12)
    np.testing.assert_allclose(pose[:3, :3], np.eye(3), atol=1e-12)


@pytest.mark.parametrize("z", [8.5, 10.0, 30.0, np.nan, np.inf])
def test_head_behind_or_inside_the_camera_is_none(z: float) -> None:
    assert head_pose((0, 0, 0), (0, 0, z), Square(0, 0, 300), 640, 480) is None


def test_angles_that_are_not_numbers_are_none() -> None:
    assert head_pose((np.nan, 0, 0), (0, 0, 0), Square(0, 0, 300), 640, 480) is None
