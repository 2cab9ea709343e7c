"""One captured picture and when it was taken.

The rule: a frame knows two times. `capture_time` is the clock that everything downstream counts
in (the sender's monotonic clock in a call, media time in a file that is read for training);
`media_time` is the place in the file, which only a file has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One RGB picture from a camera or a video."""

    index: int
    """Position in the source, counted from 0 over all frames that the source had."""

    capture_time: float
    """Seconds at which the picture was taken, on the clock of whoever paces the source."""

    image: Image
    """uint8 [H, W, 3], RGB, row 0 at the top."""

    media_time: float | None = None
    """Seconds from the first frame of the file; None for a camera."""


def mirrored(frame: Frame) -> Frame:
    """The frame with left and right exchanged: undoes a camera that shows a mirror image.

    The picture is turned, not the parameters: that works with every tracker and schema, also
    with a tracker that is fitted to one person's uneven face.
    """
    import cv2

    return replace(frame, image=np.asarray(cv2.flip(frame.image, 1), dtype=np.uint8))
