"""The room behind the performer: a wall in soft light with blurred things on it.

The rule: painted once per person and picture size, linear RGB, no detail sharper than a blur.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.performer.traits import Traits


def paint_room(traits: Traits, width: int, height: int) -> NDArray[np.float32]:
    """Linear RGB [height, width, 3], read-only."""
    return _room(traits.seed, traits.wall, traits.light_side, width, height)


@lru_cache(maxsize=16)
def _room(
    seed: int, wall: tuple[float, float, float], light: float, width: int, height: int
) -> NDArray[np.float32]:
    rng = np.random.default_rng([0xB00C, seed & 0xFFFFFFFF])
    n = 256
    x, y = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n))
    glow = 0.78 + 0.20 * light * x - 0.14 * y - 0.14 * (x * x + y * y)
    image = (glow[..., None] * np.array(wall)).astype(np.float32)
    kind = int(rng.integers(3))
    if kind == 0:  # a shelf with books
        side = -1 if light > 0 else 1
        left = int(n * (0.5 + side * 0.36) - 48)
        for shelf in range(-10, n, 58):
            at = left
            while at < left + 96:
                w = int(rng.integers(6, 15))
                h = int(rng.integers(30, 48))
                colour = rng.uniform(0.04, 0.42, 3) * (1.0, 0.85, 0.75)
                cv2.rectangle(image, (at, shelf + 52 - h), (at + w - 2, shelf + 52),
                              colour.tolist(), -1)  # fmt: skip
                at += w
            cv2.rectangle(image, (left - 4, shelf + 52), (left + 100, shelf + 57),
                          (0.12, 0.08, 0.05), -1)  # fmt: skip
        blur = 4.5
    elif kind == 1:  # a window
        at = int(n * (0.5 + light * 0.34))
        cv2.rectangle(image, (at - 34, -5), (at + 34, 150), (0.95, 1.0, 1.05), -1)
        cv2.rectangle(image, (at - 2, -5), (at + 2, 150), (0.45, 0.45, 0.45), -1)
        cv2.rectangle(image, (at - 34, 70), (at + 34, 74), (0.45, 0.45, 0.45), -1)
        blur = 7.0
    else:  # a picture and a lamp
        at = int(n * (0.5 - light * 0.36))
        cv2.rectangle(image, (at - 30, 30), (at + 30, 110), (0.08, 0.06, 0.05), -1)
        tone = rng.uniform(0.15, 0.55, 3)
        cv2.rectangle(image, (at - 25, 35), (at + 25, 105), tone.tolist(), -1)
        cv2.circle(image, (at - 6, 78), 14, (tone[::-1] * 0.6).tolist(), -1)
        lamp = int(n * (0.5 + light * 0.40))
        cv2.circle(image, (lamp, 70), 20, (1.1, 0.92, 0.62), -1)
        blur = 5.5
    image = cv2.GaussianBlur(image, (0, 0), blur)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 0.004, (height, width, 1)).astype(np.float32)
    out = np.ascontiguousarray(np.clip(image * (1 + grain), 0, 1.4), dtype=np.float32)
    out.setflags(write=False)
    return out
