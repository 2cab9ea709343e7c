"""Prior boxes, box coding and suppression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.cpem.boxes import decode, detections, overlap, prior_boxes, suppressed

UNIT = st.floats(0.0, 1.0)


def test_priors_of_a_small_picture_stand_where_the_paper_puts_them() -> None:
    priors = prior_boxes(128, 256) * (256, 128, 256, 128)  # in pixels
    assert len(priors) == 4 * 8 * 21 + 2 * 4 + 1 * 2
    first = priors[:21]
    np.testing.assert_allclose(first[0], (0, 0, 32, 32))
    np.testing.assert_allclose(first[1], (8, 0, 32, 32))  # 4 per axis, x runs fastest
    np.testing.assert_allclose(first[4], (0, 8, 32, 32))
    np.testing.assert_allclose(first[16], (0, 0, 64, 64))
    np.testing.assert_allclose(first[19], (16, 16, 64, 64))
    np.testing.assert_allclose(first[20], (16, 16, 128, 128))
    np.testing.assert_allclose(priors[21][:2], (32, 0))  # the next cell to the right
    np.testing.assert_allclose(priors[8 * 21][:2], (0, 32))  # the next row
    np.testing.assert_allclose(priors[4 * 8 * 21], (32, 32, 256, 256))
    np.testing.assert_allclose(priors[-1], (192, 64, 512, 512))


@given(st.integers(0, 400), UNIT, UNIT, st.floats(0.05, 2.0), st.floats(0.05, 2.0))
def test_decoding_undoes_the_coding_of_boxes(k: int, x, y, w, h) -> None:
    priors = prior_boxes(130, 190)[k : k + 1]
    p = priors[0]
    coded = [(x - p[0]) / p[2] / 0.1, (y - p[1]) / p[3] / 0.1,
             np.log(w / p[2]) / 0.2, np.log(h / p[3]) / 0.2]  # fmt: skip
    box = decode(np.array([coded], dtype=np.float32), priors)[0]
    wanted = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    np.testing.assert_allclose(box, wanted, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_suppression_keeps_the_best_and_only_what_stands_apart(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 40, (n, 2))], axis=1)
    scores = rng.uniform(0.5, 1.0, n)
    kept = suppressed(boxes, scores)
    assert kept[0] == np.argmax(scores)
    assert (np.diff(scores[kept]) <= 0).all()
    for place, k in enumerate(kept):
        assert (overlap(boxes[k], boxes[kept[:place]]) <= 0.3).all()
    for k in set(range(n)) - set(kept.tolist()):
        better = [j for j in kept if scores[j] >= scores[k]]
        assert (overlap(boxes[k], boxes[better]) > 0.3).any()


def test_overlap_of_known_boxes() -> None:
    box = np.array([0.0, 0.0, 2.0, 2.0])
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3], [5, 5, 6, 6]], dtype=float)
    np.testing.assert_allclose(overlap(box, others), (1, 1 / 3, 0, 0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_detections_of_broken_numbers_are_no_faces(bad: float) -> None:
    priors = len(prior_boxes(64, 64))
    offsets = np.zeros((priors, 4), np.float32)
    scores = np.zeros(priors, np.float32)
    offsets[3], scores[3] = bad, 0.9
    offsets[85, 0], scores[85] = bad, 0.9
    scores[:3] = np.nan
    boxes, _ = detections(offsets, scores, (64, 64), 640, 480)
    if np.isfinite(bad):  # far away, not too large: the crop will be empty, and the geometry sane
        assert np.isfinite(boxes).all()
    else:
        assert len(boxes) == 0


def test_detections_are_in_pixels_of_the_whole_picture() -> None:
    priors = prior_boxes(128, 128)
    scores = np.zeros(len(priors), np.float32)
    scores[20] = 0.8  # the 128 px prior of the first cell, about (16, 16)
    boxes, found = detections(np.zeros((len(priors), 4), np.float32), scores, (128, 128), 256, 384)
    np.testing.assert_allclose(boxes, [[-96, -144, 160, 240]])
    assert found == pytest.approx([0.8])
