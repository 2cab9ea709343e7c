"""Soft edges: from a rough person mask to opacity and uncontaminated colour.

The rule: near the edge a pixel is opacity·F + (1 − opacity)·B, with F and B the mean colours of
the sure person and the sure background next to it. Where the two differ, opacity is read from the
pixel's place between them; where they are alike, a guided filter moves the mask's edge to the
picture's. Taking (1 − opacity)·B out again leaves no halo of the old background.
Reference: He et al., "Guided Image Filtering", 2010; the compositing equation of Porter and Duff.
"""

from __future__ import annotations

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
    mean_g, mean_s = _mean(guide, radius), _mean(source, radius)
    variance = _mean(guide * guide, radius) - mean_g * mean_g
    covariance = _mean(guide * source, radius) - mean_g * mean_s
    a = covariance / (variance + epsilon)
    b = mean_s - a * mean_g
    return np.asarray(_mean(a, radius) * guide + _mean(b, radius), dtype=np.float32)


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
    near = _mean(_mean(weight, radius), radius)
    colour = _mean(_mean(small, radius), radius)
    colour = colour / (near[..., None] + 1e-5)
    big = (w, h)
    return (
        cv2.resize(colour, big, interpolation=cv2.INTER_LINEAR),
        cv2.resize(near, big, interpolation=cv2.INTER_LINEAR),
    )


def refine(confidence: Array, portrait: NDArray[np.uint8]) -> Array:
    """Opacity [H, W] in 0..1 from a mask that is right within a few pixels."""
    import cv2

    scale = portrait.shape[0] / 512
    image = portrait.astype(np.float32) / np.float32(255)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    solid = (confidence > 0.5).astype(np.uint8)
    inside = cv2.erode(solid, _disc(INWARD_PX * scale)) > 0
    outside = cv2.dilate(solid, _disc(OUTWARD_PX * scale)) == 0
    front, front_near = colour_near(image, inside)
    back, back_near = colour_near(image, outside)
    apart = front - back
    squared = (apart * apart).sum(axis=-1)
    by_colour = ((image - back) * apart).sum(axis=-1) / (squared + 1e-3)
    by_colour = np.clip((by_colour - 0.05) / 0.88, 0.0, 1.0)
    by_guide = guided_filter(grey, confidence, max(1, round(GUIDE_PX * scale)), GUIDE_EPSILON)
    by_guide = np.clip((by_guide - 0.1) / 0.8, 0.0, 1.0)
    trust = squared / (squared + ALIKE)
    trust = trust * np.clip(np.minimum(front_near, back_near) / 0.02, 0.0, 1.0)
    alpha = trust * by_colour + (1.0 - trust) * by_guide
    alpha[inside] = 1.0
    alpha[outside] = 0.0
    alpha = guided_filter(
        grey, alpha.astype(np.float32), max(1, round(SMOOTH_PX * scale)), SMOOTH_EPSILON
    )
    alpha = np.where(outside & (alpha < 0.05), 0.0, alpha)
    return np.asarray(np.clip(alpha, 0.0, 1.0), dtype=np.float32)


def without_background(portrait: NDArray[np.uint8], alpha: Array) -> Array:
    """The person's colour times its opacity, [H, W, 3] in 0..1: portrait − (1 − alpha)·B."""
    image = portrait.astype(np.float32) / np.float32(255)
    back, near = colour_near(image, alpha < 0.02)
    back = np.where(near[..., None] > 1e-3, back, image)  # far from all background: as it is
    a = alpha[..., None]
    return np.asarray(np.clip(image - (1.0 - a) * back, 0.0, a), dtype=np.float32)


def _mean(x: Any, radius: int) -> Any:
    import cv2

    return cv2.boxFilter(x, -1, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)


def _disc(radius: float) -> Any:
    import cv2

    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
