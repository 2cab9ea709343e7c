"""What a training set is made of: the frames of a video, or a folder of pictures.

The rule: footage can be read from its start as often as one likes and gives the same frames each
time; its identity is a hash of its bytes, so a file that was moved is the same and one that was
replaced is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError
from sender.extractor import Extractor
from sender.frames import Frame
from sender.video import VideoInfo, Warn, probe, read_video

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


class Footage(Protocol):
    """A source of frames that is read more than once."""

    name: str
    """What the user calls it."""

    def identity(self) -> str:
        """A hash of its content."""

    def info(self) -> VideoInfo:
        """Size, rate and length; an error with a sentence where it cannot be read."""

    def read(self, warn: Warn) -> Iterator[Frame]:
        """The frames from the start, with media times."""


class VideoFootage:
    """A video file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def identity(self) -> str:
        """A hash of the file."""
        return hash_files([self.path])

    def info(self) -> VideoInfo:
        """What the file says, after one frame was decoded."""
        return probe(self.path)

    def read(self, warn: Warn) -> Iterator[Frame]:
        """Its frames."""
        return read_video(self.path, warn=warn)


class PictureFootage:
    """Pictures of one size, `rate` per second, in the given order."""

    def __init__(self, name: str, paths: list[Path], rate: float) -> None:
        self.name, self.paths, self.rate = name, paths, rate

    def identity(self) -> str:
        """A hash of all files and the rate."""
        return f"{hash_files(self.paths)}@{self.rate}"

    def info(self) -> VideoInfo:
        """Size of the first picture."""
        height, width = read_picture(self.paths[0]).shape[:2]
        return VideoInfo(width, height, self.rate, len(self.paths) / self.rate, "pictures")

    def read(self, warn: Warn) -> Iterator[Frame]:
        """The pictures as frames; LocalError at one that cannot be read."""
        shape: tuple[int, ...] | None = None
        for index, path in enumerate(self.paths):
            time = index / self.rate
            image = read_picture(path)
            shape = shape or image.shape
            if image.shape != shape:
                raise LocalError(
                    f"{path} has {image.shape[1]}×{image.shape[0]} pixels, the pictures before it "
                    f"{shape[1]}×{shape[0]}: all must be of one size"
                )
            yield Frame(index, time, image, time)


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that a build starts from."""

    footage: Footage
    """The frames."""
    open_extractor: Callable[[], Extractor]
    """Opens what finds the face in them."""
    open_segmenter: Callable[[], object]
    """Opens a portrait.segmentation.Segmenter; called once per thread."""
    exact: bool = False
    """The segmenter's `person` is the head itself, without neck or body: nothing is cut off."""
    tracker: str = ""
    """Changes whenever the extractor's results would."""


def read_picture(path: Path) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB; transparent parts become white."""
    import cv2

    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise LocalError(f"{path} cannot be read ({error.strerror or error})") from error
    image: Any = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if image is None:
        raise LocalError(f"{path} is damaged or not a picture: remove it or copy it again")
    if image.dtype == np.uint16:
        image = (image / np.float32(257) + np.float32(0.5)).astype(np.uint8)
    elif image.dtype != np.uint8:
        image = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)  # floats, 1 is white
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    if image.shape[2] == 4:
        alpha = image[..., 3:].astype(np.float32) / 255
        image = (image[..., :3] * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)
    return np.ascontiguousarray(image[..., 2::-1])


def hash_files(paths: list[Path]) -> str:
    """SHA-256 over the files' lengths and bytes; LocalError where one cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                digest.update(path.stat().st_size.to_bytes(8, "little"))
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise LocalError(f"{path} cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()
