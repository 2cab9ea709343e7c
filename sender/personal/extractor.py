"""The general tracker with the person's own alignment behind it: what a sender runs.

The rule: causal and stateless from frame to frame, so a training set, a score and a call see the
same numbers; where the picture does not look like the person, the general tracker's word stands.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.params import FaceParams
from sender.extractor import Extractor, TrackedFace
from sender.frames import Frame
from sender.personal.align import Alignment, Look, align, sight
from sender.personal.model import SIZE_PX, PersonalModel
from sender.personal.motion import Motion
from sender.portrait_crop import (
    PortraitCrop,
    crop_of,
    line_of_sight_turn,
    offset_of,
    rotation_matrix,
)
from sender.smoothing import ALIGNED

DOUBT = (2.5, 5.0)
"""Of the training frames' 95th percentile: up to the first a misfit is normal, from the second on
the alignment is not believed at all."""


class PersonalExtractor:
    """A general tracker for one person."""

    smoothing = ALIGNED
    """How `sender.smoothing.smoothed` filters what it says."""

    def __init__(self, inner: Extractor, model: PersonalModel) -> None:
        self.inner, self.model = inner, model
        self.name, self.schema = inner.name, inner.schema

    def extract(self, frame: Frame) -> list[TrackedFace]:
        """The faces of the next frame, aligned with the person; the largest first."""
        return [refined(self.model, frame.image, face) for face in self.inner.extract(frame)]

    def warm_up(self, width: int, height: int) -> None:
        """Run the tracker's networks and the alignment once."""
        if (warm_up := getattr(self.inner, "warm_up", None)) is not None:
            warm_up(width, height)
        blank = np.full((SIZE_PX, SIZE_PX, 3), 128, np.uint8)
        align(self.model, Look.at(blank, self.model.box), np.zeros(3), self.model.expression_mean)

    def reset(self) -> None:
        """Forget what was seen."""
        if (reset := getattr(self.inner, "reset", None)) is not None:
            reset()

    def close(self) -> None:
        """Give back the tracker's models."""
        self.inner.close()


def refined(model: PersonalModel, image: NDArray[np.uint8], face: TrackedFace) -> TrackedFace:
    """`face` with the pose, the portrait and the expression that the picture itself says."""
    x0, y0, x1, y1 = (int(b) for b in model.box)
    look = Look.of(face.crop.grey(image, SIZE_PX, (x0, y0, x1, y1)), (x0, y0))
    height, width = image.shape[:2]
    offset = offset_of(face.crop, width, height)
    found = align(model, look, face.params.rotation, face.params.expression, offset)
    believed = tempered(model, found, face.params.rotation, face.params.expression)
    place, turn = placed(model, believed.motion, face.params.rotation, offset)
    side = face.crop.side
    crop = PortraitCrop(
        face.crop.u + (place.u - 0.5) * side, face.crop.v + (place.v - 0.5) * side,
        place.side * side,
    )  # fmt: skip
    depth = face.focal_px / (crop.side * float(model.camera[1]))
    pose = np.eye(4)
    pose[:3, 3] = (
        (crop.u - width / 2) * depth / face.focal_px,
        (height / 2 - crop.v) * depth / face.focal_px,
        -depth,
    )
    pose[:3, :3] = line_of_sight_turn(pose[:3, 3]).T @ rotation_matrix(turn)
    crop, angles, offset = crop_of(pose, face.focal_px, width, height, float(model.camera[1]))
    params = FaceParams(
        believed.expression.astype(np.float32), angles.astype(np.float32),
        face.params.capture_time,
        None if face.params.offset is None else offset.astype(np.float32),
    )  # fmt: skip
    return replace(face, params=params, pose=pose, crop=crop)


def tempered(
    model: PersonalModel, found: Alignment, rotation: ArrayLike, expression: ArrayLike
) -> Alignment:
    """The alignment, or something between it and the general tracker where it fits badly."""
    low, high = (d * float(model.misfit[1]) for d in DOUBT)
    belief = float(np.clip((high - found.misfit) / (high - low), 0.0, 1.0))
    if belief == 1.0:
        return found
    expected = model.motion_map.astype(np.float64) @ model.features(rotation, expression)
    motion = expected + belief * (found.motion.vector() - expected)
    measured = np.asarray(expression, dtype=np.float64)
    return Alignment(
        Motion.of(motion), measured + belief * (found.expression - measured), found.misfit
    )


def placed(
    model: PersonalModel, motion: Motion, rotation: ArrayLike, offset: ArrayLike | None = None
) -> tuple[PortraitCrop, NDArray[np.float64]]:
    """Of a head seen under `rotation` (pitch, yaw, roll) at `offset` [3] and moved: the square of
    the portrait, in portrait widths, in whose middle its origin lies at the right size, and the
    rotation along the line of sight that it shows there."""
    start, focal, middle = sight(model.seat, rotation, offset, 1)
    pose = motion.apply(start, model.pivot)
    seen, angles, _ = crop_of(pose, focal, 1, 1, model.seat.scale)  # from its principal point
    u, v = seen.u - 0.5 + float(middle[0]), seen.v - 0.5 + float(middle[1])
    return PortraitCrop(u, v, seen.side), angles


__all__ = ["PersonalExtractor", "placed", "refined", "tempered"]
