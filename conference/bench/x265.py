"""x265 as the paper runs it: no B-frames, a bit rate, 20 frames a second.

The rule: what is counted is the bytes of the packets, what is scored is what a decoder makes of
them. Reference: the paper, "Bit-rate": ffmpeg -c:v libx265 -x265-params bframes=0 -b:v R -r 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError


def code(frames: Sequence[NDArray[np.uint8]], kbps: float,
         fps: float) -> tuple[float, list[NDArray[np.uint8]]]:  # fmt: skip
    """(achieved kbps, decoded frames) of RGB frames [S, S, 3] through libx265 at a target rate."""
    import av

    height, width = frames[0].shape[:2]
    try:
        encoder = av.CodecContext.create("libx265", "w")
    except av.FFmpegError as error:
        raise LocalError(
            "this PyAV has no libx265 to compare with: install PyAV's wheel"
        ) from error
    rate = Fraction(fps).limit_denominator(1001)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"  # type: ignore[attr-defined]
    encoder.framerate, encoder.time_base = rate, 1 / rate  # type: ignore[attr-defined]
    encoder.bit_rate = round(1000 * kbps)
    encoder.options = {"x265-params": "bframes=0:log-level=none"}
    packets = []
    for i, image in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = i, 1 / rate
        packets += encoder.encode(frame)  # type: ignore[attr-defined]
    packets += encoder.encode(None)  # type: ignore[attr-defined]
    size = sum(packet.size for packet in packets)
    decoder = av.CodecContext.create("hevc", "r")
    shown = [f for packet in packets for f in decoder.decode(packet)]  # type: ignore[attr-defined]
    shown += decoder.decode(None)  # type: ignore[attr-defined]
    if len(shown) != len(frames):
        raise LocalError(f"x265 gave back {len(shown)} of {len(frames)} frames at {kbps:g} kbps")
    images = [np.asarray(f.to_ndarray(format="rgb24"), dtype=np.uint8) for f in shown]
    return size * 8 * fps / len(frames) / 1000, images


def rate_for(quality: float, rates: Sequence[float], qualities: Sequence[float]) -> float | None:
    """The rate at which a curve reaches `quality`, linear in log rate; None outside the curve.

    Points are taken in order of rate; the first crossing counts.
    """
    points = sorted(zip(rates, qualities, strict=True))
    for (r0, q0), (r1, q1) in pairwise(points):
        if q0 <= quality <= q1 and q1 > q0:
            share = (quality - q0) / (q1 - q0)
            return float(np.exp((1 - share) * np.log(r0) + share * np.log(r1)))
    return None
