"""Which part of a person a pixel belongs to, told from landmarks and colour.

The rule: what is not clear is UNKNOWN, and the network is not taught there. Above the line of the
jaw is head; below it what has the face's colour and lies under the chin is neck, and what has
neither the face's nor the hair's colour is torso. Hair that falls below the jaw is left open.
Landmarks are MediaPipe's 478.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portrait.neckline import JAW_LINE

UNKNOWN, HEAD, NECK, TORSO = range(4)
FOREHEAD, CHIN, EYES = 10, 152, (33, 263)
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
CHEEKS = (50, 101, 118, 205, 280, 330, 347, 425, 4, 195, 151)
# Lab standard deviations that are always granted: necks lie in the chin's shadow.
LEAST_STD = np.array([20.0, 5.0, 5.0])
SKIN, NOT_SKIN = 2.2, 3.2  # standard deviations
SHADED, NOT_SHADED = 3.4, 5.0  # the same right under the chin
SHADE_DOWN = 0.22  # face heights
HAIR = 2.5
NECK_HALF, NECK_DOWN = 0.40, 0.55  # face heights

Float32 = NDArray[np.float32]
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Upright:
    """Where each pixel lies in the head's upright frame, in face heights."""

    across: Float32
    """[H, W] to the image's right of the jaw's middle."""
    below_jaw: Float32
    """[H, W] below the jaw's line, which goes on level at both ends."""
    below_chin: Float32
    """[H, W] below the chin."""
    half: float
    """Half of the jaw's width."""


def upright_of(points: Float32, shape: tuple[int, int]) -> Upright:
    """The frame of a face with landmarks [478, 2] in pixels."""
    level = points[EYES[1]] - points[EYES[0]]
    roll = float(np.arctan2(level[1], level[0]))
    c, s = np.cos(roll), np.sin(roll)
    turn = np.array([[c, s], [-s, c]], np.float32)
    p = points @ turn.T
    unit = max(1.0, float(p[CHIN, 1] - p[FOREHEAD, 1]))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) + np.float32(0.5)
    a, b = c * x + s * y, -s * x + c * y
    jaw = p[list(JAW_LINE)]
    along = np.linspace(jaw[:, 0].min(), jaw[:, 0].max(), 64)
    cut = np.full(64, -np.inf)
    for i in range(len(jaw) - 1):  # the lowest branch: turned heads fold the line
        low, high = sorted((jaw[i, 0], jaw[i + 1, 0]))
        inside = (along >= low - 1e-3) & (along <= high + 1e-3)
        t = (along[inside] - jaw[i, 0]) / (jaw[i + 1, 0] - jaw[i, 0] + 1e-6)
        cut[inside] = np.maximum(
            cut[inside], jaw[i, 1] + np.clip(t, 0, 1) * (jaw[i + 1, 1] - jaw[i, 1])
        )
    line = np.interp(a.ravel(), along, cut).reshape(a.shape)
    middle = float(jaw[:, 0].mean())
    return Upright(
        ((a - middle) / unit).astype(np.float32), ((b - line) / unit).astype(np.float32),
        ((b - p[CHIN, 1]) / unit).astype(np.float32), float(np.ptp(jaw[:, 0]) / 2 / unit),
    )  # fmt: skip


def far_from(lab: Float32, sample: Float32, least: NDArray[np.float64]) -> Float32:
    """[H, W] standard deviations from the colours `sample` [K, 3]."""
    centre = np.median(sample, axis=0)
    std = np.maximum(1.5 * np.median(np.abs(sample - centre), axis=0), least)
    return np.asarray(np.sqrt((((lab - centre) / std) ** 2).sum(axis=-1)), dtype=np.float32)


def parts_of(image: Image, points: Float32, alpha: Float32) -> Image:
    """UNKNOWN, HEAD, NECK or TORSO for each pixel [H, W] of an RGB picture of one person whose
    landmarks are [478, 2] px and whose opacity is `alpha`; only meant where `alpha` is not 0."""
    import cv2

    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    frame = upright_of(points, (image.shape[0], image.shape[1]))
    oval = np.zeros(alpha.shape, np.uint8)
    cv2.fillPoly(oval, [np.round(points[list(OVAL)] - 0.5).astype(np.int32)], 1)
    side = max(2, round(0.03 * alpha.shape[0]))
    cheeks = np.zeros_like(oval)
    for x, y in points[list(CHEEKS)]:
        cv2.circle(cheeks, (round(float(x)), round(float(y))), side, 1, -1)
    skin = far_from(lab, lab[(cheeks & oval) > 0], LEAST_STD) if (cheeks & oval).any() else None
    out = np.full(alpha.shape, UNKNOWN, np.uint8)
    aside = np.abs(frame.across)
    above = frame.below_jaw < 0
    out[above & ((aside < frame.half + 0.35) | (frame.below_chin < -0.6))] = HEAD
    out[oval > 0] = HEAD
    if skin is None:
        return out
    hair = (frame.below_chin < -1.08) & (alpha > 0.9) & (aside < 0.5) & (oval == 0)
    off_hair = far_from(lab, lab[hair], np.array([12.0, 5.0, 5.0])) if hair.sum() > 20 else None
    beside = (np.abs(frame.below_chin + 0.22) < 0.12) & (oval == 0)
    beside &= (aside > frame.half + 0.06) & (aside < frame.half + 0.22)
    long_hair = bool(beside.any() and alpha[beside].mean() > 0.3)
    below = (frame.below_jaw > 0.02) & (oval == 0)
    clear = np.ones_like(above) if off_hair is None or not long_hair else off_hair > HAIR
    under = below & (aside < NECK_HALF) & (frame.below_chin < NECK_DOWN)
    shade = under & (frame.below_chin < SHADE_DOWN)
    out[under & (skin < np.where(shade, SHADED, SKIN)) & clear] = NECK
    out[below & (skin > np.where(shade, NOT_SHADED, NOT_SKIN)) & clear] = TORSO
    settled = cv2.medianBlur(out, 5)
    out = np.where(below & (settled != out), UNKNOWN, out).astype(np.uint8)
    out[(np.abs(frame.below_jaw) < 0.02) & (oval == 0)] = UNKNOWN
    return out
