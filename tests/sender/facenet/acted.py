"""A little clip of a performer, drawn once and stored: a face whose pose is exactly known."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf.camera import Camera, rotation_matrix
from portrait.performer.person import Person
from portrait.performer.render import render
from quic_transport.params import ARKIT46
from sender.facenet.reader import focal_of

SIZE = 224
FRAMES, COLUMNS = 12, 4
SEED = 5003
SHEET = Path(__file__).resolve().parents[2] / "golden" / "acted.jpg"
Image = NDArray[np.uint8]


def turn_at(k: int) -> NDArray[np.float64]:
    """(pitch, yaw, roll) of picture `k` of the little clip."""
    return np.array([0.12 * math.sin(k / 2), 0.35 * math.sin(k / 3), 0.1 * math.cos(k / 4)])


def pose_at(k: int) -> NDArray[np.float64]:
    """Head → camera in picture `k` of the little clip."""
    pose = np.eye(4)
    pose[:3, :3] = rotation_matrix(*turn_at(k))
    pose[:3, 3] = (0.02 * math.sin(k / 2), 0.01, -0.42 - 0.02 * math.sin(k / 3))
    return pose


def jaw_at(k: int) -> float:
    """How far the mouth is open in picture `k` of the little clip."""
    return 0.5 - 0.5 * math.cos(2 * math.pi * k / 10)


def drawn_afresh(k: int, seed: int = SEED) -> Image:
    """Picture `k` of the clip as the performer's renderer draws it, [224, 224, 3]."""
    focal = focal_of(SIZE)
    camera = Camera(focal, focal, SIZE / 2, SIZE / 2, SIZE, SIZE)
    expression = np.zeros(len(ARKIT46), np.float32)
    expression[ARKIT46.index("jawOpen")] = jaw_at(k)
    return render(Person(seed), expression, pose_at(k), camera).rgb


@functools.cache
def picture(k: int) -> Image:
    """Picture `k` of the clip from the stored sheet of `FRAMES`, [224, 224, 3]."""
    sheet = cv2.imread(str(SHEET))
    assert sheet is not None
    y, x = SIZE * (k // COLUMNS), SIZE * (k % COLUMNS)
    return np.ascontiguousarray(sheet[y : y + SIZE, x : x + SIZE, ::-1])


def write_sheet() -> None:
    """Draw the clip again: `python -c "import tests.sender.facenet.acted as a; a.write_sheet()"`"""
    tiles = [drawn_afresh(k) for k in range(FRAMES)]
    rows = [np.concatenate(tiles[i : i + COLUMNS], axis=1) for i in range(0, FRAMES, COLUMNS)]
    sheet = np.concatenate(rows)[..., ::-1]
    cv2.imwrite(str(SHEET), sheet, [cv2.IMWRITE_JPEG_QUALITY, 90])


def placed(
    image: Image, width: int, height: int, x: float, y: float, side: float, ground: int = 70
) -> Image:
    """`image` as a square of `side` px centred at (x, y) of a grey picture."""
    out = np.full((height, width, 3), ground, np.uint8)
    k = side / image.shape[0]
    affine = np.array([[k, 0, x - side / 2], [0, k, y - side / 2]])
    small = cv2.warpAffine(
        cv2.GaussianBlur(image, (0, 0), 0.5 / k) if k < 0.7 else image, affine, (width, height),
        dst=out, borderMode=cv2.BORDER_TRANSPARENT,
    )  # fmt: skip
    return np.asarray(small, dtype=np.uint8)
