"""What a camera and a room do to a picture: random light, colour, blur, noise, compression, hands.

The rule: every function takes its generator; pictures are uint8 RGB and keep their size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def photograph(image: Image, rng: np.random.Generator) -> Image:
    """One random camera."""
    import cv2

    size = image.shape[0]
    if rng.random() < 0.15:  # a coarser picture, enlarged
        small = int(size / rng.uniform(1.2, 2.2))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    elif rng.random() < 0.1:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.1))  # type: ignore[assignment]
    if rng.random() < 0.05:  # motion
        length = int(rng.integers(3, 7))
        kernel = np.zeros((length, length), np.float32)
        kernel[np.arange(length), np.arange(length) if rng.random() < 0.3 else length // 2] = 1
        image = cv2.filter2D(image, -1, (kernel if rng.random() < 0.5 else kernel.T) / length)  # type: ignore[assignment]
    if rng.random() < 0.8:
        image = _light(image, rng)
    if rng.random() < 0.25:
        deviation = rng.uniform(2, 12)
        channels = 1 if rng.random() < 0.4 else 3
        noise = rng.normal(0, deviation, (*image.shape[:2], channels))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 80))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)  # type: ignore[assignment]
    if rng.random() < 0.08:
        image = _cover(image, rng)
    return image


def _light(image: Image, rng: np.random.Generator) -> Image:
    """Gamma, gain, contrast, colour cast, grey, a gradient of light; by a table per channel."""
    x = np.arange(256) / 255.0
    gamma, gain = np.exp(rng.normal(0, 0.28)), np.exp(rng.normal(0, 0.12))
    lift = rng.normal(0, 0.04)
    cast = np.exp(rng.normal(0, 0.07, 3))
    table = np.clip(((x**gamma * gain)[:, None] * cast + lift) * 255, 0, 255).astype(np.uint8)
    out = np.stack([table[image[..., c], c] for c in range(3)], axis=-1)
    if rng.random() < 0.1:
        out = np.repeat(out.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    if rng.random() < 0.25:
        size = image.shape[0]
        ramp = np.linspace(-1, 1, size, dtype=np.float32)
        a = rng.uniform(0, 2 * np.pi)
        g = 1 + rng.uniform(0.1, 0.5) * (np.cos(a) * ramp[None] + np.sin(a) * ramp[:, None])
        out = np.clip(out * g[..., None], 0, 255).astype(np.uint8)
    return out


def _cover(image: Image, rng: np.random.Generator) -> Image:
    """A patch in front of the picture: a hand, a cup, a microphone."""
    import cv2

    out = image.copy()
    size = image.shape[0]
    centre = tuple(int(v) for v in rng.integers(0, size, 2))
    axes = tuple(int(v) for v in rng.integers(size // 12, size // 4, 2))
    colour = tuple(int(v) for v in rng.integers(0, 256, 3))
    cv2.ellipse(out, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
    return out
