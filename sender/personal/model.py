"""What the personal tracker knows of a person, and how it lies in an avatar file.

Some hundred points of the skin and the hair, each with the way it moves, and the brightness that it
shows, as linear functions of the head's turn and its expression; and what to expect of the general
tracker's error.

The rule: arrays with a shape, checked when read; points are metres in the head frame.
References: Cootes, Edwards, Taylor 2001 (active appearance models); Matthews & Baker 2004.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.avatar_file import PRIVATE
from quic_transport.errors import AvatarFileError
from quic_transport.params import EXPRESSION_DIM, ROTATION_DIM, within_reach
from quic_transport.seat import Seat

Float32 = NDArray[np.float32]

SECTION = PRIVATE
"""Beginning of the names of a personal tracker's sections: what never leaves the sender."""
FEATURES = 1 + ROTATION_DIM + EXPRESSION_DIM
MOST_POINTS = 8192
SIZE_PX = 256
"""Side of the portrait that is looked at."""
LEAST_PX = 32  # sides of the part of it


@dataclass(frozen=True, slots=True, eq=False)
class PersonalModel:
    """One person, as seen by one general tracker through one avatar."""

    points: Float32
    """[K, 3] metres, head frame, at `expression_mean` and `rotation_mean`."""
    shift: Float32
    """[3, 46 + 3, K] metres that a point moves per unit of each coefficient and per radian of the
    head's rotation: skin, hair and neck give way when a head turns."""
    normals: Float32
    """[K, 3] unit, outwards."""
    appearance: Float32
    """[F, K] brightness, as `align.without_light` gives it, per feature (see `features`)."""
    spread: Float32
    """[K] standard deviation of a point's brightness about that, > 0."""
    box: Float32
    """[4] x0, y0, x1, y1: the part of a portrait of SIZE_PX that is looked at, pixels."""
    pivot: Float32
    """[3] metres: motions turn about this point."""
    expression_mean: Float32
    """[46] of the training frames."""
    rotation_mean: Float32
    """[3] of the training frames, radians."""
    expression_spread: Float32
    """[46] standard deviation to expect of a correction."""
    expression_range: Float32
    """[2, 46] least and greatest corrected value, within reach."""
    motion_map: Float32
    """[6, F] features → the motion to expect (rotation vector in radians, metres)."""
    motion_information: Float32
    """[6, 6] inverse covariance of the motion about that."""
    misfit: Float32
    """[2] median and 95th percentile of the training frames' misfit after alignment."""
    camera: Float32
    """[2] metres from the camera to the head's origin, portrait widths per metre there."""
    rest: Float32
    """[3] the usual offset, or [0]: every head is taken for one in the middle of its picture."""

    @property
    def seat(self) -> Seat:
        """Where the person sits before the camera."""
        distance, scale = (float(c) for c in self.camera)
        x, y, size = self.rest.tolist() if len(self.rest) else (0.0, 0.0, 0.0)
        return Seat(distance, scale, (x, y, size) if len(self.rest) else None)

    def features(self, rotation: ArrayLike, expression: ArrayLike) -> NDArray[np.float64]:
        """[F]: one, the rotation [3] in radians, the expression [46] less its mean."""
        e = np.asarray(expression, dtype=np.float64) - self.expression_mean
        return np.concatenate([[1.0], np.asarray(rotation, dtype=np.float64), e])

    def points_at(self, rotation: ArrayLike, expression: ArrayLike) -> Float32:
        """[K, 3] metres: the points under a rotation [3] in radians and an expression [46]."""
        return shifted(self.points, self.shift, np.asarray(expression) - self.expression_mean,
                       np.asarray(rotation) - self.rotation_mean)  # fmt: skip


def shifted(points: Float32, shift: Float32, expression: ArrayLike,
            rotation: ArrayLike) -> Float32:  # fmt: skip
    """`points` [K, 3] moved by `shift` [3, 46 + 3, K], given how far expression [46] and rotation
    [3] are from where the points were taken."""
    away = np.concatenate([expression, rotation]).astype(np.float32)
    return np.ascontiguousarray(points + (away @ shift).T)


HALF = {"appearance", "shift"}  # stored in 16 bits
MOVING = ("shift", "rotation_mean")


def to_sections(model: PersonalModel) -> dict[str, NDArray[np.generic]]:
    """The model as named arrays of an avatar file."""
    return {
        SECTION + f.name: getattr(model, f.name).astype(
            np.float16 if f.name in HALF else np.float32)
        for f in fields(model)
    }  # fmt: skip


def from_sections(sections: Mapping[str, NDArray[np.generic]]) -> PersonalModel | None:
    """The model in an avatar's sections; None where there is none, AvatarFileError if damaged."""
    if not any(SECTION + f.name in sections for f in fields(PersonalModel)):
        return None
    try:
        arrays: dict[str, Any] = {
            f.name: np.asarray(sections[SECTION + f.name], dtype=np.float32)
            for f in fields(PersonalModel)
            if f.name not in (*MOVING, "rest")
        }
        k = len(arrays["points"])
        still = np.zeros((3, EXPRESSION_DIM + ROTATION_DIM, k)), np.zeros(ROTATION_DIM)
        for name, nothing in zip(MOVING, still, strict=True):  # earlier trackers knew none
            section = sections.get(SECTION + name, nothing)
            arrays[name] = np.asarray(section, dtype=np.float32)
        arrays["rest"] = np.asarray(sections.get(SECTION + "rest", np.zeros(0)), np.float32)
        model = PersonalModel(**arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise AvatarFileError(f"its personal tracker is incomplete ({error})") from error
    k, d = len(model.points), EXPRESSION_DIM
    wanted = {
        "points": (k, 3), "shift": (3, FEATURES - 1, k), "normals": (k, 3),
        "appearance": (FEATURES, k), "spread": (k,), "box": (4,), "pivot": (3,),
        "expression_mean": (d,), "rotation_mean": (ROTATION_DIM,), "expression_spread": (d,),
        "expression_range": (2, d), "motion_map": (6, FEATURES),
        "motion_information": (6, 6), "misfit": (2,), "camera": (2,),
        "rest": (3,) if len(model.rest) else (0,),
    }  # fmt: skip
    for name, shape in wanted.items():
        array = getattr(model, name)
        if array.shape != shape or not np.isfinite(array).all():
            raise AvatarFileError(f"its personal tracker is damaged: {name} {array.shape}")
    x0, y0, x1, y1 = model.box
    if not (
        0 < k <= MOST_POINTS and (model.spread > 0).all() and (model.camera > 0).all()
        and 0 <= x0 <= x1 - LEAST_PX and 0 <= y0 <= y1 - LEAST_PX and max(x1, y1) <= SIZE_PX
    ):  # fmt: skip
        raise AvatarFileError("its personal tracker is damaged: no points, or no camera")
    if not np.array_equal(model.expression_range, within_reach(model.expression_range)):
        raise AvatarFileError("its personal tracker is damaged: coefficients beyond their reach")
    return model
