"""The pictures of one frame of a training set, and how they are stored.

The rule: JPEG without chroma subsampling at quality 97, PNG for what must be exact; a write that
fails raises OSError, never leaves a short file unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf.trainset import BODY_RGB, HEAD_RGB

JPEG_QUALITY = 97


@dataclass(frozen=True, slots=True, eq=False)
class PortraitPictures:
    """One stabilised portrait and what was cut out of it."""

    portrait: NDArray[np.uint8]
    """[H, W, 3] RGB, white beyond the source's edge."""
    person: NDArray[np.float32]
    """[H, W] opacity of the whole person, 0..1."""
    head: NDArray[np.float32]
    """[H, W] opacity of the head, 0..1."""
    colour: NDArray[np.float32]
    """[H, W, 3] the person's colour times its opacity, 0..1."""
    landmarks: NDArray[np.float32]
    """[M, 2] pixels."""

    def head_on_white(self) -> NDArray[np.uint8]:
        """[H, W, 3] the head over white."""
        kept = self.head / np.maximum(self.person, np.float32(1e-3))  # what the neck cut leaves
        white = self.colour * kept[..., None] + (1.0 - self.head[..., None])
        return (np.clip(white, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)

    def parsing(self) -> NDArray[np.uint8]:
        """[H, W, 3] head, body and background in their colours."""
        out = np.full(self.portrait.shape, 255, dtype=np.uint8)
        out[self.person > 0.5] = BODY_RGB
        out[self.head > 0.5] = HEAD_RGB
        return out


def write_pictures(folder: Path, name: int, pictures: PortraitPictures) -> None:
    """Write one frame's files into a training set's folders."""
    _write(folder / "ori_imgs" / f"{name}.jpg", pictures.portrait)
    _write(folder / "head_imgs" / f"{name}.jpg", pictures.head_on_white())
    _write(folder / "matte" / f"{name}.png", (pictures.head * 255.0 + 0.5).astype(np.uint8))
    _write(folder / "parsing" / f"{name}.png", pictures.parsing())
    lines = "\n".join(f"{x:.2f} {y:.2f}" for x, y in pictures.landmarks)
    (folder / "ori_imgs" / f"{name}.lms").write_text(lines + "\n", encoding="ascii")


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    import cv2

    if image.ndim == 3:
        image = np.ascontiguousarray(image[..., ::-1])
    settings = (
        [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY,
         cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )  # fmt: skip
    ok, data = cv2.imencode(path.suffix, image, settings)
    assert ok, path
    path.write_bytes(data.tobytes())
