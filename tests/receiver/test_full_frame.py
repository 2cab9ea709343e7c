"""The whole picture: layers, the seam, backgrounds, transparency, heads out of the picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera, head_pose
from nerf.framing import Framing
from nerf.torso import Region, TorsoLayer
from quic_transport.errors import AvatarFileError, LocalError
from quic_transport.params import FaceParams
from quic_transport.seat import Seat
from receiver.display import FolderSink, Picture, on_white, straight
from receiver.full_frame import (
    FullFrame,
    background_of,
    check_background,
    open_full_frame,
    plate_from,
    plate_sections,
)
from receiver.veil import veiled
from tests.nerf.swaying import swaying_torso

W, H, DISTANCE = 120, 100, 0.6
FRAMING = Framing((W, H), (0, 0, W, H), (W, H))
RED, BLUE = (200, 40, 30), (20, 30, 180)
SKIN = np.array([180, 120, 90])
PLATE = np.full((H, W, 3), BLUE, np.uint8)
POSE = head_pose(np.zeros(3), DISTANCE)
SEAT = Seat(DISTANCE, 2.6)


@dataclass
class Shown:
    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8]


@dataclass
class DiscRenderer:
    """A red disc of 0.3 portrait widths, wherever the camera looks."""

    portrait_scale: float = 2.6
    cameras: list[Camera] = field(default_factory=list)

    def render_portrait(
        self, expression: ArrayLike, rotation: ArrayLike, size: int, view: ArrayLike | None = None,
        background: ArrayLike = (1.0, 1.0, 1.0), camera: Camera | None = None,
        position: ArrayLike | None = None,
    ) -> Shown:  # fmt: skip
        assert camera is not None
        assert position is not None
        self.cameras.append(camera)
        assert np.asarray(background).max() == 0
        y, x = np.mgrid[: camera.height, : camera.width] + 0.5
        width = camera.fx / (self.portrait_scale * DISTANCE)
        far = np.hypot(x - camera.cx, y - camera.cy) / width
        alpha = np.clip((0.3 - far) * width + 0.5, 0, 1)
        rgb = (alpha[..., None] * RED).round().astype(np.uint8)
        return Shown(rgb, (255 * alpha).round().astype(np.uint8))

    def set_stride(self, stride: float) -> None:
        pass

    def warm_up(self, size: int) -> None:
        pass


def torso() -> TorsoLayer:
    """Skin below row 50, everywhere."""
    top, mx = 50, 8
    texture = np.zeros((H - top + mx, W + 2 * mx, 4), np.uint8)
    texture[...] = (*SKIN, 255)
    zeros = np.zeros((7, 2, 8, 12), np.float32)
    shades = np.zeros((7, 3, 8, 12), np.float32)
    drivers = np.array([[0] * 6, [1] * 6, [-0.1] * 6, [0.1] * 6], np.float32)
    region = Region(top, 10.0, (mx, mx), FRAMING.place(np.zeros(3)))
    return TorsoLayer(FRAMING, region, texture, drivers, np.zeros(0, np.uint8), zeros,
                      shades, np.zeros((0, 7), np.float32))  # fmt: skip


def face(*offset: float) -> FaceParams:
    place = np.array(offset, np.float32) if offset else None
    return FaceParams(np.zeros(46, np.float32), np.zeros(3, np.float32), 0.0, place)


def frame(body: TorsoLayer | None = None, wish: str = "plate") -> tuple[FullFrame, DiscRenderer]:
    renderer = DiscRenderer()
    return FullFrame(FRAMING, body, background_of(wish, PLATE), renderer, SEAT, 2), renderer


def test_head_lies_where_its_offset_says_and_the_room_is_left_as_it_was() -> None:
    full, _ = frame()
    for offset in ((0.0, 0.0, 0.0), (0.2, -0.1, -0.5), (-0.3, 0.2, -1.0)):
        picture = full.draw(face(*offset), POSE)
        place = FRAMING.place(offset)
        red = (picture[..., 0] > 150).astype(float)
        ys, xs = np.nonzero(red)
        assert xs.mean() + 0.5 == pytest.approx(place.u, abs=1)
        assert ys.mean() + 0.5 == pytest.approx(place.v, abs=1)
        assert red.sum() == pytest.approx(np.pi * (0.3 * place.side) ** 2, rel=0.15)
        assert (picture[0, 0, :3] == BLUE).all()
        assert (picture[..., 3] == 255).all()


def test_stream_without_place_shows_the_head_where_it_usually_was() -> None:
    full, _ = frame(torso())
    assert (full.draw(face(), POSE) == full.draw(face(0.0, 0.0, 0.0), POSE)).all()


def test_head_beyond_the_picture_or_of_no_sensible_size_is_not_drawn() -> None:
    full, renderer = frame()
    for offset in ((30.0, 0.0, 0.0), (0.0, -9.0, 0.0), (0.0, 0.0, 5.0), (0.0, 0.0, -8.0)):
        assert (full.draw(face(*offset), POSE)[..., :3] == PLATE).all()
    assert not renderer.cameras
    full.draw(face(0.5, 0.4, 0.0), POSE)  # half of it is seen
    assert renderer.cameras


def test_heads_square_has_few_sizes() -> None:
    full, renderer = frame()
    for size in np.linspace(-0.2, 0.0, 30):
        full.draw(face(0.0, 0.0, float(size)), POSE)
    assert len({(c.width, c.height) for c in renderer.cameras}) <= 2


def test_head_that_may_be_drawn_small_is_enlarged_to_the_same_place() -> None:
    full, renderer = frame()
    whole = full.draw(face(0.0, 0.0, 0.0), POSE)
    full.head_px = 48
    small = full.draw(face(0.0, 0.0, 0.0), POSE)
    assert renderer.cameras[-1].width <= 48
    assert (np.abs(small.astype(int) - whole).max(axis=-1) > 40).mean() < 0.03


def test_seam_edge_of_the_head_fades_over_the_torso_and_is_crisp_over_the_room() -> None:
    with_body, _ = frame(torso())
    without, _ = frame()
    a = with_body.draw(face(0.0, 0.0, 0.0), POSE)[..., :3].astype(int)
    b = without.draw(face(0.0, 0.0, 0.0), POSE)[..., :3].astype(int)
    column = W // 2
    assert (a[:48, column] == b[:48, column]).all()  # above the torso nothing has changed
    below = a[52:, column, 0]
    inside = np.flatnonzero(np.abs(below - RED[0]) > 3)[0]  # where the fade begins
    crisp = np.flatnonzero(np.abs(b[52:, column, 0] - RED[0]) > 3)[0]
    assert 1 <= crisp - inside <= 4
    assert (below[crisp + 1 :] == SKIN[0]).all()


def test_background_wishes() -> None:
    assert (background_of("#336699", PLATE)[0, 0] == (0x33, 0x66, 0x99, 255)).all()
    noisy = np.random.default_rng(0).integers(0, 255, PLATE.shape, dtype=np.uint8)
    assert background_of("blur", noisy)[..., :3].std() < 0.2 * noisy.std()
    assert not background_of("none", PLATE).any()
    for wrong in ("#12345", "#gggggg", "nowhere/at-all.png"):
        with pytest.raises(LocalError):
            check_background(wrong)


def test_background_own_picture_fills_the_frame(tmp_path: Path) -> None:
    path = tmp_path / "wall.png"
    image = np.zeros((50, 300, 3), np.uint8)
    image[:, 150:] = 255
    cv2.imwrite(str(path), image)
    got = background_of(str(path), PLATE)
    assert got.shape == (H, W, 4)
    assert got[50, 2, 0] == 0
    assert got[50, -2, 0] == 255
    (tmp_path / "no.png").write_bytes(b"no picture")
    with pytest.raises(LocalError):
        background_of(str(tmp_path / "no.png"), PLATE)


def test_transparent_picture_becomes_png_with_straight_colours(tmp_path: Path) -> None:
    full, _ = frame(torso(), "none")
    assert not full.opaque
    picture = full.draw(face(0.0, 0.0, 0.0), POSE)
    assert picture[5, 5, 3] == 0
    assert picture[50, 60, 3] == 255
    assert (picture[..., :3] <= picture[..., 3:]).all()
    sink = FolderSink(tmp_path / "out")
    sink.show(Picture(picture, 1.0))
    stored = cv2.imread(str(tmp_path / "out" / "00000000.png"), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    assert stored.shape == (H, W, 4)
    edge = (stored[..., 3] > 100) & (stored[..., 3] < 220) & (np.arange(H)[:, None] < 45)
    assert edge.any()
    assert np.abs(stored[edge][:, 2].astype(int) - RED[0]).max() <= 4
    assert (on_white(picture)[5, 5] == 255).all()
    assert (straight(picture)[..., 3] == picture[..., 3]).all()
    assert veiled(picture, 1.0)[50, 60, 3] == pytest.approx(0.4 * 255, abs=1)


def test_plate_survives_its_section_and_a_bad_one_is_refused() -> None:
    sections = plate_sections(FRAMING, PLATE)
    found = plate_from(sections)
    assert found is not None
    assert found[0] == FRAMING
    assert np.abs(found[1].astype(int) - PLATE).max() <= 6
    assert plate_from({}) is None
    bad: list[dict[str, Any]] = [
        {"plate.framing": np.zeros(8, np.uint32)},
        {"plate.framing": Framing((64, 64), (0, 0, 64, 64), (64, 64)).numbers()},
        {"plate.picture": np.zeros(64, np.uint8)},
        {"plate.picture": np.zeros((8, 8, 3), np.uint8)},
    ]
    for change in bad:
        with pytest.raises(AvatarFileError):
            plate_from({**sections, **change})
    with pytest.raises(AvatarFileError):
        plate_from({"plate.framing": FRAMING.numbers()})


def test_avatar_without_a_plate_stays_a_head() -> None:
    assert open_full_frame({}, DiscRenderer(), SEAT) is None
    sections = plate_sections(FRAMING, PLATE)
    full = open_full_frame(sections, DiscRenderer(), SEAT, "#000000", 1)
    assert full is not None
    assert full.torso is None
    assert not full.draw(face(9.0, 0.0, 0.0), POSE)[..., :3].any()
    with pytest.raises(AvatarFileError):
        open_full_frame({**sections, "torso.picture": np.zeros(9, np.uint8)}, DiscRenderer(),
                        SEAT)  # fmt: skip


def swaying(passed: float, *numbers: float) -> FaceParams:
    """A face at `passed` seconds whose body stands so; no numbers: nobody says how."""
    body = np.array(numbers, np.float32) if numbers else None
    still = face(0.0, 0.0, 0.0)
    return FaceParams(still.expression, still.rotation, passed, still.offset, body)


def test_body_follows_what_is_sent_and_eases_back_where_nothing_is() -> None:
    full, _ = frame(torso())
    follow = full.stance.follow
    assert follow(swaying(5.0, 8, 0, 0, -4)).tolist() == [8, 0, 0, -4]  # at first: at once
    now, shown = 5.0, [8.0]
    for numbers in [(0, 0, 0, 0)] * 10 + [(8, 0, 0, 0)] * 10 + [()] * 40:
        now += 0.05
        shown.append(float(follow(swaying(now, *numbers))[0]))
    assert shown[10] < 0.1
    assert shown[20] > 7.9
    assert 0 < shown[25] < shown[20]  # slowly, on
    assert abs(shown[-1]) < 0.1
    steps = np.abs(np.diff(shown))
    assert steps[:20].max() < 0.6 * 8
    assert steps[20:].max() < 0.15 * 8
    assert follow(swaying(now + 60, 3, 0, 0, 0))[0] == 3  # another call, or a seek
    assert follow(swaying(now, 0, 0, 0, 0))[0] == 0


def test_body_that_stands_elsewhere_is_drawn_there() -> None:
    body = swaying_torso()
    size = body.framing.size
    plate = np.full((*size[::-1], 3), BLUE, np.uint8)
    drawn = []
    for numbers in ((), (0, 0, 0, 0), (1, 0, 0, 0)):
        full = FullFrame(body.framing, body, background_of("plate", plate), DiscRenderer(),
                         SEAT, 1)  # fmt: skip
        drawn.append(full.draw(swaying(0.0, *numbers), POSE).astype(int))
    assert (drawn[0] == drawn[1]).all()
    shift = round(0.03 * body.region.rest.side)
    below = slice(150, 190)
    apart = drawn[2][below, 60:180] - drawn[1][below, 60 + shift : 180 + shift]
    assert np.abs(apart).mean() < np.abs(drawn[2] - drawn[1])[below, 60:180].mean() / 2


def test_numbers_of_a_body_that_an_avatar_does_not_know_do_nothing() -> None:
    full, _ = frame(torso())  # which has none of its own
    still = full.draw(swaying(0.0), POSE)
    assert (full.draw(swaying(9.0, 5, 5, 5, 5), POSE) == still).all()
