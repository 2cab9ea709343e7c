"""Where live frames come from: a camera, or a file played as if it were one.

The rule: time is never resampled. A file's frames are taken at their own moments, the nearest to
each tick of the wanted rate, and each is handed out no earlier than its moment. Who comes late
for frames gets the newest that is due; the older ones are dropped and counted. Clock and sleep
are parameters; a file played with a virtual clock is deterministic.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from quic_transport.errors import LocalError
from sender.frames import Frame, Image
from sender.native_noise import native_noise_silenced
from sender.video import VideoError, Warn, log_warning, probe, read_video

CAMERA_START_S = 10.0  # a camera that shows nothing for so long is taken for dead
CAMERA_SILENCE_S = 3.0  # the same once it runs

Clock = Callable[[], float]
Sleep = Callable[[float], None]


class FrameSource(Protocol):
    """A paced source of frames."""

    name: str
    """What the user would call it."""
    frame_rate: float
    """Frames per second that are wanted; fewer may come."""
    dropped: int
    """Frames that were due but replaced by newer ones, so far."""

    def frames(self) -> Iterator[Frame]:
        """The frames, each as soon as its moment has come; `index` counts what is handed out."""

    def close(self) -> None:
        """Let the camera or file go; `frames` then ends."""


def nearest_to_ticks(frames: Iterable[Frame], rate: float) -> Iterator[Frame]:
    """Of frames in order of media time, those nearest to the ticks 0, 1/rate, 2/rate, …

    Each frame at most once: a file slower than `rate` passes unchanged. Works for any spacing.
    """
    tick = 0
    held: Frame | None = None
    last_taken = -np.inf
    for frame in frames:
        if held is not None:
            # Every tick before the midpoint of the two belongs to the held one.
            midpoint = (held.capture_time + frame.capture_time) / 2
            if tick / rate <= midpoint:
                if held.capture_time > last_taken:
                    last_taken = held.capture_time
                    yield held
                tick = int(np.floor(midpoint * rate)) + 1
        held = frame
    if held is not None and tick / rate <= held.capture_time + 0.5 / rate:
        yield held


class FileSource:
    """A video played in real time."""

    def __init__(
        self,
        path: Path,
        *,
        fps: float = 20.0,
        loop: bool = False,
        now: Clock = time.monotonic,
        sleep: Sleep = time.sleep,
        warn: Warn = log_warning,
    ) -> None:
        info = probe(path)  # a bad file is refused here, not in the middle of a call
        self.name = path.name
        self.frame_rate = min(fps, info.frame_rate)
        self.dropped = 0
        self._path, self._fps, self._loop, self._warn = path, fps, loop, warn
        self._now, self._sleep = now, sleep
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        """The file's frames; `capture_time` is the start of playing plus `media_time`."""
        start, count = self._now(), 0
        while not self._closed:
            end = 0.0
            held: Frame | None = None
            for frame in nearest_to_ticks(read_video(self._path, warn=self._warn), self._fps):
                end = frame.capture_time
                if held is not None:
                    if start + frame.capture_time <= self._now():
                        self.dropped += 1  # a newer one is due too
                    else:
                        yield from self._when_due(held, start, count)
                        count += 1
                if self._closed:
                    return
                held = frame
            if held is not None:
                yield from self._when_due(held, start, count)
                count += 1
            if not self._loop:
                return
            start += end + 1.0 / self.frame_rate

    def _when_due(self, frame: Frame, start: float, count: int) -> Iterator[Frame]:
        moment = start + frame.capture_time
        while (wait := moment - self._now()) > 0:
            self._sleep(wait)
            if self._closed:
                return
        yield Frame(count, moment, frame.image, frame.media_time)

    def close(self) -> None:
        """End `frames` at its next step."""
        self._closed = True


class CameraSource:
    """A camera through OpenCV; a thread always holds its newest picture."""

    def __init__(
        self,
        number: int,
        *,
        fps: float = 20.0,
        now: Clock = time.monotonic,
        open_capture: Callable[[int], Any] | None = None,
    ) -> None:
        """`open_capture(number)` returns what behaves like cv2.VideoCapture."""
        self.name = f"camera:{number}"
        self.frame_rate = fps
        self.dropped = 0
        self._now = now
        self._capture = (open_capture or _open_camera)(number)
        if not self._capture.isOpened():
            self._capture.release()
            raise VideoError(
                f"camera {number} cannot be opened: check that it is plugged in, allowed and not "
                "used by another program, or name a video file"
            )
        self._newest: tuple[float, Image] | None = None
        self._fresh = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._grab, name="camera", daemon=True)
        self._thread.start()

    def _grab(self) -> None:
        period, due = 1.0 / self.frame_rate, -np.inf
        while not self._ended:
            ok, picture = self._capture.read()
            moment = self._now()
            with self._fresh:
                if not ok:
                    self._ended = True
                elif moment >= due - 0.25 * period:  # nearest to the tick, at the camera's grain
                    due = max(due + period, moment) if np.isfinite(due) else moment + period
                    self.dropped += self._newest is not None
                    self._newest = (moment, np.ascontiguousarray(picture[..., ::-1]))
                self._fresh.notify_all()

    def frames(self) -> Iterator[Frame]:
        """The camera's pictures until it is closed; VideoError where it stops by itself."""
        count, patience = 0, CAMERA_START_S
        while True:
            with self._fresh:
                self._fresh.wait_for(lambda: self._newest is not None or self._ended, patience)
                taken, self._newest = self._newest, None
            if taken is None:
                if self._closed_by_user:
                    return
                raise VideoError(
                    f"{self.name} gave {'no more pictures' if count else 'no picture'}: "
                    "check its cable and whether another program has taken it"
                )
            yield Frame(count, taken[0], taken[1])
            count, patience = count + 1, CAMERA_SILENCE_S

    _closed_by_user = False

    def close(self) -> None:
        """Let the camera go."""
        with self._fresh:
            self._closed_by_user = self._ended = True
            self._fresh.notify_all()
        self._thread.join(timeout=2.0)
        if not self._thread.is_alive():  # releasing under a blocked read crashes some drivers
            self._capture.release()


def _open_camera(number: int) -> Any:
    import cv2

    with native_noise_silenced():  # its warnings about a missing camera; ours is a sentence
        return cv2.VideoCapture(number)


def open_source(
    spec: str,
    fps: float = 20.0,
    loop: bool = False,
    *,
    now: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> FrameSource:
    """ "camera:N", or the path of a video; `fps` is the rate wanted, `loop` starts a file again."""
    if not 0 < fps <= 1000:
        raise LocalError(f"frames per second must lie in 0 to 1000, not {fps}")
    kind, colon, number = spec.partition(":")
    if kind == "camera" and (not colon or number.isdigit()):
        return CameraSource(int(number or 0), fps=fps, now=now)
    return FileSource(Path(spec), fps=fps, loop=loop, now=now, sleep=sleep)


__all__ = ["CameraSource", "FileSource", "FrameSource", "nearest_to_ticks",
           "open_source"]  # fmt: skip
