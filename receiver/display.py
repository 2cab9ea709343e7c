"""Where pictures go: a window, a video file, a folder of PNGs, or nowhere.

The rule: whatever was shown is already safe. A video is written in fragments of one second, so it
plays up to the last one even when the process is killed; a window is opened only after a probe
in a process of its own, because OpenCV aborts where it finds no display. Thin shells, no policy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov")
OTHER_FILMS = (".avi", ".flv", ".gif", ".m4v", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv")
MILLISECOND = Fraction(1, 1000)
PROBE_TIMEOUT_S = 15.0

# HighGUI's codes (waitKeyEx) of the keys that have no character, by back end.
KEY_CODES = {
    27: "q", 65361: "left", 65362: "up", 65363: "right", 65364: "down",  # GTK, Qt
    2424832: "left", 2490368: "up", 2555904: "right", 2621440: "down",  # Windows
    63234: "left", 63232: "up", 63235: "right", 63233: "down",  # macOS
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Picture:
    """One finished picture."""

    rgb: NDArray[np.uint8]
    """uint8 [H, W, 3], RGB, row 0 at the top; or [H, W, 4], colours times their opacity, and
    opacity."""
    media_time: float
    """Seconds on the sender's clock: the instant that it shows."""
    veil: float = 0.0
    """0..1: how much it is veiled because nobody was there at that instant."""


class Sink(Protocol):
    """Takes pictures; every method is called from one thread."""

    description: str

    def show(self, picture: Picture) -> None:
        """Show or store one picture; LocalError when that has become impossible."""

    def pressed(self) -> list[str]:
        """Names of the keys pressed since the last call ('left', '0', 'q', ...)."""

    def close(self) -> None:
        """Finish what was begun; the sink is not used afterwards."""


class NullSink:
    """Keeps nothing: for measurements."""

    description = "nowhere (pictures are counted only)"

    def show(self, picture: Picture) -> None:
        """Let the picture go."""

    def pressed(self) -> list[str]:
        """Nobody presses anything."""
        return []

    def close(self) -> None:
        """Nothing to finish."""


class VideoSink:
    """H.264 in fragmented MP4 (or Matroska), at the times that the pictures show."""

    def __init__(self, path: Path, fps: float) -> None:
        """`fps` is nominal: the stored times are the pictures' own, to the millisecond."""
        import av

        self.description = f"video {path}"
        self._path, self._fps = path, max(1, round(fps))
        self._start: float | None = None
        self._last_pts = -1
        self._stream: Any = None
        options = {"flush_packets": "1"}
        if path.suffix.lower() != ".mkv":
            options["movflags"] = "frag_keyframe+empty_moov+default_base_moof"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("wb").close()  # a place that cannot be written is said now
            self._container = av.open(str(path), "w", container_options=options)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> LocalError:
        reason = error.strerror or str(error)
        return LocalError(
            f"cannot record to {self._path}: {reason}; free some space or choose another place "
            f"with -o (what was recorded before is kept)"
        )

    def _open_stream(self, height: int, width: int) -> None:
        self._stream = self._container.add_stream("libx264", rate=self._fps)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = MILLISECOND
        self._stream.codec_context.time_base = MILLISECOND
        self._stream.codec_context.gop_size = self._fps
        self._stream.codec_context.thread_count = 1
        self._stream.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "18"}

    def show(self, picture: Picture) -> None:
        """Append a picture; one that shows no later instant than the last is left out."""
        import av

        rgb = on_white(picture.rgb)
        image = rgb[: rgb.shape[0] & ~1, : rgb.shape[1] & ~1]
        if self._start is None:
            self._start = picture.media_time
            self._open_stream(*image.shape[:2])
        pts = round((picture.media_time - self._start) * 1000)
        if pts <= self._last_pts:
            return
        self._last_pts = pts
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = pts, MILLISECOND
        try:
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            raise self._failure(error) from error

    def pressed(self) -> list[str]:
        """A file has no keyboard."""
        return []

    def close(self) -> None:
        """Write what the encoder still holds and the end of the file."""
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except OSError as error:
            raise self._failure(error) from error


class FolderSink:
    """One PNG per picture, named by the millisecond that it shows."""

    def __init__(self, path: Path) -> None:
        self.description = f"pictures in {path}/"
        self._path = path
        self._start: float | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(f"cannot make the folder {path}: {error.strerror}") from error

    def show(self, picture: Picture) -> None:
        """Write one PNG."""
        import cv2

        if self._start is None:
            self._start = picture.media_time
        name = self._path / f"{round((picture.media_time - self._start) * 1000):08d}.png"
        shown = picture.rgb if picture.rgb.shape[2] == 3 else straight(picture.rgb)
        _, data = cv2.imencode(".png", shown[..., (2, 1, 0, 3)[: shown.shape[2]]])
        try:
            name.write_bytes(data.tobytes())
        except OSError as error:
            raise LocalError(f"cannot write {name}: {error.strerror}") from error

    def pressed(self) -> list[str]:
        """A folder has no keyboard."""
        return []

    def close(self) -> None:
        """Every picture is already complete."""


class WindowSink:
    """A HighGUI window; must be used from the main thread."""

    description = "a window"

    def __init__(self, title: str) -> None:
        import cv2

        self._title = title
        self._seen = False  # some back ends show the window only after a while
        cv2.namedWindow(title, cv2.WINDOW_NORMAL)

    def show(self, picture: Picture) -> None:
        """Put the picture on the screen."""
        import cv2

        cv2.imshow(self._title, on_white(picture.rgb)[..., ::-1])

    def pressed(self) -> list[str]:
        """Let the window work for a millisecond; closing it counts as 'q'."""
        import cv2

        code = cv2.waitKeyEx(1)
        visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        if self._seen and not visible:
            return ["q"]
        self._seen = visible
        if code == -1:
            return []
        return [KEY_CODES.get(code) or chr(code & 0xFF).lower()]

    def close(self) -> None:
        """Close the window."""
        import cv2

        cv2.destroyWindow(self._title)


def on_white(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB [H, W, 3] for what knows no transparency."""
    if picture.shape[2] == 3:
        return picture
    return np.minimum(picture[..., :3].astype(np.uint16) + 255 - picture[..., 3:], 255).astype(
        np.uint8
    )


def straight(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA [H, W, 4] as PNG wants it: colours not multiplied by their opacity."""
    alpha = picture[..., 3:].astype(np.float32)
    rgb = picture[..., :3] * (255 / np.maximum(alpha, 1))
    out = np.concatenate([np.minimum(rgb + 0.5, 255), alpha], axis=-1)
    return np.asarray(out, dtype=np.uint8)


def window_available(environ: dict[str, str] | None = None) -> bool:
    """Whether a window can be opened here, tried out in a process of its own."""
    env = dict(os.environ if environ is None else environ)
    if sys.platform.startswith("linux") and not (env.get("DISPLAY") or env.get("WAYLAND_DISPLAY")):
        return False
    code = "import cv2; cv2.namedWindow('facewire'); cv2.waitKey(1); cv2.destroyAllWindows()"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, timeout=PROBE_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0


def check_output(path: Path) -> None:
    """LocalError for a film of a kind that is not written: it would become a folder's name."""
    if path.suffix.lower() in OTHER_FILMS:
        raise LocalError(f"-o {path}: films are written as .mp4, .mkv or .mov; any other name is a "
                         "folder of PNGs")  # fmt: skip


def file_sink(path: Path, fps: float) -> Sink:
    """The sink for `-o`: a video by its suffix, anything else is a folder of PNGs."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSink(path, fps)
    return FolderSink(path)
