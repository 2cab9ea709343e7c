"""Some rays of a training step, forward and backward: what one thread does by itself.

The rule: reads weights, writes only what it returns; gradients of tables wait in the returned part
until they can be added grid by grid. Forward goes in rounds, so that nothing behind the skin is
evaluated. Reference: Mildenhall et al. 2020, eq. 3. Twin: nerf.reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nerf.cpu.composite import accumulate, ray_gradient, ray_sums, ray_weights
from nerf.cpu.encoding import Encoding, in_units
from nerf.cpu.march import clip_rays, march
from nerf.cpu.networks import Activations, backward, forward, split
from nerf.step import CUTOFF, LossWeights, RayBatch

Float32 = NDArray[np.float32]
ROUND = 24  # samples per ray between two looks at the transmittance


class Scene(NamedTuple):
    """What all threads of a step read."""

    encoding: Encoding
    weights: list[Tensor]
    """Of both networks."""
    density_layers: int
    occupancy: NDArray[np.uint8]
    """[G, G, G]"""
    coarse: NDArray[np.uint8]
    """As `nerf.cpu.march.coarsen` gives it."""
    step: np.float32
    """Between samples, cube edges."""


class Round(NamedTuple):
    """Samples of some rays, front to back."""

    xyz: Float32
    """[S, 3]"""
    looked_up: Float32
    """[S, 3]: where the warp moved them."""
    t: Float32
    """[S]"""
    ray: NDArray[np.int32]
    """[S]"""
    acts: Activations


class TableGradient(NamedTuple):
    """A round's gradients that are still to be added to the tables."""

    xyz: Float32
    """[S, 3]"""
    looked_up: Float32
    """[S, 3]"""
    features: Float32
    """[S, L·4]"""
    warp: Float32 | None
    """[S, 4]; None without a warp."""


@dataclass(slots=True)
class Part:
    """One thread's share of a step between the phases."""

    tables: list[TableGradient]
    networks: list[Tensor]
    """Gradients by both networks' matrices."""
    loss: float
    """Summed over the rays."""
    errors: Float32
    """[R]: each ray's mean squared colour error."""
    samples: int
    rigid: NDArray[np.float64]
    """[6], as `nerf.step.StepResult.rigid_gradient`."""


def ray_pass(scene: Scene, batch: RayBatch, span: slice, loss: LossWeights, jitter: float,
             rigid: bool) -> Part:  # fmt: skip
    """The rays of `span`: forward in rounds, loss, backward to the features."""
    return _backward(scene, batch, span, loss, _forward(scene, batch, span, jitter), rigid)


def _forward(scene: Scene, batch: RayBatch, span: slice, jitter: float) -> list[Round]:
    directions = batch.directions[span]
    rays = len(directions)
    density, color = split(scene.weights, scene.density_layers)
    start, exit_ = np.empty(rays, np.float32), np.empty(rays, np.float32)
    clip_rays(batch.origin, directions, start, exit_)
    start -= np.float32(jitter) * scene.step
    alive = np.flatnonzero(exit_ > start + scene.step).astype(np.int32)
    cursor, trans = np.zeros(rays, np.int32), np.ones(rays, np.float32)
    scratch, scratch1 = np.zeros((rays, 3), np.float32), np.zeros(rays, np.float32)
    rounds: list[Round] = []
    while len(alive):
        size = len(alive) * ROUND
        xyz, t = np.empty((size, 3), np.float32), np.empty(size, np.float32)
        first, count = np.empty(len(alive), np.int32), np.empty(len(alive), np.int32)
        total = march(batch.origin, directions, alive, start, cursor, exit_, scene.step,
                      scene.occupancy, scene.coarse, ROUND, xyz, t, first, count)  # fmt: skip
        if not total:
            break
        looked_up = scene.encoding.warped(xyz[:total])
        features = scene.encoding.features(looked_up)
        acts = forward(torch.from_numpy(features), density, color)
        rounds.append(Round(xyz[:total], looked_up, t[:total], np.repeat(alive, count), acts))
        kept = accumulate(alive, first, count, acts.sigma.numpy(), acts.rgb.numpy(), t, scene.step,
                          CUTOFF, cursor, trans, scratch, scratch1)  # fmt: skip
        alive = alive[:kept]
    return rounds


