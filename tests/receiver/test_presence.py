"""The veil over a picture of somebody who is not there: when it falls, and when it lifts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.presence import UNVEIL_S, VEIL_S, PresenceView
from receiver.veil import empty_picture, veiled


def watch(view: PresenceView, start: float, stop: float, step: float = 0.02) -> list[float]:
    """The veil from `start` to `stop`, shown 0.1 s after capture."""
    return [view.veil_at(now - 0.1, now) for now in np.arange(start, stop, step)]


def test_presence_veil_falls_gently_and_lifts_with_the_next_frame() -> None:
    view = PresenceView()
    view.note_frame(1.0)
    assert set(watch(view, 1.1, 1.5)) == {0.0}
    view.note_absent(1.05)
    falling = watch(view, 1.5, 1.5 + VEIL_S + 0.05)
    assert falling == sorted(falling)
    assert falling[0] < 0.1
    assert falling[-1] == 1.0
    view.note_frame(2.5)
    assert set(watch(view, 2.45, 2.6)) == {1.0}  # its instant has not come
    lifting = watch(view, 2.6, 2.6 + UNVEIL_S + 0.05)
    assert lifting == sorted(lifting, reverse=True)
    assert lifting[-1] == 0.0
    assert not view.changing(2.9)
    assert view.absent_seconds(9.0) == pytest.approx(1.45)
    assert view.count == 1


def test_presence_frame_that_overtakes_the_news_is_believed() -> None:
    view = PresenceView()
    view.note_frame(1.0)
    view.note_frame(1.6)
    view.note_absent(1.05)  # came late, over another stream
    assert not view.told
    assert not view.absent_at(1.7)


def test_presence_frame_from_before_the_loss_ends_nothing() -> None:
    view = PresenceView()
    view.note_absent(2.0)
    view.note_frame(1.95)
    assert view.told
    assert view.absent_at(2.5)


def test_presence_after_a_pause_the_veil_does_not_jump() -> None:
    view = PresenceView()
    assert view.veil_at(0.0, 0.1) == 0.0
    view.note_absent(5.0)
    assert view.veil_at(60.0, 60.1) < 0.5


def test_presence_peer_that_repeats_itself_cannot_fill_the_memory() -> None:
    view = PresenceView()
    for k in range(1000):
        view.note_absent(float(k))
        view.note_absent(math.nan)
        view.note_absent(math.inf)
    assert len(view._absences) <= 8


@settings(max_examples=80)
@given(
    events=st.lists(
        st.tuples(st.booleans(), st.floats(0, 20, allow_nan=False)), min_size=1, max_size=40
    )
)
def test_presence_any_order_of_news_ends_unveiled_iff_a_frame_came_last(
    events: list[tuple[bool, float]],
) -> None:
    view, now = PresenceView(), 0.0
    for absent, at in events:
        (view.note_absent if absent else view.note_frame)(at)
        now += 0.05
        assert 0.0 <= view.veil_at(now - 0.1, now) <= 1.0
        assert view.absent_seconds(now) >= 0.0
    view.note_frame(30.0)
    for now in np.arange(30.2, 31.0, 0.02):
        veil = view.veil_at(now - 0.1, now)
    assert veil == 0.0
    assert not view.told
    view.note_absent(40.0)
    for now in np.arange(40.2, 41.0, 0.02):
        veil = view.veil_at(now - 0.1, now)
    assert veil == 1.0


@pytest.mark.parametrize("size", [16, 64, 256, 1024])
def test_veil_dims_the_picture_and_leaves_the_original(size: int) -> None:
    picture = np.full((size, size, 3), 255, np.uint8)
    picture[: size // 2] = (200, 120, 40)
    before = picture.copy()
    assert (veiled(picture, 0.0) == picture).all()
    levels = [float(veiled(picture, v).mean()) for v in (0.0, 0.3, 0.7, 1.0)]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] < 0.75 * levels[0]
    assert (picture == before).all()
    assert empty_picture(size, size).shape == (size, size, 3)


def test_veil_has_a_caption_within_the_lower_part() -> None:
    plain, written = (veiled(np.zeros((256, 256, 3), np.uint8), 1.0, c) for c in ("", "no face"))
    rows = np.flatnonzero((plain != written).any(axis=(1, 2)))
    assert 0.8 * 256 < rows.min() < rows.max() < 0.97 * 256
