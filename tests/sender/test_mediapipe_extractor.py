"""The MediaPipe extractor: camera changes without it, real faces with it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from nerf.camera import head_pose
from quic_transport.errors import LocalError
from sender.extractor import open_extractor
from sender.mediapipe_extractor import (
    MediaPipeExtractor,
    focal_of,
    region_around,
    tiles_of,
    to_full_camera,
)
from sender.portrait_crop import crop_of
from sender.video import read_video


def test_to_full_camera_keeps_place_scale_and_view() -> None:
    box = (900, 100, 540, 540)
    pose = head_pose((0.1, -0.3, 0.2), 0.4, (0.05, -0.08, 0.0))
    inner, rotation, _ = crop_of(pose, focal_of(540), 540, 540)
    full = to_full_camera(pose, box, 1920, 1080)
    outer, rotation_full, _ = crop_of(full, focal_of(1080), 1920, 1080)
    np.testing.assert_allclose(
        (outer.u, outer.v, outer.side), (inner.u + 900, inner.v + 100, inner.side)
    )
    np.testing.assert_allclose(rotation_full, rotation, atol=1e-9)


def test_tiles_of_cover_the_picture() -> None:
    seen = np.zeros((1080, 1920), dtype=bool)
    for x, y, w, h in tiles_of(1920, 1080):
        assert 0 <= x <= 1920 - w
        assert 0 <= y <= 1080 - h
        seen[y : y + h, x : x + w] = True
    assert seen.all()
    assert tiles_of(150, 150) == []


def test_region_around_stays_put_for_small_moves() -> None:
    face = np.array([(900.0, 300.0), (1040.0, 480.0)], dtype=np.float32)
    first = region_around(face, 1920, 1080, None)
    assert region_around(face + 10, 1920, 1080, first) == first
    assert region_around(face + 200, 1920, 1080, first) != first


def test_open_extractor_without_mediapipe_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "face_landmarker.task").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python", None)
    with pytest.raises(LocalError, match=r"pip install 'facewire\[track\]'"):
        MediaPipeExtractor(tmp_path)


def test_open_extractor_unknown_name_raises_local_error() -> None:
    with pytest.raises(LocalError, match="choose facenet, mediapipe, cpem, truth"):
        open_extractor("openface")


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "face_px"),
    [("trump_10s_512.mp4", 280), ("hard_small_face_duda_10s_1080p.mp4", 181)],
)
def test_extract_finds_one_face_and_centres_it(assets: Path, name: str, face_px: int) -> None:
    extractor = open_extractor(models=assets / "models")
    try:
        for frame in read_video(assets / "videos" / name):
            faces = extractor.extract(frame)
            if frame.index == 6:
                break
    finally:
        extractor.close()
    assert len(faces) == 1
    face = faces[0]
    marks = face.crop.map_points(face.landmarks, 512)
    assert np.ptp(face.landmarks[:, 1]) == pytest.approx(face_px, rel=0.1)
    assert np.abs(marks.mean(axis=0) - 256).max() < 50
    assert 180 < np.ptp(marks[:, 1]) < 320
    assert face.params.expression.shape == (46,)
    assert np.abs(np.degrees(face.params.rotation)).max() < 25


@pytest.mark.assets
def test_extract_two_people_gives_two_faces(assets: Path) -> None:
    extractor = open_extractor(models=assets / "models")
    try:
        for frame in read_video(assets / "videos" / "hard_two_faces_debate_17s_640x368.mp4"):
            if frame.capture_time > 4.0:
                faces = extractor.extract(frame)
                break
    finally:
        extractor.close()
    assert len(faces) == 2
    assert faces[0].crop.side >= faces[1].crop.side
