"""MediaPipe FaceLandmarker as an extractor: 46 ARKit coefficients and the head's pose.

The rule: everything is expressed in the full picture's camera, which MediaPipe takes to have a
vertical field of view of 63°. Its matrix is head → camera in centimetres, camera x right, y up,
looking down −z, no scale. The matrix's origin is not the landmarks' mean: depth comes from the
matrix alone.

A face that is too small for the detector is searched for in tiles, then followed in a region
around it. The region has its own 63° camera; what both cameras agree on is where the head's
origin lies in the picture, how many pixels a metre there has, and how the head looks along the
line of sight. `to_full_camera` keeps those three.
Reference: MediaPipe face_landmarker (blendshapes v2, face geometry).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError
from quic_transport.params import ARKIT46, FaceParams
from sender.extractor import TrackedFace
from sender.frames import Frame
from sender.model_files import FACE_LANDMARKER, find_model
from sender.native_noise import native_noise_silenced
from sender.portrait_crop import PortraitCrop, crop_of, line_of_sight_turn

HALF_FOV = math.radians(31.5)
MIN_TILE_PX = 200  # tiles are not made smaller than this
TILES_PER_FRAME = 6  # bound on the search in one frame; it goes on in the next
REGION_FACES = 3.0  # side of the followed region, in face heights
MAX_FACES = 2

Box = tuple[int, int, int, int]  # x, y, width, height in pixels


def focal_of(height: int) -> float:
    """MediaPipe's focal length in pixels of a picture `height` px high."""
    return height / 2 / math.tan(HALF_FOV)


def to_full_camera(pose: NDArray[np.float64], box: Box, width: int, height: int) -> Any:
    """`pose` [4, 4] in the camera of region `box` → the pose in the full picture's camera."""
    x, y, w, h = box
    if (x, y, w, h) == (0, 0, width, height):
        return pose
    f_box, f_full = focal_of(h), focal_of(height)
    t = pose[:3, 3]
    u = x + w / 2 + f_box * t[0] / -t[2]
    v = y + h / 2 - f_box * t[1] / -t[2]
    depth = -t[2] * f_full / f_box  # the same pixels per metre
    out = np.eye(4)
    out[:3, 3] = ((u - width / 2) * depth / f_full, (height / 2 - v) * depth / f_full, -depth)
    out[:3, :3] = line_of_sight_turn(out[:3, 3]).T @ line_of_sight_turn(t) @ pose[:3, :3]
    return out


def tiles_of(width: int, height: int) -> list[Box]:
    """Overlapping squares that cover the picture, the middle of the picture first."""
    boxes: list[Box] = []
    for fraction in (1.0, 0.5):
        side = round(min(width, height) * fraction)
        if side < MIN_TILE_PX:
            continue
        columns = max(1, math.ceil((width - side) / (side / 2))) + 1 if width > side else 1
        rows = max(1, math.ceil((height - side) / (side / 2))) + 1 if height > side else 1
        for y in np.linspace(0, height - side, rows):
            for x in np.linspace(0, width - side, columns):
                boxes.append((round(x), round(y), side, side))
    middle = (width / 2, height * 0.4)
    boxes.sort(key=lambda b: math.hypot(b[0] + b[2] / 2 - middle[0], b[1] + b[3] / 2 - middle[1]))
    return [b for b in boxes if b != (0, 0, width, height)]


