"""The pictures of a training set, and how they are stored.

The rule: JPEG without chroma subsampling at quality 97, PNG for what must be exact. A file
appears under its name when it is complete, so a picture that is there is whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf.trainset import BODY_RGB, HEAD_RGB, NECK_RGB
from quic_transport.errors import LocalError
from sender.portrait_crop import PortraitCrop

PORTRAIT_PX = 512
JPEG_QUALITY = 97
BACKGROUND, HEAD, NECK, TORSO = 0, 1, 2, 3  # the four classes

Image = NDArray[np.uint8]
_COLOURS = np.array([(255, 255, 255), HEAD_RGB, NECK_RGB, BODY_RGB], dtype=np.uint8)


def write_image(path: Path, image: Image) -> None:
    """Write uint8 [H, W], RGB [H, W, 3] or RGBA [H, W, 4] as JPEG or PNG, by the name's end."""
    import cv2

    if image.ndim == 3:
        order = (2, 1, 0, 3)[: image.shape[2]]
        image = np.ascontiguousarray(image[..., order])
    settings = (
        [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY,
         cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )  # fmt: skip
    ok, data = cv2.imencode(path.suffix, image, settings)
    assert ok, path
    _replace(path, data.tobytes())


def read_rgb(path: Path) -> Image:
    """uint8 [H, W, 3] RGB; LocalError where the picture is missing or damaged."""
    return np.ascontiguousarray(_read(path, 1)[..., ::-1])


def read_grey(path: Path) -> Image:
    """uint8 [H, W]; LocalError where the picture is missing or damaged."""
    return np.asarray(_read(path, 0), dtype=np.uint8)


def _read(path: Path, flags: int) -> Any:
    import cv2

    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError:
        data = np.empty(0, dtype=np.uint8)
    image = cv2.imdecode(data, flags) if len(data) else None
    if image is None:
        raise LocalError(f"{path} is missing or damaged: delete it and build again")
    return image


def write_landmarks(path: Path, landmarks: NDArray[np.float32]) -> None:
    """Write [M, 2] pixels, one landmark a line."""
    lines = "\n".join(f"{x:.2f} {y:.2f}" for x, y in landmarks)
    _replace(path, (lines + "\n").encode("ascii"))


def coloured(classes: Image) -> Image:
    """[H, W, 3] RGB of a class map [H, W]: how parsing/ stores it."""
    return _COLOURS[classes]


def classes_of(parsing: Image) -> Image:
    """[H, W] classes of a coloured map [H, W, 3] RGB, ours or NeRFBlendShape's or RAD-NeRF's."""
    out = np.zeros(parsing.shape[:2], dtype=np.uint8)
    for number in (HEAD, NECK, TORSO):
        out[(parsing == _COLOURS[number]).all(axis=-1)] = number
    return out


def labels_through(crop: PortraitCrop, labels: Image, size: int) -> Image:
    """[size, size] the portrait of a class map [H, W]: classes are not mixed, 0 beyond it."""
    import cv2

    a = crop.affine(size)
    a[:, 2] += 0.5 * a[:, :2].sum(axis=1) - 0.5  # to OpenCV's integer pixel centres
    out = cv2.warpAffine(labels, a, (size, size), flags=cv2.INTER_NEAREST)
    return np.asarray(out, dtype=np.uint8)


def opacity(matte: Image) -> NDArray[np.float32]:
    """float32 0..1 of an 8-bit matte."""
    return np.asarray(matte, dtype=np.float32) / np.float32(255)


def eight_bit(values: NDArray[np.float32]) -> Image:
    """uint8 of float32 0..1."""
    return (np.clip(values, 0.0, 1.0) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def unfinished(folder: Path, count: int, *names: str) -> list[int]:
    """Which of the frames 0..count-1 lack one of the files `names`, such as "matte/*.png"."""
    wanted = [
        (Path(name).suffix, {path.name for path in (folder / name).parent.iterdir()})
        for name in names
    ]
    return [n for n in range(count) if any(f"{n}{end}" not in have for end, have in wanted)]


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
