"""Held-out PSNR against seconds, as rows and as a picture."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from conference.train_curve import Point, draw, from_csv, to_csv

numbers = st.floats(0, 99).map(lambda x: round(x, 2))
points = st.lists(
    st.builds(Point, numbers, st.integers(0, 10**9), st.integers(1, 60),
              st.sampled_from(["generic tracker", "personal tracker"]), numbers, numbers, numbers),
    max_size=8,
).map(lambda rows: sorted(rows, key=lambda p: p.step))  # fmt: skip


@given(points, st.integers(0, 10**9))
def test_rows_come_back_up_to_the_checkpoints_step(rows: list[Point], step: int) -> None:
    assert from_csv(to_csv(rows), step) == [p for p in rows if p.step <= step]


@given(points, st.integers(0, 400), st.binary(max_size=20))
def test_a_damaged_file_gives_the_rows_before_the_damage(
    rows: list[Point], at: int, junk: bytes
) -> None:
    whole = to_csv(rows)
    found = from_csv(whole[:at] + junk, 10**9)
    complete = max(0, whole[:at].count(b"\n") - 1)
    assert found[:complete] == rows[:complete]
    assert from_csv(junk, 10**9) == []


def test_the_plot_shows_where_the_curve_is() -> None:
    rows = [Point(10.0 * k, 100 * k, 6, "personal tracker", 20.0 + k, 18.0, 15.0 + k)
            for k in range(1, 6)]  # fmt: skip
    few, many = (
        np.asarray(cv2.imdecode(np.frombuffer(draw(r, "me", 60.0), np.uint8), cv2.IMREAD_COLOR))
        for r in (rows[:1], rows)
    )
    assert few.shape == many.shape == (462, 792, 3)
    blue = [int(((p[..., 0] > 90) & (p[..., 2] < 70)).sum()) for p in (few, many)]
    assert blue[1] > 2 * blue[0] > 0
