"""Lays the person's points onto a picture: Gauss-Newton over pose and expression together.

The rule: a fixed number of steps on one thread, from what the general tracker says, held near
what is to be expected of it by a prior; a picture that does not look like the person (another
light, a hand, a neighbour) is believed less. No matte is needed: points lie on the head.
References: Cootes, Edwards, Taylor 2001; Baker & Matthews 2004 (Lucas-Kanade 20 years on);
Black & Rangarajan 1996 (robust weights: Geman-McClure).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.params import EXPRESSION_DIM, ROTATION_DIM
from sender.personal.model import PersonalModel
from sender.personal.motion import Motion, project, rotation_matrix

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]

SIZE_PX = 256
"""Side of the portrait that is looked at."""
BLUR_PX = 1.0
LIGHT_SHARE = 1 / 32
"""Standard deviation of the window over which light is taken out, in sides of the picture."""
CONTRAST_FLOOR = 0.02
CONTRAST = 0.08  # what the contrast of every window becomes
LIGHT = 3  # unknowns of a frame's light: a shift of each channel
LIGHT_INFORMATION = 100.0
POINT_SHARE = 0.02
"""Neighbouring points err alike: a point counts as so many independent measurements."""
ROBUST = 1.5  # of a point's spread: beyond, a difference counts less and less
FACING = (0.15, 0.3)  # a point is seen from this cosine on, fully this much later
MOTION = 6


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
    """A portrait made ready: blurred, without the light's own pattern, with its slopes."""

    planes: Float32
    """[S, S, 9]: RGB as `without_light` gives it, its slope along x, and along y, per pixel."""

    @staticmethod
    def at(portrait: NDArray[np.uint8]) -> Look:
        """Of the stabilised portrait, uint8 [S, S, 3] RGB."""
        import cv2

        image = cv2.GaussianBlur(portrait.astype(np.float32) * np.float32(1 / 255), (0, 0), BLUR_PX)
        image = without_light(np.asarray(image, dtype=np.float32))
        slopes = [cv2.Sobel(image, cv2.CV_32F, dx, dy, ksize=3, scale=0.125)
                  for dx, dy in ((1, 0), (0, 1))]  # fmt: skip
        return Look(np.concatenate([image, *slopes], axis=2))

    def sample(self, pixels: Float32) -> Float32:
        """[K, 9] at pixels [K, 2]: bilinear, the edge goes on beyond the picture."""
        high = self.planes.shape[0] - 1.001
        p = np.clip(pixels - np.float32(0.5), 0.0, np.float32(high))
        at = p.astype(np.int32)
        f = p - at
        x, y, fx, fy = at[:, 0], at[:, 1], f[:, :1], f[:, 1:]
        rows = self.planes
        top = rows[y, x] * (1 - fx) + rows[y, x + 1] * fx
        return np.asarray(top * (1 - fy) + (rows[y + 1, x] * (1 - fx) + rows[y + 1, x + 1] * fx)
                          * fy)  # fmt: skip


def without_light(image: Float32) -> Float32:
    """RGB [S, S, 3] less its local mean, over its local contrast: a lamp moved, a dimmer room or
    another exposure changes it little (a held-out clip under three such lights loses 0.1 dB of
    likeness this way, and 1 to 3 dB with plain colours)."""
    import cv2

    size = image.shape[0]
    small = cv2.resize(image, (size // 4, size // 4), interpolation=cv2.INTER_AREA)
    window = LIGHT_SHARE * (size // 4)
    low = cv2.GaussianBlur(small, (0, 0), window)
    variance = cv2.GaussianBlur(((small - low) ** 2).mean(axis=2), (0, 0), window)
    gain = np.float32(CONTRAST) / (np.sqrt(variance) + np.float32(CONTRAST_FLOOR))
    back = (size, size)
    image = image - cv2.resize(low, back)
    return np.asarray(image * cv2.resize(gain, back)[..., None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How many steps."""

    pose: int = 2
    """Of the pose alone."""
    joint: int = 2
    """Of pose and expression."""


def align(
    model: PersonalModel, look: Look, rotation: ArrayLike, expression: ArrayLike,
    start: Motion | None = None, steps: Steps = Steps(),
) -> Alignment:  # fmt: skip
    """Align the person with a portrait in which the general tracker measured `rotation` (pitch,
    yaw, roll) and `expression` [46]. `start`: where to begin instead of where it is expected."""
    feature = model.features(rotation, expression)
    prior = Motion.of(model.motion_map.astype(np.float64) @ feature)
    motion = start or prior
    colour = np.tensordot(feature.astype(np.float32), model.appearance, 1)  # [K, 3]
    delta = np.zeros(EXPRESSION_DIM)
    turn = rotation_matrix(rotation)
    size = look.planes.shape[0]
    distance, scale = (float(c) for c in model.camera)
    focal = scale * distance * size
    by_expression = model.appearance[1 + ROTATION_DIM :]  # [46, K, 3]
    information = model.motion_information.astype(np.float64)
    misfit = 0.0
    for step in range(steps.pose + steps.joint):
        joint = step >= steps.pose
        seen = project(model.points, model.normals, model.pivot, motion, turn, distance, focal,
                       size)  # fmt: skip
        planes = look.sample(seen.pixels)
        shown = colour
        if joint:
            shown = colour + np.tensordot(delta.astype(np.float32), by_expression, 1)
        residual = planes[:, :3] - shown
        visible = np.clip((seen.facing - FACING[0]) / FACING[1], 0.0, 1.0)
        inverse = 1.0 / model.spread[:, None]
        relative = residual * inverse
        robust = 1.0 / (1.0 + (relative * (1 / ROBUST)) ** 2)
        root = np.sqrt(visible[:, None] * robust * np.float32(POINT_SHARE)) * inverse
        misfit = float(np.sqrt((visible[:, None] * relative**2).sum()
                               / max(3.0 * float(visible.sum()), 1.0)))  # fmt: skip
        slopes = planes[:, 3:].reshape(-1, 2, 3)
        columns = MOTION + LIGHT + (EXPRESSION_DIM if joint else 0)
        a = np.zeros((columns, len(model.points), 3), np.float32)
        a[:MOTION] = np.einsum("kxc,kxj->jkc", slopes, seen.jacobian)
        for channel in range(LIGHT):
            a[MOTION + channel, :, channel] = 1.0
        if joint:
            a[MOTION + LIGHT :] = -by_expression
        a *= root
        flat = a.reshape(columns, -1)
        h = (flat @ flat.T).astype(np.float64)
        g = (flat @ (residual * root).ravel()).astype(np.float64)
        h[:MOTION, :MOTION] += information
        g[:MOTION] += information @ (motion.vector() - prior.vector())
        light = slice(MOTION, MOTION + LIGHT)
        h[light, light] += LIGHT_INFORMATION * np.eye(LIGHT)
        if joint:
            keep = 1.0 / model.expression_spread.astype(np.float64) ** 2
            h[MOTION + LIGHT :, MOTION + LIGHT :] += np.diag(keep)
            g[MOTION + LIGHT :] += keep * delta
        change = -np.linalg.solve(h, g)
        motion = motion.after(change[:MOTION])
        if joint:
            delta = delta + change[MOTION + LIGHT :]
    low, high = model.expression_range.astype(np.float64)
    corrected = np.asarray(expression, dtype=np.float64) + delta
    return Alignment(motion, np.clip(corrected, low, high), misfit)
