"""CPEM as an extractor: FB-Net's box, CPEM's square around it, PE-Net's numbers.

The rule: numpy, OpenCV and ONNX Runtime only; every frame is read for itself, as CPEM does, so
that training and a call see the same numbers. Smoothing is somebody else's business.

The detector looks at a picture of half CPEM's size first, which costs a quarter; only where
that shows no face it looks at CPEM's own size.
Reference: CPEM's published test code (box, crop, network); docs/cpem.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM, FaceParams
from sender.cpem.boxes import detections
from sender.cpem.bundle import FB_NET, PE_NET, REMEDY, SCHEMA, read_bundle
from sender.cpem.crops import INPUT_PX, focal_of, head_pose, square_of
from sender.cpem.runtime import open_session
from sender.extractor import TrackedFace
from sender.frames import Frame
from sender.portrait_crop import crop_of

DETECTOR_LIMITS = ((360, 540), (720, 1080))  # height, width that are not exceeded
MAX_FACES = 2
PE_OUTPUTS = ("expression", "rotation", "translation")

Float64 = NDArray[np.float64]


def detector_size(width: int, height: int, limit: tuple[int, int]) -> tuple[int, int]:
    """(height, width) at which the detector looks at a picture; never enlarged."""
    scale = min(1.0, limit[0] / height, limit[1] / width)
    return max(1, int(scale * height)), max(1, int(scale * width))


class CpemExtractor:
    """The exported networks of `folder`; sees up to two faces. Not thread-safe.

    Its landmarks are two points, the corners of the face's box: CPEM's own need the morphable
    model, which has its own agreement.
    """

    schema = SCHEMA

    def __init__(self, folder: Path) -> None:
        bundle = read_bundle(folder)
        self._fb_net = open_session(bundle.fb_net, FB_NET)
        self._pe_net = open_session(bundle.pe_net, PE_NET)
        self.name = f"cpem-{bundle.tracker_id}"
        for session, names in ((self._fb_net, ("offsets", "scores")), (self._pe_net, PE_OUTPUTS)):
            if not set(names) <= {output.name for output in session.get_outputs()}:
                raise LocalError(f"{folder} holds networks of another kind: {REMEDY}")

    def extract(self, frame: Frame) -> list[TrackedFace]:
        """The faces of the next frame, the largest first."""
        boxes, scores = self._detect(frame.image)
        largest = np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(axis=1), kind="stable")
        faces = [self._read(frame, boxes[k], float(scores[k])) for k in largest[:MAX_FACES]]
        found = [face for face in faces if face is not None]
        return sorted(found, key=lambda face: -face.crop.side)

    def _detect(self, image: NDArray[np.uint8]) -> tuple[Float64, Float64]:
        import cv2

        height, width = image.shape[:2]
        sizes = [detector_size(width, height, limit) for limit in DETECTOR_LIMITS]
        boxes, scores = np.empty((0, 4)), np.empty(0)
        for seen in dict.fromkeys(sizes):
            small = image
            if seen != (height, width):
                size = seen[::-1]
                small = np.asarray(
                    cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8
                )
            offsets, chances = self._fb_net.run(
                ["offsets", "scores"], {"image": np.ascontiguousarray(small)[None]}
            )
            boxes, scores = detections(offsets[0], chances[0], seen, width, height)
            if len(boxes):
                break
        return boxes, scores

    def _read(self, frame: Frame, box: Float64, score: float) -> TrackedFace | None:
        """The face in `box`; None where the answer is no head in front of the camera."""
        height, width = frame.image.shape[:2]
        square = square_of(box)
        crop_pixels = square.cut(frame.image)
        assert crop_pixels.shape == (INPUT_PX, INPUT_PX, 3)
        expression, angles, translation = (
            part[0] for part in self._pe_net.run(PE_OUTPUTS, {"crop": crop_pixels[None]})
        )
        pose = head_pose(angles, translation, square, width, height)
        if pose is None or not np.isfinite(expression).all():
            return None
        assert expression.shape == (EXPRESSION_DIM,)
        focal = focal_of(height)
        crop, rotation, offset = crop_of(pose, focal, width, height)
        params = FaceParams(
            np.clip(expression, 0.0, 1.0), rotation.astype(np.float32), frame.capture_time,
            offset.astype(np.float32),
        )  # fmt: skip
        corners = box.reshape(2, 2).astype(np.float32)
        return TrackedFace(params, pose, focal, corners, crop, min(1.0, score))

    def close(self) -> None:
        """Nothing to give back: the sessions go with the object."""
