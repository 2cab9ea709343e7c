"""Rays drawn where the head is still unlike."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nerf.error_map import CELLS, WARM_UP, ErrorMap


def learned(size: int, hot: tuple[int, int], steps: int = WARM_UP) -> ErrorMap:
    """A map of a portrait whose error is large in the pixels around `hot` (x, y) only."""
    rng = np.random.default_rng(1)
    errors = ErrorMap(size)
    for _ in range(steps):
        x, y = rng.integers(0, size, (2, 4000))
        near = np.maximum(abs(x - hot[0]), abs(y - hot[1])) < size / 16
        errors.note(x, y, np.where(near, 0.09, 0.0001).astype(np.float32))
    return errors


def test_pixels_are_drawn_where_errors_are_large() -> None:
    x, y = learned(256, (200, 60)).draw(5000, np.random.default_rng(2))
    near = (np.maximum(abs(x - 200), abs(y - 60)) < 20).mean()
    share = (256 / 8) ** 2 / 256**2  # of the picture: an even draw would fall there so often
    assert near > 15 * share


def test_what_is_hardly_wrong_is_not_forgotten() -> None:
    x, y = learned(256, (200, 60)).draw(20_000, np.random.default_rng(2))
    far = np.maximum(abs(x - 200), abs(y - 60)) > 40
    assert 0.3 < far.mean() < 0.9


def test_no_draw_before_enough_steps() -> None:
    assert not learned(64, (10, 10), WARM_UP - 1).ready
    assert learned(64, (10, 10), WARM_UP).ready
    assert not ErrorMap(64).ready


def test_errors_that_are_gone_lose_their_rays() -> None:
    errors = learned(128, (30, 30))
    x, y = np.random.default_rng(3).integers(0, 128, (2, 400_000))
    errors.note(x, y, np.full(len(x), 1e-4, np.float32))
    for _ in range(40):
        errors.note(x[:4000], y[:4000], np.full(4000, 1e-4, np.float32))
    px, py = errors.draw(5000, np.random.default_rng(2))
    assert (np.maximum(abs(px - 30), abs(py - 30)) < 10).mean() < 0.1


def test_heights_rise_by_the_shares_of_the_cells_to_one() -> None:
    errors = learned(64, (40, 20))
    heights = errors.heights()
    shares = np.diff(heights, prepend=0.0)
    assert heights[-1] == 1.0
    assert (shares >= 0).all()
    assert shares.reshape(CELLS, CELLS)[20, 40] > 10 * shares.reshape(CELLS, CELLS)[60, 5]


@given(st.integers(16, 700), st.integers(0, 2**32 - 1))
def test_pixels_lie_in_the_picture_and_a_copy_draws_the_same(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors = ErrorMap(size)
    x, y = rng.integers(0, size, (2, 300))
    for _ in range(WARM_UP):
        errors.note(x, y, rng.random(300).astype(np.float32) + np.float32(1e-3))
    other = ErrorMap(size)
    other.load_state(errors.state())
    assert errors.state().shape == (CELLS + 1, CELLS)
    a = np.array(errors.draw(64, np.random.default_rng(seed)))
    b = np.array(other.draw(64, np.random.default_rng(seed)))
    assert np.array_equal(a, b)
    assert a.min() >= 0
    assert a.max() < size
