"""Paced sources in virtual time."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.errors import LocalError
from sender.frames import Frame
from sender.source import CameraSource, FileSource, nearest_to_ticks, open_source
from sender.video import VideoError
from tests.sender.films import grey_frames, write_film


class VirtualClock:
    """Sleeping moves it; `work` moves it too."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds

    work = sleep


def frames_at(times: list[float]) -> list[Frame]:
    blank = np.zeros((1, 1, 3), dtype=np.uint8)
    return [Frame(i, t, blank, t) for i, t in enumerate(times)]


@given(st.lists(st.floats(0.005, 0.2), min_size=1, max_size=60), st.sampled_from([5.0, 20.0, 33.0]))
def test_nearest_to_ticks_takes_exactly_the_nearest_frames(gaps, rate) -> None:
    times = [float(t) for t in np.cumsum([0.0, *gaps])]
    got = [f.capture_time for f in nearest_to_ticks(frames_at(times), rate)]
    # A last tick exactly half a step after the end is nearest to the end, or not asked for.
    ticks = np.arange(0, times[-1] + 0.5 / rate + 1e-9, 1 / rate)
    away = np.abs(np.array(times)[None] - ticks[:, None])
    nearest = {times[int(i)] for i in away.argmin(axis=1)}
    ties = {times[int(i)] for row in away for i in np.flatnonzero(row - row.min() < 1e-9)}
    if ticks[-1] - times[-1] > 0.5 / rate - 1e-9:
        ties.add(times[-1])
    assert nearest - ties <= set(got) <= nearest | ties
    assert got == sorted(set(got))


def test_nearest_to_ticks_of_30_at_20_keeps_two_of_three() -> None:
    times = [i / 30 for i in range(90)]
    assert len(list(nearest_to_ticks(frames_at(times), 20.0))) == 60


def film(tmp_path: Path, count: int = 25) -> Path:
    return write_film(tmp_path / "a.mp4", grey_frames(count), [i * 0.04 for i in range(count)])


def test_file_source_hands_each_frame_out_at_its_moment(tmp_path: Path) -> None:
    clock = VirtualClock()
    source = FileSource(film(tmp_path), fps=25, now=clock.now, sleep=clock.sleep)
    for frame in source.frames():
        assert frame.media_time is not None
        assert frame.capture_time == pytest.approx(100.0 + frame.media_time)
        assert clock.time == pytest.approx(frame.capture_time)
    assert (frame.index, source.dropped) == (24, 0)


def test_file_source_slow_consumer_gets_the_newest_due_frame(tmp_path: Path) -> None:
    clock = VirtualClock()
    source = FileSource(film(tmp_path), fps=25, now=clock.now, sleep=clock.sleep)
    got = []
    for frame in source.frames():
        assert clock.time - frame.capture_time < 0.04 + 1e-6  # never older than one period
        got.append(frame.index)
        clock.work(0.1)
    assert got == list(range(len(got)))
    assert source.dropped > 8
    assert len(got) + source.dropped == 25


def test_file_source_loop_goes_on_with_growing_times(tmp_path: Path) -> None:
    clock = VirtualClock()
    source = FileSource(film(tmp_path, 5), fps=25, loop=True, now=clock.now, sleep=clock.sleep)
    got = []
    for frame in source.frames():
        got.append((frame.index, frame.capture_time, frame.media_time))
        if len(got) == 12:
            source.close()
    assert [g[0] for g in got] == list(range(12))
    np.testing.assert_allclose(np.diff([g[1] for g in got]), 0.04, atol=2e-3)
    assert got[5][2] == got[0][2] == 0.0


class FakeCapture:
    """What cv2.VideoCapture looks like."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.taken = threading.Semaphore(1)

    def isOpened(self) -> bool:
        return self.left > 0

    def read(self):
        self.taken.acquire(timeout=5)
        self.left -= 1
        if self.left < 0:
            return False, None
        return True, np.full((4, 4, 3), (255, 0, 0), dtype=np.uint8)  # BGR blue

    def release(self) -> None:
        self.left = 0


def test_camera_source_gives_rgb_and_a_sentence_when_it_ends() -> None:
    capture = FakeCapture(3)
    clock = iter(np.arange(0.0, 10.0, 0.05))
    source = CameraSource(0, fps=20, now=lambda: float(next(clock)), open_capture=lambda _: capture)
    got = []

    def consume() -> None:
        for frame in source.frames():
            got.append(frame)
            capture.taken.release()

    with pytest.raises(VideoError, match="camera:0 gave no more pictures"):
        consume()
    assert len(got) == 3
    assert got[0].image[0, 0].tolist() == [0, 0, 255]
    assert got[0].media_time is None
    source.close()


def test_camera_source_without_camera_raises_video_error() -> None:
    with pytest.raises(VideoError, match="camera 7 cannot be opened"):
        CameraSource(7, open_capture=lambda _: FakeCapture(0))


def test_open_source_refuses_missing_files_and_rates(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="there is no video"):
        open_source(str(tmp_path / "x.mp4"))
    with pytest.raises(LocalError, match="frames per second"):
        open_source("camera:0", fps=0)
