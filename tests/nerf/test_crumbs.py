"""What floats unseen goes, what was seen stays."""

from __future__ import annotations

import numpy as np

from nerf.camera import head_pose, portrait_camera
from nerf.crumbs import grown, mark_surface, without_crumbs
from nerf.field import Cube

NOTHING = np.zeros((16, 16, 16), bool)


def ball(radius: float) -> np.ndarray:
    axis = np.arange(16) - 7.5
    return sum(np.meshgrid(axis**2, axis**2, axis**2, indexing="ij")) < radius**2  # type: ignore[return-value]


def test_a_speck_goes_and_a_ball_stays() -> None:
    head = ball(5.0)
    dirty = head.copy()
    dirty[1, 1, 1] = dirty[14, 2, 3] = dirty[14, 2, 4] = True
    clean = without_crumbs(dirty.astype(np.uint8), NOTHING)
    assert not clean[1, 1, 1]
    assert not clean[14, 2].any()
    assert clean[head].mean() > 0.9
    assert not clean[~head].any()


def test_what_was_seen_stays_however_thin() -> None:
    thin = NOTHING.copy()
    thin[3, 2:12, 5] = True
    seen = NOTHING.copy()
    seen[3, 4:9, 5] = True
    kept = without_crumbs(thin.astype(np.uint8), seen)
    np.testing.assert_array_equal(np.flatnonzero(kept[3, :, 5]), np.arange(3, 10))


def test_growing_stops_at_the_edge_of_the_grid() -> None:
    corner = NOTHING.copy()
    corner[0, 0, 15] = True
    assert grown(corner).sum() == 4
    whole = np.ones((16, 16, 16), np.uint8)
    np.testing.assert_array_equal(without_crumbs(whole, NOTHING), whole)


def test_the_surface_lies_where_the_depth_says() -> None:
    cube, camera = Cube((0.0, 0.0, 0.0), 0.32), portrait_camera(32, 1.0, 2.6)
    depth = np.zeros((32, 32), np.float32)
    depth[16, 16] = 0.95  # metres: 5 cm before the head's middle, towards the camera
    seen = NOTHING.copy()
    mark_surface(seen, depth, head_pose((0.0, 0.0, 0.0), 1.0), camera, cube)
    assert np.argwhere(seen).tolist() == [[8, 7, 10]]
