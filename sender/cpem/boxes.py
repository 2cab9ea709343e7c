"""What FaceBoxes' numbers mean: prior boxes, offsets from them, and one box per face.

The rule: pure numpy; boxes are (left, top, right, bottom) in units of the picture's width and
height until `detections` puts them out in pixels. Priors run level by level, row by row, cell by
cell, the small sizes first, as the network's outputs do.
Reference: Zhang et al. 2017, FaceBoxes, "Anchor densification strategy"; SSD's box coding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Level:
    """One of the detector's three maps."""

    stride: int
    """Pixels of the picture per cell."""
    sizes: tuple[tuple[int, int], ...]
    """(side of the prior in pixels, how many per axis in a cell): small ones stand denser."""


LEVELS = (
    Level(32, ((32, 4), (64, 2), (128, 1))),
    Level(64, ((256, 1),)),
    Level(128, ((512, 1),)),
)
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
LOG_GROWTH = 4.0  # a box is at most e⁴ = 55 times its prior, so that no weights overflow
SCORE_MIN = 0.5  # CPEM keeps what the detector finds likelier than not
OVERLAP_MAX = 0.3
CANDIDATES = 5000  # boxes that are looked at
SIDE_MIN_PX = 8.0  # smaller than that nothing can be read from a face
SIDE_MAX = 4.0  # in pictures: larger ones are not faces


def per_cell(level: Level) -> int:
    """Priors per cell of a level."""
    return sum(dense * dense for _, dense in level.sizes)


@lru_cache(maxsize=8)
def prior_boxes(height: int, width: int) -> Float64:
    """[P, 4]: centre x, centre y, width, height of every prior in units of the picture."""
    parts = []
    for level in LEVELS:
        rows, columns = math.ceil(height / level.stride), math.ceil(width / level.stride)
        cell = []  # of one cell: x and y of the centre in cells, side in pixels
        for side, dense in level.sizes:
            # Dense priors begin at the cell's corner, lone ones stand in its middle.
            steps = [k / dense for k in range(dense)] if dense > 1 else [0.5]
            cell += [(x, y, side) for y in steps for x in steps]
        inside = np.array(cell)
        y, x = np.mgrid[:rows, :columns]
        centres = np.stack([x, y], axis=-1)[:, :, None, :] + inside[None, None, :, :2]
        sides = np.broadcast_to(inside[None, None, :, 2:], centres.shape)
        boxes = np.concatenate([centres * level.stride, sides], axis=-1)
        parts.append(boxes.reshape(-1, 4))
    out = np.concatenate(parts) / (width, height, width, height)
    out.setflags(write=False)
    return out


def decode(offsets: NDArray[np.float32], priors: Float64) -> Float64:
    """Offsets [P, 4] from priors [P, 4] → boxes [P, 4]."""
    o = np.asarray(offsets, dtype=np.float64)
    centre = priors[:, :2] + CENTRE_VARIANCE * o[:, :2] * priors[:, 2:]
    half = priors[:, 2:] / 2 * np.exp(np.clip(SIZE_VARIANCE * o[:, 2:], -LOG_GROWTH, LOG_GROWTH))
    return np.concatenate([centre - half, centre + half], axis=1)


def overlap(box: Float64, others: Float64) -> Float64:
    """Intersection over union of `box` [4] with each of `others` [N, 4], [N]."""
    size = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = np.prod(np.maximum(size, 0.0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    union = np.prod(box[2:] - box[:2]) + areas - common
    return np.asarray(common / np.maximum(union, 1e-12))


def suppressed(boxes: Float64, scores: Float64, most: float = OVERLAP_MAX) -> NDArray[np.intp]:
    """Indices, best first, of boxes that no better one overlaps by more than `most`."""
    waiting = np.argsort(-scores, kind="stable")[:CANDIDATES]
    kept = []
    while len(waiting):
        best, rest = waiting[0], waiting[1:]
        kept.append(best)
        waiting = rest[overlap(boxes[best], boxes[rest]) <= most]
    return np.array(kept, dtype=np.intp)


def detections(
    offsets: NDArray[np.float32], scores: NDArray[np.float32],
    seen: tuple[int, int], width: int, height: int,
) -> tuple[Float64, Float64]:  # fmt: skip
    """Faces, the likeliest first: boxes [N, 4] in pixels of a `width`×`height` picture, scores [N].

    `offsets` [P, 4] and `scores` [P] are the network's answer for that picture resized to `seen`
    = (height, width).
    """
    chances = np.asarray(scores, dtype=np.float64)
    likely = chances > SCORE_MIN  # not-a-number is not
    chances = chances[likely]
    with np.errstate(all="ignore"):  # infinite offsets are sorted out below
        boxes = decode(offsets[likely], prior_boxes(*seen)[likely])
        boxes = boxes * (width, height, width, height)
        sides = (boxes[:, 2:] - boxes[:, :2]).mean(axis=1)
    usable = np.isfinite(boxes).all(axis=1) & (sides >= SIDE_MIN_PX)
    usable &= sides <= SIDE_MAX * max(width, height)
    boxes, chances = boxes[usable], chances[usable]
    kept = suppressed(boxes, chances)
    return boxes[kept], chances[kept]
