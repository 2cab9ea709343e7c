"""Training samples: from stored crops to what PE-Net sees and should say.

The rule: a crop is cut as the live sender cuts it (sender.facenet.crop), then shifted, scaled and
turned as a tracker one frame late would have it; labels follow exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.augment import photograph
from portrait.facenet.pack import Pack
from quic_transport.params import ARKIT46
from sender.facenet.crop import INPUT_PX, METRE_PX, FaceCrop, crop_around, roll

Floats = NDArray[np.float64]
LABEL_DIM = 956 + 46 + 6 + 2 + 1
SHIFT, GROW, TURN = 0.05, 0.08, 0.10  # standard deviations: sides, log side, radians


def _swapped(name: str) -> str:
    if "Left" in name:
        return name.replace("Left", "Right")
    return name.replace("Right", "Left")


MIRRORED_EXPRESSION = np.array([ARKIT46.index(_swapped(n)) for n in ARKIT46])


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """All faces of one kind, ready to be drawn from."""

    images: NDArray[np.uint8]
    """[N, 144, 144, 3]."""
    landmarks: NDArray[np.float32]
    """[N, 478, 2] crop pixels."""
    expression: NDArray[np.float32]
    """[N, 46]."""
    matrix: NDArray[np.float32]
    """[N, 4, 4] head → camera, cm."""
    camera: Floats
    """[N, 3] focal length and principal point, crop pixels."""
    person: NDArray[np.int32]
    """[N]."""

    def __len__(self) -> int:
        return len(self.images)


def faces_of(pack: Pack, camera: Floats, keep: NDArray[np.bool_]) -> Faces:
    """The faces of a pack among `keep` [N]."""
    rows = np.flatnonzero(keep & ~pack.no_face & (camera[:, 0] > 20))
    return Faces(pack.images[rows], pack.landmarks[rows], pack.expression[rows],
                 pack.matrix[rows], camera[rows], pack.person[rows])  # fmt: skip


def sample(
    faces: Faces, i: int, rng: np.random.Generator | None, mirror_order: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """(picture [112, 112, 3], place [3], label [LABEL_DIM]) of face `i`; no `rng`, no changes."""
    points = faces.landmarks[i].astype(np.float64)
    crop = crop_around(points)
    if rng is not None:
        dx, dy = rng.normal(0, SHIFT, 2) * crop.side
        crop = FaceCrop(crop.x + dx, crop.y + dy, crop.side * math.exp(rng.normal(0, GROW)),
                        crop.angle + rng.normal(0, TURN))  # fmt: skip
    picture = crop.cut(faces.images[i])
    focal, bx, by = faces.camera[i]
    matrix = faces.matrix[i].astype(np.float64)
    place = crop.place(focal, 2 * bx, 2 * by)
    rotation = roll(-crop.angle) @ matrix[:3, :3]
    t = matrix[:3, 3]
    origin = crop.to_crop([[bx + focal * t[0] / -t[2], by - focal * t[1] / -t[2]]])[0]
    per_metre = focal / (-t[2] / 100) * INPUT_PX / crop.side
    landmarks = crop.to_crop(points)
    expression = faces.expression[i]
    if rng is not None and rng.random() < 0.5:
        picture = picture[:, ::-1]
        place = place * (-1, 1, 1)
        flip = np.array([-1.0, 1.0, 1.0])
        rotation = rotation * flip[:, None] * flip
        origin = origin * (-1, 1)
        landmarks = landmarks[mirror_order] * (-1, 1)
        expression = expression[MIRRORED_EXPRESSION]
    label = np.concatenate([landmarks.ravel(), expression, rotation[:, 0], rotation[:, 1], origin,
                            [math.log(per_metre / METRE_PX)]])  # fmt: skip
    if rng is not None:
        picture = photograph(np.ascontiguousarray(picture), rng)
    return picture, place, label


def misplaced(faces: Faces, i: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop that misses its face: beside it, far too wide or far too narrow."""
    crop = crop_around(faces.landmarks[i])
    a = rng.uniform(0, 2 * math.pi)
    kind = rng.random()
    far = crop.side * (rng.uniform(0.5, 0.8) if kind < 0.6 else 0.15)
    zoom = 1.0 if kind < 0.6 else (rng.uniform(0.2, 0.4) if kind < 0.9 else rng.uniform(2.5, 4))
    moved = FaceCrop(crop.x + far * math.cos(a), crop.y + far * math.sin(a), crop.side * zoom,
                     crop.angle + rng.normal(0, 0.3))  # fmt: skip
    return photograph(moved.cut(faces.images[i]), rng)


def nothing(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop of a picture without a face."""
    side = image.shape[0]
    x, y = rng.uniform(0.35 * side, 0.65 * side, 2)
    crop = FaceCrop(x, y, side * math.exp(rng.uniform(-1, 0.2)), rng.normal(0, 0.4))
    picture = photograph(crop.cut(image), rng)
    return picture[:, ::-1] if rng.random() < 0.5 else picture