def _backward(scene: Scene, batch: RayBatch, span: slice, loss: LossWeights,
              rounds: list[Round], rigid: bool) -> Part:  # fmt: skip
    rgb_target, alpha_target = batch.rgb[span], batch.alpha[span]
    background = np.ascontiguousarray(batch.background[span])
    rays = len(rgb_target)
    shown = np.zeros((rays, 3), np.float32)
    opacity, depth = np.zeros(rays, np.float32), np.zeros(rays, np.float32)
    trans = np.ones(rays, np.float32)
    weights = []
    for r in rounds:
        weight = np.empty(len(r.t), np.float32)
        ray_weights(r.ray, r.acts.sigma.numpy(), scene.step, CUTOFF, trans, weight)
        ray_sums(r.ray, weight, r.acts.rgb.numpy(), r.t, shown, opacity, depth)
        weights.append(weight)
    shown += (1.0 - opacity)[:, None] * background
    mean_t = depth / np.maximum(opacity, 1e-6)
    off, off_alpha = shown - rgb_target, opacity - alpha_target
    huber = np.float32(loss.huber)
    grad_color = np.clip(off / huber, -1.0, 1.0) * np.float32(1 / 3)
    grad_opacity = np.clip(off_alpha / huber, -1.0, 1.0) * np.float32(loss.mask)
    grad_spread = np.full(rays, loss.spread, np.float32)
    total_loss = float(_huber(off, loss.huber).sum()) / 3
    total_loss += loss.mask * float(_huber(off_alpha, loss.huber).sum())
    density, color = split(scene.weights, scene.density_layers)
    part = Part([], [torch.zeros_like(w) for w in scene.weights], total_loss,
                (off * off).mean(axis=1), 0, np.zeros(6))  # fmt: skip
    tail = np.zeros(rays, np.float32)
    for r, weight in zip(reversed(rounds), reversed(weights), strict=True):
        n = len(r.t)
        grad_sigma, grad_rgb = np.empty(n, np.float32), np.empty((n, 3), np.float32)
        ray_gradient(r.ray, weight, r.acts.sigma.numpy(), r.acts.rgb.numpy(), r.t, scene.step,
                     background, grad_color, grad_opacity, mean_t, grad_spread, trans, tail,
                     grad_sigma, grad_rgb)  # fmt: skip
        part.loss += loss.spread * float((weight * (r.t - mean_t[r.ray]) ** 2).sum())
        grad, grads = backward(r.acts, density, color, torch.from_numpy(grad_sigma),
                               torch.from_numpy(grad_rgb))  # fmt: skip
        for total, g in zip(part.networks, grads, strict=True):
            total += g
        part.samples += n
        _to_points(scene.encoding, r, grad.numpy(), part, rigid)
    return part


def _to_points(encoding: Encoding, r: Round, features: Float32, part: Part, rigid: bool) -> None:
    """Note a round's gradients by the tables, and add those by the head's rigid motion."""
    if not (rigid or encoding.warp):
        part.tables.append(TableGradient(r.xyz, r.looked_up, features, None))
        return
    by_points = encoding.point_gradient(r.looked_up, features)
    by_warp = in_units(by_points)
    part.tables.append(
        TableGradient(r.xyz, r.looked_up, features, by_warp if encoding.warp else None)
    )
    if rigid:
        force = encoding.through_warp(r.xyz, by_points, by_warp)[:, :3]
        part.rigid[:3] += np.cross(r.xyz - np.float32(0.5), force).sum(axis=0)
        part.rigid[3:] += force.sum(axis=0)


def _huber(x: Float32, delta: float) -> Float32:
    """Smooth L1 with slope 1 outside ±delta."""
    a = np.abs(x)
    return np.where(a < delta, 0.5 * a * a / delta, a - 0.5 * delta)
