"""What was filmed, into an H.264 file.

The rule: what was filmed is safe within a second. The file grows in fragments (MP4) or clusters
(Matroska) of one second, so it plays up to the last one however the process ends; a place that
cannot be written is said before the first picture, a full disk with what was kept. Times are the
pictures' own, to the millisecond.
"""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError

SUFFIXES = (".mp4", ".mkv")
MILLISECOND = Fraction(1, 1000)
CRF = "16"  # visually lossless: what is blurred here cannot be learned
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_place(path: Path, *, replace: bool = False) -> None:
    """LocalError where no video can be written to `path`; leaves what is there as it is."""
    if path.suffix.lower() not in SUFFIXES:
        raise LocalError(f"{path} must end in .mp4 or .mkv: choose another name with -o")
    if path.is_dir():
        raise LocalError(f"{path} is a folder: name a file with -o")
    new = not path.exists()
    if not new and not replace:
        raise LocalError(f"{path} exists: choose another name with -o, or replace it (--force)")
    if not path.parent.is_dir():
        raise LocalError(f"the folder {path.parent} does not exist: make it first")
    try:
        path.open("ab").close()
        if new:
            path.unlink()
    except OSError as error:
        raise _refusal(path, error, 0.0) from error


def _refusal(path: Path, error: OSError, seconds: float) -> LocalError:
    if error.errno in DISK_FULL:
        return LocalError(
            f"the disk of {path} is full: free some space or choose another place with "
            f"-o ({seconds:.0f} s were kept)"
        )
    reason = error.strerror or str(error)
    return LocalError(f"cannot record to {path} ({reason}): choose another place with -o")


class ClipWriter:
    """Writes RGB pictures of one size with their times."""

    def __init__(self, path: Path, fps: float, *, replace: bool = False) -> None:
        """`fps` is nominal. LocalError where `path` is no place for a video."""
        import av

        check_place(path, replace=replace)
        self.path = path
        self.frames = 0
        """Pictures written."""
        self.seconds = 0.0
        """From the first picture to the last."""
        self._rate = max(1, round(fps))
        self._start: float | None = None
        self._last = -1
        self._size = (0, 0)
        self._stream: Any = None
        self._closed = False
        options = {"flush_packets": "1"}
        if path.suffix.lower() == ".mp4":
            options["movflags"] = "frag_keyframe+empty_moov+default_base_moof"
        else:
            options["cluster_time_limit"] = "1000"
        try:
            path.open("wb").close()
            self._container = av.open(str(path), "w", container_options=options)
        except OSError as error:
            raise self._failure(error) from error

    def write(self, image: NDArray[np.uint8], time: float) -> bool:
        """Append uint8 [H, W, 3] RGB taken at `time` (seconds, any origin).

        False where it is no later than the last one and is left out. An odd row or column at the
        end is cut off; LocalError where the size changes or the disk is full.
        """
        import av

        image = image[: image.shape[0] & ~1, : image.shape[1] & ~1]
        if self._start is None:
            self._start, self._size = time, (image.shape[1], image.shape[0])
            self._add_stream()
        if (image.shape[1], image.shape[0]) != self._size:
            raise LocalError(
                f"the camera changed its picture from {self._size[0]}x{self._size[1]} to "
                f"{image.shape[1]}x{image.shape[0]} while filming: start again"
            )
        pts = round((time - self._start) * 1000)
        if pts <= self._last:
            return False
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = pts, MILLISECOND
        try:
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            raise self._failure(error) from error
        self._last, self.seconds = pts, pts / 1000
        self.frames += 1
        return True

    def close(self) -> None:
        """Write what the encoder still holds and the end of the file; a second call does nothing.

        A file without a picture is removed.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except OSError as error:
            raise self._failure(error) from error
        if not self.frames:
            self.path.unlink(missing_ok=True)

    def _add_stream(self) -> None:
        stream = self._container.add_stream("libx264", rate=self._rate)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = MILLISECOND
        stream.codec_context.gop_size = self._rate
        stream.codec_context.max_b_frames = 0
        stream.options = {"preset": "veryfast", "tune": "zerolatency", "crf": CRF}
        self._stream = stream

    def _failure(self, error: OSError) -> LocalError:
        self._closed = True  # an end cannot be written either
        return _refusal(self.path, error, self.seconds)
