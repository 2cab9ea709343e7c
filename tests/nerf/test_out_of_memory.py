"""Memory that runs out in the middle of a training step: nothing has moved, and less is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nerf import reference
from nerf.backends import TrainEngine
from nerf.batch_size import LEAST_SHARE, BatchSize, out_of_memory
from nerf.cpu import encoding, ray_pass
from nerf.cpu import engine as cpu_engine
from nerf.cpu.engine import CpuEngine
from nerf.cpu.pool import WorkerPool
from nerf.step import LossWeights, Rates, RayBatch
from nerf.torch_backend import TorchEngine
from nerf.train import Trainer, TrainSettings
from tests.nerf.heads import SMALL, ball_footage, random_head

RATES = Rates(table=1e-2, expression=1e-2, network=1e-3, decay=1e-4)
TORCH_SAYS = "[enforce fail at alloc_cpu.cpp:113] . DefaultCPUAllocator: can't allocate memory"


def rays(count: int = 80) -> RayBatch:
    rng = np.random.default_rng(1)
    direction = rng.normal(0.0, 0.2, (count, 3)) + np.array([0.0, 0.0, -1.0])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return RayBatch(
        np.array([0.3, -0.2, 0.1], np.float32), np.array([0.5, 0.5, 2.0], np.float32),
        direction.astype(np.float32), rng.random((count, 3), dtype=np.float32),
        np.ones(count, np.float32), np.ones((count, 3), np.float32),
    )  # fmt: skip


def everything(engine: TrainEngine) -> list[np.ndarray]:
    """Weights and optimiser state as they stand."""
    engine.store()
    field = engine.field
    return [np.array(a) for a in (field.mean, field.tables, *field.networks,
                                  *(v for _, v in sorted(engine.state().items())))]  # fmt: skip


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def failing(real: Callable[..., Any], at: int, error: Exception) -> Callable[..., Any]:
    """`real`, which fails in its `at`th call."""
    calls = iter(range(10**9))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == at:
            raise error
        return real(*args, **kwargs)

    return call


@pytest.mark.parametrize(("threads", "name", "at"), [
    (1, "blend", 0), (2, "march", 1), (1, "forward", 0), (2, "backward", 1), (2, "scatter", 2),
    (1, "scatter", 1),
])  # fmt: skip
def test_a_step_that_found_no_memory_has_not_been(
    threads: int, name: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, twin = (CpuEngine(random_head(), WorkerPool(threads)) for _ in range(2))
    for e in (engine, twin):
        e.step(rays(), RATES, LossWeights(), 0.3)
    before = everything(engine)
    with monkeypatch.context() as patch:
        module = {"blend": cpu_engine, "scatter": encoding}.get(name, ray_pass)
        real = getattr(module, name)
        patch.setattr(module, name, failing(real, at, MemoryError("no room")))
        with pytest.raises(MemoryError):
            engine.step(rays(), RATES, LossWeights(), 0.6)
    assert same(everything(engine), before)
    for e in (engine, twin):
        e.step(rays(), RATES, LossWeights(), 0.6)
    assert same(everything(engine), everything(twin))
    assert not same(everything(engine), before)


@pytest.mark.parametrize(("module", "name", "at"), [
    (reference, "composite", 0), (torch, "where", 0), (torch, "where", 1),
])  # fmt: skip
def test_torchs_step_is_taken_or_has_not_been(
    module: Any, name: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TorchEngine(random_head(), "cpu", steps=32)
    engine.step(rays(40), RATES, LossWeights(), 0.3)
    before = everything(engine)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, failing(getattr(module, name), at, RuntimeError(TORCH_SAYS)))
        with pytest.raises(RuntimeError, match="allocate memory"):
            engine.step(rays(40), RATES, LossWeights(), 0.6)
    assert same(everything(engine), before)


def test_the_frame_whose_step_failed_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainSettings(config=SMALL, steps=100, size=48, samples=4000, hull_frames=12)
    trainer = Trainer(ball_footage(8), settings, WorkerPool(1))
    trainer.step()
    order, taken = list(trainer._order), trainer.step_index
    with monkeypatch.context() as patch:
        patch.setattr(ray_pass, "backward", failing(ray_pass.backward, 0, MemoryError()))
        with pytest.raises(MemoryError):
            trainer.step()
    assert (trainer._order, trainer.step_index) == (order, taken)
    whole = trainer.step().samples
    assert trainer.batch.halve()
    for _ in range(30):
        half = trainer.step().samples
    assert half < 0.75 * whole
    assert trainer.step_index == taken + 31
    again = Trainer(ball_footage(8), settings, WorkerPool(1))
    again.load_state({k: np.asarray(v) for k, v in trainer.state().items()})
    assert (again.batch.share, again.batch.rays) == (0.5, trainer.batch.rays)


@given(st.lists(st.integers(1, 100_000), max_size=40), st.integers(0, 10))
def test_rays_follow_the_samples_and_stay_within_bounds(seen: list[int], halvings: int) -> None:
    batch = BatchSize(16_000)
    halved = sum(batch.halve() for _ in range(halvings))
    assert batch.share == 0.5**halved >= LEAST_SHARE
    for samples in seen:
        batch.follow(samples)
        assert 16 <= batch.rays <= 4096 * batch.share + 16
    for _ in range(200):  # twelve samples a ray
        batch.follow(12 * batch.rays)
    assert batch.rays == pytest.approx(max(16_000 * batch.share / 12, 256 * batch.share, 16),
                                       rel=0.05, abs=12)  # fmt: skip


@pytest.mark.parametrize(("error", "memory"), [
    (MemoryError(), True), (RuntimeError(TORCH_SAYS), True),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
    (OSError(12, "Cannot allocate memory"), True), (OSError(28, "No space left"), False),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False), (ValueError("x"), False),
])  # fmt: skip
def test_errors_that_mean_memory_are_known(error: BaseException, memory: bool) -> None:
    assert out_of_memory(error) is memory
