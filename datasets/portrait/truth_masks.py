"""A performer's exact masks in the place of a segmenter's.

The rule: nothing is estimated; `<stem>.masks.zip` beside the video holds one 8-bit head opacity
per frame of the video, `matte/<frame number, six digits>.png`, and where the film has a body one
map of the four classes, `classes/<frame number>.png`, as large as the video's pictures
(portrait.performer.film writes them).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portrait.footage import hash_files
from portrait.pictures import labels_through
from quic_transport.errors import LocalError
from sender.frames import Frame
from sender.portrait_crop import PortraitCrop


def masks_path(video: Path) -> Path:
    """Where the masks of `video` lie."""
    return video.with_name(video.stem + ".masks.zip")


class TruthMasks:
    """The head's exact opacity, warped into the portrait. Not thread-safe."""

    def __init__(self, video: Path) -> None:
        self._path = masks_path(video)
        try:
            self._archive = zipfile.ZipFile(self._path)
            self._names = set(self._archive.namelist())
        except (OSError, zipfile.BadZipFile) as error:
            raise LocalError(
                f"{video.name} has no readable {self._path.name} beside it: film the performer "
                "again, or use --extractor mediapipe"
            ) from error

    def person(
        self, portrait: NDArray[np.uint8], frame: Frame, crop: PortraitCrop
    ) -> NDArray[np.float32]:
        """Opacity of the head, float32 [H, W] in 0..1."""
        warped = crop.apply(self._read("matte", frame), portrait.shape[0], border=0)
        return warped.astype(np.float32) / np.float32(255)

    def classes(
        self, portrait: NDArray[np.uint8], frame: Frame, crop: PortraitCrop
    ) -> NDArray[np.uint8] | None:
        """uint8 [H, W]: 0 background, 1 head, 2 neck, 3 torso; None where there are none."""
        if f"classes/{frame.index:06d}.png" not in self._names:
            return None
        return labels_through(crop, self._read("classes", frame), portrait.shape[0])

    def _read(self, kind: str, frame: Frame) -> NDArray[np.uint8]:
        import cv2

        name = f"{kind}/{frame.index:06d}.png"
        try:
            data = self._archive.read(name)
        except (KeyError, OSError, zipfile.BadZipFile) as error:
            raise LocalError(f"{self._path} lacks {name}: film the performer again") from error
        mask = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if mask is None or mask.shape != frame.image.shape[:2]:
            raise LocalError(f"{self._path} holds a damaged {name}: film the performer again")
        return np.asarray(mask, dtype=np.uint8)

    @property
    def fingerprint(self) -> str:
        """Changes with the masks."""
        return hash_files([self._path])

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()
