"""Lays the person's points onto a picture: Gauss-Newton over pose and expression together.

The rule: a fixed number of steps on one thread, from what the general tracker says, held near
what is to be expected of it by a prior; a picture that does not look like the person (another
light, a hand, a neighbour) is believed less. No matte is needed: points lie on the head.
References: Cootes, Edwards, Taylor 2001; Baker & Matthews 2004 (Lucas-Kanade 20 years on);
Black & Rangarajan 1996 (robust weights: Geman-McClure).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.params import EXPRESSION_DIM, ROTATION_DIM
from quic_transport.seat import Seat
from sender.personal.model import SIZE_PX, PersonalModel
from sender.personal.motion import Motion, portrait_pose
from sender.personal.rows import LIGHT, MOTION, RESIDUAL, ROWS, SHIFT, weighted_rows
from sender.portrait_crop import rotation_matrix

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]

BLUR_PX = 1.0
WINDOW_PX = 8.0
"""Standard deviation of the window over which light is taken out."""
CONTRAST_FLOOR = 0.02
CONTRAST = 0.08  # what the contrast of every window becomes
POSE_STEPS = 1  # Gauss-Newton steps of the pose alone
JOINT_STEPS = 3  # and of pose and expression together; a further one moves 0.02 px of 256
LIGHT_INFORMATION = 100.0  # about the one number that a frame's light still has: a shift


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """What the picture says."""

    motion: Motion
    """From where the general tracker has the head to where it is."""
    expression: Float64
    """[46] corrected coefficients."""
    misfit: float
    """Root mean square difference that remains, in spreads; large: not this person's face."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The part of a portrait where the head is, made ready: blurred, its light taken out."""

    planes: Float32
    """[H, W, 3]: brightness as `without_light` gives it, its slope along x and along y, per
    pixel."""
    corner: tuple[int, int]
    """x and y of the part's first pixel in the portrait."""

    @staticmethod
    def at(portrait: NDArray[np.uint8], box: ArrayLike = (0, 0, SIZE_PX, SIZE_PX)) -> Look:
        """Of the stabilised portrait, uint8 [SIZE_PX, SIZE_PX, 3] RGB, within `box` (x0, y0, x1,
        y1)."""
        import cv2

        x0, y0, x1, y1 = (int(b) for b in np.asarray(box))
        grey = cv2.cvtColor(portrait[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
        return Look.of(np.asarray(grey, dtype=np.uint8), (x0, y0))

    @staticmethod
    def of(grey: NDArray[np.uint8], corner: tuple[int, int]) -> Look:
        """Of the brightness of a part of a portrait, uint8 [H, W], whose first pixel is the
        portrait's `corner` (x, y)."""
        import cv2

        image = cv2.GaussianBlur(grey.astype(np.float32) * np.float32(1 / 255), (0, 0), BLUR_PX)
        image = without_light(np.asarray(image, dtype=np.float32))
        slopes = [cv2.Sobel(image, cv2.CV_32F, dx, dy, ksize=3, scale=0.125)
                  for dx, dy in ((1, 0), (0, 1))]  # fmt: skip
        return Look(np.asarray(cv2.merge([image, *slopes]), dtype=np.float32), corner)

    def sample(self, pixels: Float32) -> Float32:
        """[K, 3] at portrait pixels [K, 2]: bilinear, the edge goes on beyond the part."""
        height, width = self.planes.shape[:2]
        shift = np.array(self.corner, np.float32) + np.float32(0.5)
        p = np.clip(pixels - shift, 0.0, np.array([width - 1.001, height - 1.001], np.float32))
        at = p.astype(np.int32)
        f = p - at
        fx, fy = f[:, :1], f[:, 1:]
        first = at[:, 1] * width + at[:, 0]
        flat = self.planes.reshape(-1, 3)
        top = flat[first] * (1 - fx) + flat[first + 1] * fx
        below = flat[first + width] * (1 - fx) + flat[first + width + 1] * fx
        return np.asarray(top * (1 - fy) + below * fy)


def without_light(image: Float32) -> Float32:
    """Brightness [H, W] less its local mean, over its local contrast: a lamp moved, a dimmer room
    or another exposure changes it little (a held-out clip under three such lights loses 0.1 dB of
    likeness this way, and 1 to 3 dB with plain colours)."""
    import cv2

    height, width = image.shape
    small = cv2.resize(image, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    low = cv2.GaussianBlur(small, (0, 0), WINDOW_PX / 4)
    variance = cv2.GaussianBlur((small - low) ** 2, (0, 0), WINDOW_PX / 4)
    gain = np.float32(CONTRAST) / (np.sqrt(variance) + np.float32(CONTRAST_FLOOR))
    back = (width, height)
    return np.asarray((image - cv2.resize(low, back)) * cv2.resize(gain, back))


def sight(seat: Seat, rotation: ArrayLike, offset: ArrayLike | None,
          size: int) -> tuple[Float64, float, Float64]:  # fmt: skip
    """How a camera sees a head that was measured at `rotation` [3] and `offset` [3]: head → camera
    pose [4, 4], focal length and principal point [2] in pixels of a portrait `size` wide."""
    position = seat.position(offset)
    focal = -seat.scale * float(position[2]) * size
    middle = size * (0.5 + seat.scale * position[:2] * (-1.0, 1.0))
    return portrait_pose(rotation_matrix(rotation), position), focal, middle


def align(
    model: PersonalModel, look: Look, rotation: ArrayLike, expression: ArrayLike,
    offset: ArrayLike | None = None,
) -> Alignment:  # fmt: skip
    """Align the person with a portrait in which the general tracker measured `rotation` (pitch,
    yaw, roll; radians) and `expression` [46]; the portrait was cut out of its picture at `offset`
    [3], None: where it usually is."""
    feature = model.features(rotation, expression)
    prior = Motion.of(model.motion_map.astype(np.float64) @ feature)
    motion = prior
    expected = feature.astype(np.float32) @ model.appearance  # [K]
    by_expression = model.appearance[1 + ROTATION_DIM :]  # [46, K]
    measured, delta = np.asarray(expression, dtype=np.float64), np.zeros(EXPRESSION_DIM)
    pose, focal, middle = sight(model.seat, rotation, offset, SIZE_PX)
    information = model.motion_information.astype(np.float64)
    keep = 1.0 / model.expression_spread.astype(np.float64) ** 2
    inverse = 1.0 / model.spread
    rows = np.empty((ROWS, len(model.points)), np.float32)
    unknown = MOTION + 1  # motion and light
    h = np.zeros((unknown + EXPRESSION_DIM, unknown + EXPRESSION_DIM))
    g = np.zeros(len(h))
    misfit = 0.0
    for step in range(POSE_STEPS + JOINT_STEPS):
        joint = step >= POSE_STEPS
        shade = expected + delta.astype(np.float32) @ by_expression
        points = model.points_at(rotation, measured + delta)
        squares, visible = weighted_rows(
            look, points, model.normals, model.pivot, motion, pose, focal, middle, shade, inverse,
            rows,
        )  # fmt: skip
        misfit = math.sqrt(squares / max(visible, 1.0))
        products = (rows @ rows.T).astype(np.float64)
        h[:unknown, :unknown], g[:unknown] = (
            products[:unknown, :unknown],
            products[RESIDUAL, :unknown],
        )
        h[:MOTION, :MOTION] += information
        g[:MOTION] += information @ (motion.vector() - prior.vector())
        h[LIGHT, LIGHT] += LIGHT_INFORMATION
        if joint:
            weighted = rows[LIGHT] * by_expression
            for slope, shift in zip(rows[SHIFT], model.shift[:, :EXPRESSION_DIM], strict=True):
                weighted -= slope * shift
            h[unknown:, unknown:] = weighted @ weighted.T
            h[unknown:, unknown:] += np.diag(keep)
            cross = -(rows @ weighted.T).astype(np.float64)
            h[:unknown, unknown:], h[unknown:, :unknown] = cross[:unknown], cross[:unknown].T
            g[unknown:] = cross[RESIDUAL] + keep * delta
        n = len(h) if joint else unknown
        change = -np.linalg.solve(h[:n, :n], g[:n])
        motion = motion.after(change[:MOTION])
        delta[: n - unknown] += change[unknown:]
    low, high = model.expression_range.astype(np.float64)
    corrected = measured + delta
    return Alignment(motion, np.clip(corrected, low, high), misfit)
