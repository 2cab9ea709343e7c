"""The tracker as a whole, on performers whose pose and mouth are exactly known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from portrait.facenet.drawn import drawn
from quic_transport.params import ARKIT46
from sender.extractor import TrackedFace
from sender.facenet.crop import FaceCrop
from sender.facenet.extractor import FacenetExtractor
from sender.facenet.follow import Track, acquired, off
from sender.frames import Frame
from tests.sender.facenet.acted import (
    FRAMES,
    SIZE,
    drawn_afresh,
    jaw_at,
    picture,
    placed,
    pose_at,
    turn_at,
)

ROOT = Path(__file__).resolve().parents[3]


def frame(k: int, image: np.ndarray, rate: float = 30.0) -> Frame:
    return Frame(k, k / rate, image)


def test_stored_clip_is_what_the_performer_draws() -> None:
    difference = np.abs(drawn_afresh(4).astype(float) - picture(4))
    assert np.percentile(difference, 95) < 24
    assert difference.mean() < 4


@pytest.fixture(scope="module")
def clip() -> list[list[TrackedFace]]:
    """What the extractor says about the little clip."""
    extractor = FacenetExtractor()
    extractor.warm_up(SIZE, SIZE)
    return [extractor.extract(frame(k, picture(k))) for k in range(FRAMES)]


def test_extractor_follows_one_face_through_the_clip(clip: list[list[TrackedFace]]) -> None:
    assert [len(faces) for faces in clip] == [1] * FRAMES
    assert all(faces[0].confidence > 0.95 for faces in clip)
    for k, (face,) in enumerate(clip):
        assert face.params.capture_time == pytest.approx(k / 30)
        assert face.landmarks.shape == (478, 2)


def test_extractor_rotation_is_the_performers(clip: list[list[TrackedFace]]) -> None:
    degrees = []
    for k, (face,) in enumerate(clip):
        r = face.pose[:3, :3].T @ pose_at(k)[:3, :3]
        degrees.append(np.degrees(np.arccos(np.clip((np.trace(r) - 1) / 2, -1, 1))))
    assert np.median(degrees) < 6
    yaw = np.array([face.params.rotation[1] for (face,) in clip])
    assert np.corrcoef(yaw, [turn_at(k)[1] for k in range(FRAMES)])[0, 1] > 0.97


def test_extractor_place_is_the_performers(clip: list[list[TrackedFace]]) -> None:
    said = np.array([face.pose[:3, 3] for (face,) in clip])
    wanted = np.array([pose_at(k)[:3, 3] for k in range(FRAMES)])
    assert np.abs(said - wanted)[:, :2].max() < 0.012
    assert np.abs(said[:, 2] / wanted[:, 2] - 1).max() < 0.08


def test_extractor_jaw_opens_with_the_performers(clip: list[list[TrackedFace]]) -> None:
    jaw = [face.params.expression[ARKIT46.index("jawOpen")] for (face,) in clip]
    assert np.corrcoef(jaw, [jaw_at(k) for k in range(FRAMES)])[0, 1] > 0.5


def test_extractor_finds_the_face_again_after_blank_frames() -> None:
    extractor = FacenetExtractor()
    blank = np.full((SIZE, SIZE, 3), 90, np.uint8)
    assert len(extractor.extract(frame(0, picture(0)))) == 1
    assert [len(extractor.extract(frame(k, blank))) for k in (1, 2, 3)] == [0, 0, 0]
    moved = placed(picture(1), SIZE, SIZE, 150, 120, 150)
    assert len(extractor.extract(frame(4, moved))) == 1


def test_extractor_survives_a_cut_in_the_same_frame() -> None:
    extractor = FacenetExtractor()
    one = placed(picture(0), 640, 360, 150, 180, 300)
    two = placed(picture(6), 640, 360, 500, 170, 240)
    first = extractor.extract(frame(0, one))
    second = extractor.extract(frame(1, two))
    assert (len(first), len(second)) == (1, 1)
    assert abs(first[0].crop.u - 150) < 60
    assert abs(second[0].crop.u - 500) < 60


def test_extractor_sees_two_faces_largest_first() -> None:
    image = placed(picture(0), 700, 360, 180, 180, 330)
    small = placed(picture(6), 700, 360, 530, 180, 250)
    image[:, 390:] = small[:, 390:]
    extractor = FacenetExtractor()
    for k in range(3):
        faces = extractor.extract(frame(k, image))
        assert [round(f.crop.u / 180) for f in faces] == [1, 3]
        assert faces[0].crop.side > faces[1].crop.side


def test_extractor_second_face_comes_within_a_second_and_a_bit() -> None:
    alone = placed(picture(0), 700, 360, 180, 180, 330)
    both = alone.copy()
    both[:, 390:] = placed(picture(6), 700, 360, 530, 180, 300)[:, 390:]
    extractor = FacenetExtractor()
    counts = [len(extractor.extract(frame(k, alone if k < 2 else both, 4.0))) for k in range(7)]
    assert counts[:2] == [1, 1]
    assert counts[-1] == 2


def test_extractor_small_face_in_a_large_picture() -> None:
    image = placed(picture(0), 1920, 1080, 1500, 300, 150)
    extractor = FacenetExtractor()
    faces = extractor.extract(frame(0, image))
    assert len(faces) == 1
    assert np.hypot(faces[0].crop.u - 1500, faces[0].crop.v - 300) < 40


def test_extractor_sees_no_face_in_drawings_and_noise() -> None:
    rng = np.random.default_rng(0)
    pictures = [np.asarray(np.kron(drawn(k), np.ones((2, 2, 1))), np.uint8)
                for k in range(9100, 9112)]  # fmt: skip
    pictures += [rng.integers(0, 256, (240, 320, 3), dtype=np.uint8) for _ in range(2)]
    pictures += [np.zeros((240, 320, 3), np.uint8), np.zeros((9, 12, 3), np.uint8)]
    seen = [len(FacenetExtractor().extract(frame(0, p))) for p in pictures]
    assert sum(seen) <= 1, seen


def test_extractor_other_picture_size_starts_afresh() -> None:
    extractor = FacenetExtractor()
    extractor.extract(frame(0, picture(0)))
    faces = extractor.extract(frame(1, placed(picture(0), 500, 300, 350, 150, 280)))
    assert abs(faces[0].crop.u - 350) < 40


def test_extractor_portrait_is_as_far_as_the_full_camera_says() -> None:
    """The same face twice as small in the same picture is twice as far."""
    near = FacenetExtractor().extract(frame(0, placed(picture(0), 640, 480, 320, 240, 400)))[0]
    far = FacenetExtractor().extract(frame(0, placed(picture(0), 640, 480, 320, 240, 200)))[0]
    assert far.pose[2, 3] / near.pose[2, 3] == pytest.approx(2.0, rel=0.08)


def test_acquired_refuses_what_the_detector_does_not_confirm() -> None:
    extractor = FacenetExtractor()
    image = picture(0)
    crop = extractor.extract(frame(0, image))[0].landmarks
    from sender.facenet.crop import crop_around

    place = crop_around(crop)
    assert acquired(extractor.read, lambda *_: 1.0, image, place) is not None
    assert acquired(extractor.read, lambda *_: 0.1, image, place) is None


def test_track_carries_a_fast_motion_on_but_not_too_far() -> None:
    reading = FacenetExtractor().read(picture(0), FaceCrop(112, 112, 90, 0.0))
    track = Track(reading, FaceCrop(100, 100, 100, 0.0), 0.0, (300.0, 0.0))
    assert track.predicted(0.04).x == pytest.approx(112)
    track.velocity = (30.0, 0.0)
    assert track.predicted(0.04) == track.place
    track.velocity = (9000.0, 0.0)
    assert track.predicted(0.04).x == pytest.approx(150)


def test_off_is_symmetric_in_angle_and_none_for_the_same() -> None:
    crop = FaceCrop(10, 20, 50, 3.1)
    assert off(crop, crop) == 0
    assert off(crop, FaceCrop(10, 20, 50, -3.1)) < 0.1  # across π


def test_extractor_loads_neither_torch_nor_numba() -> None:
    code = (
        "import numpy as np, sys; from sender.facenet.extractor import FacenetExtractor; "
        "from sender.frames import Frame; "
        "FacenetExtractor().extract(Frame(0, 0.0, np.zeros((64, 64, 3), np.uint8))); "
        "print([m for m in ('torch', 'numba', 'mediapipe') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert out.stdout.strip() == "[]"
