"""A training set of a ball, as tests of training use it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from nerf.trainset import TrainSet, portrait_poses, write_trainset
from tests.nerf.heads import ball_footage


def write_ball_set(folder: Path) -> Path:
    """16 pictures of the ball, 64 px, into a new folder."""
    footage = ball_footage(16, 64)
    for name in ("head_imgs", "ori_imgs", "parsing", "matte"):
        (folder / name).mkdir(parents=True)
    for i in range(16):
        bgr = np.ascontiguousarray(footage.rgb[i][..., ::-1])
        cv2.imwrite(str(folder / "head_imgs" / f"{i}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, 97])
        cv2.imwrite(str(folder / "ori_imgs" / f"{i}.jpg"), bgr)
        cv2.imwrite(str(folder / "parsing" / f"{i}.png"), bgr)
        cv2.imwrite(str(folder / "matte" / f"{i}.png"), footage.alpha[i])
    cv2.imwrite(str(folder / "bc.jpg"), np.full((64, 64, 3), 255, np.uint8))
    vectors = np.concatenate([footage.expression, footage.rotation], axis=1).astype(np.float32)
    write_trainset(TrainSet(
        folder=folder, camera=footage.camera, distance_m=0.6, scale=2.6, img_id=np.arange(16),
        expression=footage.expression, rotation=footage.rotation,
        pose=portrait_poses(footage.rotation, 0.6), time=np.arange(16) / 25,
        offset=np.zeros((16, 3)), train_count=13,
        bounds=(vectors[:13].min(axis=0), vectors[:13].max(axis=0)), frame_rate=25.0,
    ))  # fmt: skip
    return folder
