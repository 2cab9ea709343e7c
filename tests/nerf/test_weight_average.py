"""What leaves training is the average; what trains is not."""

from __future__ import annotations

import numpy as np
import torch

from nerf.weight_average import EVERY, WeightAverage


def average_of(weight: np.ndarray) -> WeightAverage:
    return WeightAverage(lambda: [torch.from_numpy(weight)], 0.1)


def noisy_run(average: WeightAverage, weight: np.ndarray, steps: int, start: int = 0) -> None:
    """Weights that scatter by 1 around a value that moves from 0 to 1 over the run."""
    for step in range(start + 1, start + steps + 1):
        noise = np.random.default_rng(step).normal(0, 1, weight.shape)
        weight[:] = step / 1600 + noise
        if step % EVERY == 0:
            average.look(step / 1600)


def test_scatter_is_averaged_away_and_the_late_value_is_kept() -> None:
    weight = np.zeros(400, np.float32)
    average = average_of(weight)
    noisy_run(average, weight, 1600)
    average.leave()
    assert weight.std() < 0.35  # a tenth of the run has 20 looks
    assert 0.8 < weight.mean() < 1.0


def test_training_weights_are_not_touched_before_the_end() -> None:
    weight = np.zeros(10, np.float32)
    average = average_of(weight)
    noisy_run(average, weight, 1600)
    last = np.random.default_rng(1600).normal(0, 1, 10) + 1.0
    assert np.allclose(weight, last, atol=1e-6)


def test_a_run_that_ends_in_its_first_half_leaves_with_its_own_weights() -> None:
    weight = np.zeros(10, np.float32)
    average = average_of(weight)
    noisy_run(average, weight, 700)
    before = weight.copy()
    average.leave()
    assert np.array_equal(weight, before)
    assert average.state() == {}


def test_an_interrupted_run_averages_as_one_that_was_not() -> None:
    through, broken = np.zeros(10, np.float32), np.zeros(10, np.float32)
    whole = average_of(through)
    noisy_run(whole, through, 1600)
    first = average_of(broken)
    noisy_run(first, broken, 1200)
    second = average_of(broken)
    second.load_state({k: v.astype(np.float64) for k, v in first.state().items()})
    noisy_run(second, broken, 400, 1200)
    whole.leave()
    second.leave()
    assert 1200 % EVERY == 0
    assert np.allclose(through, broken, atol=1e-5)


def test_averages_of_weights_that_lay_otherwise_are_begun_anew() -> None:
    here, there = np.zeros((4, 3), np.float32), np.zeros((3, 4), np.float32)
    first, second = average_of(here), average_of(there)
    noisy_run(first, here, 1600)
    second.load_state({k: v.astype(np.float64) for k, v in first.state().items()})
    assert second.mean is None
    noisy_run(second, there, 400, 1200)
    second.leave()
    assert 0.8 < there.mean() < 1.3
