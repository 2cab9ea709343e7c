"""What stands behind a cut-out person, and what the person wears: random, from a generator.

The rule: every function takes its generator and returns a picture of the asked size; nothing here
knows about labels except through the opacity that it is given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Float32 = NDArray[np.float32]


def background(empty: Image, rng: np.random.Generator, size: int) -> Image:
    """A picture [size, size, 3] without a person; `empty` [M, h, w, 3] are real ones."""
    kind = rng.random()
    if kind < 0.5 and len(empty):
        return _part_of(empty[rng.integers(len(empty))], rng, size)
    if kind < 0.6:
        flat = np.full((size, size, 3), _colour(rng), np.float32)
        return _bytes(flat + rng.normal(0, rng.uniform(0, 4), (size, size, 1)))
    ground = _clouds(rng, size)
    if kind < 0.85:
        _things(ground, rng, size)
    if rng.random() < 0.5:
        ground = _blurred(ground, rng.uniform(0.5, 0.03 * size))
    return _bytes(ground)


def dressed(image: Float32, torso: Float32, neck: Float32, empty: Image, rng: np.random.Generator
            ) -> Float32:  # fmt: skip
    """`image` [H, W, 3] in 0..255 with other clothes where `torso` [H, W] in 0..1 is."""
    size = image.shape[0]
    if torso.mean() < 0.01:
        return image
    grey = image.mean(axis=2)
    shade = grey / max(8.0, float((grey * torso).sum() / torso.sum()))
    shade = np.clip(shade, 0.3, 1.8)[..., None] ** np.float32(rng.uniform(0.5, 1.3))
    kind = rng.random()
    if kind < 0.35:
        cloth = _suit(torso, neck, rng, size)
    elif kind < 0.6:
        cloth = _stripes(rng, size)
    elif kind < 0.8 and len(empty):
        cloth = _part_of(empty[rng.integers(len(empty))], rng, size).astype(np.float32)
    else:
        cloth = np.full((size, size, 3), _colour(rng), np.float32)
    return np.asarray(
        image + torso[..., None] * (np.clip(cloth * shade, 0, 255) - image), np.float32
    )


def _suit(torso: Float32, neck: Float32, rng: np.random.Generator, size: int) -> Float32:
    """A jacket over a shirt, often with a tie, under the neck."""
    import cv2

    dark = rng.beta(1.0, 3.0) * 255
    cloth = np.full((size, size, 3), np.clip(dark + rng.normal(0, 10, 3), 3, 255), np.float32)
    where = neck > 0.5
    if not where.any():
        return cloth
    rows, columns = np.nonzero(where)
    x, bottom, wide = columns.mean(), rows.max(), max(6.0, float(np.ptp(columns)))
    lean = rng.normal(0, 0.15)
    tip = (x + lean * wide, bottom + wide * rng.uniform(0.8, 2.6))
    open_ = rng.uniform(0.5, 0.85) * wide
    shirt = np.clip((rng.uniform(190, 255) if rng.random() < 0.7 else rng.uniform(20, 230))
                    + rng.normal(0, 12, 3), 5, 255)  # fmt: skip
    vee = np.array([(x - open_, bottom - 0.4 * wide), (x + open_, bottom - 0.4 * wide), tip])
    cv2.fillPoly(cloth, [np.round(vee).astype(np.int32)], shirt.tolist(), cv2.LINE_AA)
    if rng.random() < 0.7:
        half = rng.uniform(0.08, 0.16) * wide
        tie = np.array([(x - half, bottom - 0.05 * wide), (x + half, bottom - 0.05 * wide),
                        (tip[0] + half, tip[1]), (tip[0] - half, tip[1])])  # fmt: skip
        cv2.fillPoly(cloth, [np.round(tie).astype(np.int32)], _colour(rng), cv2.LINE_AA)
    return cloth


def _stripes(rng: np.random.Generator, size: int) -> Float32:
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    a, count = rng.uniform(0, np.pi), rng.uniform(6, 40)
    wave = np.sin((np.cos(a) * x + np.sin(a) * y) * 2 * np.pi * count)
    if rng.random() < 0.4:
        wave = wave * np.sin((-np.sin(a) * x + np.cos(a) * y) * 2 * np.pi * count)
    mix = np.clip(0.5 + wave * rng.uniform(0.5, 4), 0, 1)[..., None]
    return np.asarray(mix * _colour(rng) + (1 - mix) * np.array(_colour(rng)), np.float32)


def _part_of(image: Image, rng: np.random.Generator, size: int) -> Image:
    """A random, perhaps mirrored and blurred, square of a picture."""
    import cv2

    side = int(image.shape[0] * rng.uniform(0.4, 1.0))
    top, left = (int(rng.integers(0, image.shape[k] - side + 1)) for k in (0, 1))
    part = image[top : top + side, left : left + side]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    out = cv2.resize(np.ascontiguousarray(part), (size, size), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.3:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(1, 0.02 * size + 1))
    return np.asarray(out, np.uint8)


def _clouds(rng: np.random.Generator, size: int) -> Float32:
    import cv2

    cells = (int(rng.integers(2, 12)), int(rng.integers(2, 12)), 3)
    coarse = rng.uniform(0, 255, cells).astype(np.float32)
    coarse = coarse.mean(axis=2, keepdims=True) * 0.7 + coarse * 0.3
    mode = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
    ground = cv2.resize(coarse, (size, size), interpolation=mode)
    mix = rng.uniform(0.05, 0.9)
    return np.asarray(mix * ground + (1 - mix) * np.array(_colour(rng)), np.float32)


def _things(ground: Float32, rng: np.random.Generator, size: int) -> None:
    """Frames, shelves, lamps, plants: rectangles, ellipses and lines."""
    import cv2

    for _ in range(int(rng.integers(2, 16))):
        x, y = (int(v) for v in rng.uniform(0, size, 2))
        w, h = (int(v) for v in rng.uniform(0.03, 0.4, 2) * size)
        colour, fill = _colour(rng), -1 if rng.random() < 0.7 else int(rng.integers(1, 6))
        shape = rng.random()
        if shape < 0.5:
            cv2.rectangle(ground, (x - w, y - h), (x + w, y + h), colour, fill)
        elif shape < 0.8:
            angle = float(rng.uniform(0, 180))
            cv2.ellipse(ground, (x, y), (w + 1, h + 1), angle, 0, 360, colour, fill, cv2.LINE_AA)
        else:
            end = (int(rng.uniform(0, size)), int(rng.uniform(0, size)))
            cv2.line(ground, (x, y), end, colour, int(rng.integers(1, 8)), cv2.LINE_AA)


def _colour(rng: np.random.Generator) -> tuple[float, float, float]:
    base = rng.uniform(0, 255)
    r, g, b = np.clip(base + rng.normal(0, 28, 3), 0, 255)
    return float(r), float(g), float(b)


def _blurred(image: Float32, sigma: float) -> Float32:
    import cv2

    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def _bytes(image: NDArray[np.floating]) -> Image:
    return np.clip(image, 0, 255).astype(np.uint8)
