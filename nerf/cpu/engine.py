"""One training step on the CPU: blend, march, shade, composite, and all of it backwards.

The rule: four phases with a barrier between them, each spread over the threads without a shared
write: (1) blend by entry range, (2) rays by part, (3) scatter by grid level, (4) Adam by entry
range. Only the last one changes weights or memories, and it asks for next to no memory: a step
that fails for want of it has not been.
Reference: the paper's training set-up; Kingma & Ba 2015. Twin: nerf.reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nerf.config import FEATURES, WARP_UNIT
from nerf.cpu.composite import accumulate, ray_gradient, ray_sums, ray_weights
from nerf.cpu.encode import point_gradient, scatter
from nerf.cpu.lookup import displace, look_up
from nerf.cpu.march import clip_rays, coarsen, march
from nerf.cpu.networks import Activations, backward, density_only, forward, split
from nerf.cpu.pool import WorkerPool
from nerf.cpu.tables import aligned, blend, step_tables
from nerf.field import HeadField

Float32 = NDArray[np.float32]
ROUND = 24  # samples per ray between two looks at the transmittance
CUTOFF = np.float32(1e-3)
WARP = -1  # as a level, the last to be scattered


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


class _Round(NamedTuple):
    """Samples of some rays, front to back."""

    seen: Float32
    """[S, 3]"""
    looked_up: Float32
    """[S, 3]: where the warp moved them."""
    t: Float32
    """[S]"""
    ray: NDArray[np.int32]
    """[S]"""
    acts: Activations


@dataclass(slots=True)
class _Part:
    """One thread's share of a step between the phases."""

    xyz: list[Float32]
    grad_features: list[Float32]
    seen: list[Float32]  # points before the warp moved them
    grad_warp: list[Float32]
    grad_networks: list[Tensor]
    loss: float
    errors: Float32
    samples: int
    rigid: NDArray[np.float64]


