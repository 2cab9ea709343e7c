"""The recording's shell: camera, tracker, window or terminal, keys and the file, in one loop.

The rule: the file gets every picture that the source hands out while filming; tracker and
preview look at what they have time for. Whatever ends the loop, the file is finished.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from portrait.record.prompts import script_of
from portrait.record.session import RecordingSession
from portrait.record.sight import FaceSeen, measure_picture
from portrait.record.stage import Stage, Terminal, Window, display_available
from portrait.record.writer import ClipWriter, check_place
from quic_transport.errors import FacewireError, LocalError
from sender.extractor import TrackedFace, open_extractor
from sender.frames import Frame
from sender.native_noise import native_noise_silenced
from sender.source import CameraSource, FrameSource, open_source

LOOKS_PER_S = 10.0  # of the tracker: prompts need no more
FRESH_S = 0.7  # a face found longer ago says nothing about now
SECOND_FACE = 0.45  # of the first one's size: smaller ones are pictures on the wall


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is to be filmed."""

    target: Path
    """The .mp4 or .mkv to make."""
    camera: str = "0"
    """A camera's number, or the path of a video that stands in for one."""
    seconds: float = 100.0
    """Length of the script."""
    size: tuple[int, int] = (1280, 720)
    """(width, height) asked of the camera."""
    fps: float = 30.0
    """Pictures per second asked of the camera."""
    preview: bool = True
    """A window; otherwise the prompts are printed."""
    models: Path | None = None
    """Folder of the tracker's models; None searches."""
    replace: bool = False
    """Whether an existing file may go."""


@dataclass(frozen=True, slots=True)
class Filmed:
    """What was made."""

    target: Path
    """The file."""
    frames: int
    """Pictures in it; with 0 there is no file."""
    seconds: float
    """From the first to the last."""
    size: tuple[int, int]
    """Width and height."""
    megabytes: float
    """Of the file."""
    missed: tuple[str, ...]
    """Advice on what was asked for and not seen."""
    dropped: int
    """Pictures of the camera that came too fast to be kept."""
    complete: bool
    """The script was played to its end."""
    interrupted: bool
    """Ctrl-C ended it."""


class Watcher:
    """A thread that looks for the face in the newest picture; without a tracker it never does."""

    def __init__(self, models: Path | None) -> None:
        self._models = models
        self._wanted: Frame | None = None
        self._found: tuple[float, FaceSeen | None] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def look(self, frame: Frame) -> tuple[FaceSeen | None, bool]:
        """Hand in a picture; the latest finding, and whether there is a fresh one."""
        self._wanted = frame
        found = self._found
        if found is None or frame.capture_time - found[0] > FRESH_S:
            return None, False
        return found[1], True

    def _run(self) -> None:
        try:
            extractor = open_extractor(models=self._models)
        except FacewireError:
            return  # prompts then go by time alone
        try:
            while not self._stop.wait(1.0 / LOOKS_PER_S):
                frame, self._wanted = self._wanted, None
                if frame is not None:
                    faces = extractor.extract(frame)
                    height, width = frame.image.shape[:2]
                    named = extractor.schema == "arkit46"
                    self._found = frame.capture_time, face_seen(faces, width, height, named)
        finally:
            extractor.close()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=5.0)


def face_seen(faces: list[TrackedFace], width: int, height: int, named: bool) -> FaceSeen | None:
    """The largest of a tracker's faces; `named`: its coefficients are arkit46."""
    if not faces:
        return None
    face = faces[0]
    low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
    box = (low[0] / width, low[1] / height, high[0] / width, high[1] / height)
    pitch, yaw, roll = (float(x) for x in np.degrees(face.params.rotation))
    return FaceSeen(
        box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        height_px=float(high[1] - low[1]),
        rotation_deg=(pitch, yaw, roll),
        expression=[float(x) for x in face.params.expression] if named else [],
        others=sum(f.crop.side > SECOND_FACE * face.crop.side for f in faces[1:]),
    )


def open_camera(setup: Setup) -> FrameSource:
    """The camera at the size asked for, or the video that stands in; VideoError otherwise."""
    name = setup.camera.removeprefix("camera:")
    if not name.isdigit():
        return open_source(setup.camera, fps=setup.fps)

    def capture(number: int) -> Any:
        import cv2

        with native_noise_silenced():
            camera: Any = cv2.VideoCapture(number)
            # Webcams give large pictures at full rate only as JPEG; who cannot ignores it.
            camera.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            camera.set(cv2.CAP_PROP_FRAME_WIDTH, setup.size[0])
            camera.set(cv2.CAP_PROP_FRAME_HEIGHT, setup.size[1])
            camera.set(cv2.CAP_PROP_FPS, setup.fps)
        return camera

    return CameraSource(int(name), fps=setup.fps, open_capture=capture)


def film(setup: Setup) -> Filmed:
    """Film until the script, the source or the person ends it; FacewireError where it cannot."""
    check_place(setup.target, replace=setup.replace)
    source = open_camera(setup)
    try:
        if setup.preview and not display_available():
            raise LocalError(
                "there is no display for the preview here: --no-preview prints the prompts instead"
            )
        stage: Stage = Window() if setup.preview else Terminal()
        watcher = Watcher(setup.models)
        try:
            return _film(setup, source, stage, watcher)
        finally:
            watcher.close()
            stage.close()
    finally:
        source.close()


def _film(setup: Setup, source: FrameSource, stage: Stage, watcher: Watcher) -> Filmed:
    session = RecordingSession(script_of(setup.seconds))
    writer: ClipWriter | None = None
    size, interrupted = (0, 0), False
    try:
        for frame in source.frames():
            now = frame.capture_time
            face, tracked = watcher.look(frame)
            prompt, events = session.step(now, measure_picture(frame.image, face, tracked))
            if prompt.filming:
                if writer is None:
                    writer = ClipWriter(setup.target, source.frame_rate, replace=setup.replace)
                    size = (frame.image.shape[1] & ~1, frame.image.shape[0] & ~1)
                writer.write(frame.image, now)
            stage.show(prompt, events, frame.image)
            key = stage.key()
            if key == " ":
                session.start(now)
            if key == "q" or prompt.phase == "done":
                break
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if writer is not None:
            writer.close()
    return Filmed(
        target=setup.target,
        frames=writer.frames if writer else 0,
        seconds=writer.seconds if writer else 0.0,
        size=size,
        megabytes=setup.target.stat().st_size / 1e6 if writer and writer.frames else 0.0,
        missed=tuple(step.again for step in session.missed),
        dropped=source.dropped,
        complete=session.phase == "done",
        interrupted=interrupted,
    )
