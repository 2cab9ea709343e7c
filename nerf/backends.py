"""Which kernels draw and train: Triton, tiny-cuda-nn, plain PyTorch, or our own on the CPU.

The rule: a wish that cannot be met costs one logged sentence and the next best backend, never the
call; only `device="cuda"` without a CUDA device is an error. The order of `BACKENDS` is best first,
and the last one works everywhere.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera
from nerf.cpu.engine import CpuEngine
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import CpuRenderer, Rendered
from nerf.field import HeadField
from nerf.step import LossWeights, Rates, RayBatch, StepResult
from nerf.torch_backend import TorchEngine, TorchRenderer

BACKENDS = ("triton", "tcnn", "torch", "cpu")
DEVICES = ("auto", "cuda", "cpu")
MIN_CAPABILITY = (7, 5)  # what Triton 3 still compiles tensor-core products for

log = logging.getLogger(__name__)
T = TypeVar("T")
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class BackendError(ValueError):
    """The device that was asked for is not there; the sentence says what to do."""


class RenderBackend(Protocol):
    """Draws one head; see `nerf.cpu.render.CpuRenderer`."""

    def set_expression(self, expression: ArrayLike) -> None: ...

    def render(self, pose: ArrayLike, camera: Camera, background: ArrayLike = ...,
               rigid: ArrayLike | None = None) -> Rendered: ...  # fmt: skip


class TrainEngine(Protocol):
    """Advances a field batch by batch; see `nerf.cpu.engine.CpuEngine`."""

    field: HeadField
    step_length: np.float32

    def set_occupancy(self, fine: NDArray[np.uint8]) -> None: ...

    def store(self) -> None: ...

    def weights(self) -> list[torch.Tensor]: ...

    def state(self) -> dict[str, Float32 | int]: ...

    def load_state(self, state: dict[str, Float32]) -> None: ...

    def blend(self, code: Float32) -> None: ...

    def density_at(self, xyz: Float32) -> Float32: ...

    def step(self, batch: RayBatch, rates: Rates, loss: LossWeights, jitter: float, *,
             rigid: bool = True) -> StepResult: ...  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend that should work here."""

    backend: str
    """One of `BACKENDS`."""
    device: str
    """"cuda" or "cpu", a name torch knows."""
    passed_over: tuple[str, ...] = ()
    """A sentence for each better backend that was wished for and is not to be had."""


def interpreting() -> bool:
    """Whether Triton's kernels run in its interpreter: slow, on any device, for tests."""
    return os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")


def why_not(backend: str, device: str) -> str | None:
    """Why `backend` cannot be used on `device` ("cuda", "cpu"), or None if it should work."""
    if backend == "cpu":
        return None
    if backend == "torch":
        return no_cuda() if device == "cuda" else None
    if backend == "triton":
        if find_spec("triton") is None:
            return "Triton is not installed (torch's CUDA builds for Linux and Windows bring it)"
        if interpreting():
            return None
    elif find_spec("tinycudann") is None:
        return "tinycudann is not installed (docs/gpu.md says how)"
    if (reason := no_cuda()) is not None:
        return f"{backend} needs a CUDA device, and {reason}"
    if device == "cpu":
        return f"{backend} needs a CUDA device"
    if torch.cuda.get_device_capability() < MIN_CAPABILITY:
        name = torch.cuda.get_device_name()
        return f"{backend} needs compute capability 7.5, and the {name} has less"
    if backend == "tcnn":
        from nerf.tcnn_backend import import_error

        return import_error()
    return None


def no_cuda() -> str | None:
    """Why no CUDA device can be used, or None if one can."""
    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return "this PyTorch is built without CUDA"
    return ("PyTorch sees no CUDA device (there is none, or its driver is too old for CUDA "
            f"{torch.version.cuda})")  # fmt: skip


