"""The shipped parsing network: what it finds, and that it is steady, small and the one we know."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from portrait import segmentation
from portrait.parsing.judge import flicker, iou, judged, outline_f
from portrait.parsing.segmenter import WEIGHTS, ParsingSegmenter, tidied
from portrait.performer.performance import performance
from portrait.performer.person import Person
from portrait.performer.render import Picture, render
from portrait.segmentation import SelfieSegmenter, open_segmenter
from portrait.truth_masks import TruthMasks
from quic_transport.errors import LocalError

SEEDS = (900_001, 900_004)  # never learnt from
MAX_BYTES = 1_500_000


@pytest.fixture(scope="module")
def segmenter() -> ParsingSegmenter:
    return ParsingSegmenter()


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    from nerf.camera import portrait_camera

    out = []
    for seed in SEEDS:
        _, params, pose = next(iter(performance(seed, 1.0, 1.0)))
        portrait = portrait_camera(512, -pose[2, 3], 2.6)
        out.append(render(Person(seed), params, pose, portrait))
    return out


def test_weights_are_small_and_have_their_fingerprint(segmenter: ParsingSegmenter) -> None:
    data = WEIGHTS.read_bytes()
    assert len(data) <= MAX_BYTES
    assert segmenter.fingerprint == hashlib.sha256(data).hexdigest()


def test_performer_in_a_room_is_found(segmenter: ParsingSegmenter, pictures: list[Picture]) -> None:
    for picture in pictures:
        got = judged(segmenter, picture.rgb, picture.classes)
        assert got["person"] > 0.94, got
        assert got["head"] > 0.91, got
        assert got["neck"] > 0.85, got
        assert got["torso"] > 0.9, got
        assert got["outline"] > 0.68, got


def test_answers_have_the_picture_s_shape_and_range(segmenter: ParsingSegmenter) -> None:
    rng = np.random.default_rng(0)
    for shape in ((120, 200), (200, 120), (64, 64), (33, 47), (1, 5)):
        picture = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        alpha, classes = segmenter.person(picture), segmenter.classes(picture)
        assert alpha.shape == shape
        assert alpha.dtype == np.float32
        assert 0.0 <= alpha.min() <= alpha.max() <= 1.0
        assert classes.shape == shape
        assert classes.dtype == np.uint8
        assert classes.max() <= 3
        np.testing.assert_array_equal(classes > 0, alpha > 0.5)


@pytest.mark.parametrize("cut", [np.s_[50:420, :], np.s_[:, 110:402]], ids=["wide", "tall"])
def test_tall_and_wide_pictures_show_the_same_person(
    segmenter: ParsingSegmenter, pictures: list[Picture], cut: tuple[slice, slice]
) -> None:
    for picture in pictures:
        person = segmenter.person(np.ascontiguousarray(picture.rgb[cut])) > 0.5
        assert iou(person, picture.classes[cut] > 0) > 0.91


def test_same_picture_same_bytes(segmenter: ParsingSegmenter, pictures: list[Picture]) -> None:
    first, other = (segmenter.person(p.rgb) for p in pictures)
    assert not np.array_equal(first, other)
    fresh = ParsingSegmenter()
    np.testing.assert_array_equal(fresh.person(pictures[0].rgb), first)
    np.testing.assert_array_equal(segmenter.person(pictures[0].rgb), first)
    first[:] = 0  # what was handed out is the caller's
    assert segmenter.person(pictures[0].rgb).any()


def test_camera_noise_hardly_moves_the_outline(
    segmenter: ParsingSegmenter, pictures: list[Picture]
) -> None:
    rng = np.random.default_rng(1)
    for picture in pictures:
        noise = rng.normal(0, 2.0, picture.rgb.shape)
        noisy = np.clip(np.round(picture.rgb + noise), 0, 255).astype(np.uint8)
        moved = flicker(picture.rgb, noisy, segmenter.person(picture.rgb), segmenter.person(noisy))
        assert moved < 3.0


def test_nobody_is_seen_in_an_empty_room(segmenter: ParsingSegmenter) -> None:
    from portrait.performer.room import paint_room
    from portrait.performer.traits import draw_traits

    for seed in range(4):
        room = np.clip(paint_room(draw_traits(seed), 256, 256), 0, 1) ** (1 / 2.2)
        assert (segmenter.person((room * 255).astype(np.uint8)) > 0.5).mean() < 0.02


def test_damaged_weights_raise_local_error(tmp_path: Path) -> None:
    broken = tmp_path / "parsing.onnx"
    broken.write_bytes(WEIGHTS.read_bytes()[:5000])
    with pytest.raises(LocalError, match="cannot be loaded"):
        ParsingSegmenter(broken)
    with pytest.raises(LocalError, match="cannot be loaded"):
        ParsingSegmenter(tmp_path / "none.onnx")


def test_open_segmenter_needs_neither_model_files_nor_mediapipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Path:
        raise LocalError("a model was looked for")

    monkeypatch.setattr(segmentation, "find_model", refuse)
    for name in ("auto", "parsing"):
        assert isinstance(
            open_segmenter("facenet", None, tmp_path / "a.mp4", name), ParsingSegmenter
        )
    with pytest.raises(LocalError, match="looked for"):
        open_segmenter("facenet", None, tmp_path / "a.mp4", "mediapipe")
    with pytest.raises(LocalError, match="choose auto"):
        open_segmenter("facenet", None, tmp_path / "a.mp4", "other")


def test_open_segmenter_takes_a_performer_s_exact_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr(TruthMasks, "__init__", lambda self, video: opened.append(video))
    assert isinstance(open_segmenter("truth", None, tmp_path / "a.mp4"), TruthMasks)
    assert opened == [tmp_path / "a.mp4"]


@pytest.mark.assets
def test_agrees_with_mediapipe_on_a_real_clip(assets: Path, segmenter: ParsingSegmenter) -> None:
    pytest.importorskip("mediapipe")
    from sender.video import read_video

    clip = assets / "videos" / "obama_wh_20s_450.mp4"
    other = SelfieSegmenter(assets / "models")
    for frame in read_video(clip):
        if frame.index % 40 == 0:
            one, two = segmenter.person(frame.image), other.person(frame.image, None, None)
            assert iou(one > 0.5, two > 0.5) > 0.93
        if frame.index > 80:
            break
    other.close()


def test_specks_and_holes_go_but_people_stay() -> None:
    shares = np.zeros((64, 64, 4), np.float32)
    shares[..., 0] = 1.0
    shares[10:50, 20:50] = (0.1, 0.6, 0.2, 0.1)
    shares[30, 30] = (0.9, 0.0, 0.0, 0.1)  # a hole
    shares[5:8, 2:5] = (0.2, 0.8, 0.0, 0.0)  # a speck
    shares[20:40, 55:62] = (0.2, 0.1, 0.1, 0.6)  # somebody else
    out = tidied(shares.copy())
    assert out[30, 30, 0] == 0.0
    assert out[30, 30, 3] == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_array_equal(out[5:8, 2:5], np.broadcast_to((1.0, 0, 0, 0), (3, 3, 4)))
    np.testing.assert_array_equal(out[20:40, 55:62], shares[20:40, 55:62])
    nobody = np.zeros((8, 8, 4), np.float32)
    nobody[..., 0] = 1.0
    np.testing.assert_array_equal(tidied(nobody.copy()), nobody)


def test_measures_know_good_from_bad() -> None:
    mask = np.zeros((80, 80), bool)
    mask[20:60, 30:70] = True
    assert iou(mask, mask) == 1.0
    assert iou(mask, np.roll(mask, 20, axis=1)) == pytest.approx(1 / 3)
    assert outline_f(mask, mask, 1.0) == 1.0
    assert outline_f(mask, np.roll(mask, 20, axis=1), 1.0) < 0.6
    still = np.full((80, 80, 3), 90, np.uint8)
    alpha = mask.astype(np.float32)
    assert flicker(still, still, alpha, alpha) == 0.0
    assert flicker(still, still, alpha, 1 - alpha) == pytest.approx(1000.0)
