"""The picture of somebody who is not there: the last one, dimmed, with a caption.

The rule: the head is left as it was and only covered, so the next picture needs nothing but less
cover; without any picture there is a plain one. Nothing here changes what is drawn later.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CAPTION = "no face"
DIM = 0.6  # the share of the light that a full veil takes
GREY = 90  # what it takes the picture towards, and the plain picture's shade
MIN_CAPTION_PX = 64  # smaller pictures have no room for words

Image = NDArray[np.uint8]


def veiled(picture: Image, veil: float, caption: str = CAPTION) -> Image:
    """A copy of `picture`, uint8 [H, W, 3], under a veil of 0..1; the caption fades in with it.
    A transparent one, [H, W, 4], fades away instead."""
    import cv2

    veil = min(1.0, max(0.0, veil))
    if picture.shape[2] == 4:
        return np.asarray(picture * (1.0 - DIM * veil) + 0.5, dtype=np.uint8)
    cover = np.full_like(picture, GREY)
    out = cv2.addWeighted(picture, 1.0 - DIM * veil, cover, DIM * veil, 0.0)
    height, width = out.shape[:2]
    if caption and caption.isascii() and width >= MIN_CAPTION_PX:
        font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, width // 256)
        (one, tall), _ = cv2.getTextSize(caption, font, 1.0, thickness)
        scale = min(0.4 * width / one, 0.08 * height / tall)
        corner = (round((width - one * scale) / 2), round(0.92 * height))
        written = out.copy()
        cv2.putText(written, caption, corner, font, scale, (245, 245, 245), thickness, cv2.LINE_AA)
        out = cv2.addWeighted(out, 1.0 - veil, written, veil, 0.0)
    return np.asarray(out, dtype=np.uint8)


def empty_picture(height: int, width: int, caption: str = CAPTION) -> Image:
    """What is shown before anybody was seen, uint8 [height, width, 3]."""
    return veiled(np.full((height, width, 3), 230, dtype=np.uint8), 1.0, caption)
