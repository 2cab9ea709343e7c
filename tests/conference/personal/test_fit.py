"""The personal tracker on a painted ball whose truth is known: fitted, aligned, doubted."""

from __future__ import annotations

import numpy as np
import pytest

from conference.personal.fit import (
    BEYOND,
    POINTS,
    correctable,
    most_telling,
    motion_of_rigid,
    rigid_of_motion,
    spread_out,
)
from nerf.camera import head_pose
from nerf.field import Cube, cube_rays
from quic_transport.params import EXPRESSION_HIGH, EXPRESSION_LOW
from sender.personal.align import Look, align
from sender.personal.extractor import tempered
from sender.personal.motion import Motion
from tests.conference.personal.painted import FRAMES, measured, model, pictures, pixels_off
from tests.sender.ball import picture


def test_frames_never_seen_are_aligned_to_a_fraction_of_the_trackers_error() -> None:
    tracked, truth = measured(12, 7)
    before, after = [], []
    for i, image in enumerate(pictures(tracked, truth)):
        look = Look.at(image, model().box)
        found = align(model(), look, tracked.rotation[i], tracked.expression[i])
        before.append(pixels_off(Motion.of(np.zeros(6)), tracked.motion[i], tracked.rotation[i]))
        after.append(pixels_off(found.motion, tracked.motion[i], tracked.rotation[i]))
    assert np.mean(before) > 1.5
    assert np.mean(after) < 0.2 * np.mean(before)


def test_coefficients_follow_what_shows() -> None:
    """Their scale is the avatar's own affair; that they rise and fall with the truth is not."""
    tracked, truth = measured(24, 8)
    found = []
    for i, image in enumerate(pictures(tracked, truth)):
        look = Look.at(image, model().box)
        found.append(align(model(), look, tracked.rotation[i], tracked.expression[i]).expression)
    for k in (0, 1):
        said = np.corrcoef(tracked.expression[:, k], truth[:, k])[0, 1]
        now = np.corrcoef(np.array(found)[:, k], truth[:, k])[0, 1]
        assert 1 - now < 0.5 * (1 - said)


@pytest.mark.parametrize("light", ["dim", "lamp from the left", "warm"])
def test_another_light_moves_nothing(light: str) -> None:
    tracked, truth = measured(6, 9)
    ramp = np.linspace(1.15, 0.75, 256)[None, :, None]
    for i, image in enumerate(pictures(tracked, truth)):
        lit = {"dim": image * 0.65, "lamp from the left": image * ramp,
               "warm": image * np.array([1.1, 1.0, 0.8])}[light]  # fmt: skip
        look = Look.at(np.clip(lit, 0, 255).astype(np.uint8), model().box)
        found = align(model(), look, tracked.rotation[i], tracked.expression[i])
        assert pixels_off(found.motion, tracked.motion[i], tracked.rotation[i]) < 0.8
        assert tempered(model(), found, tracked.rotation[i], tracked.expression[i]) is found


def test_a_picture_of_something_else_leaves_the_general_trackers_word() -> None:
    rng = np.random.default_rng(0)
    noise = np.kron(rng.integers(0, 255, (32, 32, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    said = np.full(46, 0.3)
    found = align(model(), Look.at(noise, model().box), np.zeros(3), said)
    kept = tempered(model(), found, np.zeros(3), said)
    assert found.misfit > 2 * model().misfit[1]
    assert np.allclose(kept.expression, said)
    expected = model().motion_map @ model().features(np.zeros(3), said)
    assert np.allclose(kept.motion.vector(), expected, atol=1e-6)


def test_corrections_may_leave_what_training_measured_by_a_share_of_it() -> None:
    """And by no more however often it is fitted: what was refined has no say."""
    said = measured(FRAMES, 1)[0].expression
    room = BEYOND * np.ptp(said, axis=0)
    low, high = model().expression_range
    assert np.allclose(low, said.min(axis=0) - room, atol=1e-6)
    assert np.allclose(high, said.max(axis=0) + room, atol=1e-6)
    assert low.min() < 0
    assert high.max() > 1


def test_corrections_of_a_wild_tracker_stay_within_reach() -> None:
    low, high = correctable(np.array([[-2.0] * 46, [3.0] * 46]))
    assert (low == EXPRESSION_LOW).all()
    assert (high == EXPRESSION_HIGH).all()


def test_corrections_stay_within_their_range() -> None:
    image = picture(np.zeros(3), np.full(46, 0.1) + np.eye(46)[0] * 3.0)[0]  # a mouth of ink
    found = align(model(), Look.at(image, model().box), np.zeros(3), np.full(46, 0.1))
    low, high = model().expression_range
    assert (found.expression >= low).all()
    assert (found.expression <= high).all()


def test_the_prior_is_the_trackers_systematic_error() -> None:
    tracked, _ = measured(70, 1)
    bias = np.array([0.01, 0.0, 0.0, 0.001, 0.0, 0.0])
    expected = model().motion_map @ model().features(np.zeros(3), tracked.expression.mean(axis=0))
    assert np.abs(expected - tracked.motion.mean(axis=0)).max() < 0.006
    assert np.abs(expected[3:] - bias[3:]).max() < 0.002


def test_rigid_motions_of_rays_and_motions_of_the_head_say_the_same() -> None:
    rng = np.random.default_rng(3)
    cube = Cube((0.01, -0.02, 0.03), 0.4)
    rigid = rng.normal(0, 0.03, 6)
    motion = motion_of_rigid(rigid, cube.edge)
    assert np.allclose(rigid_of_motion(motion, cube.edge), rigid)
    from nerf.camera import portrait_camera

    camera, pose = portrait_camera(64, 0.6, 2.6), head_pose((0.1, 0.2, -0.1), 0.6)
    xy = rng.uniform(0, 64, (20, 2))
    moved = Motion.of(motion).apply(pose, cube.center)
    one = cube_rays(pose, camera, xy, cube, rigid)
    two = cube_rays(moved, camera, xy, cube)
    assert np.allclose(one[0], two[0], atol=1e-5)
    assert np.allclose(one[1], two[1], atol=1e-5)


def test_views_are_spread_over_the_turns() -> None:
    yaw = np.concatenate([np.full(50, 0.0), [0.5], np.full(50, 0.01), [-0.5]])
    chosen = spread_out(np.stack([0 * yaw, yaw, 0 * yaw], axis=1), 3)
    assert {50, 101} < set(chosen)


def test_telling_points_are_steep_seen_and_explained() -> None:
    spread = np.full(2000, 0.1, np.float32)
    slopes, seen = np.full(2000, 1e-6), np.ones(2000, np.float32)
    slopes[:POINTS] = 1e-2
    assert np.array_equal(most_telling(spread, slopes, seen), np.arange(POINTS))
