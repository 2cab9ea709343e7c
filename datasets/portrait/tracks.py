"""Pass one over a video: what the tracker saw in every frame, as arrays.

The rule: one row per frame that was looked at, with or without a face, so that every later
decision (cuts, two people, what is left out) is made on the whole clip and can be told to the
user with times.
"""

from __future__ import annotations

import queue
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quic_transport.params import EXPRESSION_DIM
from sender.extractor import TrackedFace
from sender.frames import Frame
from sender.portrait_crop import PortraitCrop
from sender.source import nearest_to_ticks
from sender.video import VideoInfo

FACE_PX = 256  # side of the portrait in which the face is measured
THUMBNAIL_PX = 24  # side of the grey picture that scene changes are looked for in
QUEUE_FRAMES = 8  # decoded frames waiting for the tracker

Progress = Callable[[str, int, int | None], None]
"""stage, done, total (None where unknown)."""


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """N frames of a clip; rows without a face hold NaN in all that the face would say."""

    index: NDArray[np.int64]
    """[N] the frame's number in the video."""
    time: NDArray[np.float64]
    """[N] seconds from the video's first frame."""
    faces: NDArray[np.int64]
    """[N] faces seen."""
    second: NDArray[np.float32]
    """[N] size of the second face relative to the first, 0 where there is none."""
    expression: NDArray[np.float32]
    """[N, 46]."""
    rotation: NDArray[np.float64]
    """[N, 3] pitch, yaw, roll along the line of sight, radians."""
    offset: NDArray[np.float64]
    """[N, 3] the portrait's place in the picture."""
    crop: NDArray[np.float64]
    """[N, 3] (u, v, side), pixels of the picture."""
    distance: NDArray[np.float64]
    """[N] metres to the head's origin."""
    landmarks: NDArray[np.float32]
    """[N, M, 2] in portrait widths, (0.5, 0.5) is the head's origin."""
    thumbnail: NDArray[np.uint8]
    """[N, 24, 24] the whole picture, grey."""
    size: NDArray[np.int64]
    """[N, 2] width and height of the picture."""
    pose: NDArray[np.float64]
    """[N, 4, 4] head → camera of the full picture, metres."""
    focal: NDArray[np.float64]
    """[N] that camera's focal length, pixels."""
    sharpness: NDArray[np.float64]
    """[N] variance of the Laplacian in the face, grey 0..255, in a portrait of 256 px."""
    brightness: NDArray[np.float64]
    """[N] mean grey of the face, 0..255."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """[N] whether there is a face."""
        return np.asarray(self.faces > 0)

    def portrait(self, row: int) -> PortraitCrop:
        """The crop of one row that has a face."""
        u, v, side = (float(x) for x in self.crop[row])
        return PortraitCrop(u, v, side)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Tracks:
        """Some of the rows."""
        return Tracks(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @staticmethod
    def join(parts: list[Tracks]) -> Tracks:
        """One after the other; parts without any face have no landmarks and get NaN ones."""
        marks = max((part.landmarks.shape[1] for part in parts), default=0)
        arrays: dict[str, Any] = {}
        for f in fields(Tracks):
            values = [getattr(part, f.name) for part in parts]
            if f.name == "landmarks":
                values = [v if v.shape[1] == marks else np.full((len(v), marks, 2), np.nan)
                          for v in values]  # fmt: skip
                arrays[f.name] = np.concatenate(values).astype(np.float32)
            else:
                arrays[f.name] = np.concatenate(values)
        return Tracks(**arrays)

    def save(self, path: Path) -> None:
        """Write all arrays, at once."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        temporary.replace(path)

    @staticmethod
    def load(path: Path) -> Tracks | None:
        """What `save` wrote; None if there is nothing of the kind."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                return Tracks(**{f.name: archive[f.name] for f in fields(Tracks)})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which frames of a video are looked at."""

    start: float = 0.0
    """Seconds from the first frame."""
    end: float = float("inf")
    """Seconds; frames at or after it are not looked at."""
    every: int = 1
    """Take each so-many-th frame."""
    rate: float | None = None
    """Take at most so many frames per second, those nearest to its ticks; None takes all."""

    def count_in(self, info: VideoInfo) -> int | None:
        """About how many frames that will be; None where the file does not say how long it is."""
        if info.duration is None:
            return None
        rate = min(info.frame_rate, self.rate or info.frame_rate)
        seconds = min(info.duration, self.end) - self.start
        return max(1, round(seconds * rate / self.every))

    def choose(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The chosen frames, in order."""
        if self.rate is not None:
            frames = nearest_to_ticks(frames, self.rate)
        count = 0
        for frame in frames:
            if frame.capture_time < self.start:
                continue
            if frame.capture_time >= self.end:
                return
            if count % self.every == 0:
                yield frame
            count += 1


class Prefetched:
    """Runs an iterator in a thread, a bounded number of items ahead; `close()` ends it early."""

    def __init__(self, items: Iterator[Frame], depth: int = QUEUE_FRAMES) -> None:
        self._queue: queue.Queue[Frame | BaseException | None] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._items = items
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self._thread.start()

    def _put(self, item: Frame | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue

    def _run(self) -> None:
        try:
            for item in self._items:
                self._put(item)
                if self._stop.is_set():
                    return
            self._put(None)
        except Exception as error:  # handed to the consumer, who raises it
            self._put(error)

    def __iter__(self) -> Iterator[Frame]:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Stop decoding and wait for the thread."""
        self._stop.set()
        self._thread.join()


def tracks_of(rows: list[dict[str, Any]]) -> Tracks:
    """The rows that `track_frame` made, at least one."""
    marks = max(len(row["landmarks"]) for row in rows)
    for row in rows:
        if not len(row["landmarks"]):
            row["landmarks"] = np.full((marks, 2), np.nan, dtype=np.float32)
    return Tracks(**{f.name: np.array([row[f.name] for row in rows]) for f in fields(Tracks)})


def track_frame(frame: Frame, faces: list[TrackedFace]) -> dict[str, Any]:
    """The row of one frame in which the extractor saw `faces`."""
    import cv2

    height, width = frame.image.shape[:2]
    grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    row: dict[str, Any] = {
        "index": frame.index,
        "time": frame.capture_time,
        "faces": len(faces),
        "second": np.float32(faces[1].crop.side / faces[0].crop.side if len(faces) > 1 else 0.0),
        "expression": np.full(EXPRESSION_DIM, np.nan, dtype=np.float32),
        "rotation": np.full(3, np.nan),
        "offset": np.full(3, np.nan),
        "crop": np.full(3, np.nan),
        "distance": np.nan,
        "landmarks": np.empty((0, 2), dtype=np.float32),
        "thumbnail": cv2.resize(grey, (THUMBNAIL_PX,) * 2, interpolation=cv2.INTER_AREA),
        "size": (width, height),
        "pose": np.full((4, 4), np.nan),
        "focal": np.nan,
        "sharpness": np.nan,
        "brightness": np.nan,
    }
    if faces:
        face = faces[0]
        row["expression"] = face.params.expression
        row["rotation"] = face.params.rotation.astype(np.float64)
        row["offset"] = np.asarray(face.params.offset, dtype=np.float64)
        row["crop"] = np.array([face.crop.u, face.crop.v, face.crop.side])
        row["distance"] = -float(face.pose[2, 3])
        row["landmarks"] = face.crop.map_points(face.landmarks, 1)
        row["pose"], row["focal"] = face.pose, face.focal_px
        row["sharpness"], row["brightness"] = _face_light(grey, face.crop, row["landmarks"])
    return row


def _face_light(
    grey: Any, crop: PortraitCrop, landmarks: NDArray[np.float32]
) -> tuple[float, float]:
    """Variance of the Laplacian and mean grey within the box of `landmarks`; NaN for no box."""
    import cv2

    if not len(landmarks):
        return np.nan, np.nan
    low = np.clip(landmarks.min(axis=0) * FACE_PX, 0, FACE_PX).astype(int)
    high = np.clip(landmarks.max(axis=0) * FACE_PX, 0, FACE_PX).astype(int)
    if (high - low).min() < 8:
        return np.nan, np.nan
    face = crop.apply(grey, FACE_PX)[low[1] : high[1], low[0] : high[0]]
    return float(cv2.Laplacian(face, cv2.CV_32F).var()), float(face.mean())
