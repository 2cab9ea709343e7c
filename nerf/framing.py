"""Where the stabilised portrait lies in the picture that a call shows.

The rule: a picture is a window of the camera's own, shrunk but never enlarged; a head's `offset`
(docs/conventions.md) is relative to the camera's whole picture, so one that sits elsewhere than
in training appears elsewhere. Pixels have their centres at +0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera

LONG_PX, SHORT_PX = 1280, 720  # a picture is at most so large, upright or lying
BELOW = 1.05  # portrait widths below the head's origin at which a picture ends: a bust
ROUND_PX = 32
MAX_SOURCE_PX = 65536


@dataclass(frozen=True, slots=True)
class Place:
    """A portrait's square in a picture."""

    u: float
    """Pixels from the left edge to its middle, where the head's origin lies."""
    v: float
    """Pixels from the top edge to its middle."""
    side: float
    """Pixels, > 0."""

    def affine(self, size: int) -> NDArray[np.float64]:
        """[2, 3]: pixels of the portrait that is `size` wide → pixels of the picture."""
        k = self.side / size
        return np.array([[k, 0.0, self.u - self.side / 2], [0.0, k, self.v - self.side / 2]])


@dataclass(frozen=True, slots=True)
class Framing:
    """What of the camera's picture is shown, and how large."""

    source: tuple[int, int]
    """Width and height of the camera's picture, pixels."""
    window: tuple[int, int, int, int]
    """x0, y0, width and height of what is shown of it, its pixels."""
    size: tuple[int, int]
    """Width and height at which it is shown, pixels."""

    def __post_init__(self) -> None:
        (w, h), (x0, y0, ww, wh), (ow, oh) = self.source, self.window, self.size
        if not (
            0 < w <= MAX_SOURCE_PX and 0 < h <= MAX_SOURCE_PX and x0 >= 0 and y0 >= 0
            and 16 <= ow <= LONG_PX and 16 <= oh <= LONG_PX
            and 0 < ww <= w - x0 and 0 < wh <= h - y0
        ):  # fmt: skip
            raise ValueError(f"no picture is framed like {self}")

    @staticmethod
    def around(offsets: ArrayLike, width: int, height: int) -> Framing:
        """The framing of a camera's `width` × `height` picture in which the head was at `offsets`
        [N, 3]: all of it, but no more than a bust, and no larger than 1280 × 720."""
        whole = Framing((width, height), (0, 0, width, height), (16, 16))
        places = [whole.in_source(offset) for offset in np.asarray(offsets, dtype=np.float64)]
        v, side = (float(np.median([getattr(p, name) for p in places])) for name in ("v", "side"))
        shown = min(height, max(1, math.ceil(v + BELOW * side)))
        scale = min(1.0, LONG_PX / max(width, shown), SHORT_PX / min(width, shown))
        size = (max(16, round(width * scale)), max(16, round(shown * scale)))
        return Framing((width, height), (0, 0, width, shown), size)

    def in_source(self, offset: ArrayLike) -> Place:
        """Where a head with this offset [3] lies in the camera's picture."""
        x, y, log_size = (float(o) for o in np.asarray(offset, dtype=np.float64))
        width, height = self.source
        side = math.exp(log_size) * min(width, height)
        return Place(width / 2 + x * side, height / 2 + y * side, side)

    def place(self, offset: ArrayLike) -> Place:
        """Where it lies in the picture that is shown."""
        p = self.in_source(offset)
        kx, ky = self.size[0] / self.window[2], self.size[1] / self.window[3]
        return Place((p.u - self.window[0]) * kx, (p.v - self.window[1]) * ky,
                     p.side * math.sqrt(kx * ky))  # fmt: skip

    def cut(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What is shown of a camera's picture, uint8 [H, W(, C)] of the size of `source`."""
        import cv2

        x0, y0, w, h = self.window
        part = picture[y0 : y0 + h, x0 : x0 + w]
        if part.shape[:2] == self.size[::-1]:
            return np.ascontiguousarray(part)
        return np.asarray(cv2.resize(part, self.size, interpolation=cv2.INTER_AREA), np.uint8)

    def numbers(self) -> NDArray[np.uint32]:
        """[8]: source, window and size, as an avatar keeps them."""
        return np.array([*self.source, *self.window, *self.size], dtype=np.uint32)

    @staticmethod
    def of_numbers(numbers: ArrayLike) -> Framing:
        """The inverse of `numbers`; ValueError for what is none."""
        n = np.asarray(numbers)
        if n.shape != (8,) or n.dtype.kind not in "ui":
            raise ValueError(f"a framing is 8 whole numbers, not {n.dtype} {n.shape}")
        a, b, c, d, e, f, g, h = (int(x) for x in n)
        return Framing((a, b), (c, d, e, f), (g, h))


def head_camera(place: Place, position: ArrayLike,
                scale: float) -> tuple[Camera, tuple[int, int]]:  # fmt: skip
    """The camera that draws a head right into a picture, pixel on pixel, and where the corner of
    its square lies there. `position` [3]: where the picture's camera sees the head (metres, camera
    axes); `scale`: portrait widths per metre. A head that moves needs few sizes: they are multiples
    of ROUND_PX, since a renderer may prepare itself for each."""
    side = max(1, math.ceil(place.side / ROUND_PX)) * ROUND_PX
    x0, y0 = math.floor(place.u - side / 2), math.floor(place.v - side / 2)
    x, y, z = (float(p) for p in np.asarray(position, dtype=np.float64))
    focal = scale * -z * place.side
    cx, cy = place.u - x0 - scale * x * place.side, place.v - y0 + scale * y * place.side
    return Camera(focal, focal, cx, cy, side, side), (x0, y0)
