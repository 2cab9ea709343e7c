"""The measures of steadiness, on signals whose tremble and lag are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conference.bench import jitter as jitter_bench
from conference.bench.jitter import Track, compare, jitter, lag_ms, one_euro, quiet
from quic_transport.errors import LocalError
from tests.sender.films import grey_frames, write_film


def speech(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[N, 52] that moves in bouts and rests between them."""
    phases, rates = rng.uniform(0, 6, 52), rng.uniform(1.0, 2.5, 52)
    bouts = np.clip(3 * np.sin(0.7 * time[:, None] + phases), 0, 1)
    return 0.4 + 0.2 * bouts * np.sin(2 * np.pi * rates * time[:, None] + phases)


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
@pytest.mark.parametrize("late_ms", [0.0, 7.0, 25.0, 60.0])
def test_lag_of_a_delayed_signal_is_its_delay(fps: float, late_ms: float) -> None:
    time = np.arange(0, 12, 1 / fps)
    fine = np.arange(-1, 13, 1 / 600)
    wave = speech(fine, np.random.default_rng(2))
    early, late = (
        Track(time, np.stack([np.interp(time - s, fine, w) for w in wave.T], axis=1))
        for s in (0.0, late_ms / 1000)
    )
    assert np.median(lag_ms(early, late)) == pytest.approx(late_ms, abs=1.5)


def test_lag_of_a_low_pass_is_its_time_constant() -> None:
    time = np.arange(0, 20, 1 / 30)
    track = Track(time, 0.5 + 0.3 * np.sin(2 * np.pi * 0.3 * time[:, None] + np.arange(52)))
    cutoff = 4.0
    lag = lag_ms(track, one_euro(track, cutoff, 0.0))
    assert np.median(lag) == pytest.approx(1000 / (2 * np.pi * cutoff), abs=3)


def test_lag_of_a_constant_is_unknown_and_of_a_moment_an_error() -> None:
    time = np.arange(0, 3, 1 / 30)
    still = Track(time, np.full((len(time), 52), 0.5))
    assert np.isnan(lag_ms(still, still)).all()
    with pytest.raises(LocalError, match="too short"):
        lag_ms(Track(time[:8], still.values[:8]), Track(time[:8], still.values[:8]))


def test_jitter_is_taken_where_the_reference_rests_only() -> None:
    time = np.arange(0, 20, 1 / 30)
    rng = np.random.default_rng(5)
    values = np.where((time % 10 < 5)[:, None], 0.3 * np.sin(20 * time[:, None]), 0.0)
    values = np.repeat(values, 52, axis=1) + rng.normal(0, 0.01, (len(time), 52))
    track = Track(time, values)
    where = quiet(track)
    resting = (time % 10 > 5.3) & (time % 10 < 9.7)
    assert where[resting].mean() > 0.4
    assert where[~resting & (time % 10 < 4.7)].mean() < 0.02
    # White noise of standard deviation s has a second difference of s times the root of 6.
    assert np.median(jitter(track, where)) == pytest.approx(0.01 * 6**0.5, rel=0.1)


def test_compare_halved_tremble_counts_half_and_itself_one() -> None:
    time = np.arange(0, 20, 1 / 30)
    rng = np.random.default_rng(6)
    clean, noise = speech(time, rng), rng.normal(0, 0.01, (len(time), 52))
    reference = Track(time, clean + noise)
    same = compare(reference, reference)
    assert (same.coefficients, same.angles) == (1.0, pytest.approx(1.0))
    assert abs(same.lag_coefficients) < 0.1
    half = compare(reference, Track(time, clean + noise / 2))
    assert half.coefficients == pytest.approx(0.5, abs=0.12)
    with pytest.raises(LocalError, match="30 frames"):
        compare(Track(time[:20], clean[:20]), Track(time[:20], clean[:20]))


def test_added_lag_is_the_filters_and_not_the_trackers() -> None:
    time, fine = np.arange(0, 15, 1 / 30), np.arange(-1, 16, 1 / 600)
    wave = speech(fine, np.random.default_rng(9))
    reference, raw, filtered = (
        Track(time, np.stack([np.interp(time - s, fine, w) for w in wave.T], axis=1))
        for s in (0.0, 0.015, 0.025)
    )
    result = compare(reference, filtered, raw)
    assert result.lag_coefficients == pytest.approx(25, abs=1.5)
    assert result.added_coefficients == pytest.approx(10, abs=1.5)
    assert result.lag_angles == pytest.approx(25, abs=2)
    assert result.added_angles == pytest.approx(10, abs=2)


def test_lag_of_what_two_trackers_see_differently_or_that_stands_still_is_unknown() -> None:
    time = np.arange(0, 15, 1 / 30)
    one, other = (speech(time, np.random.default_rng(seed)) for seed in (1, 2))
    assert np.isnan(compare(Track(time, one), Track(time, other)).lag_coefficients)
    still = one.copy()
    still[:, 46:49] *= 0.01
    assert np.isnan(compare(Track(time, still), Track(time, still)).lag_angles)


def test_bad_clip_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write_film(tmp_path / "a.mp4", grey_frames(3), [0.0, 0.1, 0.2])
    (tmp_path / "b.mp4").write_bytes(b"no video")
    monkeypatch.setattr(jitter_bench, "tracked", lambda *a: pytest.fail("measured"))
    with pytest.raises(LocalError, match=r"b\.mp4"):
        jitter_bench.main([str(good), str(tmp_path / "b.mp4")])


@pytest.mark.assets
def test_smoothing_meets_its_targets_on_a_real_face(assets: Path) -> None:
    pytest.importorskip("mediapipe")
    from conference.bench.jitter import parse, tracked

    clip = assets / "videos" / "obama_wh_20s_450.mp4"
    models = str(assets / "models")
    args = parse([str(clip), "--seconds", "8", "--models", models, "--extractor", "mediapipe"])
    tracks = tracked(clip, ["mediapipe"], args)
    result = compare(tracks["mediapipe"], tracks["mediapipe+"])
    assert result.coefficients < 0.6
    assert result.worst_angle < 1.0
    assert result.lag_coefficients < 15
    assert result.lag_angles < 25
