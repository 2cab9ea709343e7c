"""Where the eyes and the mouth are in a training set's pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nerf.camera import portrait_camera
from nerf.trainset import LANDMARK_PARTS, TrainSet, detail_boxes


def set_with(folder: Path, landmarks: list[np.ndarray]) -> TrainSet:
    (folder / "ori_imgs").mkdir()
    for n, points in enumerate(landmarks):
        text = "\n".join(f"{x:.2f} {y:.2f}" for x, y in points)
        (folder / "ori_imgs" / f"{n}.lms").write_text(text)
    count = len(landmarks)
    return TrainSet(
        folder=folder, camera=portrait_camera(512, 0.3, 2.6), distance_m=0.3, scale=2.6,
        img_id=np.arange(count), expression=np.zeros((count, 46), np.float32),
        rotation=np.zeros((count, 3)), pose=np.tile(np.eye(4), (count, 1, 1)),
        time=np.arange(count) / 25, offset=np.zeros((count, 3)), train_count=count,
        extractor="truth", frame_rate=25.0,
    )  # fmt: skip


@pytest.mark.parametrize("count", sorted(LANDMARK_PARTS))
def test_boxes_hold_their_landmarks_and_stay_in_the_picture(count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(count)
    landmarks = [rng.uniform(150, 300, (count, 2)), rng.uniform(-60, 700, (count, 2))]
    boxes = detail_boxes(set_with(tmp_path, landmarks), 256)
    assert boxes is not None
    assert boxes.shape == (2, 3, 4)
    assert (boxes[..., :2] >= 0).all()
    assert (boxes[..., 2:] <= 256).all()
    assert (boxes[..., 2:] > boxes[..., :2]).all()
    for box, part in zip(boxes[0], LANDMARK_PARTS[count], strict=True):
        points = landmarks[0][list(part)] / 2
        assert (points >= box[:2]).all()
        assert (points <= box[2:]).all()


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((478, 2), np.nan)])
def test_unknown_landmarks_give_no_boxes(points: np.ndarray, tmp_path: Path) -> None:
    assert detail_boxes(set_with(tmp_path, [points]), 256) is None


def test_missing_landmarks_give_no_boxes(tmp_path: Path) -> None:
    trainset = set_with(tmp_path, [np.zeros((478, 2))])
    (tmp_path / "ori_imgs" / "0.lms").unlink()
    assert detail_boxes(trainset, 256) is None
