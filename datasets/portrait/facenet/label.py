"""A pack of labelled crops from anybody's own clips: MediaPipe FaceLandmarker is the teacher.

The rule: every picture is labelled by itself (IMAGE mode), in the whole picture's camera; a clip
counts as one person, named after its file, unless the name says more (`pack.person_of`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from portrait.facenet.pack import CROP_PX, POINTS, PackWriter, crop_box, cut
from quic_transport.errors import LocalError
from quic_transport.params import ARKIT46
from sender.extractor import TrackedFace
from sender.frames import Frame
from sender.mediapipe_extractor import MediaPipeExtractor, focal_of
from sender.video import read_video

SQUARES = 2
"""Crops from each picture of a clip that shows no faces."""
MOST = 400
"""Crops of one clip at most: a person counts by the root of how many show them."""

Progress = Callable[[str, int, int | None], None]


def label(
    clips: list[Path], folder: Path, progress: Progress, *, every_s: float = 0.2,
    empty: bool = False, models: Path | None = None,
) -> int:  # fmt: skip
    """Write the pack `folder`; the number of its crops.

    `empty`: the clips show no human face at all, and give crops without one.
    """
    if (folder / "labels.npz").exists():
        raise LocalError(f"{folder} already holds a pack: choose another -o")
    writer = PackWriter(ARKIT46, [clip.stem for clip in clips])
    teacher = None if empty else MediaPipeExtractor(models)
    rng = np.random.default_rng(0)
    try:
        for index, clip in enumerate(clips):
            due, before = 0.0, len(writer)
            for frame in read_video(clip):
                if frame.capture_time < due:
                    continue
                due = frame.capture_time + every_s
                if teacher is None:
                    _add_squares(writer, index, frame, rng)
                else:
                    _add_faces(writer, index, frame, teacher)
                progress(clip.name[:12], len(writer) - before, None)
                if len(writer) - before >= MOST:
                    break
    finally:
        if teacher is not None:
            teacher.close()
    if not len(writer):
        raise LocalError(f"no face was found in {', '.join(c.name for c in clips)}")
    try:
        writer.write(folder)
    except OSError as error:
        raise LocalError(f"the pack {folder} cannot be written ({error})") from error
    return len(writer)


def _add_faces(writer: PackWriter, index: int, frame: Frame, teacher: MediaPipeExtractor) -> None:
    height, width = frame.image.shape[:2]
    for face in teacher._detect(frame, (0, 0, width, height), video=False):
        if len(face.landmarks) == POINTS:
            add_face(writer, index, frame, face)


def add_face(
    writer: PackWriter, index: int, frame: Frame, face: TrackedFace, expression: object = None
) -> None:
    """One crop with its labels; `expression` [46] where it is known better than the teacher's."""
    height, width = frame.image.shape[:2]
    box = crop_box(face.landmarks)
    k = CROP_PX / box[2]
    matrix = face.pose.copy()
    matrix[:3, 3] *= 100  # centimetres
    camera = (focal_of(height) * k, (width / 2 - box[0]) * k, (height / 2 - box[1]) * k)
    shapes = face.params.expression if expression is None else expression
    points = (face.landmarks - np.array(box[:2])) * k
    writer.add(cut(frame.image, box), index, points, shapes, matrix, camera)  # type: ignore[arg-type]


def _add_squares(writer: PackWriter, index: int, frame: Frame, rng: np.random.Generator) -> None:
    height, width = frame.image.shape[:2]
    for _ in range(SQUARES):
        side = min(width, height) * rng.uniform(0.2, 1.0)
        left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
        writer.add(cut(frame.image, (float(left), float(top), float(side))), index)
