"""The training-set folder: round trip, foreign layout, nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from nerf.camera import Camera, head_pose, invert_pose
from nerf.trainset import (
    TrainSet,
    TrainSetError,
    load_images,
    portrait_camera,
    portrait_poses,
    read_trainset,
    train_count_of,
    write_trainset,
)

N = 20


def make(folder: Path) -> TrainSet:
    rng = np.random.default_rng(5)
    rotation = rng.normal(0, 0.2, (N, 3))
    return TrainSet(
        folder=folder, camera=portrait_camera(512, 0.31, 2.6), distance_m=0.31, scale=2.6,
        img_id=np.arange(N), expression=rng.random((N, 46)).astype(np.float32), rotation=rotation,
        pose=portrait_poses(rotation, 0.31), time=np.arange(N) / 30, offset=rng.random((N, 3)),
        train_count=train_count_of(N), extractor="x", frame_rate=30.0, source="me.mp4",
        extra={"note": "kept"},
    )  # fmt: skip


def test_write_then_read_gives_the_same_set(tmp_path: Path) -> None:
    made = make(tmp_path)
    write_trainset(made)
    got = read_trainset(tmp_path)
    for name in ("img_id", "expression", "rotation", "time", "offset"):
        np.testing.assert_array_equal(getattr(got, name), getattr(made, name), err_msg=name)
    np.testing.assert_allclose(got.pose, made.pose, atol=1e-12)
    for name in ("camera", "distance_m", "scale", "schema", "extractor", "frame_rate", "source",
                 "train_count", "extra"):  # fmt: skip
        assert getattr(got, name) == getattr(made, name), name
    assert got.bounds is not None
    np.testing.assert_array_equal(got.bounds[0], made.vectors[:17].min(axis=0))
    np.testing.assert_array_equal(got.bounds[1], made.vectors[:17].max(axis=0))
    np.testing.assert_allclose(np.loadtxt(tmp_path / "max_46.txt"), got.bounds[1][:46])
    assert list(got.test_indices) == [17, 18, 19]


def test_foreign_set_loads_with_mask_from_parsing_and_white_behind(tmp_path: Path) -> None:
    pose = head_pose((0.1, 0.2, 0.3), 1.06)
    document = {
        "fx": 1200.0, "fy": 1200.0, "cx": 32, "cy": 32, "h": 64, "w": 64,
        "frames": [{"img_id": 7, "exp_ori": [0.5] * 46,
                    "transform_matrix": invert_pose(pose).tolist()}],
    }  # fmt: skip
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    for name in ("head_imgs", "parsing"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "head_imgs" / "7.jpg"), np.full((64, 64, 3), 60, np.uint8))
    parsing = np.zeros((64, 64, 3), np.uint8)
    parsing[:32] = (255, 0, 0)  # BGR
    cv2.imwrite(str(tmp_path / "parsing" / "7.png"), parsing)
    got = read_trainset(tmp_path)
    assert got.camera == Camera(1200.0, 1200.0, 32.0, 32.0, 64, 64)
    assert got.distance_m == pytest.approx(1.06)
    np.testing.assert_allclose(got.rotation[0], (0.1, 0.2, 0.3), atol=1e-9)
    rgb, alpha = load_images(got, 32, [0])
    assert (alpha[0, :16] == 255).all()
    assert (alpha[0, 16:] == 0).all()
    assert (rgb[0, 16:] == 255).all()
    assert abs(int(rgb[0, 5, 5, 0]) - 60) < 4


def test_load_images_shrinks_by_averaging(tmp_path: Path) -> None:
    made = make(tmp_path)
    for name in ("head_imgs", "matte"):
        (tmp_path / name).mkdir()
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 200
    cv2.imwrite(str(tmp_path / "matte" / "3.png"), stripes)
    cv2.imwrite(str(tmp_path / "head_imgs" / "3.jpg"), np.full((512, 512, 3), (10, 20, 240), "u1"))
    rgb, alpha = load_images(made, 128, [3])
    assert rgb.shape == (1, 128, 128, 3)
    assert np.abs(rgb[0, 0, 0].astype(int) - (240, 20, 10)).max() < 6
    assert (np.abs(alpha.astype(int) - 100) <= 1).all()
    with pytest.raises(TrainSetError, match=r"4\.jpg is missing"):
        load_images(made, 128, [4])


@pytest.mark.parametrize(
    ("key", "value"),
    [("frames", []), ("fx", "wide"), ("fx", -3), ("w", None), ("frames", [{"img_id": 0}]),
     ("facewire", {"version": 99}), ("facewire", {"train_frames": 9999})],
)  # fmt: skip
def test_read_of_nonsense_raises_a_sentence(tmp_path: Path, key: str, value: object) -> None:
    write_trainset(make(tmp_path))
    path = tmp_path / "transforms.json"
    document = json.loads(path.read_text())
    document[key] = value
    path.write_text(json.dumps(document))
    with pytest.raises(TrainSetError):
        read_trainset(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_read_of_broken_json_raises_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(TrainSetError):
        read_trainset(tmp_path)
    with pytest.raises(TrainSetError, match="not a finished training set"):
        read_trainset(tmp_path / "none")