def candidates(device: str = "auto", backend: str = "auto") -> list[Choice]:
    """What may be tried for a wish, best first; the last is sure to work.

    A wish of "auto" is that of the environment's FACEWIRE_DEVICE and FACEWIRE_BACKEND, if set.
    `BackendError` where CUDA is demanded and absent; ValueError for unknown names.
    """
    if device == "auto":
        device = os.environ.get("FACEWIRE_DEVICE", "auto")
    if backend == "auto":
        backend = os.environ.get("FACEWIRE_BACKEND", "auto")
    if device not in DEVICES or backend not in ("auto", *BACKENDS):
        raise ValueError(f"no backend {backend!r} on device {device!r}: "
                         f"there are {', '.join(BACKENDS)} on {', '.join(DEVICES)}")  # fmt: skip
    missing = no_cuda()
    if device == "cuda" and missing is not None:
        raise BackendError(f"{missing}: use --device cpu")
    where = "cpu" if device == "cpu" or missing is not None else "cuda"
    wished = BACKENDS if backend == "auto" else BACKENDS[BACKENDS.index(backend) :]
    if backend == "auto" and where == "cpu":
        wished = ("cpu",)  # nothing beats our own kernels there, and nobody asked for others
    out: list[Choice] = []
    passed: list[str] = []
    for name in wished:
        reason = why_not(name, where)
        if reason is not None and (name, backend) == ("tcnn", "auto"):
            continue  # optional: nobody misses it who has not asked for it
        if reason is not None:
            passed.append(f"{reason}: going on without {name}")
        elif name != "torch" or where == "cuda" or backend == "torch":
            out.append(Choice(name, "cpu" if name == "cpu" else where, tuple(passed)))
    return out


def choose(device: str = "auto", backend: str = "auto") -> Choice:
    """The best backend for a wish; see `candidates`. Sentences are in `passed_over`, not logged."""
    return candidates(device, backend)[0]


def open_first(choices: list[Choice], make: Callable[[Choice], T]) -> tuple[T, list[Choice]]:
    """The first of `choices` that can be made, and the choices that are left behind it."""
    for sentence in choices[0].passed_over:
        log.warning(sentence)
    for i, choice in enumerate(choices[:-1]):
        try:
            return make(choice), choices[i + 1 :]
        except Exception as error:
            step_down(choice, choices[i + 1], error)
    return make(choices[-1]), []


def step_down(failed: Choice, following: Choice, error: Exception) -> None:
    """Log in one sentence that one backend failed and which takes over; re-raise what is a bug
    or misuse rather than the machine's lack."""
    if isinstance(error, (ValueError, TypeError, AttributeError, KeyError, AssertionError)):
        raise error
    if isinstance(error, torch.OutOfMemoryError):
        cause = "the GPU's memory is full"
        torch.cuda.empty_cache()
    else:
        lines = str(error).strip().splitlines()
        cause = lines[0] if lines else type(error).__name__
    log.warning("%s failed (%s): going on with %s", failed.backend, cause, following.backend)


def make_renderer(field: HeadField, pool: WorkerPool, choice: Choice) -> RenderBackend:
    """A renderer of exactly this choice; whatever the machine lacks is raised."""
    if choice.backend == "triton":
        from nerf.gpu.renderer import TritonRenderer

        return TritonRenderer(field, choice.device)
    if choice.backend == "tcnn":
        from nerf.tcnn_backend import TcnnRenderer

        return TcnnRenderer(field, choice.device)
    if choice.backend == "torch":
        return TorchRenderer(field, choice.device)
    return CpuRenderer(field, pool)


def make_engine(field: HeadField, pool: WorkerPool, choice: Choice,
                betas: tuple[float, float] = (0.9, 0.99)) -> TrainEngine:  # fmt: skip
    """A training engine of exactly this choice; whatever the machine lacks is raised."""
    if choice.backend == "triton":
        from nerf.gpu.engine import TritonEngine

        engine = TritonEngine(field, choice.device, betas=betas)
        engine.blend(np.zeros(field.config.rank, np.float32))
        engine.density_at(np.zeros((1, 3), np.float32))  # now rather than in the first step
        return engine
    if choice.backend == "tcnn":
        from nerf.tcnn_backend import TcnnEngine

        return TcnnEngine(field, choice.device, betas=betas)
    if choice.backend == "torch":
        return TorchEngine(field, choice.device, betas=betas)
    return CpuEngine(field, pool, betas=betas)


