"""Training windows for FB-Net: faces of every size and none, and which cells should say so.

The rule: a cell is a face's where the face's centre lies near it and the face's size belongs to
this level of the pyramid; near misses, in place or size, are not counted either way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.augment import photograph
from portrait.facenet.samples import Faces

WINDOW_PX = 96
CELL_PX = 8
CELLS = WINDOW_PX // CELL_PX
SMALL, LARGE = 27.0, 58.0
"""Face sizes, pixels, that belong to a level."""
FACE_PX = 40.0
"""The size whose output is 0."""
NEAR, FAR = 0.17, 0.36
"""Shares of the face's size within which a cell is its own, and beyond which it is not."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """A batch for FB-Net."""

    picture: NDArray[np.uint8]
    """[B, 96, 96, 3]."""
    target: NDArray[np.float32]
    """[B, 4, 12, 12]: face or not, centre (x, y) in cells from the cell's, log size."""
    counts: NDArray[np.float32]
    """[B, 12, 12] 1 where face or not counts."""


def box_of(landmarks: NDArray[np.float32]) -> tuple[float, float, float]:
    """(centre x, centre y, size) of a face: the middle and the longer side of its points' box."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return float((low[0] + high[0]) / 2), float((low[1] + high[1]) / 2), float((high - low).max())


def draw_windows(faces: Faces, performers: Faces | None, empty: NDArray[np.uint8],
                 rng: np.random.Generator, count: int) -> Windows:  # fmt: skip
    """`count` windows, half of them with a face of this level's size."""
    out = Windows(
        np.zeros((count, WINDOW_PX, WINDOW_PX, 3), np.uint8),
        np.zeros((count, 4, CELLS, CELLS), np.float32),
        np.ones((count, CELLS, CELLS), np.float32),
    )
    for row in range(count):
        kind = rng.random()
        ground = _ground(empty, rng)
        if kind < 0.62:
            source = performers if performers is not None and rng.random() < 0.12 else faces
            i = int(rng.integers(len(source)))
            size = math.exp(rng.uniform(math.log(SMALL * 0.95), math.log(LARGE * 1.05)))
            if kind > 0.52:  # another level's
                size = rng.uniform(11, 19) if rng.random() < 0.5 else rng.uniform(82, 150)
            _paste(out, row, source, i, size, ground, rng)
        else:
            out.picture[row] = ground
        out.picture[row] = photograph(out.picture[row], rng)
    return out


def _ground(empty: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    import cv2

    image = empty[int(rng.integers(len(empty)))]
    side = image.shape[0]
    k = WINDOW_PX / side * math.exp(rng.uniform(-0.35, 1.0))
    a = rng.normal(0, 0.3)
    turn = k * np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    shift = WINDOW_PX / 2 - turn @ rng.uniform(0.3 * side, 0.7 * side, 2)
    return np.asarray(
        cv2.warpAffine(image, np.column_stack([turn, shift]), (WINDOW_PX, WINDOW_PX),
                       flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101), np.uint8,
    )  # fmt: skip


def _paste(out: Windows, row: int, faces: Faces, i: int, size: float, ground: NDArray[np.uint8],
           rng: np.random.Generator) -> None:  # fmt: skip
    import cv2

    image = faces.images[i]
    cx, cy, box = box_of(faces.landmarks[i])
    k, a = size / box, rng.normal(0, 0.22)
    turn = k * np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    if rng.random() < 0.5:
        turn = turn @ np.diag([-1.0, 1.0])
    centre = rng.uniform(-0.05, 1.05, 2) * WINDOW_PX
    affine = np.column_stack([turn, centre - turn @ (cx, cy)])
    if k < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), 0.45 / k - 0.4)  # type: ignore[assignment]
    shown = cv2.warpAffine(image, affine, (WINDOW_PX, WINDOW_PX), flags=cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    if rng.random() < 0.7:  # another ground beyond the crop's edge, blended in
        inside = cv2.warpAffine(np.full(image.shape[:2], 255, np.uint8), affine, (WINDOW_PX,) * 2)
        soft = cv2.GaussianBlur(inside, (0, 0), rng.uniform(0.5, 5.0))[..., None] / 255.0
        shown = (shown * soft + ground * (1 - soft)).astype(np.uint8)
    out.picture[row] = shown
    cells = (np.arange(CELLS) + 0.5) * CELL_PX
    dx, dy = centre[0] - cells[None, :], centre[1] - cells[:, None]
    away = np.sqrt(dx**2 + dy**2) / size
    fits = SMALL <= size <= LARGE
    if fits:
        near = away < max(NEAR, 0.75 * CELL_PX / size)
        out.target[row, 0] = near
        out.target[row, 1], out.target[row, 2] = dx / CELL_PX, dy / CELL_PX
        out.target[row, 3] = math.log(size / FACE_PX)
        out.counts[row] = near | (away > FAR)
    elif size < SMALL * 0.7 or size > LARGE * 1.4:
        out.counts[row] = 1
    else:
        out.counts[row] = away > FAR