class CpuEngine:
    """Holds a field's optimiser state and advances it batch by batch."""

    def __init__(self, field: HeadField, pool: WorkerPool, *, steps: int = 128,
                 betas: tuple[float, float] = (0.9, 0.99)) -> None:  # fmt: skip
        self.field = field
        self.pool = pool
        self.step_length = np.float32(1.0 / steps)
        self.betas = betas
        config = field.config
        self._offsets = np.array(config.offsets(), np.int64)
        self._resolutions = np.array(config.resolutions, np.int64)
        self._warp_offsets = np.array([0, config.warp_entries], np.int64)
        self._warp_cells = np.array([config.warp], np.int64)
        self._table, self._grad = aligned(config.entries), aligned(config.entries)
        self.moment1 = np.zeros((config.entries, 4), np.float32)
        self.moment2 = np.zeros((config.entries, 4), np.float32)
        self._weights = [torch.from_numpy(w) for w in field.networks]  # shares memory
        self._net1 = [torch.zeros_like(w) for w in self._weights]
        self._net2 = [torch.zeros_like(w) for w in self._weights]
        self.count = 0
        self.set_occupancy(field.occupancy)

    def set_occupancy(self, fine: NDArray[np.uint8]) -> None:
        """Use the grid uint8 [G, G, G] from the next step on."""
        self.field.occupancy = np.ascontiguousarray(fine)
        self._coarse = coarsen(self.field.occupancy)

    def store(self) -> None:
        """Bring the weights into the field's arrays; here they always are."""

    def weights(self) -> list[torch.Tensor]:
        """What steps change, as it is: the field's own arrays."""
        f = self.field
        return [torch.from_numpy(a) for a in (f.mean, f.tables, *f.networks)]

    def state(self) -> dict[str, Float32 | int]:
        """The optimiser's state as named arrays."""
        nets = {f"net{k}_{i}": m.numpy() for k, ms in enumerate((self._net1, self._net2))
                for i, m in enumerate(ms)}  # fmt: skip
        return {"moment1": self.moment1, "moment2": self.moment2, "count": self.count, **nets}

    def load_state(self, state: dict[str, Float32]) -> None:
        """Take over what `state` gave."""
        self.moment1[:] = state["moment1"]
        self.moment2[:] = state["moment2"]
        self.count = int(state["count"])
        for k, moments in enumerate((self._net1, self._net2)):
            for i, moment in enumerate(moments):
                moment.numpy()[:] = state[f"net{k}_{i}"]

    def blend(self, code: Float32) -> None:
        """Phase 1: the frame's table."""
        self._over_entries(
            lambda lo, hi: blend(self.field.mean, self.field.tables, code, lo, hi, self._table)
        )

    def _warped(self, xyz: Float32) -> Float32:
        """Where the points [S, 3] are looked up under the last blended expression."""
        cells = self.field.config.warp
        if not cells:
            return xyz
        moved, room = xyz.copy(), np.empty((len(xyz), FEATURES), np.float32)
        displace(self._table, cells, moved, len(moved), room)
        return moved

    def _look_up(self, xyz: Float32, features: Float32) -> None:
        look_up(self._table, self._offsets, self._resolutions, xyz, len(xyz), features)

    def density_at(self, xyz: Float32) -> Float32:
        """Densities [V] of cube coordinates [V, 3] under the last blended expression."""
        density, _ = split(self._weights, self.field.config.density_layers)
        out = np.empty(len(xyz), np.float32)

        def work(first: int) -> None:
            part = np.ascontiguousarray(xyz[first : first + 8192])
            features = np.empty((len(part), 4 * self.field.config.levels), np.float32)
            self._look_up(self._warped(part), features)
            out[first : first + 8192] = density_only(torch.from_numpy(features), density).numpy()

        self.pool.map(work, list(range(0, len(xyz), 8192)))
        return out

    def step(self, batch: RayBatch, rates: Rates, loss: LossWeights, jitter: float,
             *, rigid: bool = True) -> StepResult:  # fmt: skip
        """One optimisation step. `jitter` in [0, 1) moves the sample lattice along all rays;
        `rigid` also computes the gradient that refines the frame's pose."""
        self.blend(batch.code)
        rays = len(batch.directions)
        edges = np.linspace(0, rays, self.pool.threads + 1).astype(int)
        spans = [slice(a, b) for a, b in pairwise(edges) if b > a]
        parts = self.pool.map(lambda s: self._rays(batch, s, loss, jitter, rigid), spans)

        def spread(level: int) -> None:
            for part in parts:
                if level == WARP:
                    for xyz, grad in zip(part.seen, part.grad_warp, strict=True):
                        scatter(self._grad, self._warp_offsets, self._warp_cells, 0, xyz, grad)
                    continue
                for xyz, grad in zip(part.xyz, part.grad_features, strict=True):
                    scatter(self._grad, self._offsets, self._resolutions, level, xyz, grad)

        try:
            self.pool.map(spread, list(range(self.field.config.levels - 1, WARP - 1, -1)))
            networks = [sum(g[1:], start=g[0]) for g in
                        zip(*[p.grad_networks for p in parts], strict=True)]  # fmt: skip
        except BaseException:
            self._grad[:] = 0.0  # what was gathered of this step must not go into the next one
            raise
        self.count += 1
        beta1, beta2 = (np.float32(b) for b in self.betas)
        fix = np.sqrt(1 - self.betas[1] ** self.count) / (1 - self.betas[0] ** self.count)
        self._over_entries(
            lambda lo, hi: step_tables(
                self.field.mean, self.field.tables, self.moment1, self.moment2, self._grad,
                batch.code, lo, hi, np.float32(rates.table * fix),
                np.float32(rates.expression * fix), beta1, beta2, np.float32(rates.decay),
                np.float32(1e-12))
        )  # fmt: skip
        self._step_networks(networks, rates.network)
        return StepResult(
            sum(p.loss for p in parts) / rays,
            float(sum(p.errors.sum() for p in parts)) / rays,
            sum(p.samples for p in parts),
            np.sum([p.rigid for p in parts], axis=0),
            np.concatenate([p.errors for p in parts]),
        )

    def _over_entries(self, work) -> None:  # type: ignore[no-untyped-def]
        bounds = np.linspace(0, self.field.config.entries, 2 * self.pool.threads + 1).astype(int)
        self.pool.map(lambda i: work(bounds[i], bounds[i + 1]), list(range(len(bounds) - 1)))

    def _rays(self, batch: RayBatch, span: slice, loss: LossWeights, jitter: float,
              rigid: bool) -> _Part:  # fmt: skip
        """Phase 2 for the rays of `span`: forward in rounds, loss, backward to the features."""
        directions = batch.directions[span]
        rays = len(directions)
        density, color = split(self._weights, self.field.config.density_layers)
        start = np.empty(rays, np.float32)
        exit_ = np.empty(rays, np.float32)
        clip_rays(batch.origin, directions, start, exit_)
        start -= np.float32(jitter) * self.step_length
        alive = np.flatnonzero(exit_ > start + self.step_length).astype(np.int32)
        cursor = np.zeros(rays, np.int32)
        trans = np.ones(rays, np.float32)
        scratch, scratch1 = np.zeros((rays, 3), np.float32), np.zeros(rays, np.float32)
        rounds: list[_Round] = []
        while len(alive):
            size = len(alive) * ROUND
            xyz, t = np.empty((size, 3), np.float32), np.empty(size, np.float32)
            first, count = np.empty(len(alive), np.int32), np.empty(len(alive), np.int32)
            total = march(
                batch.origin,
                directions,
                alive,
                start,
                cursor,
                exit_,
                self.step_length,
                self.field.occupancy,
                self._coarse,
                ROUND,
                xyz,
                t,
                first,
                count,
            )
            if not total:
                break
            features = np.empty((total, 4 * self.field.config.levels), np.float32)
            looked_up = self._warped(xyz[:total])
            self._look_up(looked_up, features)
            acts = forward(torch.from_numpy(features), density, color)
            rounds.append(_Round(xyz[:total], looked_up, t[:total], np.repeat(alive, count), acts))
            kept = accumulate(
                alive,
                first,
                count,
                acts.sigma.numpy(),
                acts.rgb.numpy(),
                t,
                self.step_length,
                CUTOFF,
                cursor,
                trans,
                scratch,
                scratch1,
            )
            alive = alive[:kept]
        return self._backward(batch, span, loss, rounds, rigid)

    def _backward(self, batch: RayBatch, span: slice, loss: LossWeights,
                  rounds: list[_Round], rigid: bool) -> _Part:  # fmt: skip
        rgb_target, alpha_target = batch.rgb[span], batch.alpha[span]
        background = np.ascontiguousarray(batch.background[span])
        rays = len(rgb_target)
        shown = np.zeros((rays, 3), np.float32)
        opacity, depth = np.zeros(rays, np.float32), np.zeros(rays, np.float32)
        trans = np.ones(rays, np.float32)
        weights = []
        for _, _, t, ray, acts in rounds:
            weight = np.empty(len(t), np.float32)
            ray_weights(ray, acts.sigma.numpy(), self.step_length, CUTOFF, trans, weight)
            ray_sums(ray, weight, acts.rgb.numpy(), t, shown, opacity, depth)
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
        density, color = split(self._weights, self.field.config.density_layers)
        part = _Part([], [], [], [], [torch.zeros_like(w) for w in self._weights], total_loss,
                     (off * off).mean(axis=1), 0, np.zeros(6))  # fmt: skip
        tail = np.zeros(rays, np.float32)
        for (seen, xyz, t, ray, acts), weight in zip(reversed(rounds), reversed(weights),
                                                     strict=True):  # fmt: skip
            grad_sigma, grad_rgb = np.empty(len(t), np.float32), np.empty((len(t), 3), np.float32)
            ray_gradient(ray, weight, acts.sigma.numpy(), acts.rgb.numpy(), t, self.step_length,
                         background, grad_color, grad_opacity, mean_t, grad_spread, trans, tail,
                         grad_sigma, grad_rgb)  # fmt: skip
            part.loss += loss.spread * float((weight * (t - mean_t[ray]) ** 2).sum())
            grad, grads = backward(acts, density, color, torch.from_numpy(grad_sigma),
                                   torch.from_numpy(grad_rgb))  # fmt: skip
            for total, g in zip(part.grad_networks, grads, strict=True):
                total += g
            features = grad.numpy()
            part.xyz.append(xyz)
            part.grad_features.append(features)
            part.samples += len(t)
            warp = self.field.config.warp > 0
            if not (rigid or warp):
                continue
            g_xyz = np.zeros((len(t), FEATURES), np.float32)
            point_gradient(self._table, self._offsets, self._resolutions, xyz, features, g_xyz)
            if warp:
                g_warp = g_xyz * np.float32(WARP_UNIT)
                part.seen.append(seen)
                part.grad_warp.append(g_warp)
            if rigid:
                if warp:
                    point_gradient(self._table, self._warp_offsets, self._warp_cells, seen,
                                   g_warp, g_xyz)  # fmt: skip
                force = g_xyz[:, :3]
                part.rigid[:3] += np.cross(seen - np.float32(0.5), force).sum(axis=0)
                part.rigid[3:] += force.sum(axis=0)
        return part

    def _step_networks(self, gradients: list[Tensor], rate: float) -> None:
        beta1, beta2 = self.betas
        fix1, fix2 = 1 - beta1**self.count, 1 - beta2**self.count
        for i, (weight, g) in enumerate(zip(self._weights, gradients, strict=True)):
            self._net1[i].mul_(beta1).add_(g, alpha=1 - beta1)
            self._net2[i].mul_(beta2).addcmul_(g, g, value=1 - beta2)
            scale = (self._net2[i] / fix2).sqrt_().add_(1e-15)
            weight.addcdiv_(self._net1[i], scale, value=-rate / fix1)


def _huber(x: Float32, delta: float) -> Float32:
    """Smooth L1 with slope 1 outside ±delta."""
    a = np.abs(x)
    return np.where(a < delta, 0.5 * a * a / delta, a - 0.5 * delta)
