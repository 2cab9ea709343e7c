"""The stabilised portrait's geometry, against nerf.camera and synthetic projections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerf.camera import Camera, head_pose, portrait_camera, project, rotation_matrix
from quic_transport.errors import LocalError
from sender.portrait_crop import PORTRAIT_SCALE, PortraitCrop, crop_at, crop_of, offset_of

ANGLE = st.floats(-0.8, 0.8)
PLACE = st.floats(-0.25, 0.25)
DEPTH = st.floats(0.3, 2.0)


@given(ANGLE, ANGLE, ANGLE, PLACE, PLACE, DEPTH)
def test_head_origin_lands_in_the_middle_at_the_fixed_scale(p, y, r, tx, ty, d) -> None:
    camera = Camera(900.0, 900.0, 640.0, 360.0, 1280, 720)
    pose = head_pose((p, y, r), d, (tx, ty, 0.0))
    crop, _, _ = crop_of(pose, 900.0, 1280, 720)
    sideways = np.array([[0.0, 0, 0], np.linalg.inv(pose[:3, :3])[:, 0] * 0.01])
    at = crop.map_points(project(sideways, pose, camera), 512)
    np.testing.assert_allclose(at[0], (256, 256), atol=0.02)
    assert at[1, 0] - at[0, 0] == pytest.approx(0.01 * PORTRAIT_SCALE * 512, rel=1e-3)


@given(ANGLE, ANGLE, ANGLE, PLACE, PLACE, DEPTH)
def test_rotation_is_what_the_portrait_camera_sees(p, y, r, tx, ty, d) -> None:
    """A small object projected by the full camera and cropped looks as the portrait's own camera
    shows it with the line-of-sight rotation: that is what the correction is for."""
    pose = head_pose((p, y, r), d, (tx, ty, 0.0))
    camera = Camera(900.0, 900.0, 640.0, 360.0, 1280, 720)
    crop, rotation, _ = crop_of(pose, 900.0, 1280, 720)
    points = 0.002 * np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 1, 1]])
    cropped = crop.map_points(project(points, pose, camera), 512) - 256
    own = project(points, head_pose(rotation, d), portrait_camera(512, d, PORTRAIT_SCALE)) - 256
    tilt = np.hypot(tx, ty) / d  # a flat sensor stretches off-axis views by 1/cos² at most
    np.testing.assert_allclose(cropped, own, atol=0.05 + 4.0 * tilt**2)


def test_head_on_the_axis_keeps_its_rotation() -> None:
    _, rotation, offset = crop_of(head_pose((0.1, -0.2, 0.3), 0.5), 900.0, 1280, 720)
    np.testing.assert_allclose(rotation, (0.1, -0.2, 0.3), atol=1e-12)
    np.testing.assert_allclose(offset[:2], 0.0, atol=1e-12)


def test_head_that_faces_an_off_axis_camera_is_frontal() -> None:
    t = np.array([0.2, 0.1, -0.6])
    z = -t / np.linalg.norm(t)  # the face points at the camera
    x = np.cross((0.0, 1.0, 0.0), z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    pose[:3, 3] = t
    _, rotation, _ = crop_of(pose, 900.0, 1280, 720)
    np.testing.assert_allclose(rotation[:2], 0.0, atol=1e-9)


@given(PLACE, PLACE, DEPTH, st.sampled_from([(1280, 720), (1080, 1920), (512, 512)]))
def test_offset_round_trip_gives_the_crop(tx, ty, d, size) -> None:
    crop, _, offset = crop_of(head_pose((0, 0, 0), d, (tx, ty, 0.0)), 900.0, *size)
    np.testing.assert_allclose(offset, offset_of(crop, *size))
    back = crop_at(offset, *size)
    np.testing.assert_allclose((back.u, back.v, back.side), (crop.u, crop.v, crop.side))


def test_euler_angles_match_nerf_camera() -> None:
    pose = np.eye(4)
    pose[:3, :3] = rotation_matrix(-0.4, 0.7, 0.2)
    pose[2, 3] = -1.0
    np.testing.assert_allclose(crop_of(pose, 500.0, 640, 480)[1], (-0.4, 0.7, 0.2))


@pytest.mark.parametrize("side", [100.0, 512.0, 1500.0])
def test_apply_puts_a_spot_where_affine_says(side: float) -> None:
    image = np.zeros((800, 1000, 3), dtype=np.uint8)
    image[390:410, 520:540] = 255  # centre (530, 400) in pixel-edge coordinates
    crop = PortraitCrop(500.0, 410.0, side)
    portrait = crop.apply(image, 256, border=0).astype(float)[..., 0]
    y, x = (portrait.sum(axis=k) @ (np.arange(256) + 0.5) / portrait.sum() for k in (1, 0))
    expected = crop.map_points([(530.0, 400.0)], 256)[0]
    np.testing.assert_allclose((x, y), expected, atol=0.15)


def test_apply_beyond_the_picture_is_white() -> None:
    portrait = PortraitCrop(0.0, 0.0, 100.0).apply(np.zeros((50, 50, 3), np.uint8), 64)
    assert (portrait[:30, :30] == 255).all()
    assert (portrait[36:60, 36:60] == 0).all()


def test_head_behind_the_camera_raises_local_error() -> None:
    with pytest.raises(LocalError, match="in front"):
        crop_of(head_pose((0, 0, 0), -0.5), 900.0, 1280, 720)


@pytest.mark.parametrize("side", [90.0, 300.0, 611.3])
def test_part_of_a_portrait_is_that_part_of_the_portrait(side: float) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (480, 640, 3)).astype(np.uint8)
    crop = PortraitCrop(300.3, 220.7, side)
    whole = crop.apply(image, 128)
    part = crop.apply(image, 128, part=(16, 3, 110, 101))
    off = np.abs(part.astype(int) - whole[3:101, 16:110].astype(int))
    assert off.max() <= 2  # warpAffine rounds its table by 1/32 pixel


@pytest.mark.parametrize("side", [90.0, 300.0, 611.3])
@pytest.mark.parametrize(("u", "v"), [(300.3, 220.7), (620.0, 30.0), (-900.0, 220.0)])
def test_grey_part_is_what_the_whole_portrait_shows(side: float, u: float, v: float) -> None:
    import cv2

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (24, 32, 3)).astype(np.uint8)
    image = np.asarray(cv2.resize(coarse, (640, 480)), dtype=np.uint8)
    crop = PortraitCrop(u, v, side)
    grey = crop.grey(image, 128, (16, 3, 110, 101))
    wanted = cv2.cvtColor(crop.apply(image, 128), cv2.COLOR_RGB2GRAY)[3:101, 16:110]
    off = np.abs(grey.astype(int) - wanted.astype(int))
    edge = (
        cv2.dilate((wanted == 255).astype(np.uint8), np.ones((5, 5))) > 0
    )  # blended with the border
    assert off[~edge].max(initial=0) <= 12
    assert off.mean() < 0.5