def open_engine(field: HeadField, pool: WorkerPool, device: str = "auto", backend: str = "auto",
                betas: tuple[float, float] = (0.9, 0.99),
                ) -> tuple[TrainEngine, Choice]:  # fmt: skip
    """The best training engine that starts here, and which one it is."""
    choices = candidates(device, backend)
    engine, rest = open_first(choices, lambda c: make_engine(field, pool, c, betas))
    return engine, choices[len(choices) - len(rest) - 1]


class Resident(Protocol):
    """Training with the footage on the device; see `nerf.gpu.resident.ResidentTraining`."""

    def believe(self, codes: ArrayLike, rigid: ArrayLike, moment1: ArrayLike, moment2: ArrayLike,
                count: ArrayLike) -> None: ...  # fmt: skip

    def poses(self) -> tuple[Float64, Float64, Float64, NDArray[np.int64]]: ...

    def aim(self, detail_share: float, hard_share: float,
            heights: Float64 | None) -> None: ...  # fmt: skip

    def errors(self) -> tuple[Float64, Float64]: ...

    def run(self, order: Sequence[int], seeds: ArrayLike, rates: Sequence[Rates],
            loss: LossWeights, jitter: ArrayLike, pose_rates: Sequence[float], rays: int,
            samples: float, *, refine: bool) -> tuple[StepResult, int]: ...  # fmt: skip


def open_resident(engine: TrainEngine, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8],
                  boxes: ArrayLike, views: Sequence[tuple[ArrayLike, Camera]],
                  parts: ArrayLike | None = None) -> Resident | None:  # fmt: skip
    """The footage beside a Triton engine, or None: steps then take their rays from the host."""
    if type(engine).__module__ != "nerf.gpu.engine":
        return None
    from nerf.gpu.engine import TritonEngine
    from nerf.gpu.resident import ResidentTraining

    assert isinstance(engine, TritonEngine)
    try:
        return ResidentTraining(engine, rgb, alpha, boxes, views, parts)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        log.warning("the footage does not fit into the GPU's memory: it stays on the host")
        return None


class SteadyRenderer:
    """A renderer that steps down to the next best backend when one fails, also in mid-call."""

    def __init__(self, field: HeadField, pool: WorkerPool, device: str = "auto",
                 backend: str = "auto") -> None:  # fmt: skip
        self._make: Callable[[Choice], RenderBackend] = lambda c: make_renderer(field, pool, c)
        choices = candidates(device, backend)
        self._inner, self._rest = open_first(choices, self._make)
        self.choice = choices[len(choices) - len(self._rest) - 1]
        self._expression: ArrayLike = field.code.mean

    def set_expression(self, expression: ArrayLike) -> None:
        """Blend the tables for the numbers [K] of a face (`nerf.expression`)."""
        self._expression = expression
        self._steadily(lambda inner: inner.set_expression(expression))

    def set_stride(self, stride: float) -> None:
        """Lengthen the steps along rays: faster and worse. Only our own CPU kernels need that."""
        if isinstance(self._inner, CpuRenderer):
            self._inner.stride = stride

    def render(self, pose: ArrayLike, camera: Camera, background: ArrayLike = (1.0, 1.0, 1.0),
               rigid: ArrayLike | None = None) -> Rendered:  # fmt: skip
        """The picture under head → camera `pose` [4, 4] (metres), with the blended expression."""
        return self._steadily(lambda inner: inner.render(pose, camera, background, rigid))

    def _steadily(self, work: Callable[[RenderBackend], T]) -> T:
        while self._rest:
            try:
                return work(self._inner)
            except Exception as error:
                step_down(self.choice, self._rest[0], error)
                following = self._rest
                self._inner, self._rest = open_first(following, self._make)
                self.choice = following[len(following) - len(self._rest) - 1]
                self._inner.set_expression(self._expression)
        return work(self._inner)
