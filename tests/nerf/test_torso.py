"""The torso: learned from pictures of a made-up body, stored, bent, carried; hostile files."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerf import torso_fit
from nerf.cpu.pool import WorkerPool
from nerf.framing import Framing, Place
from nerf.metrics import psnr
from nerf.picture_code import PictureError, packed, size_of, unpacked
from nerf.torso import Region, TorsoError, TorsoLayer, spline, torso_from
from nerf.torso_fit import Lesson, View, fit_torso

W, H = 96, 80
FRAMING = Framing((W, H), (0, 0, W, H), (W, H))
REST = FRAMING.place((0.0, 0.0, 0.0))
POOL = WorkerPool(2)


def body(shift: float) -> np.ndarray:
    """A striped body whose middle lies `shift` pixels right of the picture's, [H, W, 4]."""
    x = np.arange(W) + 0.5 - W / 2 - shift
    y = np.arange(H)[:, None] + 0.5
    inside = np.clip(30.0 - np.abs(x)[None] * 0.7 + (y - 45), 0, 1) * np.clip(y - 45, 0, 1)
    stripes = 120 + 80 * np.sin(x / 4)[None] + 0 * y
    rgb = np.stack([stripes, 200 - stripes / 2, 0 * stripes + 60], axis=-1) * inside[..., None]
    return np.dstack([rgb, 255 * inside]).round().astype(np.uint8)


def lesson(count: int = 24) -> tuple[Lesson, np.ndarray]:
    """Bodies that follow offset x by a third of the way, and the drivers."""
    rng = np.random.default_rng(3)
    drivers = np.zeros((count, 7))
    drivers[:, :3] = rng.uniform(-0.2, 0.2, (count, 3))
    drivers[:, 3] = rng.uniform(-0.1, 0.1, count)
    drivers[:, 4:6] = rng.uniform(-0.02, 0.02, (count, 2))
    drivers[:, 6] = rng.random(count)

    def view(i: int) -> View:
        return View(body(shift_of(drivers[i])), np.full((H, W), 255, np.uint8))

    return Lesson(FRAMING, REST, drivers, drivers, (0,), view, range(count)), drivers


def shift_of(drivers: np.ndarray) -> float:
    return float(drivers[3]) * REST.side / 3


@pytest.fixture(scope="module")
def learned() -> tuple[TorsoLayer, np.ndarray]:
    given_lesson, drivers = lesson()
    steps = torso_fit.STEPS
    torso_fit.STEPS = 100
    try:
        return fit_torso(given_lesson), drivers
    finally:
        torso_fit.STEPS = steps


def drawn(layer: TorsoLayer, d: np.ndarray) -> np.ndarray:
    picture = np.zeros((H, W, 4), np.uint8)
    layer.over(picture, d[:3], d[3:6], np.array([d[6]]), POOL)
    return picture


def test_torso_follows_what_drives_it_in_pictures_it_never_saw(
    learned: tuple[TorsoLayer, np.ndarray],
) -> None:
    layer, drivers = learned
    news = (drivers[:-1] + drivers[1:]) / 2
    right = [psnr(drawn(layer, d)[..., :3], body(shift_of(d))[..., :3]) for d in news]
    still = [psnr(body(0.0)[..., :3], body(shift_of(d))[..., :3]) for d in news]
    assert np.mean(right) > np.mean(still) + 2
    assert np.mean(right) > 22


def test_torso_kernel_is_its_plain_twin(learned: tuple[TorsoLayer, np.ndarray]) -> None:
    layer, drivers = learned
    below = np.random.default_rng(0).integers(0, 256, (H, W, 4), dtype=np.uint8)
    below[..., 3] = 255
    for d in drivers[:4]:
        for more in (0.0, 0.5):
            offset = d[3:6] + np.array([more, 0, -more / 5])
            wanted = layer.reference(below, d[:3], offset, np.array([d[6]]))
            got = below.copy()
            layer.over(got, d[:3], offset, np.array([d[6]]), POOL)
            assert np.abs(got.astype(int) - wanted).max() <= 1


def test_torso_survives_its_file(learned: tuple[TorsoLayer, np.ndarray]) -> None:
    layer, drivers = learned
    sections = layer.to_sections()
    again = torso_from(sections, FRAMING)
    assert again is not None
    assert psnr(drawn(again, drivers[0])[..., :3], drawn(layer, drivers[0])[..., :3]) > 30
    assert (again.texture[..., :3] <= again.texture[..., 3:]).all()
    assert sum(a.nbytes for a in sections.values()) < 60_000
    assert torso_from({}, FRAMING) is None


def test_torso_outside_of_what_training_saw_moves_along_as_a_whole(
    learned: tuple[TorsoLayer, np.ndarray],
) -> None:
    layer, _ = learned
    d = np.zeros(7)
    edge = float(layer.drivers[3, 3])  # the largest offset x
    at = drawn(layer, np.r_[0, 0, 0, edge, 0, 0, 0.5])
    px = 8
    beyond = drawn(layer, np.r_[0, 0, 0, edge + px / REST.side, 0, 0, 0.5])
    assert np.abs(beyond[:, 30:].astype(int) - at[:, 30 - px : W - px]).max() <= 2
    turned = drawn(layer, np.r_[0, 9.0, 0, d[3:7]])
    furthest = drawn(layer, np.r_[0, float(layer.drivers[3, 1]), 0, d[3:7]])
    assert (turned == furthest).all()


