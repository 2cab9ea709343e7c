"""The viewpoint stays within ±45°, moves smoothly, and follows the sender exactly when at rest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerf.camera import head_pose, rotation_matrix
from quic_transport.errors import LocalError
from receiver.pose_control import SETTLED_RAD, TURNS, PoseControl, View, parse_view

angles = st.floats(-1.0, 1.0)


@given(st.tuples(angles, angles, angles), st.floats(0, 100))
def test_pose_control_follow_is_identity(rotation: tuple[float, ...], now: float) -> None:
    pose = PoseControl(0.6).pose(rotation, now)
    np.testing.assert_array_equal(pose, head_pose(rotation, 0.6))


def test_pose_control_view_turns_the_head_about_its_own_origin() -> None:
    control = PoseControl(0.6, parse_view("yaw=20,pitch=-10"))
    pose = control.pose((0.1, 0.2, 0.0), 0.0)
    expected = rotation_matrix(math.radians(-10), math.radians(20), 0) @ rotation_matrix(
        0.1, 0.2, 0
    )
    np.testing.assert_allclose(pose[:3, :3], expected, atol=1e-12)
    np.testing.assert_allclose(pose[:3, 3], (0, 0, -0.6))


@given(
    st.lists(
        st.tuples(st.sampled_from([*sorted(TURNS), "0", "x"]), st.floats(0.0, 0.5)), max_size=60
    )
)
def test_pose_control_any_keys_clamped_and_continuous(keys: list[tuple[str, float]]) -> None:
    control = PoseControl(0.6)
    now, before = 0.0, control.view_at(0.0)
    for key, wait in keys:
        assert control.key(key) == (key != "x")
        assert np.abs(control.view_at(now) - before).max() <= SETTLED_RAD  # a key does not jump
        steps = 20
        for _ in range(steps):
            now += wait / steps
            view = control.view_at(now)
            assert np.abs(view).max() <= math.radians(45) + 1e-9
            share = 1 - math.exp(-(wait / steps) / control.smoothing)
            assert np.abs(view - before).max() <= share * math.radians(90) + 1e-4
            before = view


def test_pose_control_key_settles_at_its_target_and_zero_returns() -> None:
    control = PoseControl(0.6)
    control.view_at(0.0)
    control.key("right")
    assert control.moving
    control.view_at(3.0)
    assert control.view_at(3.1) == pytest.approx([0, math.radians(5), 0])
    assert not control.moving
    control.key("0")
    control.view_at(6.0)
    np.testing.assert_array_equal(control.view_at(6.1), [0, 0, 0])


def test_pose_control_sway_swings_to_both_sides_within_the_limit() -> None:
    control = PoseControl(0.6, View(yaw=math.radians(30), sway=math.radians(30)))
    yaws = [math.degrees(control.view_at(t)[1]) for t in np.arange(0, 6, 0.05)]
    assert max(yaws) == pytest.approx(45)
    assert min(yaws) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("text", ["yaw=50", "yaw", "yaw=a", "jaw=3", "yaw=1,yaw=2", "roll=nan"])
def test_parse_view_nonsense_is_one_sentence(text: str) -> None:
    with pytest.raises(LocalError):
        parse_view(text)
