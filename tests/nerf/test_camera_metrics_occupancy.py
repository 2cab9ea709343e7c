"""Cameras, image metrics and the occupancy grid against what geometry and arithmetic say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerf.camera import (
    Camera,
    euler_angles,
    head_pose,
    invert_pose,
    pixel_rays,
    portrait_at,
    portrait_camera,
    project,
    rotation_matrix,
    seen_pose,
    seen_rotation,
)
from nerf.expression import ExpressionCode, fit_expression_code
from nerf.field import Cube, cube_rays, rotation_of
from nerf.metrics import likeness, mean_likeness, psnr, rimless, ssim
from nerf.occupancy import Occupancy, fit_cube, visual_hull, voxel_centers

ANGLE = st.floats(-1.4, 1.4)


@given(ANGLE, ANGLE, ANGLE)
def test_angles_come_back_from_their_matrix(pitch: float, yaw: float, roll: float) -> None:
    matrix = rotation_matrix(pitch, yaw, roll)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(euler_angles(matrix), (pitch, yaw, roll), atol=1e-9)


def test_signs_are_those_of_the_conventions() -> None:
    camera = portrait_camera(100, 0.5, 2.6)
    nose: list[list[float]] = [[0.0, 0.0, 0.07]]
    top: list[list[float]] = [[0.0, 0.1, 0.0]]

    def seen(point: list[list[float]], *angles: float) -> np.ndarray:
        return project(point, head_pose(angles, 0.5), camera)[0]

    assert seen(nose, 0.2, 0, 0)[1] > 50  # +pitch looks down
    assert seen(nose, 0, 0.2, 0)[0] > 50  # +yaw turns to the image's right
    assert seen(top, 0, 0, 0.2)[0] < 50  # +roll tilts the top to the image's left


def test_portrait_shows_a_metre_as_so_many_widths() -> None:
    camera = portrait_camera(512, 0.8, 2.6)
    xy = project([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]], head_pose((0, 0, 0), 0.8), camera)
    assert xy[0] == pytest.approx([256, 256])
    assert xy[1, 0] - xy[0, 0] == pytest.approx(0.1 * 2.6 * 512)


def test_rays_go_back_through_what_was_projected() -> None:
    rng = np.random.default_rng(0)
    pose = head_pose((0.2, -0.4, 0.1), 0.7, (0.02, -0.01, 0.05))
    camera = Camera(300, 310, 70, 50, 128, 100)
    points = rng.uniform(-0.1, 0.1, (20, 3))
    origin, directions = pixel_rays(pose, camera, project(points, pose, camera))
    away = points - origin
    np.testing.assert_allclose(
        away / np.linalg.norm(away, axis=1, keepdims=True), directions, atol=1e-9
    )
    np.testing.assert_allclose(invert_pose(pose) @ pose, np.eye(4), atol=1e-12)
    cube = Cube((0.01, 0.02, -0.03), 0.3)
    o, d = cube_rays(pose, camera, project(points, pose, camera), cube)
    np.testing.assert_allclose(cube.to_head(o), origin, atol=1e-6)
    np.testing.assert_allclose(d, directions, atol=1e-5)


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_rotation_vectors_give_rotations(vector: list[float]) -> None:
    matrix = rotation_of(vector)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix) == pytest.approx(1)
    np.testing.assert_allclose(matrix @ vector, vector, atol=1e-9)


def test_expression_code_centres_clips_and_projects() -> None:
    e = np.random.default_rng(0).random((200, 46))
    full, few = fit_expression_code(e, 46), fit_expression_code(e, 5)
    for code in (full, few):
        assert np.abs(code(e.mean(axis=0))).max() < 1e-5
        np.testing.assert_allclose(code(e.max(axis=0) + 3), code(e.max(axis=0)))
    assert np.count_nonzero(full.projection - np.diag(np.diag(full.projection))) == 0
    assert few(e).shape == (200, 5)
    assert np.abs(few(e)).std() > 0.1


def test_a_face_is_its_coefficients_and_the_angles_it_is_seen_under() -> None:
    rng = np.random.default_rng(0)
    e, r = rng.random((200, 46)), rng.uniform(-0.3, 0.3, (200, 3))
    code = fit_expression_code(e, 5, r)
    assert (code.coefficients, code.angles, len(code.mean)) == (46, 3, 49)
    pose = head_pose(r[7], 0.6)
    np.testing.assert_allclose(code.seen(e[7], pose), np.concatenate([e[7], r[7]]), atol=1e-6)
    turned = np.array([0.0, 9.0, 0.0])  # farther than anybody was seen: as far as somebody was
    farthest = np.array([0.0, r[:, 1].max(), 0.0])
    np.testing.assert_allclose(code(code.face(e[7], turned)), code(code.face(e[7], farthest)))
    plain = fit_expression_code(e, 5)
    np.testing.assert_array_equal(plain.seen(e[7], pose), e[7].astype(np.float32))


def test_coefficients_are_believed_a_little_beyond_training_and_angles_are_not() -> None:
    rng = np.random.default_rng(0)
    e, r = rng.random((200, 46)), rng.uniform(-0.3, 0.3, (200, 3))
    code = fit_expression_code(e, 5, r, beyond=0.4)
    span = e.max(axis=0) - e.min(axis=0)
    np.testing.assert_allclose(code.low[:46], e.min(axis=0) - 0.4 * span, rtol=1e-5)
    np.testing.assert_allclose(code.high[:46], e.max(axis=0) + 0.4 * span, rtol=1e-5)
    np.testing.assert_allclose(code.high[46:], r.max(axis=0), rtol=1e-5)


@pytest.mark.parametrize("angles", [1, 2, 4])
def test_a_code_with_a_part_of_the_angles_is_refused(angles: int) -> None:
    ones = np.ones(5, np.float32)
    with pytest.raises(ValueError, match="angles"):
        ExpressionCode(ones, ones, ones, np.ones((5, 2), np.float32), angles)


def test_psnr_of_known_noise_and_of_equal_images() -> None:
    image = np.full((20, 20, 3), 100, np.uint8)
    assert psnr(image, image) == 100.0
    assert psnr(image, image + np.uint8(10)) == pytest.approx(20 * np.log10(255 / 10))
    mask = np.zeros((20, 20), bool)
    mask[:5] = True
    other = image.copy()
    other[10:] = 0
    assert psnr(image, other, mask) == 100.0
    assert psnr(image, other) < 20


def test_ssim_equals_the_definition_at_a_pixel() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((2, 31, 31, 3)).astype(np.float32)
    assert ssim(x, x) == pytest.approx(1.0)
    g = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    w = np.outer(g, g)
    w /= w.sum()
    values = []
    for c in range(3):
        a, b = x[10:21, 10:21, c], y[10:21, 10:21, c]
        ma, mb = (w * a).sum(), (w * b).sum()
        va, vb = (w * a * a).sum() - ma**2, (w * b * b).sum() - mb**2
        cov = (w * a * b).sum() - ma * mb
        values.append(
            (2 * ma * mb + 1e-4) * (2 * cov + 9e-4)
            / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
        )  # fmt: skip
    middle = np.zeros((31, 31), bool)
    middle[15, 15] = True
    assert ssim(x, y, middle) == pytest.approx(np.mean(values), abs=1e-4)


def test_rimless_takes_a_sixty_fourth_of_the_width_off() -> None:
    mask = np.zeros((256, 256), bool)
    mask[50:150, 60:200] = True
    inner = rimless(mask)
    ys, xs = np.nonzero(inner)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (54, 145, 64, 195)


def test_mean_likeness_averages_each_number() -> None:
    rng = np.random.default_rng(2)
    a, b, matte = rng.random((40, 40, 3)), rng.random((40, 40, 3)), np.full((40, 40), 255, np.uint8)
    one, two = likeness(a, b, matte), likeness(a, a, matte)
    assert mean_likeness([one, two]).psnr_whole == pytest.approx((one.psnr_whole + 100) / 2)
    with pytest.raises(ValueError, match="no scores"):
        mean_likeness([])


def test_hull_of_a_ball_holds_the_ball_and_little_else() -> None:
    camera, radius = portrait_camera(96, 0.6, 2.6), 0.07
    rotations = np.array([[p, y, 0] for p in (-0.4, 0, 0.4) for y in (-0.9, 0, 0.9)])
    size = camera.fx * radius / np.sqrt(0.6**2 - radius**2)  # the outline's cone
    matte = np.zeros((96, 96), np.uint8)
    cv2.circle(matte, (48, 48), int(np.ceil(size)), 255, -1)
    mattes = np.repeat(matte[None], len(rotations), 0)
    cube = fit_cube(mattes, camera, 0.6)
    assert 2 * radius < cube.edge < 0.25
    hull = visual_hull(mattes, [(head_pose(r, 0.6), camera) for r in rotations], cube)
    away = np.linalg.norm(cube.to_head(voxel_centers()), axis=1).reshape(hull.shape)
    assert hull[away < radius * 0.97].all()
    assert not hull[away > radius * 1.5].any()


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_refreshing_never_opens_what_the_hull_closed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hull = rng.random((8, 8, 8)) < 0.5
    hull[0, 0, 0] = True
    occupancy = Occupancy(hull)
    occupancy.refresh(lambda xyz: np.full(len(xyz), 500.0, np.float32), rng)
    grid = occupancy.grid(1 / 128)
    np.testing.assert_array_equal(grid > 0, hull)
    for _ in range(200):
        occupancy.refresh(lambda xyz: np.where(xyz[:, 0] < 0.5, 500.0, 0.0).astype("f4"), rng)
    assert (occupancy.grid(1 / 128)[5:] == 0).all()
    assert (occupancy.grid(1 / 128)[:3] > 0).sum() == hull[:3].sum()


@pytest.mark.parametrize("position", [(0.0, 0.0, -0.6), (0.12, -0.05, -0.5), (-0.2, 0.1, -0.8)])
def test_a_portrait_is_a_square_of_the_whole_picture(position: tuple[float, float, float]) -> None:
    """Points of a head beside the axis lie in its portrait where a crop of the picture has them."""
    turn, scale = np.array([0.1, -0.4, 0.05]), 2.6
    pose = seen_pose(turn, position)
    np.testing.assert_allclose(euler_angles(seen_rotation(pose)), turn, atol=1e-12)
    points = np.random.default_rng(1).normal(0, 0.08, (40, 3))
    x, y, z = position
    whole = Camera(700.0, 700.0, 320.0, 240.0, 640, 480)
    u, v, side = 320 + 700 * x / -z, 240 - 700 * y / -z, 700 / -z / scale
    cut = (project(points, pose, whole) - (u, v)) / side + 0.5
    portrait = portrait_at(position, 512, scale)
    np.testing.assert_allclose(project(points, pose, portrait), 512 * cut, atol=1e-9)
    np.testing.assert_allclose(project([[0.0, 0.0, 0.0]], pose, portrait), [[256, 256]], atol=1e-9)
