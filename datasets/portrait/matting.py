"""Soft edges: from a rough person mask to opacity and uncontaminated colour.

The rule: near the edge a pixel is opacity·F + (1 − opacity)·B, with F and B the mean colours of
the sure person and the sure background next to it. Where the two differ, opacity is read from the
pixel's place between them; where they are alike, a guided filter moves the mask's edge to the
picture's. Taking (1 − opacity)·B out again leaves no halo of the old background.
References: He et al., "Guided Image Filtering", 2010; He and Sun, "Fast Guided Filter", 2015; the
compositing equation of Porter and Duff.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

INWARD_PX, OUTWARD_PX = 6, 5  # the unsure band around the mask's edge, at 512 px
NEAR_PX = 16  # how far sure colours reach into the band
GUIDE_PX, GUIDE_EPSILON = 6, 2e-3
SMOOTH_PX, SMOOTH_EPSILON = 2, 1e-3
ALIKE = 0.03  # squared colour distance (range 1 per channel) at which both readings weigh the same


def guided_filter(guide: Any, source: Any, radius: int, epsilon: float) -> Array:
    """`source` [H, W] smoothed, its edges taken from `guide` [H, W]: locally source ≈ a·guide + b
    with a = cov/(var + epsilon), averaged over windows of side 2·radius + 1."""
    a, b = _linear(guide, source, radius, epsilon)
    return np.asarray(a * guide + b, dtype=np.float32)


def fast_guided_filter(guide: Any, source: Any, radius: int, epsilon: float) -> Array:
    """`guided_filter` with a and b computed at half size (He and Sun 2015): they are smooth."""
    import cv2

    h, w = guide.shape
    if radius < 3 or min(h, w) < 8:
        return guided_filter(guide, source, radius, epsilon)
    half = (w // 2, h // 2)
    small_g = cv2.resize(guide, half, interpolation=cv2.INTER_AREA)
    small_s = cv2.resize(source, half, interpolation=cv2.INTER_AREA)
    a, b = _linear(small_g, small_s, max(1, round(radius / 2)), epsilon)
    a = cv2.resize(a, (w, h), interpolation=cv2.INTER_LINEAR)
    b = cv2.resize(b, (w, h), interpolation=cv2.INTER_LINEAR)
    return np.asarray(a * guide + b, dtype=np.float32)


def _linear(guide: Any, source: Any, radius: int, epsilon: float) -> tuple[Any, Any]:
    """Averaged (a, b) of source ≈ a·guide + b."""
    mean_g, mean_s = mean(guide, radius), mean(source, radius)
    variance = mean(guide * guide, radius) - mean_g * mean_g
    covariance = mean(guide * source, radius) - mean_g * mean_s
    a = covariance / (variance + epsilon)
    return mean(a, radius), mean(mean_s - a * mean_g, radius)


def colour_near(image: Array, where: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Mean colour [H, W, 3] of the pixels `where` [H, W] around each pixel, and how much of the
    neighbourhood they fill, [H, W] in 0..1. Computed at half size: it is smooth anyway."""
    import cv2

    h, w = where.shape
    half = (w // 2, h // 2)
    full = where.astype(np.float32)
    weight = cv2.resize(full, half, interpolation=cv2.INTER_AREA)
    small = cv2.resize(image * full[..., None], half, interpolation=cv2.INTER_AREA)
    radius = max(1, round(NEAR_PX * h / 512 / 4))
    near = mean(mean(weight, radius), radius)
    colour = mean(mean(small, radius), radius)
    colour = colour / (near[..., None] + 1e-5)
    big = (w, h)
    return (
        cv2.resize(colour, big, interpolation=cv2.INTER_LINEAR),
        cv2.resize(near, big, interpolation=cv2.INTER_LINEAR),
    )


def refine(confidence: Array, portrait: NDArray[np.uint8]) -> Array:
    """Opacity [H, W] in 0..1 from a mask that is right within a few pixels.

    Only the band around the mask's edge is worked on; inside it is 1, outside 0.
    """
    import cv2

    scale = portrait.shape[0] / 512
    solid = (confidence > 0.5).astype(np.uint8)
    inside = np.asarray(cv2.erode(solid, disc(INWARD_PX * scale)), np.uint8)
    reach = np.asarray(cv2.dilate(solid, disc(OUTWARD_PX * scale)), np.uint8)
    alpha = inside.astype(np.float32)
    rows, columns = np.flatnonzero(reach.any(axis=1)), np.flatnonzero(reach.any(axis=0))
    if not rows.size or inside.all():
        return alpha
    margin = math.ceil(2 * NEAR_PX * scale) + 2
    area = np.s_[
        max(0, int(rows[0]) - margin) // 2 * 2 : int(rows[-1]) + margin,
        max(0, int(columns[0]) - margin) // 2 * 2 : int(columns[-1]) + margin,
    ]
    alpha[area] = _refined(confidence[area], portrait[area], inside[area], reach[area], scale)
    return alpha


def _refined(confidence: Array, portrait: NDArray[np.uint8], inside: NDArray[np.uint8],
             reach: NDArray[np.uint8], scale: float) -> Array:  # fmt: skip
    import cv2

    grey = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    band = np.nonzero(reach > inside)
    front, front_near = _colours_at(portrait, inside, band, scale)
    back, back_near = _colours_at(portrait, np.uint8(1) - reach, band, scale)
    here = portrait[band].astype(np.float32) / np.float32(255)
    apart = front - back
    squared = (apart * apart).sum(axis=-1)
    by_colour = ((here - back) * apart).sum(axis=-1) / (squared + 1e-3)
    by_colour = np.clip((by_colour - 0.05) / 0.88, 0.0, 1.0)
    guided = fast_guided_filter(grey, confidence, max(1, round(GUIDE_PX * scale)), GUIDE_EPSILON)
    by_guide = np.clip((guided[band] - 0.1) / 0.8, 0.0, 1.0)
    trust = squared / (squared + ALIKE)
    trust = trust * np.clip(np.minimum(front_near, back_near) / 0.02, 0.0, 1.0)
    alpha = inside.astype(np.float32)
    alpha[band] = trust * by_colour + (1.0 - trust) * by_guide
    out = guided_filter(grey, alpha, max(1, round(SMOOTH_PX * scale)), SMOOTH_EPSILON)
    out[(reach == 0) & (out < 0.05)] = 0.0
    return np.asarray(np.clip(out, 0.0, 1.0), dtype=np.float32)


def without_background(portrait: NDArray[np.uint8], alpha: Array) -> Array:
    """The person's colour times its opacity, [H, W, 3] in 0..1: portrait − (1 − alpha)·B."""
    image = portrait.astype(np.float32) / np.float32(255)
    back, near = colour_near(image, alpha < 0.02)
    back = np.where(near[..., None] > 1e-3, back, image)  # far from all background: as it is
    a = alpha[..., None]
    return np.asarray(np.clip(image - (1.0 - a) * back, 0.0, a), dtype=np.float32)


def _colours_at(
    portrait: NDArray[np.uint8], where: NDArray[np.uint8], at: tuple[Any, ...], scale: float
) -> tuple[Array, Array]:
    """`colour_near` of the pixels `where` is 1, read at the pixels `at` only."""
    import cv2

    h, w = where.shape
    half = (max(1, w // 2), max(1, h // 2))
    weight = cv2.resize(where * np.uint8(255), half, interpolation=cv2.INTER_AREA)
    small = cv2.resize(cv2.bitwise_and(portrait, portrait, mask=where), half,
                       interpolation=cv2.INTER_AREA)  # fmt: skip
    radius = max(1, round(NEAR_PX * scale / 4))
    both = cv2.merge([small, weight]).astype(np.float32)
    both = mean(mean(both, radius), radius)
    rows = np.minimum(at[0] // 2, half[1] - 1)
    columns = np.minimum(at[1] // 2, half[0] - 1)
    got = both[rows, columns] * np.float32(1 / 255)
    near = got[:, 3]
    return got[:, :3] / (near[:, None] + np.float32(1e-5)), near


def mean(x: Any, radius: int) -> Any:
    """Box filter of side 2·radius + 1, mirrored at the picture's edge."""
    import cv2

    return cv2.boxFilter(x, -1, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)


def disc(radius: float) -> Any:
    """A filled circle [2r + 1, 2r + 1] for morphology, r the rounded radius, at least 1."""
    import cv2

    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
