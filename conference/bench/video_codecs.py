"""Video codecs as a call would run them, for `facewire bench rd`.

The rule: what is counted is the bytes of the packets, what is scored is what a decoder makes of
them; apart from the paper's command nothing looks ahead or reorders, the rate is kept over one
second, and keyframes come only once (in the codecs' favour). References: the paper, "Bit-rate":
ffmpeg -c:v libx265 -x265-params bframes=0 -b:v R -r 20; aiortc, codecs/vpx.py and codecs/h264.py,
for its settings and least rates; RFC 3550 and 3711 for what a packet costs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError

Image = NDArray[np.uint8]

PACKET_BYTES = 20 + 8 + 12 + 10 + 2  # IPv4, UDP, RTP, SRTP's tag, the format's own header
PACKET_PAYLOAD = 1200
LOW_RATES = (4.0, 8.0, 12.0, 18.0, 25.0, 35.0, 50.0, 75.0, 100.0)
OFTEN = 3000  # frames between keyframes, where a number is wanted


@dataclass(frozen=True, slots=True)
class VideoCodec:
    """One codec and how it is run."""

    name: str
    """In rows: `rd.<scene>.<name>_<kbps>`."""
    label: str
    """For people."""
    encoder: str
    """FFmpeg's name."""
    decoder: str
    """FFmpeg's name."""
    options: Callable[[float], Mapping[str, str]]
    """kbps → the encoder's options."""
    rates: tuple[float, ...]
    """kbps that it is asked for."""
    least_kbps: float = 0.0
    """The least rate that the program which runs it so ever asks for."""


def _paper(_: float) -> Mapping[str, str]:
    return {"x265-params": "bframes=0:log-level=none"}


def _x265(kbps: float) -> Mapping[str, str]:
    whole = max(1, round(kbps))
    return {
        "tune": "zerolatency",
        "x265-params": f"keyint=-1:vbv-maxrate={whole}:vbv-bufsize={whole}:log-level=none",
    }


def _svt(_: float) -> Mapping[str, str]:
    return {"preset": "8", "svtav1-params": "pred-struct=1:rtc=1:rc=2:keyint=-1"}


def _vpx(kbps: float) -> dict[str, str]:
    rate = str(round(1000 * kbps))
    return {"deadline": "realtime", "lag-in-frames": "0", "minrate": rate, "maxrate": rate,
            "bufsize": rate, "g": str(OFTEN)}  # fmt: skip


def _vp9(kbps: float) -> Mapping[str, str]:
    return _vpx(kbps) | {"cpu-used": "7", "aq-mode": "3"}


def _vp8(kbps: float) -> Mapping[str, str]:
    return _vpx(kbps) | {
        "cpu-used": "-6", "noise-sensitivity": "4", "static-thresh": "1", "undershoot-pct": "100",
        "overshoot-pct": "15", "qmin": "2", "qmax": "56",
    }  # fmt: skip


def _h264(_: float) -> Mapping[str, str]:
    return {"profile": "baseline", "level": "31", "tune": "zerolatency"}


