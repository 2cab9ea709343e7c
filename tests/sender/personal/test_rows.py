"""The compiled rows of the alignment against their plain twin."""

from __future__ import annotations

import numpy as np
import pytest

from sender.personal.align import Look
from sender.personal.motion import Motion, portrait_pose
from sender.personal.rows import ROWS, plain_rows, weighted_rows
from sender.portrait_crop import rotation_matrix
from tests.conference.personal.painted import measured, model, pictures


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.3])
def test_compiled_rows_are_the_plain_ones(shift: float) -> None:
    tracked, truth = measured(3, 4)
    look = Look.at(pictures(tracked, truth)[1], model().box)
    m = model()
    expected = (m.appearance.T @ m.features(tracked.rotation[1], truth[1])).astype(np.float32)
    motion = Motion.of([0.02, -0.05, 0.01, shift, -shift / 2, 0.004])  # 0.3 m: beyond the picture
    out = []
    for how in (weighted_rows, plain_rows):
        rows = np.zeros((ROWS, len(m.points)), np.float32)
        sums = how(
            look, m.points, m.normals, m.pivot, motion,
            portrait_pose(rotation_matrix(tracked.rotation[1]), (0.02, -0.03, -0.6)), 400.0,
            np.array([114.0, 108.0]), expected, np.float32(1) / m.spread, rows,
        )  # fmt: skip
        out.append((rows, sums))
    (rows, sums), (plain, wanted) = out
    scale = np.abs(plain).max(axis=1, keepdims=True) + 1e-6
    assert np.abs((rows - plain) / scale).max() < 5e-3
    assert sums == pytest.approx(wanted, rel=1e-3)
