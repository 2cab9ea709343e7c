"""What one video frame becomes: 46 expression coefficients, 3 head angles, and when.

The rule of this module: values are validated once, in the constructor, and their arrays are
read-only from then on. A *schema* names the 46 numbers; two peers compare schemas at hello.
Reference: the paper, "Parameter Extract Module" (46 + 3 parameters); ARKit blend-shape names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.errors import LocalError

EXPRESSION_DIM = 46
ROTATION_DIM = 3
PARAM_DIM = EXPRESSION_DIM + ROTATION_DIM
BODY_DIM = 4

FloatArray = NDArray[np.float32]
Floating = TypeVar("Floating", bound=np.floating[Any])

EXPRESSION_LOW, EXPRESSION_HIGH = -0.5, 1.5
"""How far a coefficient may reach. A general tracker says what ARKit's numbers mean, 0 to 1. Behind
a personal tracker the 46 are a linear basis of one person's appearance, in which 0 is no end: kept
above it, a sixth of what it finds stands at 0 (held at 0 to 1 one held-out track had 18 % at an end
of its range, since then none), and the picture is the worse for it. Something must bound what
strangers make others draw, and half beyond is more than corrections need (-0.20 to 0.83 seen). Both
are exact in binary: all machines clip to the same floats."""

# ARKit's coefficients in MediaPipe's order, without `_neutral` and without the five that
# MediaPipe never drives (cheekPuff, cheekSquintLeft/Right, noseSneerLeft/Right).
ARKIT46: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft",
    "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft",
    "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
)  # fmt: skip

# The names of the 46 numbers, by schema id. `fw46` (FaceWarehouse, what CPEM puts out) carries
# positions only: its published name table and its supplement disagree about left and right.
SCHEMAS: dict[str, tuple[str, ...]] = {
    "arkit46": ARKIT46,
    "fw46": tuple(f"fw{i:02d}" for i in range(1, EXPRESSION_DIM + 1)),
}


def within_reach(expression: NDArray[Floating]) -> NDArray[Floating]:
    """Coefficients (any shape) kept to what they may be, EXPRESSION_LOW to EXPRESSION_HIGH."""
    return np.asarray(np.clip(expression, EXPRESSION_LOW, EXPRESSION_HIGH))


def frozen_vector(values: ArrayLike, size: int, name: str) -> FloatArray:
    """`values` as a read-only float32 vector of `size` finite numbers; LocalError otherwise."""
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite: see below
            array = np.array(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise LocalError(f"{name} must be {size} numbers") from None
    if array.shape != (size,):
        raise LocalError(f"{name} must have shape ({size},), not {array.shape}")
    if not np.isfinite(array).all():
        raise LocalError(f"{name} must be finite")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, slots=True, eq=False)
class FaceParams:
    """The face in one captured frame."""

    expression: FloatArray
    """Float32 [46]; what they are is the schema's business. General trackers give 0 to 1, what a
    personal tracker corrects goes up to half beyond on both sides (`within_reach`)."""

    rotation: FloatArray
    """Float32 [3], (pitch, yaw, roll) in radians; R = Rz(roll) Ry(yaw) Rx(pitch), head → camera."""

    capture_time: float
    """Seconds on the sender's monotonic clock at which the frame was captured."""

    offset: FloatArray | None = None
    """Float32 [3] or None: image x, image y (in portrait widths) and log-scale of the head in the
    full picture relative to the stabilised portrait. Not part of the paper's 49."""

    body: FloatArray | None = None
    """Float32 [4] or None: how far neck and torso stand from what the head lets expect, in the
    avatar's own directions, strongest first; one unit changes the torso's picture by about four
    grey levels (root mean square), usual is -10 .. 10. Not part of the paper's 49."""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "expression", frozen_vector(self.expression, EXPRESSION_DIM, "expression"))
        set_(self, "rotation", frozen_vector(self.rotation, ROTATION_DIM, "rotation"))
        if self.offset is not None:
            set_(self, "offset", frozen_vector(self.offset, 3, "offset"))
        if self.body is not None:
            set_(self, "body", frozen_vector(self.body, BODY_DIM, "body"))

    def vector(self) -> FloatArray:
        """The 49 numbers that are coded: expression, then rotation. Float32 [49], a copy."""
        return np.concatenate([self.expression, self.rotation])

    @staticmethod
    def from_vector(vector: ArrayLike, capture_time: float) -> FaceParams:
        """The inverse of `vector()`; LocalError unless `vector` is 49 finite numbers."""
        v = frozen_vector(vector, PARAM_DIM, "vector")
        return FaceParams(v[:EXPRESSION_DIM], v[EXPRESSION_DIM:], capture_time)


@dataclass(frozen=True, slots=True, eq=False)
class ParamBounds:
    """The smallest and largest value of each of the 49 numbers over the training frames.

    The paper's quantiser spans exactly this range ("Encoding and Decoding").
    """

    low: FloatArray
    """Float32 [49], expression then rotation; never above `high`."""

    high: FloatArray
    """Float32 [49], expression then rotation."""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "low", frozen_vector(self.low, PARAM_DIM, "low"))
        set_(self, "high", frozen_vector(self.high, PARAM_DIM, "high"))
        if bool((self.low > self.high).any()):
            worst = int(np.argmax(self.low > self.high))
            raise LocalError(f"bounds must have low <= high in every dimension; {worst} has not")

    @staticmethod
    def of(vectors: ArrayLike) -> ParamBounds:
        """The bounds of `vectors`, [N, 49] with N >= 1."""
        v = np.asarray(vectors, dtype=np.float32)
        if v.ndim != 2 or v.shape[0] == 0 or v.shape[1] != PARAM_DIM:
            raise LocalError(f"vectors must have shape (N, {PARAM_DIM}), not {v.shape}")
        return ParamBounds(v.min(axis=0), v.max(axis=0))

    def equals(self, other: ParamBounds) -> bool:
        """Whether both are the same numbers, bit for bit."""
        return bool(np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high))
