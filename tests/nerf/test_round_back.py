"""The visual hull's open back is closed to what a head can be."""

from __future__ import annotations

import numpy as np

from nerf.field import Cube
from nerf.occupancy import EARS, round_back, voxel_centers

CUBE = Cube((0.0, 0.02, -0.04), 0.29)
GRID = (64, 64, 64)


def points() -> np.ndarray:
    return CUBE.to_head(voxel_centers()).reshape(*GRID, 3)


def cone() -> np.ndarray:
    """Everything behind a head-wide opening, as one frontal camera leaves it."""
    p = points()
    return (np.abs(p[..., 0]) < 0.085) & (p[..., 1] > -0.09) & (p[..., 1] < 0.14)


def test_a_skull_stays_and_the_cone_behind_it_goes() -> None:
    p, hull = points(), cone()
    kept = round_back(hull, CUBE)
    x, y, z = np.moveaxis(p, -1, 0)
    skull = (x / 0.075) ** 2 + ((y - 0.025) / 0.11) ** 2 + ((z + 0.03) / 0.105) ** 2 <= 1
    assert kept[skull & hull].all()
    corner = (np.abs(x) > 0.06) & (y > 0.10) & (z < -0.12)
    assert hull[corner].any()
    assert not kept[corner].any()


def test_nothing_before_the_ears_is_touched() -> None:
    hull = cone()
    before = points()[..., 2] >= EARS
    np.testing.assert_array_equal(round_back(hull, CUBE)[before], hull[before])


def test_an_empty_hull_stays_empty() -> None:
    assert not round_back(np.zeros(GRID, bool), CUBE).any()
