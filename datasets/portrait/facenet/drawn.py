"""Drawn animals and cartoon characters: what looks like a face and is none.

The rule: a seed's picture never changes. Heads with ears, snouts, beaks, big eyes and shading, on
plain or busy grounds; half of the pictures are only shapes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.pack import CROP_PX

Image = NDArray[np.uint8]


def drawn(seed: int) -> Image:
    """A picture [144, 144, 3] without a human face."""
    import cv2

    rng = np.random.default_rng([0xD4A3, seed])
    big = CROP_PX * 2
    image = _ground(rng, big)
    if rng.random() < 0.25:
        for _ in range(int(rng.integers(4, 14))):
            _blob(image, rng, rng.uniform(0, big, 2), rng.uniform(8, 90, 2), _colour(rng))
    else:
        _creature(image, rng, big)
    if rng.random() < 0.5:
        image = np.clip(image * _shade(rng, big), 0, 255)
    out = cv2.resize(image.astype(np.uint8), (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(out, dtype=np.uint8)


def _colour(rng: np.random.Generator) -> tuple[float, float, float]:
    base = rng.uniform(20, 245)
    r, g, b = np.clip(base + rng.normal(0, 35, 3), 0, 255)
    return float(r), float(g), float(b)


def _ground(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    import cv2

    coarse = rng.uniform(0, 255, (int(rng.integers(2, 9)), int(rng.integers(2, 9)), 3))
    mode = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
    ground = cv2.resize(coarse.astype(np.float32), (size, size), interpolation=mode)
    mix = rng.uniform(0.1, 1.0)
    return np.asarray(mix * ground + (1 - mix) * np.array(_colour(rng)), dtype=np.float32)


def _shade(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    cx, cy = rng.uniform(0.1, 0.9, 2)
    d = (x - cx) ** 2 + (y - cy) ** 2
    return np.asarray((1.25 - rng.uniform(0.4, 1.4) * d)[..., None], dtype=np.float32)


def _blob(
    image: NDArray[np.float32], rng: np.random.Generator, at: NDArray[np.float64],
    axes: NDArray[np.float64], colour: tuple[float, float, float], angle: float = 0.0,
) -> None:  # fmt: skip
    """A filled ellipse with a soft highlight."""
    import cv2

    centre, size = (int(at[0]), int(at[1])), (max(1, int(axes[0])), max(1, int(axes[1])))
    cv2.ellipse(image, centre, size, angle, 0, 360, colour, -1, cv2.LINE_AA)
    if rng.random() < 0.6 and min(size) > 6:
        bright = tuple(min(255.0, c * 1.25 + 12) for c in colour)
        light = (int(at[0] - 0.25 * axes[0]), int(at[1] - 0.3 * axes[1]))
        half = (size[0] // 2, size[1] // 2)
        cv2.ellipse(image, light, half, angle, 0, 360, bright, -1, cv2.LINE_AA)


def _creature(image: NDArray[np.float32], rng: np.random.Generator, size: int) -> None:
    c = np.array([size / 2, size / 2]) + rng.normal(0, size * 0.05, 2)
    head = np.array([rng.uniform(0.2, 0.34), rng.uniform(0.2, 0.36)]) * size
    fur, light, dark = _colour(rng), _colour(rng), tuple(rng.uniform(0, 70, 3))
    kind = rng.integers(0, 5)  # long ears, pointed ears, round ears, none, beak
    if kind < 3:
        long = (rng.uniform(0.9, 1.7), rng.uniform(0.5, 0.8), rng.uniform(0.35, 0.5))[kind]
        for side in (-1, 1):
            at = c + np.array(
                [side * head[0] * rng.uniform(0.45, 0.85), -head[1] * (0.75 + 0.45 * long)]
            )
            axes = np.array([head[0] * rng.uniform(0.18, 0.42), head[1] * long * 0.7])
            _blob(image, rng, at, axes, fur, side * rng.uniform(-5, 25))
            _blob(image, rng, at, axes * 0.6, light, side * rng.uniform(-5, 25))
    _blob(image, rng, c + np.array([0, head[1] * 1.6]), head * (1.0, 0.9), fur)
    _blob(image, rng, c, head, fur)
    eye = head * rng.uniform(0.12, 0.4)
    apart, up = head[0] * rng.uniform(0.3, 0.6), head[1] * rng.uniform(0.0, 0.4)
    for side in (-1, 1):
        at = c + np.array([side * apart, -up])
        if rng.random() < 0.75:
            _blob(image, rng, at, eye * (1, rng.uniform(0.8, 1.6)), (245.0, 245.0, 240.0))
        _blob(image, rng, at + rng.normal(0, 2, 2), eye * rng.uniform(0.3, 0.7), dark)  # type: ignore[arg-type]
    if rng.random() < 0.7:  # muzzle
        for side in (-1, 0, 1):
            at = c + np.array([side * head[0] * 0.25, head[1] * rng.uniform(0.35, 0.5)])
            _blob(image, rng, at, head * (rng.uniform(0.25, 0.42), 0.28), light)
    nose = c + np.array([0, head[1] * rng.uniform(0.12, 0.4)])
    beak = (240.0, rng.uniform(90, 200), 20.0)
    _blob(image, rng, nose, head * rng.uniform(0.08, 0.22), beak if kind == 4 else dark)  # type: ignore[arg-type]
    if rng.random() < 0.7:
        mouth = c + np.array([0, head[1] * rng.uniform(0.5, 0.75)])
        _blob(image, rng, mouth, head * (rng.uniform(0.1, 0.5), rng.uniform(0.02, 0.2)), dark)  # type: ignore[arg-type]
