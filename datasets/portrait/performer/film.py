"""Film a performance: an mp4, its truth and its masks.

Three files: `<stem>.mp4`; `<stem>.truth.npz` (see `truth`); `<stem>.masks.zip`, stored PNGs
`classes/<frame>.png` (0 background, 1 head, 2 neck, 3 torso) and `matte/<frame>.png` (the head's
coverage 0..255), 6-digit frame numbers from 000000.

The rule: frames are rendered side by side and written in order; an interruption leaves three
complete files of the frames so far.
"""

from __future__ import annotations

import zipfile
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from nerf.camera import Camera
from portrait.performer.performance import Score, performance
from portrait.performer.person import Person
from portrait.performer.render import Picture, render
from portrait.performer.truth import TruthWriter
from quic_transport.errors import LocalError
from quic_transport.params import FaceParams

FOCAL = 1.76  # picture widths: the head fills about 55 % of the height at 0.75 m
Moment = tuple[float, FaceParams, NDArray[np.float64]]
Shot = tuple[float, FaceParams, NDArray[np.float64], Picture]
Shots = Generator[Shot, None, None]


@dataclass(frozen=True, slots=True)
class Film:
    """What was made."""

    video: Path
    """The mp4."""
    truth: Path
    """The parameters, poses and landmarks of every frame."""
    masks: Path
    """The zip of classes and mattes."""
    frames: int
    """Frames written."""
    complete: bool
    """False if it was interrupted."""


def film_camera(size: int) -> Camera:
    """The square camera with which performances are filmed."""
    return Camera(FOCAL * size, FOCAL * size, size / 2, size / 2, size, size)


def _shots(person: Person, camera: Camera, moments: Iterator[Moment], threads: int) -> Shots:
    """Rendered frames in order; at most `2 * threads` are under way."""

    def shoot(moment: Moment) -> Shot:
        time, params, pose = moment
        return time, params, pose, render(person, params, pose, camera)

    waiting: deque[Future[Shot]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="film") as pool:
        try:
            for moment in moments:
                waiting.append(pool.submit(shoot, moment))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _check(path: Path, size: int, fps: float, threads: int) -> None:
    if path.suffix.lower() != ".mp4":
        raise LocalError(f"the film is an mp4: name it {path.with_suffix('.mp4').name}")
    if not path.parent.is_dir():
        raise LocalError(f"the folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise LocalError(f"{path} is a folder; name a file")
    if not 64 <= size <= 2048 or size % 2:
        raise LocalError(f"the picture's size must be an even number from 64 to 2048, not {size}")
    if not 1 <= fps <= 240:
        raise LocalError(f"frames per second must lie between 1 and 240, not {fps}")
    if not 1 <= threads <= 64:
        raise LocalError(f"the number of threads must lie between 1 and 64, not {threads}")


def film(
    seed: int,
    seconds: float,
    path: str | Path,
    size: int = 512,
    fps: float = 25.0,
    *,
    script: str = "talk",
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Film:
    """Film `seconds` of the person `seed` into `path` and its two companions.

    `progress(done, total)` is called after each frame. An interruption (Ctrl-C) ends the film
    early and returns what there is, with `complete` false.
    """
    target = Path(path)
    _check(target, size, fps, threads)
    Score(seed, seconds, script)  # a wrong length or script is said before anything is written
    total = max(1, round(seconds * fps))
    person, camera = Person(seed), film_camera(size)
    truth = TruthWriter(person.landmark_names, camera, seed=seed, fps=fps, script=script)
    masks = target.with_suffix(".masks.zip")
    complete = False
    try:
        with (
            zipfile.ZipFile(masks, "w", zipfile.ZIP_STORED) as archive,
            av.open(str(target), "w") as container,
        ):
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": "14", "preset": "veryfast"}
            stream.codec_context.thread_count = 2
            shots = _shots(person, camera, performance(seed, seconds, fps, script), threads)
            try:
                for done, (time, params, pose, picture) in enumerate(shots, 1):
                    frame = av.VideoFrame.from_ndarray(picture.rgb, format="rgb24")
                    container.mux(stream.encode(frame))
                    _store(archive, f"classes/{done - 1:06d}.png", picture.classes)
                    _store(archive, f"matte/{done - 1:06d}.png", picture.matte)
                    truth.add(time, params, pose, picture.landmarks)
                    if progress is not None:
                        progress(done, total)
                complete = True
            except KeyboardInterrupt:
                if truth.frames == 0:
                    raise
            finally:
                shots.close()
                container.mux(stream.encode(None))
        truth_path = truth.save(target.with_suffix(".truth.npz"))
    except (OSError, av.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LocalError(f"cannot write the film to {target}: {reason}") from error
    return Film(target, truth_path, masks, truth.frames, complete)


def _store(archive: zipfile.ZipFile, name: str, image: NDArray[np.uint8]) -> None:
    ok, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not ok:
        raise LocalError(f"cannot encode {name} as PNG")
    archive.writestr(name, data.tobytes())


def read_masks(path: str | Path, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(classes, matte), each uint8 [H, W], of one frame of a `.masks.zip`."""
    with zipfile.ZipFile(path) as archive:
        images = []
        for kind in ("classes", "matte"):
            data = np.frombuffer(archive.read(f"{kind}/{frame:06d}.png"), np.uint8)
            image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
            if image is None:
                raise LocalError(f"{path}: {kind}/{frame:06d}.png is no picture")
            images.append(image.astype(np.uint8))
    return images[0], images[1]
