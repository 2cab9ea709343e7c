"""Made-up packs: blots with the geometry of faces, seen by known cameras."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf.camera import rotation_matrix
from portrait.facenet.pack import CROP_PX, POINTS, PackWriter, crop_box, cut
from quic_transport.params import ARKIT46

PICTURE_PX, FOCAL = 300, 260.0


def rigid_face() -> NDArray[np.float64]:
    """[478, 3] centimetres, its left half the mirror image of its right one."""
    rng = np.random.default_rng(7)
    half = rng.uniform((0.3, -8, 1), (7, 8, 6), (POINTS // 2, 3))
    face = np.empty((POINTS, 3))
    face[0::2], face[1::2] = half, half * (-1, 1, 1)
    face[32], face[33] = (4.5, 3.0, 3.0), (-4.5, 3.0, 3.0)  # the eyes' corners are 33
    face[262], face[263] = (-5.0, 3.2, 3.0), (5.0, 3.2, 3.0)  # and 263
    return face


def write_pack(folder: Path, people: list[str], each: int = 6, empty: int = 8) -> Path:
    """A pack of `each` crops of each of `people`, and some without a face."""
    rng = np.random.default_rng(len(people))
    writer, face = PackWriter(ARKIT46, people), rigid_face()
    for who in range(len(people)):
        for _ in range(each):
            matrix = np.eye(4)
            matrix[:3, :3] = rotation_matrix(*rng.normal(0, 0.2, 3))
            matrix[:3, 3] = (*rng.uniform(-8, 8, 2), -rng.uniform(35, 60))
            seen = face @ matrix[:3, :3].T + matrix[:3, 3]
            points = PICTURE_PX / 2 + FOCAL * seen[:, :2] / -seen[:, 2:] * (1, -1)
            expression = rng.uniform(0, 1, len(ARKIT46))
            picture = np.full((PICTURE_PX, PICTURE_PX, 3), 40 + 5 * who, np.uint8)
            for k, point in enumerate(points[:46]):
                at = (int(point[0]), int(point[1]))
                cv2.circle(picture, at, 4, (int(255 * expression[k]), 90, 3 * k), -1)
            box = crop_box(points)
            zoom = CROP_PX / box[2]
            camera = np.array([FOCAL, PICTURE_PX / 2 - box[0], PICTURE_PX / 2 - box[1]]) * zoom
            writer.add(
                cut(picture, box), who, (points - box[:2]) * zoom, expression, matrix, camera
            )
    for _ in range(empty):
        writer.add(rng.integers(0, 256, (CROP_PX, CROP_PX, 3), dtype=np.uint8), 0)
    return writer.write(folder)


def names_of_both_kinds(learnt: int, judged: int) -> list[str]:
    """So many people to learn from and to be judged by."""
    from portrait.facenet.material import held_out

    people = [f"clip{k}" for k in range(400)]
    yes = [p for p in people if held_out(p)]
    no = [p for p in people if not held_out(p)]
    return no[:learnt] + yes[:judged]