VIDEO_CODECS = (
    VideoCodec("x265", "x265, the paper's command", "libx265", "hevc", _paper, LOW_RATES),
    VideoCodec("x265_low_delay", "x265, low delay", "libx265", "hevc", _x265, LOW_RATES),
    VideoCodec("av1", "SVT-AV1, low delay", "libsvtav1", "libdav1d", _svt, LOW_RATES),
    VideoCodec("vp9", "VP9, real time", "libvpx-vp9", "libvpx-vp9", _vp9,
               (12.0, 25.0, 35.0, 50.0, 75.0, 100.0)),
    VideoCodec("vp8", "VP8 as aiortc sets it", "libvpx", "vp8", _vp8,
               (25.0, 75.0, 100.0, 250.0), 250.0),
    VideoCodec("h264", "H.264 as aiortc sets it", "libx264", "h264", _h264,
               (12.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0), 500.0),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """What became of a film at one rate."""

    kbps: float
    """Payload: the packets' bytes."""
    wire_kbps: float
    """The same in RTP, SRTP, UDP and IPv4; nothing for what the receiver says back."""
    first_bytes: int
    """The first picture, which everything after needs."""
    wait_s: float
    """How long the worst picture waits on a link that carries just this payload rate."""
    images: dict[int, Image]
    """Frame → how it is shown the last time."""


def available(codec: VideoCodec) -> str | None:
    """Why `codec` cannot run here; None: it can."""
    import av

    try:
        av.codec.Codec(codec.encoder, "w")
        av.codec.Codec(codec.decoder, "r")
    except (av.FFmpegError, ValueError):
        return f"this PyAV has no {codec.encoder} or no {codec.decoder}; its wheels have both"
    return None


def code(codec: VideoCodec, frames: Sequence[Image] | Image, order: Sequence[int], kbps: float,
         fps: float, wanted: Sequence[int]) -> Coded:  # fmt: skip
    """A film through `codec` at a target rate: `frames` [N][H, W, 3] RGB, even in height and
    width, shown in `order`; `wanted`: of the frames."""
    packets = _encoded(codec, frames, order, kbps, fps)
    sizes = [packet.size for packet in packets]
    last = {frame: position for position, frame in enumerate(order)}
    positions = {last[frame]: frame for frame in wanted}
    shown = _decoded(codec, packets, len(order), set(positions))
    datagrams = sum(math.ceil(size / PACKET_PAYLOAD) for size in sizes)
    seconds = len(order) / fps
    rate = sum(sizes) / seconds
    return Coded(
        rate * 8e-3, (sum(sizes) + PACKET_BYTES * datagrams) * 8e-3 / seconds, sizes[0],
        longest_wait(sizes, rate, fps), {positions[at]: image for at, image in shown.items()},
    )  # fmt: skip


def _encoded(codec: VideoCodec, frames: Sequence[Image] | Image, order: Sequence[int],
             kbps: float, fps: float) -> Any:  # fmt: skip
    import av

    os.environ.setdefault("SVT_LOG", "1")  # errors only
    height, width = frames[0].shape[:2]
    rate = Fraction(fps).limit_denominator(1001)
    encoder: Any = av.CodecContext.create(codec.encoder, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.framerate, encoder.time_base = rate, 1 / rate
    encoder.bit_rate = round(1000 * kbps)
    encoder.options = dict(codec.options(kbps))
    packets = []
    for i, which in enumerate(order):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frames[which]), format="rgb24")
        frame.pts, frame.time_base = i, 1 / rate
        packets += encoder.encode(frame)
    return packets + encoder.encode(None)


def _decoded(codec: VideoCodec, packets: Any, count: int, wanted: set[int]) -> dict[int, Image]:
    """The wanted pictures; one that the encoder left out is the one before."""
    import av

    decoder: Any = av.CodecContext.create(codec.decoder, "r")
    shown: dict[int, Image] = {}
    last: Any = None
    at = 0

    def until(end: int) -> None:
        nonlocal at
        while at < end:
            if at in wanted and last is not None:
                shown[at] = np.asarray(last.to_ndarray(format="rgb24"), dtype=np.uint8)
            at += 1

    for packet in (*packets, None):
        for frame in decoder.decode(packet):
            until(int(frame.pts))
            last = frame
    until(count)
    if missing := wanted - set(shown):
        raise LocalError(f"{codec.label} gave no picture back for frame {min(missing)}")
    return shown


def longest_wait(sizes: Sequence[int], rate: float, fps: float) -> float:
    """Seconds between a picture's time and its last byte, at most, where `sizes` bytes come every
    1/fps s and leave at `rate` bytes per second."""
    backlog = longest = 0.0
    for size in sizes:
        backlog += size
        longest = max(longest, backlog)
        backlog = max(0.0, backlog - rate / fps)
    return longest / rate if rate > 0 else 0.0


def rate_for(quality: float, rates: Sequence[float], qualities: Sequence[float]) -> float | None:
    """The rate at which a curve first reaches `quality`, linear in log rate; None outside it.

    Points are taken in order of rate.
    """
    points = sorted(zip(rates, qualities, strict=True))
    for (r0, q0), (r1, q1) in pairwise(points):
        if q0 <= quality <= q1 and q1 > q0:
            share = (quality - q0) / (q1 - q0)
            return float(np.exp((1 - share) * np.log(r0) + share * np.log(r1)))
    return None
