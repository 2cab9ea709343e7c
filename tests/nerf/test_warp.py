"""What the warp says of the skin's motion is what its look-ups do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf import reference
from nerf.field import HeadField
from nerf.warp import skin_shift
from tests.nerf.heads import SMALL, random_head


def looked_up(field: HeadField, points: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Where points [N, 3] (metres) are looked up under the numbers of a face, metres."""
    code = torch.tensor(field.code(face))
    table = reference.blend_tables(torch.tensor(field.mean), torch.tensor(field.tables), code)
    unit = torch.tensor(field.cube.to_unit(points))
    return field.cube.to_head(reference.warped(table, field.config, unit).numpy())


@pytest.mark.parametrize("turned", [False, True])
def test_skin_is_looked_up_where_it_was_before_it_moved(turned: bool) -> None:
    field, rng = random_head(turned=turned), np.random.default_rng(0)
    points = rng.uniform(-0.08, 0.08, (50, 3))
    mean = field.code.mean
    shift = skin_shift(field, points)
    assert shift.shape == (3, 49, 50)
    for k in (46, 47) if turned else (0, 7, 30):
        face = mean + 0.4 * np.eye(len(mean))[k]
        before = looked_up(field, points, mean)
        still = looked_up(field, points, face) - before
        moved = looked_up(field, points + 0.4 * shift[:, k].T, face) - before
        assert np.abs(still).max() > 1e-5  # metres
        assert np.linalg.norm(moved) < 0.15 * np.linalg.norm(still)


def test_without_a_warp_nothing_moves() -> None:
    field = random_head(0, replace(SMALL, warp=0))
    assert skin_shift(field, np.zeros((5, 3))).shape == (3, 49, 5)
    assert not skin_shift(field, np.zeros((5, 3))).any()
