"""One training step on the CPU: blend, march, shade, composite, and all of it backwards.

The rule: four phases with a barrier between them, each spread over the threads without a shared
write: (1) blend by entry range, (2) rays by part, (3) scatter by grid level, (4) Adam by entry
range. Only the last one changes weights or memories, and it asks for next to no memory: a step
that fails for want of it has not been.
Reference: the paper's training set-up; Kingma & Ba 2015. Twin: nerf.reference.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nerf.cpu.encoding import WARP, Encoding
from nerf.cpu.march import coarsen
from nerf.cpu.networks import density_only, split
from nerf.cpu.pool import WorkerPool
from nerf.cpu.ray_pass import Scene, ray_pass
from nerf.cpu.tables import blend, step_tables
from nerf.field import HeadField
from nerf.step import LossWeights, Rates, RayBatch, StepResult

Float32 = NDArray[np.float32]


class CpuEngine:
    """Holds a field's optimiser state and advances it batch by batch."""

    def __init__(self, field: HeadField, pool: WorkerPool, *, steps: int = 128,
                 betas: tuple[float, float] = (0.9, 0.99)) -> None:  # fmt: skip
        self.field = field
        self.pool = pool
        self.step_length = np.float32(1.0 / steps)
        self.betas = betas
        config = field.config
        self.encoding = Encoding(config)
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
        field, table = self.field, self.encoding.table
        self._over_entries(lambda lo, hi: blend(field.mean, field.tables, code, lo, hi, table))

    def density_at(self, xyz: Float32) -> Float32:
        """Densities [V] of cube coordinates [V, 3] under the last blended expression."""
        density, _ = split(self._weights, self.field.config.density_layers)
        out = np.empty(len(xyz), np.float32)

        def work(first: int) -> None:
            part = np.ascontiguousarray(xyz[first : first + 8192])
            features = self.encoding.features(self.encoding.warped(part))
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
        field, encoding = self.field, self.encoding
        scene = Scene(encoding, self._weights, field.config.density_layers, field.occupancy,
                      self._coarse, self.step_length)  # fmt: skip
        parts = self.pool.map(lambda s: ray_pass(scene, batch, s, loss, jitter, rigid), spans)

        def spread(grid: int) -> None:
            for gradient in (g for part in parts for g in part.tables):
                if grid != WARP:
                    encoding.scatter(grid, gradient.looked_up, gradient.features)
                elif gradient.warp is not None:
                    encoding.scatter(grid, gradient.xyz, gradient.warp)

        try:
            self.pool.map(spread, encoding.grids)
            networks = [sum(g[1:], start=g[0]) for g in
                        zip(*[p.networks for p in parts], strict=True)]  # fmt: skip
        except BaseException:
            encoding.grad[:] = 0.0  # what was gathered of this step must not go into the next one
            raise
        self.count += 1
        beta1, beta2 = (np.float32(b) for b in self.betas)
        fix = np.sqrt(1 - self.betas[1] ** self.count) / (1 - self.betas[0] ** self.count)
        self._over_entries(
            lambda lo, hi: step_tables(
                field.mean, field.tables, self.moment1, self.moment2, encoding.grad,
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

    def _step_networks(self, gradients: list[Tensor], rate: float) -> None:
        beta1, beta2 = self.betas
        fix1, fix2 = 1 - beta1**self.count, 1 - beta2**self.count
        for i, (weight, g) in enumerate(zip(self._weights, gradients, strict=True)):
            self._net1[i].mul_(beta1).add_(g, alpha=1 - beta1)
            self._net2[i].mul_(beta2).addcmul_(g, g, value=1 - beta2)
            scale = (self._net2[i] / fix2).sqrt_().add_(1e-15)
            weight.addcdiv_(self._net1[i], scale, value=-rate / fix1)
