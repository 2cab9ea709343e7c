"""Reading video files: any container and codec that FFmpeg (PyAV) knows, upright, with real times.

The rule: the times are the file's own timestamps counted from its first frame; frame counts and
rates that a container declares are never believed. A file that cannot be opened or holds no
picture is a `VideoError`; damage after the first frames is a warning and ends the reading there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quic_transport.errors import LocalError
from sender.frames import Frame

MAX_SIDE_PX = 8192  # a larger declared picture is taken for a damaged header
DEFAULT_RATE = 25.0  # frames per second where a file states neither times nor a rate

Warn = Callable[[str], None]


class VideoError(LocalError):
    """A video or camera cannot be read; the sentence names it, the cause and what to do."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file says about itself; all but the size is a hint."""

    width: int
    """Pixels, as shown (after the rotation flag)."""
    height: int
    """Pixels, as shown."""
    frame_rate: float
    """Average frames per second that the container declares, > 0; 25 where it declares none."""
    duration: float | None
    """Seconds that the container declares; None where it declares none."""
    codec: str
    """FFmpeg's name of the codec."""


def log_warning(text: str) -> None:
    """The default for `warn`: Python's logging."""
    logging.getLogger("facewire").warning(text)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream."""
    import av

    if path.is_dir():
        raise VideoError(f"{path} is a folder, not a video: name a video file")
    if not path.is_file():
        raise VideoError(f"there is no video at {path}: check the name")
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            f"{path.name} cannot be opened as a video ({_reason(error)}): it is damaged, cut off "
            "or not a video; copy it again or export it as MP4"
        ) from error
    with container:
        if not container.streams.video:
            raise VideoError(f"{path.name} has no picture, only sound or data: name a video file")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise VideoError(
                f"{path.name} uses a video codec that this machine cannot decode: "
                "export it as H.264 in MP4"
            )
        stream.thread_type = "AUTO"
        yield container, stream


def probe(path: Path) -> VideoInfo:
    """Open `path`, decode one frame and say what it is; VideoError if that fails."""
    import av

    with _opened(path) as (container, stream):
        rate = float(stream.average_rate or stream.guessed_rate or 0) or DEFAULT_RATE
        duration = container.duration / av.time_base if container.duration else None
        codec = stream.codec_context.name
    first = next(iter(read_video(path)))
    height, width = first.image.shape[:2]
    return VideoInfo(width, height, rate, duration, codec)


def read_video(path: Path, *, warn: Warn = log_warning) -> Iterator[Frame]:
    """The frames of `path` in order, upright; `capture_time` and `media_time` are seconds since
    the first frame. Raises VideoError before the first frame or never; later damage goes to
    `warn` as a sentence and ends the iteration."""
    import av

    with _opened(path) as (container, stream):
        rate = float(stream.average_rate or 0) or DEFAULT_RATE
        count, start, last = 0, 0.0, -np.inf
        damage = ""
        decoder = container.decode(stream)
        while True:
            try:
                picture = next(decoder, None)
                if picture is None:
                    break
                if max(picture.width, picture.height) > MAX_SIDE_PX:
                    raise VideoError(
                        f"{path.name} declares pictures of {picture.width}×{picture.height}, more "
                        f"than {MAX_SIDE_PX} pixels a side: scale it down"
                    )
                image = _upright(picture.to_ndarray(format="rgb24"), picture.rotation)
            except (av.FFmpegError, ValueError, MemoryError) as error:
                damage = _reason(error)
                break
            time = picture.time if picture.time is not None else count / rate
            if count == 0:
                start = time
            if time - start <= last:  # a repeated or backward timestamp carries no new moment
                continue
            last = time - start
            yield Frame(count, last, image, last)
            count += 1
        if count == 0:
            raise VideoError(
                f"no picture of {path.name} can be decoded ({damage or 'it holds no frames'}): "
                "it is damaged or in an unsupported codec; export it as H.264 in MP4"
            )
        if damage:
            warn(
                f"{path.name} is damaged after {last:.1f} s ({count} frames; {damage}): "
                "the rest is left out"
            )
        elif container.duration and last < 0.5 * container.duration / av.time_base - 1.0:
            warn(
                f"{path.name} says it lasts {container.duration / av.time_base:.1f} s but ends at "
                f"{last:.1f} s: it was cut off"
            )


def _upright(image: np.ndarray, rotation: int) -> np.ndarray:
    """The picture turned by the display matrix; `rotation` is degrees counter-clockwise."""
    quarter_turns = round(rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def _reason(error: Exception) -> str:
    """FFmpeg's own words, without the numbers and the path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[0].lower() + text[1:]
