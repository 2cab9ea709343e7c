"""The performer's own parameters in the place of a tracker's.

The rule: nothing is measured; the sidecar `<stem>.truth.npz` beside the video is looked up by
media time. Arrays are read without pickle, and everything is checked before it is used.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM, FaceParams
from sender.extractor import TrackedFace
from sender.frames import Frame
from sender.portrait_crop import crop_of

NEEDED = ("time", "expression", "pose", "focal_px", "width", "height", "landmarks")


def truth_path(video: Path) -> Path:
    """Where the truth of `video` lies."""
    return video.with_name(video.stem + ".truth.npz")


class TruthExtractor:
    """Answers with the entry whose time is nearest to the frame's media time."""

    name = "truth"
    schema = "arkit46"

    def __init__(self, video: Path) -> None:
        path = truth_path(video)
        if not path.is_file():
            raise LocalError(
                f"{video.name} has no {path.name} beside it: the truth exists only for videos made "
                "with `facewire performer`; track it with --extractor mediapipe"
            )
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                missing = [name for name in NEEDED if name not in archive]
                if missing:
                    raise LocalError(f"{path} lacks {', '.join(missing)}: film the performer again")
                self._time = np.asarray(archive["time"], dtype=np.float64)
                self._expression = np.asarray(archive["expression"], dtype=np.float32)
                self._pose = np.asarray(archive["pose"], dtype=np.float64)
                self._landmarks = np.asarray(archive["landmarks"], dtype=np.float32)
                self._focal = float(archive["focal_px"])
                self._size = (int(archive["width"]), int(archive["height"]))
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise LocalError(f"{path} is damaged ({error}): film the performer again") from error
        n = len(self._time)
        shapes = (self._expression.shape, self._pose.shape, self._landmarks.shape[::2])
        if n == 0 or shapes != ((n, EXPRESSION_DIM), (n, 4, 4), (n, 2)):
            raise LocalError(f"{path} has arrays of unexpected shapes: film the performer again")

    def extract(self, frame: Frame) -> list[TrackedFace]:
        """The performer in the frame, always exactly one face."""
        if frame.media_time is None:
            raise LocalError("the truth extractor works on the performer's file, not on a camera")
        width, height = self._size
        if frame.image.shape[:2] != (height, width):
            raise LocalError(
                f"the truth is for pictures of {width}×{height}, the video has "
                f"{frame.image.shape[1]}×{frame.image.shape[0]}: use the performer's own file"
            )
        k = int(np.abs(self._time - frame.media_time).argmin())
        crop, rotation, offset = crop_of(self._pose[k], self._focal, width, height)
        expression = np.clip(self._expression[k], 0.0, 1.0)
        params = FaceParams(
            expression, rotation.astype(np.float32), frame.capture_time, offset.astype(np.float32)
        )
        return [TrackedFace(params, self._pose[k], self._focal, self._landmarks[k], crop, 1.0)]

    def close(self) -> None:
        """Nothing is held."""
