"""The teacher's look at one picture: the whole, then where a face was last, then in tiles.

The rule: IMAGE mode throughout. A small face is looked at a second time, with itself in the middle,
for its landmarks and coefficients: in the whole picture the detector's box is too coarse for it.
Its pose stays that of the whole picture, because FaceLandmarker's matrix hardly follows the line of
sight (a face pasted 16° off the axis turns by 2° to 8°, not by 16°), so matrices of a region
cannot be carried over. A face that only a tile shows counts when a second look confirms it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conference.bench.teacher import PEOPLE, Face
from quic_transport.errors import LocalError
from quic_transport.params import ARKIT46
from sender.mediapipe_extractor import (
    Box,
    agree,
    focal_of,
    region_around,
    tiles_of,
    to_full_camera,
)
from sender.native_noise import native_noise_silenced
from sender.portrait_crop import PortraitCrop, crop_of

SMALL = 0.25  # of the picture's longer side: smaller faces get a second look


class Eyes:
    """FaceLandmarker in IMAGE mode. Not thread-safe."""

    def __init__(self, model: Path) -> None:
        try:
            with native_noise_silenced():
                import mediapipe
                from mediapipe.tasks.python import BaseOptions, vision

                self._mp: Any = mediapipe
                self._net: Any = vision.FaceLandmarker.create_from_options(
                    vision.FaceLandmarkerOptions(
                        base_options=BaseOptions(model_asset_path=str(model)),
                        running_mode=vision.RunningMode.IMAGE,
                        num_faces=PEOPLE,
                        output_face_blendshapes=True,
                        output_facial_transformation_matrixes=True,
                    )
                )
        except ImportError as error:
            raise LocalError(
                "trackers are judged against MediaPipe, which is not installed: "
                "pip install 'facewire[track]'"
            ) from error
        except (RuntimeError, ValueError, OSError) as error:
            raise LocalError(
                f"{model} cannot be loaded as MediaPipe's face model: delete it and try again"
            ) from error
        self._region: Box | None = None

    def look(self, image: NDArray[np.uint8]) -> list[Face]:
        """The faces of one picture, the largest first."""
        height, width = image.shape[:2]
        faces = self._detect(image, (0, 0, width, height))
        if faces:
            self._region = None
            return [self._closer(image, face) for face in faces]
        if self._region is not None:
            faces = self._detect(image, self._region)
            if faces:
                self._region = region_around(faces[0].landmarks, width, height, self._region)
                return faces
        self._region = None
        for box in tiles_of(width, height):
            for face in self._detect(image, box)[:1]:
                region = region_around(face.landmarks, width, height, None)
                again = self._detect(image, region)
                if again and agree(_crop(face, width, height), _crop(again[0], width, height)):
                    self._region = region
                    return again
        return []

    def _closer(self, image: NDArray[np.uint8], face: Face) -> Face:
        """The same face, read in a region around it where it is small."""
        height, width = image.shape[:2]
        x, y, side = face.place
        if side >= SMALL * max(width, height):
            return face
        for other in self._detect(image, region_around(face.landmarks, width, height, None)):
            u, v, size = other.place
            if np.hypot(u - x, v - y) < 0.35 * side and 0.6 < size / side < 1.6:
                return replace(other, pose=face.pose, whole=True)
        return face

    def _detect(self, image: NDArray[np.uint8], box: Box) -> list[Face]:
        x, y, w, h = box
        height, width = image.shape[:2]
        pixels = np.ascontiguousarray(image[y : y + h, x : x + w])
        result = self._net.detect(
            self._mp.Image(image_format=self._mp.ImageFormat.SRGB, data=pixels)
        )
        faces = []
        for marks, shapes, matrix in zip(
            result.face_landmarks, result.face_blendshapes,
            result.facial_transformation_matrixes, strict=True,
        ):  # fmt: skip
            pose = np.array(matrix, dtype=np.float64)
            pose[:3, 3] /= 100.0  # centimetres
            if not np.isfinite(pose).all() or pose[2, 3] > -0.05:
                continue
            points = np.array([(p.x, p.y, p.z) for p in marks], dtype=np.float32)
            by_name = {shape.category_name: shape.score for shape in shapes}
            faces.append(Face(
                points[:, :2] * np.array([w, h], np.float32) + np.array([x, y], np.float32),
                points[:, 2] * (w / width),
                np.array(list(by_name.values()), np.float32),
                np.clip([by_name[name] for name in ARKIT46], 0.0, 1.0).astype(np.float32),
                to_full_camera(pose, box, width, height),
                box == (0, 0, width, height),
            ))  # fmt: skip
        return sorted(faces, key=lambda face: -face.place[2])

    def close(self) -> None:
        """Free the model."""
        self._net.close()


def _crop(face: Face, width: int, height: int) -> PortraitCrop:
    return crop_of(face.pose, focal_of(height), width, height)[0]
