"""The measures of agreement, on numbers whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conference.bench.agreement import (
    FEWEST,
    agreement,
    by_group,
    degrees_between,
    facts_of,
    landmark_error,
    mean_rotation,
    middle,
    offset_free_error,
    over_clips,
    turned_back,
    within_r,
)
from nerf.camera import rotation_matrix
from quic_transport.params import ARKIT46

seeds = st.integers(0, 2**32 - 1)


def turns(rng: np.random.Generator, count: int, reach: float = 1.0) -> np.ndarray:
    """[N, 3, 3] rotations."""
    return np.array([rotation_matrix(*a) for a in rng.uniform(-reach, reach, (count, 3))])


@given(seeds, st.floats(0.1, 10), st.floats(-5, 5))
def test_r_is_pearsons_and_knows_neither_scale_nor_offset(
    seed: int, scale: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.uniform(0, 1, (60, 4))
    said = 0.5 * wanted + rng.normal(0, 0.2, wanted.shape)
    r = within_r(said, wanted)
    known = [np.corrcoef(said[:, k], wanted[:, k])[0, 1] for k in range(4)]
    assert r == pytest.approx(known, abs=1e-9)
    assert within_r(scale * said + shift, wanted) == pytest.approx(r, abs=1e-6)
    assert within_r(-said, wanted) == pytest.approx(-r, abs=1e-9)


def test_r_is_unknown_where_the_teacher_rests_and_zero_where_only_the_tracker_does() -> None:
    wave = np.sin(np.arange(100))[:, None]
    wanted = np.concatenate([0.5 + 0.02 * wave, 0.5 + 0.2 * wave, 0.5 + 0.2 * wave], axis=1)
    said = np.concatenate([wave, np.full_like(wave, 0.3), wave], axis=1)
    r = within_r(said, wanted)
    assert math.isnan(r[0])
    assert r[1] == 0
    assert r[2] == pytest.approx(1)
    assert np.isnan(within_r(said[: FEWEST - 1], wanted[: FEWEST - 1])).all()


@given(seeds)
def test_offset_free_error_forgets_a_constant_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.uniform(0, 1, (50, 5))
    noise = rng.normal(0, 0.1, wanted.shape)
    offset = rng.normal(0, 1, 5)
    assert offset_free_error(wanted + offset, wanted) == pytest.approx(np.zeros(5), abs=1e-12)
    assert offset_free_error(wanted + noise + offset, wanted) == pytest.approx(
        np.abs(noise - noise.mean(axis=0)).mean(axis=0)
    )


@given(seeds, st.floats(1e-7, math.pi - 1e-3))
def test_degrees_between_is_the_angle_of_the_turn(seed: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    start, other = turns(rng, 1), turns(rng, 1)
    turned = start @ rotation_matrix(0.0, 0.0, angle)
    assert degrees_between(start, turned)[0] == pytest.approx(math.degrees(angle), rel=1e-5)
    assert degrees_between(turned, start) == pytest.approx(degrees_between(start, turned))
    assert degrees_between(other @ start, other @ turned)[0] == pytest.approx(
        math.degrees(angle), rel=1e-4, abs=1e-6
    )


@given(seeds)
def test_constant_turn_of_the_heads_axes_is_taken_back_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wanted, constant = turns(rng, 40), turns(rng, 1)[0]
    said = wanted @ constant
    assert mean_rotation(np.repeat(constant[None], 9, axis=0)) == pytest.approx(constant)
    assert degrees_between(turned_back(said, wanted), wanted).max() < 1e-5
    rough = said @ turns(rng, 40, 0.05)
    raw, free = degrees_between(rough, wanted), degrees_between(turned_back(rough, wanted), wanted)
    assert np.median(free) < 6
    assert np.median(free) <= np.median(raw) + 1.0


@given(seeds, st.floats(0.2, 5), st.floats(-100, 100))
def test_landmark_error_is_in_eye_distances_whatever_the_size(
    seed: int, scale: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.uniform(0, 200, (3, 478, 2))
    wanted[:, 33], wanted[:, 263] = (50, 100), (150, 100)
    said = wanted + np.array([3.0, 4.0])
    assert landmark_error(said, wanted) == pytest.approx([5.0] * 3)
    assert landmark_error(scale * said + shift, scale * wanted + shift) == pytest.approx([5.0] * 3)


def test_groups_are_medians_of_their_coefficients() -> None:
    r = np.full(len(ARKIT46), np.nan)
    r[ARKIT46.index("eyeBlinkLeft")], r[ARKIT46.index("eyeBlinkRight")] = 0.8, 0.9
    r[ARKIT46.index("jawOpen")] = 0.7
    groups = by_group(r)
    assert groups["blink"] == pytest.approx(0.85)
    assert groups["jaw"] == pytest.approx(0.7)
    assert math.isnan(groups["smile"])
    assert middle([1.0, np.nan, 3.0]) == 2.0
    assert math.isnan(middle([]))


def clip(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expression said, wanted [120, 46], and rotations [120, 3, 3]."""
    rng = np.random.default_rng(seed)
    wanted = 0.5 + 0.3 * np.sin(0.1 * np.arange(120)[:, None] + rng.uniform(0, 6, 46))
    return wanted + rng.normal(0, noise, wanted.shape), wanted, turns(rng, 120, 0.3)


def test_agreement_with_oneself_is_perfect_and_its_facts_are_finite() -> None:
    _, wanted, poses = clip(1, 0)
    points = np.random.default_rng(0).uniform(0, 99, (120, 478, 2))
    facts = facts_of(agreement((wanted, wanted), (poses, poses), (points, points)))
    assert facts["frames"] == 120
    assert facts["r"] == pytest.approx(1)
    assert all(math.isfinite(v) for v in facts.values())
    errors = ("mae", "mae_raw", "rotation_p95", "rotation_free_p95", "landmarks_p95", "yaw_p50")
    assert [facts[name] for name in errors] == pytest.approx([0.0] * len(errors), abs=1e-6)


def test_over_clips_takes_the_median_of_each_coefficient_first() -> None:
    made = {}
    for name, noise in (("a", 0.05), ("b", 0.3), ("c", 1.0)):
        said, wanted, poses = clip(3, noise)
        made[name] = agreement((said, wanted), (poses, poses), None)
    facts = over_clips(made)
    assert facts["r"] == pytest.approx(middle(made["b"].r), abs=0.02)
    assert facts["mae"] == pytest.approx(made["b"].error.mean())
    assert math.isnan(facts["landmarks_p50"])
    assert facts["all_rotation_p95"] < 1e-5
    assert over_clips({}) == {}


def test_angles_are_compared_around_the_circle() -> None:
    said = np.array([rotation_matrix(0.0, 0.0, math.pi - 0.01)])
    wanted = np.array([rotation_matrix(0.0, 0.0, 0.01 - math.pi)])
    found = agreement((np.zeros((1, 46)), np.zeros((1, 46))), (said, wanted), None)
    assert found.angles[0] == pytest.approx([0, 0, math.degrees(0.02)], abs=1e-6)
