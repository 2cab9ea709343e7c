"""FB-Net in ONNX Runtime: where faces may be in a picture.

The rule: FB-Net knows faces of 27 to 58 pixels only, so it looks at smaller and smaller copies of
the picture, each half of the one before. `search` looks closer, for small faces in large pictures,
in tiles: a few at a time, since a close look at a whole picture takes longer than a frame lasts.
What it finds are candidates; PE-Net decides, with FB-Net's `vote` on the upright face.
Reference: Zhang et al. 2016 (MTCNN: a small fully convolutional network over a pyramid).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sender.facenet.crop import MARGIN, FaceCrop
from sender.facenet.reader import FB_FILE, WEIGHTS, open_network

CELL_PX = 8
SMALL = 27.0
"""Pixels of the smallest face that FB-Net knows."""
FACE_PX = 40.0
"""The size whose output is 0."""
COARSE = 320
"""Shorter side of the largest copy in a quick look, pixels: finds faces of 9 % of it and more."""
LEVELS = 4
CLOSE = (640, 1280)
"""Shorter sides of the copies for a close look; none enlarges a picture by more than `ENLARGE`."""
ENLARGE = 2.0
TILE = 448
OVERLAP = 72
VOTE_PX = 96
LIKELY = 0.3
"""Score from which a cell counts."""
MOST = 8
"""Candidates that are given back."""

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FaceBox:
    """A square that may hold a face."""

    x: float
    """Pixels from the picture's left edge to the square's centre."""
    y: float
    """Pixels from its top edge."""
    size: float
    """The longer side of the box around the face's landmarks, pixels."""
    score: float
    """0..1."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an enlarged or reduced picture."""

    scale: float
    """Pixels of the copy per pixel of the picture."""
    box: tuple[int, int, int, int]
    """x, y, width, height in the picture's pixels."""


class FaceDetector:
    """FB-Net, opened."""

    def __init__(self, weights: Path | None = None) -> None:
        """`weights`: the folder of the networks, the shipped ones by default."""
        self._session = open_network((weights or WEIGHTS) / FB_FILE)

    def look(self, image: Image, smallest: float = 0.0) -> list[FaceBox]:
        """Candidates of 9 % of the shorter side and more, and of `smallest` pixels and more, the
        largest first."""
        import cv2

        height, width = image.shape[:2]
        scale = min(COARSE / min(width, height), SMALL / max(smallest, 1e-6))
        copy = _resized(image, scale)
        found: list[FaceBox] = []
        for _ in range(LEVELS):
            found += self.boxes(copy, copy.shape[1] / width, copy.shape[0] / height)
            if min(copy.shape[:2]) < 2 * CELL_PX:
                break
            half = (max(1, (copy.shape[1] + 1) // 2), max(1, (copy.shape[0] + 1) // 2))
            copy = np.asarray(cv2.resize(copy, half, interpolation=cv2.INTER_AREA), np.uint8)
        return apart(found)

    def search(self, image: Image, tiles: Iterable[Tile]) -> list[FaceBox]:
        """Candidates in some tiles of `close_tiles`, the largest first."""
        found: list[FaceBox] = []
        for tile in tiles:
            x, y, w, h = tile.box
            copy = _resized(image[y : y + h, x : x + w], tile.scale)
            found += [
                FaceBox(box.x + x, box.y + y, box.size, box.score)
                for box in self.boxes(copy, copy.shape[1] / w, copy.shape[0] / h)
            ]
        return apart(found)

    def vote(self, image: Image, crop: FaceCrop) -> float:
        """0..1: whether FB-Net too sees a face in PE-Net's `crop`, upright and well centred."""
        side = crop.side * (VOTE_PX / (MARGIN * FACE_PX))
        copy = FaceCrop(crop.x, crop.y, side, crop.angle).cut(image, VOTE_PX)
        out = self._session.run(None, {"picture": copy[None]})[0][0]
        middle = VOTE_PX // CELL_PX // 2
        near = out[0, middle - 2 : middle + 2, middle - 2 : middle + 2]
        return float(1.0 / (1.0 + np.exp(-near.max())))

    def boxes(self, copy: Image, scale_x: float = 1.0, scale_y: float = 1.0) -> list[FaceBox]:
        """Candidates of 27 to 58 pixels in `copy`, in pixels of what it is a copy of."""
        out = self._session.run(None, {"picture": np.ascontiguousarray(copy)[None]})[0][0]
        score = 1.0 / (1.0 + np.exp(-out[0]))
        rows, columns = np.nonzero(score > LIKELY)
        best = np.argsort(-score[rows, columns])[: 16 * MOST]
        return [
            FaceBox(
                float(CELL_PX * (c + 0.5 + out[1, r, c]) / scale_x),
                float(CELL_PX * (r + 0.5 + out[2, r, c]) / scale_y),
                float(FACE_PX * math.exp(min(1.0, max(-1.0, out[3, r, c])))
                      / math.sqrt(scale_x * scale_y)),
                float(score[r, c]),
            )
            for r, c in zip(rows[best], columns[best], strict=True)
        ]  # fmt: skip


def close_tiles(width: int, height: int) -> list[Tile]:
    """What a close look at a picture consists of, coarse before fine."""
    tiles: list[Tile] = []
    short = min(width, height)
    for side in CLOSE:
        scale = min(side / short, ENLARGE)
        if tiles and scale <= tiles[-1].scale * 1.2:
            continue
        if scale * short <= COARSE * 1.2:
            continue
        span, step = round(TILE / scale), (TILE - OVERLAP) / scale
        for y in _starts(height, span, step):
            for x in _starts(width, span, step):
                box = (x, y, min(span, width), min(span, height))
                tiles.append(Tile(scale, box))
    return tiles


def _starts(length: int, span: int, step: float) -> list[int]:
    count = 1 if length <= span else 1 + math.ceil((length - span) / step)
    return [round(v) for v in np.linspace(0, max(0, length - span), count)]


def apart(boxes: Sequence[FaceBox]) -> list[FaceBox]:
    """One box per face: the likeliest of those that share a place and a size; largest first."""
    kept: list[FaceBox] = []
    for box in sorted(boxes, key=lambda b: -b.score):
        if not any(overlap(box, other) for other in kept):
            kept.append(box)
        if len(kept) == MOST:
            break
    return sorted(kept, key=lambda b: -b.size)


def overlap(one: FaceBox, other: FaceBox) -> bool:
    """Whether two boxes are about the same face."""
    return math.hypot(one.x - other.x, one.y - other.y) < 0.5 * max(one.size, other.size)


def _resized(image: Image, scale: float) -> Image:
    import cv2

    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=mode), dtype=np.uint8)


def tile_around(x: float, y: float, size: float, width: int, height: int) -> Tile:
    """A close look at the surroundings of a face of `size` px at (x, y) that was just there."""
    span = round(TILE * size / FACE_PX)
    w, h = min(span, width), min(span, height)
    left = round(min(max(x - w / 2, 0), width - w))
    top = round(min(max(y - h / 2, 0), height - h))
    return Tile(FACE_PX / size, (left, top, w, h))
