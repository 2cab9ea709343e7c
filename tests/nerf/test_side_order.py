"""How often a pass takes each frame: rare directions more than once, all of them at least once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nerf.cpu.pool import WorkerPool
from nerf.side_order import MOST, visits
from nerf.train import PRESETS, Trainer, TrainSettings
from tests.nerf.heads import SMALL, ball_footage

SETTINGS = TrainSettings(config=SMALL, steps=400, size=48, samples=400, hull_frames=4)


@given(st.lists(st.tuples(*[st.floats(-1.5, 1.5)] * 3), min_size=1, max_size=60))
def test_every_frame_comes_and_none_too_often(rotations: list[tuple[float, float, float]]) -> None:
    found = visits(rotations)
    assert found.shape == (len(rotations),)
    assert found.min() >= 1
    assert found.max() <= MOST


def test_a_short_look_aside_counts_more_than_the_long_look_ahead() -> None:
    rotations = np.zeros((500, 3))
    rotations[-10:, 1] = 0.6
    found = visits(rotations)
    assert (found[:-10] == 1).all()
    assert (found[-10:] == MOST).all()
    rotations[-10:, 2] = np.linspace(-0.5, 0.5, 10)  # a tilt is no other side of the head
    np.testing.assert_array_equal(visits(rotations), found)


def test_frames_of_one_direction_come_alike() -> None:
    assert (visits(np.zeros((40, 3))) == 1).all()


def test_a_pass_takes_each_frame_as_often_as_it_should() -> None:
    footage = ball_footage(12)
    footage.rotation[:] = 0.02
    footage.rotation[7, 1] = 0.5
    trainer = Trainer(footage, SETTINGS, WorkerPool(1))
    assert trainer.in_a_pass.tolist().count(7) == 3  # ten see the front: the root of nine is 3
    trainer.step()
    taken = Counter(trainer._order)
    assert sum(taken.values()) == len(trainer.in_a_pass) - 1
    assert taken[7] >= 2
    plain = Trainer(footage, replace(SETTINGS, even=False), WorkerPool(1))
    plain.step()
    assert max(Counter(plain._order).values()) == 1


def test_the_papers_preset_takes_every_frame_once() -> None:
    assert not PRESETS["paper"].even
    assert PRESETS["fast"].even
