"""What the teacher says about a clip: MediaPipe FaceLandmarker, each frame by itself, kept on disk.

The rule: IMAGE mode, no memory of earlier frames, so the labels depend on nothing but the frame;
only where a face was last is remembered, to know two people apart and to look there when the
detector finds nothing in the whole picture (small faces). Long clips are labelled in runs of
consecutive frames, spread evenly. A file is found again by the content of the video and of the
model; one that does not fit is made anew.
Reference: MediaPipe face_landmarker; the pose in our terms as in sender.mediapipe_extractor.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError
from quic_transport.folders import cache_folder
from quic_transport.params import ARKIT46

SCHEME = 2  # what is labelled and how: part of the key
MOST = 600  # labelled frames of a clip
RUN = 50  # consecutive frames of a run, where the clip has more
PEOPLE = 2
FACE_SHARE = 0.5  # of the labelled frames; with fewer faces a clip counts as one without
POINTS = 478
SHAPES = 52

Floats = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One face over the labelled frames; rows where it is not found hold zeros."""

    found: NDArray[np.bool_]
    """[N]."""
    landmarks: Floats
    """Float32 [N, 478, 2], pixels of the whole picture."""
    depth: Floats
    """Float32 [N, 478], the landmarks' z in picture widths."""
    blendshapes: Floats
    """Float32 [N, 52] in the teacher's order, which begins with _neutral."""
    expression: Floats
    """Float32 [N, 46], the arkit46 of them."""
    pose: Floats
    """Float64 [N, 4, 4], head → camera in metres of the whole picture's 63° camera."""
    whole: NDArray[np.bool_]
    """[N]: the pose was seen in the whole picture, not carried over from a region of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """All about one clip."""

    index: NDArray[np.int64]
    """[N], rising: which frames of the clip are labelled."""
    time: Floats
    """[N] seconds of media time."""
    frames: int
    """How many frames the clip has."""
    size: tuple[int, int]
    """Width and height, pixels."""
    people: tuple[Person, ...]
    """Two: the one who is followed (the largest at first), and whoever else is there."""

    @property
    def share(self) -> float:
        """Share of the labelled frames in which there is a face."""
        return float(np.logical_or.reduce([p.found for p in self.people]).mean())


def chosen_frames(count: int, most: int = MOST, run: int = RUN) -> NDArray[np.int64]:
    """Which of `count` frames are labelled: all, or runs of `run` spread over the clip."""
    if count <= most:
        return np.arange(count)
    run = min(run, most)
    starts = np.round(np.linspace(0, count - run, most // run)).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(run))


def key_of(video: Path, model: Path, most: int = MOST) -> str:
    """Hex digest of everything that decides the labels."""
    digest = hashlib.sha256(f"{SCHEME} {most} {RUN}".encode())
    for path in (video, model):
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise LocalError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()[:24]


def default_cache() -> Path:
    """Where labels are kept: in the user's cache folder, which FACEWIRE_CACHE moves."""
    return cache_folder() / "teacher"


