"""Tables from a track: what they cost on frames they never saw, and what the metric sees."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from conference.codec_metric import combined, landmark_metric, picture_metric
from conference.codec_tables import laplace, learn, phases
from quic_transport.codec import FaceEncoder, RcDecoder, RcEncoder
from quic_transport.codec.fraction_coder import TOTAL
from quic_transport.codec.rc_tables import Tables, from_sections, to_sections
from quic_transport.params import EXPRESSION_DIM, PARAM_DIM, FaceParams, ParamBounds
from tests.quic_transport.strategies import synthetic_track

Float64 = NDArray[np.float64]

VECTORS = np.array([p.vector() for p in synthetic_track(2, 700)], dtype=np.float64)
TIMES = np.arange(700) / 20.0
SIGHT = np.array([3.0] * 20 + [20.0] * 26 + [100.0] * 3)  # pixels per unit
TRAINED = 500


@pytest.fixture(scope="module")
def tables() -> Tables:
    return learn(VECTORS[:TRAINED], np.zeros((TRAINED, 3)), TIMES[:TRAINED], np.diag(SIGHT**2))


def test_tables_are_valid_sections_and_shares_sum_to_the_total(tables: Tables) -> None:
    again = from_sections(to_sections(tables))
    assert again is not None
    assert (again.shape.sum(axis=1) == TOTAL).all()
    assert np.array_equal(again.basis, tables.basis)


def test_unseen_frames_cost_less_than_eg0_and_err_less_than_half_a_pixel(
    tables: Tables,
) -> None:
    encoder, decoder = RcEncoder(tables), RcDecoder(tables)
    paper = FaceEncoder(ParamBounds.of(VECTORS[:TRAINED]))
    ours = theirs = 0
    wrong = []
    for vector, time in zip(VECTORS[TRAINED:], TIMES[TRAINED:], strict=True):
        params = FaceParams.from_vector(vector, float(time))
        frame = encoder.encode(params)
        ours += len(frame.payload)
        theirs += len(paper.encode(params).payload)
        wrong.append(SIGHT * (decoder.decode(frame).vector() - vector))
    assert ours < 0.75 * theirs  # its 49 numbers move independently, as no face's do
    assert np.sqrt((np.array(wrong) ** 2).sum(axis=1).mean()) < 0.6


def test_error_is_shared_out_by_visibility(tables: Tables) -> None:
    """Each number's error in pixels is alike, so what moves few pixels errs more in itself."""
    encoder, decoder = RcEncoder(tables), RcDecoder(tables)
    wrong = [
        decoder.decode(encoder.encode(FaceParams.from_vector(v, float(t)), reference=None)).vector()
        - v
        for v, t in zip(VECTORS[TRAINED:], TIMES[TRAINED:], strict=True)
    ]
    size = np.sqrt((np.array(wrong) ** 2).mean(axis=0))
    assert size[:20].mean() > 3 * size[20:EXPRESSION_DIM].mean()


def test_phases_use_every_frame_of_a_faster_track_at_the_ticks() -> None:
    times = np.arange(120) / 60.0
    found = list(phases(times))
    assert len(found) == 3
    assert set(np.concatenate(found).tolist()) == set(range(120))
    assert all(np.allclose(np.diff(times[p]), 0.05) for p in found)


def test_laplace_shapes_are_distributions_four_to_an_octave() -> None:
    shares = laplace()
    assert np.allclose(shares.sum(axis=1), 1.0)
    size = np.array([(s + 1) // 2 for s in range(shares.shape[1])])
    mean = (shares * size).sum(axis=1)
    assert mean[20] == pytest.approx(1.0, abs=0.1)
    assert mean[28] / mean[24] == pytest.approx(2.0, rel=0.05)


def test_picture_metric_is_the_square_of_how_a_picture_changes() -> None:
    gains = np.linspace(0.0, 20.0, PARAM_DIM)

    def render(v: Float64) -> NDArray[np.uint8]:
        picture = np.full((PARAM_DIM, 4, 3), 100.0)
        return (picture + 100 + (gains * v)[:, None, None]).clip(0, 255).round().astype(np.uint8)

    ends = np.zeros(EXPRESSION_DIM), np.ones(EXPRESSION_DIM)
    form = picture_metric(render, np.full((2, PARAM_DIM), 0.5), *ends)
    assert np.sqrt(PARAM_DIM * np.diag(form)) == pytest.approx(gains, abs=60.0)
    assert np.diag(form)[-4] > np.diag(form)[2]
    assert np.abs(form - np.diag(np.diag(form))).max() < 1e-9


def test_picture_metric_at_the_end_of_what_a_head_knows_looks_to_the_other_side() -> None:
    """A head does not change beyond its range; that must not halve what a coefficient is worth."""
    low, high = np.full(EXPRESSION_DIM, -0.25), np.full(EXPRESSION_DIM, 0.75)
    high[1] = low[1]  # a coefficient that never moved
    at_its_end = np.full(PARAM_DIM, 0.25)
    at_its_end[0], at_its_end[1] = low[0], low[1]

    def render(v: Float64) -> NDArray[np.uint8]:
        known = np.clip(v[:EXPRESSION_DIM], low, high)
        return np.full((4, 4, 3), 100 + 500 * known[:3].sum()).round().astype(np.uint8)

    slopes = np.sqrt(np.diag(picture_metric(render, at_its_end[None], low, high)))
    assert slopes[:3] == pytest.approx([500, 0, 500])


def test_landmark_metric_finds_what_moves_the_mesh() -> None:
    rng = np.random.default_rng(1)
    frames = rng.random((400, PARAM_DIM))
    move = np.zeros((PARAM_DIM, 478, 2))
    move[7, :, 0] = 0.01  # of the portrait per unit, all points
    mesh = 0.5 + np.einsum("na,aij->nij", frames, move)
    form = landmark_metric(frames, mesh, scale=2.6)
    expected = 0.01 * 130 / (0.063 * 2.6)
    assert np.sqrt(form[7, 7]) == pytest.approx(expected, rel=0.03)
    assert np.sqrt(np.delete(np.diag(form), 7)).max() < 0.02 * expected


def test_nothing_is_invisible_in_the_combined_metric() -> None:
    form = combined(np.zeros((PARAM_DIM, PARAM_DIM)), None)
    assert (np.linalg.eigvalsh(form) >= 1.0).all()
