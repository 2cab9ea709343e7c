"""The geometry of PE-Net's crop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerf.camera import rotation_matrix
from sender.facenet.crop import (
    INPUT_PX,
    METRE_PX,
    FaceCrop,
    crop_around,
    head_pose,
    roll,
    rotation_of_six,
)

angles = st.floats(-3.0, 3.0)
crops = st.builds(
    FaceCrop, st.floats(-100, 2000), st.floats(-100, 2000), st.floats(30, 1500), angles
)
points = st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=1, max_size=5)


@given(crops, points)
def test_crop_points_go_to_the_picture_and_back(crop: FaceCrop, inside: list) -> None:
    assert np.allclose(crop.to_crop(crop.to_picture(inside)), inside, atol=1e-6)


@given(crops, points)
def test_crop_affine_agrees_with_to_crop(crop: FaceCrop, inside: list) -> None:
    picture = crop.to_picture(inside)
    a = crop.affine(INPUT_PX)
    pixels = picture @ a[:, :2].T + a[:, 2]
    assert np.allclose(pixels / INPUT_PX - 0.5, crop.to_crop(picture), atol=1e-6)


@given(crops, st.floats(0.02, 0.4), angles)
def test_crop_around_turned_and_moved_landmarks_moves_with_them(
    crop: FaceCrop, width: float, lean: float
) -> None:
    face = np.random.default_rng(1).uniform(-0.3, 0.3, (478, 2))
    face[33], face[263] = (-width, -0.1), (width, -0.1)  # level eyes
    upright = crop_around(crop.to_picture(face))
    assert math.remainder(upright.angle - crop.angle, 2 * math.pi) == pytest.approx(0, abs=1e-6)
    turned = FaceCrop(crop.x, crop.y, crop.side, crop.angle + lean)
    again = crop_around(turned.to_picture(face))
    assert again.side == pytest.approx(upright.side, rel=1e-6)
    middle = crop.to_crop([[upright.x, upright.y]])
    assert np.allclose(turned.to_crop([[again.x, again.y]]), middle, atol=1e-6)


@given(crops.filter(lambda c: abs(c.x - 960) < 900 and abs(c.y - 540) < 500))
def test_head_pose_inverts_how_labels_are_made(crop: FaceCrop) -> None:
    focal, width, height = 900.0, 1920, 1080
    pose = np.eye(4)
    pose[:3, :3] = rotation_matrix(0.2, -0.5, 0.3)
    depth = 0.7
    pose[:3, 3] = (
        (crop.x - width / 2) / focal * depth, (height / 2 - crop.y) / focal * depth, -depth,
    )  # fmt: skip
    origin = crop.to_crop([[crop.x, crop.y]])[0]
    scale = math.log(focal / depth * INPUT_PX / crop.side / METRE_PX)
    back = head_pose(
        crop, roll(-crop.angle) @ pose[:3, :3], origin, scale, focal, width, height
    )  # fmt: skip
    assert np.allclose(back, pose, atol=1e-9)


@given(st.floats(0.3, 3), st.floats(0.3, 3), angles, angles, angles)
def test_rotation_of_six_ignores_lengths(a: float, b: float, x: float, y: float, z: float) -> None:
    r = rotation_matrix(x, y, z)
    six = np.concatenate([a * r[:, 0], b * r[:, 1] + 0.3 * r[:, 0]])
    assert np.allclose(rotation_of_six(six), r, atol=1e-9)


def test_place_of_rolled_camera_is_the_rolled_place() -> None:
    """Turning picture and crop together about the picture's middle changes nothing."""
    a = 0.4
    c, s = math.cos(a), math.sin(a)
    dx, dy = 130.0, -60.0
    level = FaceCrop(320 + dx, 240 + dy, 120, 0.1)
    # counter-clockwise as seen, y down
    turned = FaceCrop(320 + c * dx + s * dy, 240 - s * dx + c * dy, 120, 0.1 + a)
    assert np.allclose(level.place(400, 640, 480), turned.place(400, 640, 480))


def test_cut_shows_the_crop_upright() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    crop = FaceCrop(90.0, 110.0, 80.0, 0.6)
    right = crop.to_picture([[0.25, 0.0]])[0]
    yy, xx = np.mgrid[:200, :200] + 0.5
    image[np.hypot(xx - right[0], yy - right[1]) < 5] = 255
    seen = crop.cut(image)[..., 0]
    y, x = np.array(np.nonzero(seen > 128)).mean(axis=1) + 0.5
    assert (x / INPUT_PX - 0.5, y / INPUT_PX - 0.5) == pytest.approx((0.25, 0.0), abs=0.01)
    assert (FaceCrop(0.0, 0.0, 80.0, 0.0).cut(image + 9)[:50, :50] == 0).all()  # beyond: black
