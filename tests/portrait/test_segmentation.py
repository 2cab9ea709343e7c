"""Soft edges and what belongs to the head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from portrait.matting import colour_near, guided_filter, refine, without_background
from portrait.segmentation import SelfieSegmenter, part_with_face
from quic_transport.errors import LocalError

SIZE = 256
FRONT, BACK = np.array([180.0, 90, 60]), np.array([40.0, 90, 220])


def disc(radius: float, soft: float) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2
    return np.clip(0.5 + (radius - np.hypot(x, y)) / soft, 0, 1).astype(np.float32)


def scene() -> tuple[np.ndarray, np.ndarray]:
    alpha = disc(70, 3.0)
    return (alpha[..., None] * FRONT + (1 - alpha[..., None]) * BACK).astype(np.uint8), alpha


@pytest.mark.parametrize("off", [-2.0, 0.0, 2.0])
def test_refine_finds_the_true_edge_from_a_mask_that_is_off(off: float) -> None:
    picture, alpha = scene()
    got = refine(disc(70 + off, 8.0), picture)
    assert np.abs(got - alpha).mean() < 0.3 * max(np.abs(disc(70 + off, 8.0) - alpha).mean(), 0.01)
    assert np.abs(got - alpha).max() < 0.35


def test_refine_same_colours_falls_back_to_the_mask() -> None:
    flat = np.full((SIZE, SIZE, 3), 120, np.uint8)
    rough = disc(70, 8.0)
    assert np.abs(refine(rough, flat) - rough).mean() < 0.01


def test_without_background_leaves_no_halo() -> None:
    picture, alpha = scene()
    on_white = without_background(picture, alpha) * 255 + 255 * (1 - alpha[..., None])
    expected = alpha[..., None] * FRONT + 255 * (1 - alpha[..., None])
    assert np.abs(on_white - expected).max() < 6
    naive = picture * alpha[..., None] + 255 * (1 - alpha[..., None])
    assert np.abs(naive - expected).max() > 30  # what it repairs


def test_guided_filter_of_constant_is_constant() -> None:
    guide = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    out = guided_filter(guide, np.full((40, 40), 0.3, np.float32), 3, 1e-3)
    np.testing.assert_allclose(out, 0.3, atol=1e-4)


def test_colour_near_ignores_other_pixels() -> None:
    picture, alpha = scene()
    colour, near = colour_near(picture.astype(np.float32), alpha > 0.99)
    edge = np.s_[SIZE // 2, SIZE // 2 + 72]
    np.testing.assert_allclose(colour[edge], FRONT, atol=3)
    assert near[0, 0] == 0.0


def test_part_with_face_drops_other_people_and_what_is_no_picture() -> None:
    matte = disc(50, 2.0)
    matte[100:200, :40] = 1.0
    inside = np.full((SIZE, SIZE), 255, np.uint8)
    inside[:100] = 0
    got = part_with_face(matte, inside)
    assert got[150, 10] == 0.0
    assert got[90, 128] == 0.0
    assert got[128, 128] == 1.0


def test_selfie_segmenter_damaged_model_raises_local_error(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    (tmp_path / "selfie_segmenter.tflite").write_bytes(b"nothing")
    with pytest.raises(LocalError, match="cannot be loaded"):
        SelfieSegmenter(tmp_path)
