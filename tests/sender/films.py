"""Small synthetic videos for tests, written through PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_film(path: Path, frames: list[np.ndarray], times: list[float]) -> Path:
    """An H.264 MP4 of RGB `frames` at `times` seconds (any spacing)."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def grey_frames(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Frames of one grey level each, 4 levels apart."""
    return [np.full((height, width, 3), 20 + 4 * i, dtype=np.uint8) for i in range(count)]
