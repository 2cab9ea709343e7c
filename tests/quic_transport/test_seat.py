"""Where a head sits: what an offset says of it, and what strangers cannot make of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.seat import ASIDE, LEANING, ZOOMED, Seat, nearer
from sender.portrait_crop import PortraitCrop, crop_of, offset_of

FOCAL, SIZE = 700.0, (640, 480)


def seat_of(usual: tuple[float, float, float]) -> Seat:
    """The seat of a film in which the head usually was at `usual` (metres, camera axes)."""
    _, offset = seen(usual)
    x, y, size = offset.tolist()
    return Seat(-usual[2], 2.6, (x, y, size))


def seen(position: tuple[float, float, float]) -> tuple[PortraitCrop, np.ndarray]:
    pose = np.eye(4)
    pose[:3, 3] = position
    crop, _, offset = crop_of(pose, FOCAL, *SIZE)
    return crop, offset


@given(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2), st.floats(0.47, 0.77))
def test_a_head_is_found_again_where_the_camera_saw_it(x: float, y: float, z: float) -> None:
    _, offset = seen((x, y, -z))
    found = seat_of((0.05, -0.02, -0.6)).position(offset)
    np.testing.assert_allclose(found, (x, y, -z), atol=1e-9)


def test_a_head_that_nothing_is_said_of_sits_where_it_usually_did() -> None:
    np.testing.assert_allclose(seat_of((0.05, -0.02, -0.6)).position(), (0.05, -0.02, -0.6))
    assert Seat(0.6, 2.6).position((0.3, 0.2, 1.0)).tolist() == [0.0, 0.0, -0.6]


@given(st.lists(st.floats(-1e30, 1e30), min_size=3, max_size=3))
def test_no_offset_puts_a_head_beside_the_camera_or_far_away(offset: list[float]) -> None:
    x, y, z = Seat(0.6, 2.6, (0.1, 0.0, -0.4)).position(offset)
    assert 0.6 / LEANING - 1e-9 <= -z <= 0.6 * LEANING + 1e-9
    assert max(abs(x), abs(y)) <= -ASIDE * z + 1e-9


@given(st.floats(-1.0, 1.0))
def test_who_leans_forward_is_nearer_and_who_is_zoomed_at_is_not(larger: float) -> None:
    found = nearer(larger)
    assert abs(found) <= abs(larger) + 1e-12
    assert found * larger >= 0.0
    if abs(larger) <= math.log(LEANING):
        assert found == pytest.approx(larger)
    if abs(larger) >= math.log(ZOOMED):
        assert found == 0.0
    assert abs(nearer(larger + 1e-4) - found) < 2e-4  # and nothing jumps


def test_offsets_do_not_depend_on_the_pictures_size() -> None:
    crop, offset = seen((0.1, 0.05, -0.7))
    seat = seat_of((0.0, 0.0, -0.6))
    larger = PortraitCrop(crop.u * 2, crop.v * 2, crop.side * 2)
    again = offset_of(larger, 2 * SIZE[0], 2 * SIZE[1])
    assert seat.position(again).tolist() == pytest.approx(seat.position(offset).tolist())
    assert math.isclose(float(seat.position(offset)[2]), -0.7)
