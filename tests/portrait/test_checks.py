"""Which clips are accepted, and the sentences for those that are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from portrait.checks import ClipError, cut_times, judge, longest_between
from portrait.tracks import Tracks


def clip(seconds: float = 10.0, rate: float = 25.0) -> Tracks:
    """A quiet head in a quiet room."""
    n = round(seconds * rate)
    rng = np.random.default_rng(1)
    crop = np.tile([320.0, 240.0, 300.0], (n, 1)) + rng.normal(0, 0.3, (n, 3))
    room = rng.integers(60, 200, (24, 24))
    return Tracks(
        index=np.arange(n), time=np.arange(n) / rate, faces=np.ones(n, int),
        second=np.zeros(n, np.float32), expression=np.full((n, 46), 0.1, np.float32),
        rotation=np.zeros((n, 3)), offset=np.zeros((n, 3)), crop=crop, distance=np.full(n, 0.3),
        landmarks=np.full((n, 4, 2), 0.5, np.float32),
        thumbnail=np.tile(room, (n, 1, 1)).astype(np.uint8), size=np.tile([640, 480], (n, 1)),
        pose=np.tile(np.eye(4), (n, 1, 1)), focal=np.full(n, 400.0),
        sharpness=np.full(n, 50.0), brightness=np.full(n, 120.0),
    )  # fmt: skip


def lose_face(tracks: Tracks, rows: slice) -> Tracks:
    for name in ("expression", "rotation", "offset", "crop", "distance", "landmarks"):
        getattr(tracks, name)[rows] = np.nan
    tracks.faces[rows] = 0
    return tracks


def test_judge_good_clip_keeps_every_frame() -> None:
    verdict = judge(clip(), "me.mp4")
    assert len(verdict.rows) == 250
    assert verdict.left_out == {}


def test_judge_leaves_out_and_counts_bad_frames() -> None:
    tracks = lose_face(clip(), slice(10, 20))
    tracks.rotation[50:53, 1] = 1.5
    tracks.crop[100, 0] += 80  # one frame that leaves its neighbours
    verdict = judge(tracks, "me.mp4")
    assert verdict.left_out == {"no face": 10, "turned away": 3, "tracker jumped": 1}
    assert not set(range(10, 20)) & set(verdict.rows.tolist())


def test_judge_too_little_face_says_how_much() -> None:
    with pytest.raises(ClipError, match=r"me\.mp4 shows a usable face for 2\.0 s of 10\.0 s"):
        judge(lose_face(clip(), slice(50, None)), "me.mp4")
    with pytest.raises(ClipError, match=r"for 0\.0 s"):
        judge(lose_face(clip(), slice(None)), "me.mp4")
    with pytest.raises(ClipError, match="no frames"):
        judge(clip(0.0), "me.mp4")


def test_judge_cut_names_time_and_longest_stretch() -> None:
    tracks = clip()
    tracks.thumbnail[75:] = tracks.thumbnail[75:, ::-1]
    with pytest.raises(ClipError, match=r"a cut \(at 3\.00 s\): .* --range 3\.00:9\.96"):
        judge(tracks, "me.mp4")
    start, end = longest_between(cut_times(tracks), tracks)
    rest = tracks.take((tracks.time >= start) & (tracks.time < end))
    assert cut_times(rest) == []  # the remedy works


def test_cut_times_quiet_cut_with_a_jump_is_found_and_a_jump_alone_is_not() -> None:
    tracks = clip()
    tracks.crop[125:, 0] += 150
    assert cut_times(tracks) == []
    darker = tracks.thumbnail.copy()
    darker[125:] -= 14
    assert cut_times(replace(tracks, thumbnail=darker)) == [5.0]


def test_cut_times_light_that_changes_slowly_is_no_cut() -> None:
    tracks = clip()
    fade = np.linspace(1.0, 0.5, len(tracks))[:, None, None]
    assert cut_times(replace(tracks, thumbnail=(tracks.thumbnail * fade).astype(np.uint8))) == []


def test_judge_two_people_says_so() -> None:
    tracks = clip()
    tracks.second[60:] = 0.8
    with pytest.raises(ClipError, match=r"two people \(first at 2\.4 s"):
        judge(tracks, "me.mp4")
    tracks.second[80:] = 0.0  # a passer-by is not a second person
    assert len(judge(tracks, "me.mp4").rows) == 250


def test_judge_face_that_jumps_about_is_refused() -> None:
    tracks = clip()
    tracks.crop[:, :2] += np.random.default_rng(3).normal(0, 20, (len(tracks), 2))
    with pytest.raises(ClipError, match="jumps about"):
        judge(tracks, "me.mp4")