def teacher_labels(
    video: Path, *, cache: Path | None = None, models: Path | None = None, most: int = MOST,
    say: Callable[[str], None] = lambda _: None,
) -> Labels:  # fmt: skip
    """The labels of `video`, from the cache or made now."""
    from sender.model_files import FACE_LANDMARKER, find_model

    model = find_model(FACE_LANDMARKER, models)
    folder = cache if cache is not None else default_cache()
    path = folder / f"{video.stem}-{key_of(video, model, most)}.npz"
    if path.is_file():
        try:
            return read_labels(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass  # cut off or foreign: made anew
    say(f"the teacher looks at {video.name}")
    labels = _label(video, model, most)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_labels(path, labels)
    except OSError as error:
        raise LocalError(
            f"labels cannot be kept in {folder} ({error.strerror}): name another with --cache"
        ) from error
    return labels


def write_labels(path: Path, labels: Labels) -> None:
    """One .npz, whole or not at all. The first person's arrays have no prefix."""
    arrays: dict[str, Any] = {
        "index": labels.index, "time": labels.time,
        "frames": labels.frames, "width": labels.size[0], "height": labels.size[1],
    }  # fmt: skip
    for prefix, person in zip(("", "second_"), labels.people, strict=True):
        for name in Person.__slots__:
            arrays[prefix + name] = getattr(person, name)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            np.savez_compressed(file, allow_pickle=False, **arrays)
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def read_labels(path: Path) -> Labels:
    """The inverse of `write_labels`; ValueError where shapes do not fit."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        people = tuple(
            Person(**{name: archive[prefix + name] for name in Person.__slots__})
            for prefix in ("", "second_")
        )
        labels = Labels(archive["index"], archive["time"], int(archive["frames"]),
                        (int(archive["width"]), int(archive["height"])), people)  # fmt: skip
    n = len(labels.index)
    wanted = [(n,), (n, POINTS, 2), (n, POINTS), (n, SHAPES), (n, len(ARKIT46)), (n, 4, 4),
              (n,)]  # fmt: skip
    for person in people:
        if [getattr(person, name).shape for name in Person.__slots__] != wanted:
            raise ValueError(f"{path.name} has arrays of unexpected shapes")
    return labels


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in one frame, fields as in `Person`."""

    landmarks: Floats
    depth: Floats
    blendshapes: Floats
    expression: Floats
    pose: Floats
    whole: bool

    @property
    def place(self) -> tuple[float, float, float]:
        """Middle x, middle y and larger side of the box around the landmarks, pixels."""
        low, high = self.landmarks.min(axis=0), self.landmarks.max(axis=0)
        middle = (low + high) / 2
        return float(middle[0]), float(middle[1]), float((high - low).max())


def _label(video: Path, model: Path, most: int) -> Labels:
    from conference.bench.teacher_eyes import Eyes
    from sender.video import read_video

    count = sum(1 for _ in read_video(video, warn=lambda _: None))
    index = chosen_frames(count, most)
    wanted = set(index.tolist())
    time: list[float] = []
    rows: list[list[Face | None]] = []
    last: list[tuple[float, float, float] | None] = [None] * PEOPLE
    size = (0, 0)
    eyes = Eyes(model)
    try:
        for frame in read_video(video, warn=lambda _: None):
            if frame.index not in wanted:
                continue
            size = (frame.image.shape[1], frame.image.shape[0])
            row = told_apart(eyes.look(frame.image), last)
            last = [face.place if face else old for face, old in zip(row, last, strict=True)]
            rows.append(row)
            time.append(frame.capture_time)
    finally:
        eyes.close()
    people = tuple(_person(list(column)) for column in zip(*rows, strict=True))
    return Labels(index[: len(rows)], np.array(time), count, size, people)


def told_apart(
    faces: Sequence[Face], last: Sequence[tuple[float, float, float] | None]
) -> list[Face | None]:
    """`faces` (the largest first) sorted to the people who were last seen at those places."""
    out: list[Face | None] = [None] * len(last)

    def pairs() -> Iterator[tuple[float, int, int]]:
        for k, face in enumerate(faces):
            x, y, side = face.place
            for i, where in enumerate(last):
                if where is not None:
                    way = float(np.hypot(x - where[0], y - where[1])) / max(side, where[2])
                    if way < 1.0:
                        yield way, k, i

    placed: set[int] = set()
    for _, k, i in sorted(pairs()):
        if k not in placed and out[i] is None:
            out[i] = faces[k]
            placed.add(k)
    for k, face in enumerate(faces):
        free = [i for i in range(len(out)) if out[i] is None]
        if k not in placed and free:
            out[free[0]] = face
    return out


def _person(column: list[Face | None]) -> Person:
    shapes = {"landmarks": (POINTS, 2), "depth": (POINTS,), "blendshapes": (SHAPES,),
              "expression": (len(ARKIT46),)}  # fmt: skip
    arrays = {name: np.zeros((len(column), *shape), np.float32) for name, shape in shapes.items()}
    pose = np.tile(np.eye(4), (len(column), 1, 1))
    for i, face in enumerate(column):
        if face is not None:
            for name, array in arrays.items():
                array[i] = getattr(face, name)
            pose[i] = face.pose
    found = np.array([face is not None for face in column])
    whole = np.array([face is not None and face.whole for face in column])
    return Person(found, pose=pose, whole=whole, **arrays)