class MediaPipeExtractor:
    """FaceLandmarker; sees up to two faces. Not thread-safe."""

    name = "mediapipe-face-landmarker"
    schema = "arkit46"

    def __init__(self, models: Path | None = None) -> None:
        path = find_model(FACE_LANDMARKER, models)
        self._video = _landmarker(path, video=True)
        self._still: Any = None  # opened when a face must be searched for
        self._path = path
        self._clock_ms = 0  # MediaPipe wants strictly increasing times
        self._region: Box | None = None
        self._search_from = 0

    def extract(self, frame: Frame) -> list[TrackedFace]:
        """The faces of the next frame, the largest first."""
        height, width = frame.image.shape[:2]
        if self._region is not None:
            faces = self._detect(frame, self._region, video=False)
            if faces:
                self._region = region_around(faces[0].landmarks, width, height, self._region)
                return faces
            self._region = None
        faces = self._detect(frame, (0, 0, width, height), video=True)
        return faces or self._search(frame)

    def _search(self, frame: Frame) -> list[TrackedFace]:
        """Look into the next few tiles; the first that holds a face becomes the region."""
        height, width = frame.image.shape[:2]
        tiles = tiles_of(width, height)
        for _ in range(min(TILES_PER_FRAME, len(tiles))):
            box = tiles[self._search_from % len(tiles)]
            faces = self._detect(frame, box, video=False)
            if faces:  # look once more, with the face in the middle
                region = region_around(faces[0].landmarks, width, height, None)
                confirmed = self._detect(frame, region, video=False)
                if confirmed and agree(faces[0].crop, confirmed[0].crop):
                    self._region = region
                    return confirmed
            self._search_from += 1
        return []

    def _detect(self, frame: Frame, box: Box, *, video: bool) -> list[TrackedFace]:
        import mediapipe as mp

        x, y, w, h = box
        pixels = np.ascontiguousarray(frame.image[y : y + h, x : x + w])
        picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=pixels)
        if video:
            self._clock_ms = max(self._clock_ms + 1, round(frame.capture_time * 1000))
            result = self._video.detect_for_video(picture, self._clock_ms)
        else:
            if self._still is None:
                self._still = _landmarker(self._path, video=False)
            result = self._still.detect(picture)
        faces = [
            _tracked(marks, shapes, matrix, frame, box)
            for marks, shapes, matrix in zip(
                result.face_landmarks,
                result.face_blendshapes,
                result.facial_transformation_matrixes,
                strict=True,
            )
        ]
        return sorted(
            (face for face in faces if face is not None), key=lambda face: -face.crop.side
        )

    def close(self) -> None:
        """Free the models; MediaPipe complains at exit if nobody does."""
        for landmarker in (self._video, self._still):
            if landmarker is not None:
                landmarker.close()
        self._still = None


def _landmarker(path: Path, *, video: bool) -> Any:
    try:
        with native_noise_silenced():
            from mediapipe.tasks.python import BaseOptions, vision
    except ImportError as error:
        raise LocalError(
            "face tracking needs MediaPipe, which is not installed: pip install 'facewire[track]'"
        ) from error
    mode = vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(path)),
        running_mode=mode,
        num_faces=MAX_FACES,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    try:
        with native_noise_silenced():
            return vision.FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError, OSError) as error:
        raise LocalError(
            f"{path} cannot be loaded as MediaPipe's face model: delete it and try again"
        ) from error


def _tracked(marks: Any, shapes: Any, matrix: Any, frame: Frame, box: Box) -> TrackedFace | None:
    """One of MediaPipe's results, in our terms; None where its matrix is degenerate."""
    height, width = frame.image.shape[:2]
    pose = np.array(matrix, dtype=np.float64)
    pose[:3, 3] /= 100.0  # centimetres
    if not np.isfinite(pose).all() or pose[2, 3] > -0.05:
        return None
    pose = to_full_camera(pose, box, width, height)
    focal = focal_of(height)
    crop, rotation, offset = crop_of(pose, focal, width, height)
    by_name = {shape.category_name: shape.score for shape in shapes}
    expression = np.clip([by_name[name] for name in ARKIT46], 0.0, 1.0)
    points = np.array([(p.x, p.y) for p in marks], dtype=np.float32)
    landmarks = points * np.array(box[2:], np.float32) + np.array(box[:2], np.float32)
    params = FaceParams(
        expression.astype(np.float32), rotation.astype(np.float32), frame.capture_time,
        offset.astype(np.float32),
    )  # fmt: skip
    return TrackedFace(params, pose, focal, landmarks, crop, 1.0)


def agree(one: PortraitCrop, other: PortraitCrop) -> bool:
    """Whether two detections are the same face: a false one falls apart at a second look."""
    apart = math.hypot(one.u - other.u, one.v - other.v)
    return apart < 0.1 * one.side and abs(math.log(one.side / other.side)) < 0.15


def region_around(landmarks: NDArray[np.float32], width: int, height: int, last: Box | None) -> Box:
    """A square around the face; the last one as long as the face stays well inside it."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    face = float(max(high - low))
    centre = (low + high) / 2
    if last is not None:
        x, y, w, _ = last
        drift = float(np.abs(centre - (x + w / 2, y + w / 2)).max())
        if drift < 0.12 * w and 0.8 < w / (REGION_FACES * face) < 1.25:
            return last
    side = round(min(width, height, max(MIN_TILE_PX, REGION_FACES * face)))
    x = round(min(max(float(centre[0]) - side / 2, 0), width - side))
    y = round(min(max(float(centre[1]) - side / 2, 0), height - side))
    return x, y, side, side