@pytest.mark.parametrize(
    "change",
    [
        {"torso.region": np.zeros(3, np.float32)},
        {"torso.region": np.full(7, np.nan, np.float32)},
        {"torso.region": np.array([1e9, 1, 1, 1, 1, 1, 1], np.float32)},
        {"torso.moves": np.zeros((3, 2, 4, 4), np.float16)},
        {"torso.moves": np.zeros(5, np.float16)},
        {"torso.drivers": np.zeros((4, 7), np.float32)},
        {"torso.own": np.full((4, 8), np.inf, np.float32)},
        {"torso.uses": np.zeros(9, np.uint8)},
        {"torso.picture": np.zeros(100, np.uint8)},
        {"torso.picture": packed(np.zeros((4, 4, 4), np.uint8), 80)},
        {"torso.shades": None},
    ],
)
def test_torso_damaged_is_refused(
    learned: tuple[TorsoLayer, np.ndarray], change: dict[str, Any]
) -> None:
    sections = {**learned[0].to_sections(), **change}
    with pytest.raises(TorsoError):
        torso_from({k: v for k, v in sections.items() if v is not None}, FRAMING)


def test_torso_layer_with_a_texture_of_another_size_is_refused() -> None:
    region = Region(40, 5.0, (10, 10), REST)
    zeros = np.zeros((11, 2, 9, 19), np.float32)
    layer = TorsoLayer(
        FRAMING, region, np.zeros((50, W + 20, 4), np.uint8),
        np.array([[0] * 6, [1] * 6, [-1] * 6, [1] * 6], np.float32), np.zeros(0, np.uint8),
        zeros, np.zeros((11, 3, 9, 19), np.float32), np.zeros((4, 7), np.float32),
    )  # fmt: skip
    assert not drawn(layer, np.zeros(7)).any()
    with pytest.raises(TorsoError):
        replace(layer, texture=np.zeros((49, W + 20, 4), np.uint8))


def test_picture_comes_back_with_its_opacity_exact() -> None:
    image = body(3.0)
    again = unpacked(packed(image, 90), (W, H), 4)
    assert (again[..., 3] == image[..., 3]).all()
    assert psnr(again[..., :3], image[..., :3], image[..., 3] > 200) > 25
    plain = np.full((20, 30, 3), 77, np.uint8)
    assert np.abs(unpacked(packed(plain, 80), (30, 20), 3).astype(int) - 77).max() <= 2


def test_picture_of_another_size_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import cv2

    huge = bytearray(packed(np.zeros((8, 8, 4), np.uint8), 50).tobytes())
    assert size_of(bytes(huge)) == (8, 8)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("a decoder saw it"))
    data = np.frombuffer(bytes(huge), np.uint8)
    with pytest.raises(PictureError):
        unpacked(data, (16, 8), 4)


@given(at=st.integers(0, 400), value=st.integers(0, 255), cut=st.integers(0, 500))
@settings(max_examples=150)
def test_picture_any_bytes_give_a_picture_or_its_error(at: int, value: int, cut: int) -> None:
    data = np.array(packed(body(0.0), 70))
    data[at % len(data)] = value
    try:
        got = unpacked(data[: max(1, len(data) - cut)], (W, H), 4)
    except PictureError:
        return
    assert got.shape == (H, W, 4)


@given(  # heads whose origin lies in the picture, as a tracker sees them
    x=st.floats(-0.4, 0.4), y=st.floats(-0.4, 0.4), log_size=st.floats(-1.5, 0.2),
    width=st.integers(64, 3000), height=st.integers(64, 3000),
)  # fmt: skip
def test_framing_places_a_head_where_the_sender_cropped_it(
    x: float, y: float, log_size: float, width: int, height: int
) -> None:
    from sender.portrait_crop import crop_at, offset_of

    framing = Framing.around([(x, y, log_size)], width, height)
    crop = crop_at((x, y, log_size), width, height)
    place = framing.in_source((x, y, log_size))
    assert (place.u, place.v, place.side) == pytest.approx((crop.u, crop.v, crop.side))
    assert offset_of(crop, width, height) == pytest.approx((x, y, log_size), abs=1e-9)
    w, h = framing.size
    assert max(w, h) <= 1280
    assert min(w, h) <= 720
    scale = w / framing.window[2]
    assert framing.place((x, y, log_size)).side == pytest.approx(scale * crop.side, rel=0.1)
    assert Framing.of_numbers(framing.numbers()) == framing


def test_framing_shows_all_of_a_webcam_and_a_bust_of_a_tall_film() -> None:
    assert Framing.around([(0, 0, math.log(0.5))], 1280, 720).size == (1280, 720)
    assert Framing.around([(0, 0, 0)], 1920, 1080).size == (1280, 720)
    tall = Framing.around([(0, -0.7, -0.5)], 1080, 1920)
    side = math.exp(-0.5) * 1080
    assert tall.window[3] == pytest.approx(960 - 0.7 * side + 1.05 * side, abs=2)


@pytest.mark.parametrize(
    "numbers", [[0] * 8, [9] * 7, [100, 100, 50, 0, 60, 100, 60, 100], [9e9] * 8]
)
def test_framing_that_makes_no_sense_is_refused(numbers: list[float]) -> None:
    with pytest.raises(ValueError, match=r"framed|framing"):
        Framing.of_numbers(np.array(numbers, np.uint64))


def test_spline_weights_sum_to_one_and_follow_a_line() -> None:
    at = np.linspace(0, 9, 91)
    weights = spline(at, 10)
    assert weights.sum(axis=1) == pytest.approx(np.ones(91), abs=1e-6)
    inner = (at > 0.6) & (at < 8.4)
    assert (weights @ np.arange(10.0))[inner] == pytest.approx(at[inner], abs=1e-5)


def test_place_affine_puts_the_middle_in_the_middle() -> None:
    place = Place(40.0, 30.0, 20.0)
    assert place.affine(512) @ (256, 256, 1) == pytest.approx((40, 30))
