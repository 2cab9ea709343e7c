"""Small pictures inside an avatar file: WebP, opened with care.

The rule: the size that a picture says of itself is read from its first bytes and must be the
expected one before a decoder sees any of it, so a few hostile bytes never become a large image.
Reference: RFC 9649, "WebP Image Format"; RFC 6386 (VP8), section 9.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_PX = 1600  # of either side
MAX_BYTES = 4 << 20

Image = NDArray[np.uint8]


class PictureError(ValueError):
    """Bytes are no picture of the expected kind; the sentence says why."""


def packed(image: Image, quality: int) -> NDArray[np.uint8]:
    """WebP bytes of uint8 [H, W, 3] RGB, or RGBA [H, W, 4] with its opacity kept exactly."""
    import cv2

    order = (2, 1, 0, 3)[: image.shape[2]]
    ok, data = cv2.imencode(".webp", np.ascontiguousarray(image[..., order]),
                            [cv2.IMWRITE_WEBP_QUALITY, quality])  # fmt: skip
    assert ok, image.shape
    return np.asarray(data, dtype=np.uint8).ravel()


def unpacked(data: NDArray[np.generic], size: tuple[int, int], channels: int) -> Image:
    """The picture of `size` (width, height) with 3 or 4 channels; PictureError for anything else.

    An opaque RGBA picture may have lost its fourth channel on the way: it comes back.
    """
    import cv2

    if data.dtype != np.uint8 or data.ndim != 1 or not 0 < data.size <= MAX_BYTES:
        raise PictureError(f"a picture is bytes, not {data.dtype} {data.shape}")
    found = size_of(data[:64].tobytes())
    if found != size or max(size) > MAX_PX:
        raise PictureError(f"a picture of {size[0]} × {size[1]} is expected, not {found}")
    try:
        image = cv2.imdecode(np.ascontiguousarray(data), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PictureError(f"a picture cannot be decoded ({error})") from error
    if image is None or image.dtype != np.uint8 or image.shape[:2] != size[::-1]:
        raise PictureError("a picture is damaged")
    if image.ndim == 3 and image.shape[2] == 3 and channels == 4:
        image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    if image.ndim != 3 or image.shape[2] != channels:
        raise PictureError(f"a picture of {channels} channels is expected")
    order = (2, 1, 0, 3)[:channels]
    return np.ascontiguousarray(image[..., order], dtype=np.uint8)


def size_of(head: bytes) -> tuple[int, int] | None:
    """Width and height that the first 30 bytes of a WebP file say; None if they are none."""
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(head[i : i + 2], "little") & 0x3FFF for i in (26, 28))
        return width, height
    return None
