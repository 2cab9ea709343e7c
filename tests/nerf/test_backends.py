"""The choice of a backend: what is wished for, what is there, what happens when it fails."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from nerf import backends
from nerf.backends import BackendError, Choice, SteadyRenderer, candidates, choose, open_engine
from nerf.camera import head_pose, portrait_camera
from nerf.cpu.engine import CpuEngine
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import CpuRenderer
from nerf.renderer import HeadRenderer
from tests.nerf.heads import random_head

POSE, CAMERA = head_pose((0.0, 0.2, 0.0), 0.5), portrait_camera(16, 0.5, 2.6)


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: bool = True, triton: bool = True,
            tcnn: bool = True, capability: tuple[int, int] = (9, 0)) -> None:  # fmt: skip
    """Pretend to be a machine with these parts."""
    for name in ("TRITON_INTERPRET", "FACEWIRE_DEVICE", "FACEWIRE_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Pretender 9")
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    there = {"triton": triton, "tinycudann": tcnn}
    monkeypatch.setattr(backends, "find_spec", lambda name: there[name] or None)
    monkeypatch.setattr("nerf.tcnn_backend.import_error", lambda: None if tcnn else "no")


def names(device: str = "auto", backend: str = "auto") -> list[str]:
    return [c.backend for c in candidates(device, backend)]


def test_auto_takes_the_best_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    assert names() == ["triton", "tcnn", "torch", "cpu"]
    assert [c.device for c in candidates()] == ["cuda", "cuda", "cuda", "cpu"]
    machine(monkeypatch, triton=False, tcnn=False)
    assert names() == ["torch", "cpu"]
    machine(monkeypatch, cuda=False)
    assert names() == ["cpu"]
    assert names("cpu") == ["cpu"]


def test_the_environment_speaks_where_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    monkeypatch.setenv("FACEWIRE_BACKEND", "torch")
    assert names() == ["torch", "cpu"]
    assert names("auto", "tcnn") == ["tcnn", "torch", "cpu"]
    monkeypatch.setenv("FACEWIRE_DEVICE", "cpu")
    assert candidates() == [Choice("torch", "cpu"), Choice("cpu", "cpu")]


@pytest.mark.parametrize(("parts", "sentence"), [
    ({"triton": False}, "Triton is not installed"),
    ({"cuda": False}, "triton needs a CUDA device, and "),
    ({"capability": (6, 1)}, "compute capability 7.5, and the Pretender 9 has less"),
])  # fmt: skip
def test_a_wish_that_cannot_be_met_goes_on_with_the_next_best(
    parts: dict[str, Any],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine(monkeypatch, **parts)
    choice = choose(backend="triton")
    assert choice.backend != "triton"
    assert any(sentence in s and "going on without triton" in s for s in choice.passed_over)
    with caplog.at_level(logging.WARNING, logger="nerf.backends"):
        backends.open_first([choice], lambda c: c)
    assert [r.message for r in caplog.records] == list(choice.passed_over)


def test_only_demanding_cuda_where_there_is_none_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, cuda=False)
    with pytest.raises(BackendError, match="use --device cpu"):
        candidates("cuda")
    assert names("auto", "torch") == ["torch", "cpu"]
    assert candidates("cpu", "torch")[0] == Choice("torch", "cpu")
    with pytest.raises(ValueError, match="no backend 'metal'"):
        candidates("auto", "metal")
    with pytest.raises(ValueError, match="on device 'tpu'"):
        candidates("tpu")


class Failing:
    """Draws one picture, then breaks."""

    def __init__(self, error: Exception) -> None:
        self.error, self.drawn = error, 0

    def set_expression(self, expression: object) -> None: ...

    def render(self, *_: object) -> object:
        self.drawn += 1
        if self.drawn > 1:
            raise self.error
        return SimpleNamespace(rgb=None)


@pytest.mark.parametrize(("error", "cause"), [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory is full"),
    (RuntimeError("the provided PTX was compiled with an unsupported toolchain\nmore"),
     "unsupported toolchain)"),
])  # fmt: skip
def test_a_backend_that_breaks_in_mid_call_is_replaced_with_one_sentence(
    error: Exception, cause: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(monkeypatch, tcnn=False)
    field, pool = random_head(), WorkerPool(1)
    broken = Failing(error)

    def make(field: Any, pool: Any, choice: Choice) -> Any:
        if choice.backend == "torch":
            raise RuntimeError("sticky CUDA error")
        return broken if choice.backend == "triton" else CpuRenderer(field, pool)

    monkeypatch.setattr(backends, "make_renderer", make)
    expression = np.random.default_rng(1).random(46)
    with caplog.at_level(logging.WARNING, logger="nerf.backends"):
        steady = SteadyRenderer(field, pool)
        assert steady.choice.backend == "triton"
        steady.set_expression(expression)
        steady.render(POSE, CAMERA)
        picture = steady.render(POSE, CAMERA)
    assert steady.choice == Choice("cpu", "cpu", steady.choice.passed_over)
    assert [r.message.count("going on with") for r in caplog.records] == [1, 1]
    assert cause in caplog.records[0].message
    plain = CpuRenderer(field, pool)
    plain.set_expression(expression)
    np.testing.assert_array_equal(picture.rgb, plain.render(POSE, CAMERA).rgb)


def test_misuse_is_not_taken_for_a_broken_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    misused = Failing(ValueError("expression and pose must be finite"))
    monkeypatch.setattr(backends, "make_renderer", lambda *_: misused)
    steady = SteadyRenderer(random_head(), WorkerPool(1))
    steady.render(POSE, CAMERA)
    with pytest.raises(ValueError, match="finite"):
        steady.render(POSE, CAMERA)
    assert steady.choice.backend == "triton"


def test_engine_falls_back_when_it_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(monkeypatch)
    real = backends.make_engine

    def make(field: Any, pool: Any, choice: Choice, betas: Any) -> Any:
        if choice.device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(field, pool, choice, betas)

    monkeypatch.setattr(backends, "make_engine", make)
    engine, choice = open_engine(random_head(), WorkerPool(1))
    assert isinstance(engine, CpuEngine)
    assert choice.backend == "cpu"
    assert len([r for r in caplog.records if "memory is full" in r.message]) == 3
    blank = np.zeros((1, 4, 4), np.uint8)
    assert backends.open_resident(engine, blank, blank, [], []) is None


def test_head_renderer_says_what_draws() -> None:
    renderer = HeadRenderer(random_head(), 0.5, 2.6, 1, device="cpu", backend="torch")
    assert renderer.backend == "torch on cpu"
    assert HeadRenderer(random_head(), 0.5, 2.6, 1, device="cpu").backend == "cpu on cpu"
