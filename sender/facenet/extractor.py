"""facewire's own face tracker as an extractor: 46 ARKit coefficients and the head's pose.

The rule: PE-Net follows, FB-Net finds. A face is looked for at the start, after a loss (in the
same frame), and now and then for a second one; otherwise each face's own landmarks say where it is
in the next frame. Poses are in the full picture's camera with a vertical field of view of 63°, in
metres, exactly as MediaPipe's FaceLandmarker would put them, which PE-Net was taught by.
Reference: docs/model-card-facenet.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quic_transport.params import FaceParams
from sender.extractor import TrackedFace
from sender.facenet.crop import MARGIN, FaceCrop
from sender.facenet.detector import FaceBox, FaceDetector, close_tiles, tile_around
from sender.facenet.follow import Track, acquired, followed
from sender.facenet.reader import FaceReader, FaceReading, fingerprint, focal_of
from sender.frames import Frame
from sender.portrait_crop import crop_of

MAX_FACES = 2
SECOND_FACE_S = 1.0
"""Seconds of capture time between looks for another face."""
SECOND_SIZE = 0.6
"""A second face is at least so large, relative to the first."""
SEARCH_EVERY = 3
"""Frames without a face between close looks."""
SEARCH_TILES = 4
"""Tiles of a close look; the first one takes all."""

Image = NDArray[np.uint8]


class FacenetExtractor:
    """PE-Net and FB-Net; sees up to two faces. Not thread-safe."""

    schema = "arkit46"

    def __init__(self, *, weights: Path | None = None) -> None:
        """`weights`: a folder of other networks."""
        self.name = f"facenet-{fingerprint(weights)}"
        self._reader = FaceReader(weights)
        self._detector = FaceDetector(weights)
        self._tracks: list[Track] = []
        self._size = (0, 0)
        self._looked_at = -math.inf
        self._alone = 0  # frames in a row without a face
        self._tile = 0

    def extract(self, frame: Frame) -> list[TrackedFace]:
        """The faces of the next frame, the largest first."""
        image, now = frame.image, frame.capture_time
        height, width = image.shape[:2]
        if (width, height) != self._size:  # another camera
            self._size, self._tracks, self._looked_at = (width, height), [], -math.inf
            self._alone = self._tile = 0
        lost = self._follow(image, now)
        due = not 0 <= now - self._looked_at < SECOND_FACE_S and len(self._tracks) < MAX_FACES
        if lost or due or not self._tracks:
            self._looked_at = now
            sizes = [SECOND_SIZE * track.place.side / MARGIN for track in self._tracks]
            smallest = 0.0 if lost or not sizes else max(sizes)
            self._take(image, now, self._detector.look(image, smallest))
        if not self._tracks:
            self._search(image, now, lost)
        self._alone = 0 if self._tracks else self._alone + 1
        faces = [self._face(frame, track.reading) for track in self._tracks]
        return sorted(faces, key=lambda face: -face.crop.side)

    def read(self, image: Image, crop: FaceCrop) -> FaceReading:
        """What PE-Net says about one crop: no tracking, no state."""
        return self._reader.read(image, crop)

    def warm_up(self, width: int, height: int) -> None:
        """Run both networks once on a picture of this size, so that the first frame is not late."""
        empty = np.zeros((height, width, 3), np.uint8)
        self.read(empty, FaceCrop(width / 2, height / 2, min(width, height) / 2, 0.0))
        self._detector.look(empty)

    def close(self) -> None:
        """Forget the faces."""
        self._tracks = []

    def _follow(self, image: Image, now: float) -> list[Track]:
        """Find the known faces in the next picture; those that are gone."""
        lost = []
        for track in self._tracks:
            vote = self._detector.vote
            reading = followed(self.read, vote, image, track.predicted(now))
            if reading is None and track.velocity != (0.0, 0.0):  # it may have stopped
                reading = followed(self.read, vote, image, track.place)
            if reading is None:
                lost.append(track)
            else:
                track.moved(reading, now)
        kept: list[Track] = []
        for track in self._tracks:  # the older first
            if track in lost:
                continue
            if any(_same(track.place, other.place) for other in kept):
                continue
            kept.append(track)
        self._tracks = kept
        return lost

    def _take(self, image: Image, now: float, boxes: Iterable[FaceBox]) -> None:
        """Follow those candidates that PE-Net confirms and that are not followed yet."""
        for box in boxes:
            if len(self._tracks) == MAX_FACES:
                return
            crop = FaceCrop(box.x, box.y, MARGIN * box.size, 0.0)
            if any(_same(crop, track.place) for track in self._tracks):
                continue
            reading = acquired(self.read, self._detector.vote, image, crop)
            if reading is None:
                continue
            track = Track(reading, reading.crop, now)
            track.moved(reading, now)
            if not any(_same(track.place, other.place) for other in self._tracks):
                self._tracks.append(track)

    def _search(self, image: Image, now: float, lost: list[Track]) -> None:
        """Look closely: around faces that were just lost, and through the picture by and by."""
        height, width = image.shape[:2]
        tiles = [tile_around(t.place.x, t.place.y, t.place.side / MARGIN, width, height)
                 for t in lost]  # fmt: skip
        every = close_tiles(width, height) if self._alone % SEARCH_EVERY == 0 else []
        if every:
            count = len(every) if self._tile == 0 else min(SEARCH_TILES, len(every))
            tiles += [every[(self._tile + k) % len(every)] for k in range(count)]
            self._tile += count
        self._take(image, now, self._detector.search(image, tiles))

    def _face(self, frame: Frame, reading: FaceReading) -> TrackedFace:
        height, width = frame.image.shape[:2]
        focal = focal_of(height)
        pose = reading.pose(focal, width, height)
        crop, rotation, offset = crop_of(pose, focal, width, height)
        params = FaceParams(
            np.clip(reading.expression, 0.0, 1.0).astype(np.float32),
            rotation.astype(np.float32), frame.capture_time, offset.astype(np.float32),
        )  # fmt: skip
        landmarks = reading.landmarks.astype(np.float32)
        return TrackedFace(params, pose, focal, landmarks, crop, reading.presence)


def _same(one: FaceCrop, other: FaceCrop) -> bool:
    """Whether two crops are about the same face."""
    return math.hypot(one.x - other.x, one.y - other.y) < 0.35 * max(one.side, other.side)
