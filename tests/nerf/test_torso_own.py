"""The torso's own numbers: another basis, the same pictures, equal visibility."""

from __future__ import annotations

import numpy as np
import pytest

from nerf.cpu.pool import WorkerPool
from nerf.torso import MOST_AWAY, TorsoLayer
from nerf.torso_own import UNIT, apart, evened, turned, visibility
from tests.nerf.swaying import OWN, swaying_torso

POOL = WorkerPool(1)


def drawn(layer: TorsoLayer, body: np.ndarray | None) -> np.ndarray:
    width, height = layer.framing.size
    picture = np.zeros((height, width, 4), np.uint8)
    layer.over(picture, np.full(3, 0.05), np.full(3, 0.02), np.zeros(46), POOL, body)
    return picture


def test_evened_torso_looks_the_same_under_the_same_guess() -> None:
    layer = swaying_torso()
    even = evened(layer)
    assert np.abs(drawn(even, None).astype(int) - drawn(layer, None)).max() <= 2


def test_every_direction_is_equally_visible() -> None:
    even = evened(swaying_torso())
    assert visibility(even) == pytest.approx(UNIT**2 * np.eye(OWN), abs=0.5 * UNIT**2)
    far = visibility(swaying_torso())
    assert np.linalg.cond(far) > 4  # it was otherwise before


def test_turned_numbers_draw_what_they_drew() -> None:
    layer, rng = swaying_torso(), np.random.default_rng(2)
    basis = rng.normal(size=(OWN, OWN)) + 2 * np.eye(OWN)
    other = turned(layer, basis)
    for _ in range(4):
        x = rng.normal(size=OWN)
        apart_by = np.abs(drawn(other, x @ basis).astype(int) - drawn(layer, x))
        assert apart_by.max() <= 3


def test_numbers_that_go_together_are_taken_apart_strongest_first() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, OWN)) * [1, 5, 2, 0.1] @ rng.normal(size=(OWN, OWN))
    basis = apart(x)
    assert basis @ basis.T == pytest.approx(np.eye(OWN), abs=1e-9)
    moved = (x @ basis).T @ (x @ basis)
    assert np.abs(moved - np.diag(np.diag(moved))).max() < 1e-6 * moved.max()
    assert (np.diff(np.diag(moved)) <= 0).all()


def test_wild_numbers_are_limited_and_missing_ones_are_the_guess() -> None:
    layer = swaying_torso()
    z = layer.driven(np.zeros(3), np.zeros(3), np.zeros(46))
    wild = layer.driven(np.zeros(3), np.zeros(3), np.zeros(46), [1e9, -1e9])
    assert wild[-OWN:] - z[-OWN:] == pytest.approx([MOST_AWAY, -MOST_AWAY, 0, 0])
    more = layer.driven(np.zeros(3), np.zeros(3), np.zeros(46), np.ones(9))
    assert more[-OWN:] - z[-OWN:] == pytest.approx(np.ones(OWN))
