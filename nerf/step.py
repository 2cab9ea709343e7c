"""What a training step takes and what it gives, whatever engine takes it.

The rule: nothing here does anything. References: the paper's training set-up; Kingma & Ba 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
CUTOFF = np.float32(1e-3)
"""Transmittance at which a ray ends in training."""


@dataclass(frozen=True, slots=True, eq=False)
class RayBatch:
    """Rays of one frame with what they should show."""

    code: Float32
    """Float32 [B], the frame's table weights."""
    origin: Float32
    """Float32 [3], cube coordinates."""
    directions: Float32
    """Float32 [R, 3], unit, cube axes."""
    rgb: Float32
    """Float32 [R, 3], the pixel over `background`."""
    alpha: Float32
    """Float32 [R], the matte, 0..1."""
    background: Float32
    """Float32 [R, 3], the colour behind the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """The loss: smooth L1 on colour and opacity, and the spread of each ray's weights."""

    huber: float = 0.05
    """Difference (of 0..1) below which the loss is quadratic."""
    mask: float = 0.3
    """Weight of opacity against the matte."""
    spread: float = 1.0
    """Weight of Σ w·(t − t̄)², t in cube edges: without it a frontal clip trains into fog; ten
    times more and the features of the face are smeared (held-out SSIM 0.93 instead of 0.95)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Learning rates of one step."""

    table: float
    """Mean hash table."""
    expression: float
    """Expression tables."""
    network: float
    """Both networks."""
    decay: float = 0.0
    """Share by which touched expression tables shrink per step."""


@dataclass(frozen=True, slots=True, eq=False)
class StepResult:
    """What one step did."""

    loss: float
    """Mean loss per ray."""
    error: float
    """Mean squared colour error over rays and channels."""
    samples: int
    """Field evaluations (forward; each also went backward)."""
    rigid_gradient: NDArray[np.float64]
    """Float64 [6]: loss gradient by a rotation vector about the cube's centre and a translation."""
    errors: Float32 | None = None
    """Float32 [R]: each ray's mean squared colour error; None where the engine keeps none."""
