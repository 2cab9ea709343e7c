"""What colours may change about a segmenter's answer, and what not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from portrait.colour_vote import palette, with_colours

SIZE = 256
SKIN, WALL, HAIR = (214, 160, 140), (170, 164, 172), (60, 45, 40)
Y, X = np.mgrid[:SIZE, :SIZE]
FACE = (X - 128) ** 2 / 60**2 + (Y - 128) ** 2 / 78**2 < 1
CAP = FACE & (Y < 95)
EAR = ((X - 190) ** 2 + (Y - 130) ** 2 < 13**2) & ~FACE


def scene(ear: tuple[int, int, int] = SKIN, wall: tuple[int, int, int] = WALL) -> NDArray[np.uint8]:
    """A face with hair and one ear before a wall, a little noise on everything."""
    picture = np.empty((SIZE, SIZE, 3), np.float64)
    for where, colour in ((FACE >= 0, wall), (FACE, SKIN), (CAP, HAIR), (EAR, ear)):
        picture[where] = colour
    picture += np.random.default_rng(3).normal(0, 3, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def share(ear: float) -> NDArray[np.float32]:
    """What a segmenter says that is sure of the face and says `ear` of the ear."""
    out = np.where(FACE, 0.99, 0.01)
    out[EAR] = ear
    return out.astype(np.float32)


def test_an_ear_that_the_segmenter_half_lost_comes_back() -> None:
    told = with_colours(share(0.25), scene())
    middle = (X - 191) ** 2 + (Y - 130) ** 2 < 8**2
    assert told[middle].min() > 0.5


def test_an_ear_of_the_wall_s_colour_is_not_invented() -> None:
    told = with_colours(share(0.25), scene(ear=WALL))
    assert told[EAR].mean() < 0.25


def test_where_person_and_wall_are_alike_the_segmenter_decides() -> None:
    before = share(0.7)
    told = with_colours(before, scene(wall=SKIN))
    assert abs(told[EAR].mean() - 0.7) < 0.25


def test_far_from_the_outline_nothing_changes() -> None:
    before = share(0.3)
    told = with_colours(before, scene())
    far = (X < 30) | (FACE & (np.hypot(X - 128, Y - 140) < 25))
    assert np.array_equal(told[far], before[far])


def test_a_spot_of_skin_on_the_wall_that_no_segmenter_sees_stays_wall() -> None:
    picture = scene()
    spot = (X - 30) ** 2 + (Y - 200) ** 2 < 10**2
    picture[spot] = SKIN
    assert with_colours(share(0.9), picture)[spot].max() < 0.1


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_without_anything_sure_the_answer_stays(level: float) -> None:
    before = np.full((SIZE, SIZE), level, np.float32)
    assert np.array_equal(with_colours(before, scene()), before)


@given(st.integers(9, 65), st.integers(9, 65), st.integers(0, 2**32 - 1))
def test_any_picture_gives_shares_of_its_size(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    before = rng.random((height, width)).astype(np.float32)
    told = with_colours(before, picture)
    assert told.shape == before.shape
    assert told.dtype == np.float32
    assert told.min() >= 0.0
    assert told.max() <= 1.0


@given(arrays(np.float32, (50, 3), elements=st.floats(0, 1, width=32)))
def test_a_palette_stays_among_its_colours(colours: NDArray[np.float32]) -> None:
    chosen = palette(colours)
    assert chosen.shape == (6, 3)
    assert (chosen >= colours.min(axis=0) - 1e-5).all()
    assert (chosen <= colours.max(axis=0) + 1e-5).all()
