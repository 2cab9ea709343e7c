"""FB-Net finds performers of any size anywhere, and little else."""

from __future__ import annotations

import numpy as np
import pytest

from portrait.facenet.drawn import drawn
from sender.facenet.crop import MARGIN, FaceCrop
from sender.facenet.detector import (
    FaceBox,
    FaceDetector,
    Tile,
    apart,
    close_tiles,
    tile_around,
)
from sender.facenet.reader import open_network
from tests.sender.facenet.acted import SIZE, picture, placed


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture(scope="module")
def face(detector: FaceDetector) -> FaceBox:
    """Where the performer's face is in picture 0."""
    return detector.look(picture(0))[0]


@pytest.mark.parametrize(
    ("width", "height", "x", "y", "side"),
    [
        (640, 480, 320, 240, 420), (640, 480, 150, 130, 200), (480, 640, 330, 480, 260),
        (1280, 720, 1000, 300, 350), (320, 240, 160, 120, 230), (1920, 800, 300, 420, 760),
    ],
)  # fmt: skip
def test_look_finds_the_face_where_it_is(
    detector: FaceDetector, face: FaceBox, width: int, height: int, x: int, y: int, side: int
) -> None:
    boxes = detector.look(placed(picture(0), width, height, x, y, side))
    k = side / SIZE
    wanted = (x + k * (face.x - SIZE / 2), y + k * (face.y - SIZE / 2))
    best = max(boxes, key=lambda b: b.score)
    assert np.hypot(best.x - wanted[0], best.y - wanted[1]) < 0.2 * k * face.size
    assert best.size == pytest.approx(k * face.size, rel=0.3)
    assert best.score > 0.7


def test_look_for_large_faces_leaves_small_ones_out(detector: FaceDetector, face: FaceBox) -> None:
    image = placed(picture(0), 640, 480, 320, 240, 160)
    size = face.size * 160 / SIZE
    assert any(b.score > 0.7 for b in detector.look(image, 0.8 * size))
    assert not any(b.score > 0.7 for b in detector.look(image, 4.0 * size))


def test_search_finds_a_face_too_small_for_a_quick_look(
    detector: FaceDetector, face: FaceBox
) -> None:
    image = placed(picture(0), 1600, 1200, 1210, 330, 130)
    size = face.size * 130 / SIZE
    tiles = close_tiles(1600, 1200)
    boxes = detector.search(image, tiles)
    best = max(boxes, key=lambda b: b.score)
    assert abs(best.x - 1210) < 0.6 * size
    assert abs(best.y - 330) < 0.6 * size
    assert best.size == pytest.approx(size, rel=0.35)
    near = detector.search(image, [tile_around(best.x + 30, best.y, best.size, 1600, 1200)])
    assert near
    assert not [b for b in detector.look(image) if b.score > 0.7]


def test_vote_knows_a_face_from_a_drawing(detector: FaceDetector, face: FaceBox) -> None:
    crop = FaceCrop(face.x, face.y, MARGIN * face.size, 0.0)
    assert detector.vote(picture(0), crop) > 0.8
    drawings = [detector.vote(drawn(k), FaceCrop(72, 72, 90, 0.0)) for k in range(9000, 9030)]
    assert np.median(drawings) < 0.2


@pytest.mark.parametrize("size", [(1920, 1080), (640, 480), (480, 900), (4000, 600)])
def test_close_tiles_cover_the_picture(size: tuple[int, int]) -> None:
    seen = np.zeros((size[1], size[0]), bool)
    for tile in close_tiles(*size):
        x, y, w, h = tile.box
        assert 0 <= x <= x + w <= size[0]
        assert 0 <= y <= y + h <= size[1]
        seen[y : y + h, x : x + w] = True
    assert seen.all()


def test_close_tiles_of_a_tiny_picture_are_none() -> None:
    assert close_tiles(120, 90) == []


def test_tile_around_stays_inside_the_picture() -> None:
    assert tile_around(-50, 700, 20, 640, 480) == Tile(2.0, (0, 256, 224, 224))


def test_apart_keeps_the_likeliest_of_each_face() -> None:
    boxes = [FaceBox(100, 100, 50, 0.6), FaceBox(108, 97, 60, 0.9), FaceBox(300, 100, 40, 0.5)]
    assert apart(boxes) == [boxes[1], boxes[2]]


def test_open_network_of_a_broken_file_says_so(tmp_path) -> None:
    from quic_transport.errors import LocalError

    path = tmp_path / "pe_net.onnx"
    with pytest.raises(LocalError, match="cannot be read"):
        open_network(path)
    path.write_bytes(b"no network")
    with pytest.raises(LocalError, match="ONNX Runtime"):
        open_network(path)
