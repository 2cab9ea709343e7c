"""A training step by Triton's kernels; the surface of `nerf.cpu.engine.CpuEngine`.

The rule: weights and optimiser state live on the device in float32; what the kernels multiply and
look up is a copy in `precision`, made anew each step. Products in half precision take gradients
that are scaled up; an overflow voids the step and halves the scale. `launch` runs a whole step
without looking at any number, so `nerf.gpu.resident` can make a graph of it.
Reference: Micikevicius et al. 2018 (mixed precision); Kingma & Ba 2015. Twin: nerf.torch_backend.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nerf.field import HeadField
from nerf.gpu.gradients import gather, propagate, settle
from nerf.gpu.losses import compose
from nerf.gpu.packing import join, level_table, power_of_two, sizes_of, split_gradient
from nerf.gpu.samples import density, evaluate, walk
from nerf.gpu.tables import blend, step_networks, step_tables
from nerf.step import CUTOFF, LossWeights, Rates, RayBatch, StepResult

HYPER = 16  # floats of a row of `hyper_row`
MAX_RAYS = 4096  # of a step
CAPACITY = 1 << 18  # samples of a step, at most
WALKERS = 8  # rays whose samples one program looks for
FIRST_SCALE = 1024.0  # of the loss, in half precision

Float32 = NDArray[np.float32]


def hyper_row(rates: Rates, loss: LossWeights, betas: tuple[float, float], count: int,
              jitter: float, pose_rate: float = 0.0) -> Float32:  # fmt: skip
    """All that one step's kernels want to know besides data; `count` is Adam's, from 1 on."""
    fix1, fix2 = 1 - betas[0] ** count, 1 - betas[1] ** count
    fix = np.sqrt(fix2) / fix1
    row = [rates.table * fix, rates.expression * fix, rates.network, fix1, fix2, *betas,
           rates.decay, jitter, loss.huber, loss.mask, loss.spread, pose_rate]  # fmt: skip
    return np.array(row + [0.0] * (HYPER - len(row)), np.float32)


class TritonEngine:
    """Holds a field's weights and optimiser state on a device and advances them."""

    def __init__(self, field: HeadField, device: str = "cuda", *, steps: int = 128,
                 betas: tuple[float, float] = (0.9, 0.99), capacity: int = CAPACITY,
                 max_rays: int = MAX_RAYS, precision: torch.dtype = torch.float16,
                 cutoff: float = float(CUTOFF), block: int | None = None) -> None:  # fmt: skip
        """`capacity` samples and `max_rays` rays a step, at most; `precision` of products, float16
        or float32; `block` samples that a program holds at once, by default what registers hold."""
        self.field, self.config, self.sizes = field, field.config, sizes_of(field.config)
        self.device = torch.device(device)
        self.step_length = np.float32(1.0 / steps)
        self.betas, self.cutoff, self.capacity = betas, cutoff, capacity
        self.block = block or (64 if self.sizes.inputs <= 32 else 32)
        self.count, self.max_rays = 0, max_rays
        cuda = self.device.type == "cuda"
        units = torch.cuda.get_device_properties(self.device).multi_processor_count if cuda else 1
        self.programs = 2 * units

        def zeros(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(*size, dtype=dtype, device=self.device)

        c, n = self.config, sum(w.size for w in field.networks)
        self.mean, self.moment1, self.moment2, self._grad_table = (
            zeros(c.entries, 4) for _ in range(4)
        )
        self.tables = zeros(c.rank, 4 * c.blended_entries)
        self._flat, self._grad_flat, self._net1, self._net2 = (zeros(n) for _ in range(4))
        self.networks, self._grad_networks = self._matrices(self._flat), self._matrices(
            self._grad_flat)  # fmt: skip
        self._weights = zeros(self.sizes.weights, dtype=precision)
        self._table = zeros(c.entries, 4)
        self._levels = torch.tensor(level_table(c), device=self.device)
        self._grad_packed = zeros(self.sizes.weights)
        self._slabs = zeros(self.programs, self.sizes.weights)
        self.rigid_slabs = zeros(self.programs, 8)
        self._zero = zeros(1, dtype=torch.int32)
        self.loss_state = zeros(4)
        self.loss_state[0] = FIRST_SCALE if precision == torch.float16 else 1.0
        # the rays of a step, and its samples
        self.code, self.origin = zeros(c.rank), zeros(3)
        self.rays = zeros(1, dtype=torch.int32)
        self.directions, self.target, self.background = (zeros(max_rays, 3) for _ in range(3))
        self.target_alpha, self.errors = zeros(max_rays), zeros(max_rays)
        self._first, self._counts = (zeros(max_rays, dtype=torch.int32) for _ in range(2))
        self._t, self._sigma, self._grad_sigma = (zeros(capacity) for _ in range(3))
        self._ray = zeros(capacity, dtype=torch.int32)
        self._rgb, self._grad_rgb = zeros(capacity, 3), zeros(capacity, 3)
        self.counters, self.totals = zeros(4, dtype=torch.int32), zeros(2)
        self.at_step, self.hyper = zeros(1, dtype=torch.int32), zeros(1, HYPER)
        self._fine = zeros(*field.occupancy.shape, dtype=torch.uint8)
        self._upload()
        self.set_occupancy(field.occupancy)

    def set_occupancy(self, fine: NDArray[np.uint8]) -> None:
        """Use the grid uint8 [G, G, G] from the next step on."""
        self.field.occupancy = np.ascontiguousarray(fine)
        full = (self.field.occupancy > 0).astype(np.uint8)
        self._fine.copy_(torch.tensor(full))  # in place: a graph knows the address

    def store(self) -> None:
        """Bring the weights into the field's arrays."""
        f, c = self.field, self.config
        f.mean[:] = self.mean.cpu().numpy()
        f.tables[:] = self.tables.cpu().numpy().T.reshape(c.blended_entries, 4, c.rank)
        for array, weight in zip(f.networks, self.networks, strict=True):
            array[:] = weight.cpu().numpy()

    def weights(self) -> list[Tensor]:
        """What steps change, as it is."""
        return [self.mean, self.tables, self._flat]

    def state(self) -> dict[str, Float32 | int]:
        """The optimiser's state as named arrays, as `CpuEngine.state` gives it."""
        nets = {f"net{k}_{i}": m.cpu().numpy() for k, flat in enumerate((self._net1, self._net2))
                for i, m in enumerate(self._matrices(flat))}  # fmt: skip
        return {"moment1": self.moment1.cpu().numpy(), "moment2": self.moment2.cpu().numpy(),
                "count": self.count, **nets}  # fmt: skip

    def load_state(self, state: dict[str, Float32]) -> None:
        """Take over what `state` gave, and the weights that the field's arrays hold now."""
        self._upload()
        self.moment1.copy_(torch.tensor(state["moment1"]))
        self.moment2.copy_(torch.tensor(state["moment2"]))
        self.count = int(state["count"])
        for k, flat in enumerate((self._net1, self._net2)):
            for i, moment in enumerate(self._matrices(flat)):
                moment.copy_(torch.tensor(state[f"net{k}_{i}"]))

    def blend(self, code: Float32) -> None:
        """The table that `density_at` looks into."""
        self.code.copy_(torch.tensor(np.asarray(code, np.float32)))
        self._launch_blend()
        join(self.networks, self.config, self._weights)

    def density_at(self, xyz: Float32) -> Float32:
        """Densities [V] of cube coordinates [V, 3] under the last blended expression."""
        points = torch.tensor(np.ascontiguousarray(xyz, np.float32), device=self.device)
        out = torch.empty(len(points), device=self.device)
        if len(points):
            density[(triton.cdiv(len(points), self.block),)](
                self._table, self._weights, self._levels, points, out, len(points),
                S=self.block, num_stages=1, **self._shape(),
            )  # fmt: skip
        return out.cpu().numpy()

    def step(self, batch: RayBatch, rates: Rates, loss: LossWeights, jitter: float,
             *, rigid: bool = True) -> StepResult:  # fmt: skip
        """One optimisation step; see `CpuEngine.step`."""
        n = len(batch.directions)
        if n > self.max_rays:
            raise ValueError(f"a step takes at most {self.max_rays} rays, not {n}")
        row = hyper_row(rates, loss, self.betas, self.count + 1, jitter)
        self.hyper[0].copy_(torch.tensor(row))
        self.code.copy_(torch.tensor(batch.code))
        self.origin.copy_(torch.tensor(batch.origin))
        self.rays.fill_(n)
        for place, array in ((self.directions, batch.directions), (self.target, batch.rgb),
                             (self.target_alpha, batch.alpha),
                             (self.background, batch.background)):  # fmt: skip
            place[:n].copy_(torch.tensor(np.ascontiguousarray(array)))
        self.totals.zero_()
        self.counters.zero_()
        scale = self.loss_scale
        self.launch(self.hyper, self._zero, rigid=rigid)
        settle[(1,)](self.loss_state, self.counters)
        self.count += 1
        total, error = self.totals.tolist()
        slabs = self.rigid_slabs[:, :6].sum(dim=0).double().cpu().numpy()
        moved = slabs / scale if rigid else np.zeros(6)
        errors = self.errors[:n].cpu().numpy()
        return StepResult(total / n, error / (3 * n), int(self.counters[1]), moved, errors)

    def launch(self, hyper: Tensor, at_step: Tensor, *, rigid: bool) -> None:
        """The kernels of one step on the rays that lie in the buffers, in order; `settle` ends it.

        Gradients by the frame's rigid motion lie in `rigid_slabs`, times the loss scale.
        """
        c, f32 = self.config, self.sizes
        grid = (self.programs,)
        self._launch_blend()
        join(self.networks, c, self._weights)
        walk[(triton.cdiv(self.max_rays, WALKERS),)](
            self.origin, self.directions, self.rays, self._fine, hyper, at_step, self._first,
            self._counts, self._t, self._ray, self.counters, self.capacity,
            float(self.step_length), G=self._fine.shape[0], R=WALKERS,
            N=power_of_two(int(3**0.5 / self.step_length) + 2),
        )  # fmt: skip
        lists = (self.origin, self.directions, self._t, self._ray, self.counters, self.capacity)
        evaluate[grid](self._table, self._weights, self._levels, *lists, self._sigma, self._rgb,
                       S=self.block, num_stages=1, **self._shape())  # fmt: skip
        compose[(triton.cdiv(self.max_rays, 16),)](
            self._first, self._counts, self.rays, self._t, self._sigma, self._rgb, self.target,
            self.target_alpha, self.background, hyper, at_step, self.loss_state, self._grad_sigma,
            self._grad_rgb, self.totals, self.errors, float(self.step_length), self.cutoff, R=16,
            N=32,
        )  # fmt: skip
        propagate[grid](
            self._table, self._weights, self._levels, *lists, self._grad_sigma, self._grad_rgb,
            self._grad_table, self._slabs, self.rigid_slabs, self.loss_state, WEIGHTS=f32.weights,
            S=self.block, RIGID=rigid, num_stages=1, num_warps=8 if self.block >= 64 else 4,
            **self._shape(),
        )  # fmt: skip
        gather[(triton.cdiv(f32.weights, 128),)](self._slabs, self._grad_packed, self.programs,
                                                 f32.weights, N=128)  # fmt: skip
        split_gradient(self._grad_packed, self.networks, c, self._grad_networks)
        count, blended = 4 * c.entries, 4 * c.blended_entries
        step_tables[(triton.cdiv(count, 1024),)](
            self.mean, self.tables, self.moment1, self.moment2, self._grad_table, self.code,
            hyper, at_step, self.loss_state, count, blended, c.rank, N=1024,
        )  # fmt: skip
        n = self._flat.numel()
        step_networks[(triton.cdiv(n, 1024),)](
            self._flat, self._net1, self._net2, self._grad_flat, hyper, at_step, self.loss_state,
            n, N=1024,
        )  # fmt: skip

    @property
    def loss_scale(self) -> float:
        """What the next step's loss is multiplied by before products in half precision."""
        return float(self.loss_state[0])

    @property
    def voided(self) -> int:
        """Steps that an overflow has voided so far."""
        return int(self.loss_state[3])

    def memories(self) -> list[Tensor]:
        """The optimiser's own tensors."""
        return [self.moment1, self.moment2, self._net1, self._net2, self.loss_state]

    def rays_kept(self) -> NDArray[np.bool_]:
        """Which rays of the last step took part: samples of the others did not fit."""
        n = int(self.rays[0])
        ends = (self._first[:n] + self._counts[:n]).cpu().numpy()
        starts = self._first[:n].cpu().numpy()
        return (ends > starts) & (ends <= self.capacity)

    def memory(self) -> int:
        """Bytes on the device."""
        own = [t for t in vars(self).values() if isinstance(t, Tensor)]
        return sum(t.numel() * t.element_size() for t in own)

    def _launch_blend(self) -> None:
        count, blended = 4 * self.config.entries, 4 * self.config.blended_entries
        blend[(triton.cdiv(count, 1024), 1)](
            self.mean, self.tables, self.code, self._zero, self._table, count, blended,
            self.config.rank, N=1024,
        )  # fmt: skip

    def _shape(self) -> dict[str, Any]:
        z = self.sizes
        return {
            "L": z.levels,
            "WARP": self.config.warp,
            "H": z.hidden,
            "LAYERS": z.layers,
            "TAP": z.tap,
        }

    def _matrices(self, flat: Tensor) -> list[Tensor]:
        shapes = [w.shape for w in self.field.networks]
        parts = flat.split([a * b for a, b in shapes])
        return [p.view(a, b) for p, (a, b) in zip(parts, shapes, strict=True)]

    def _upload(self) -> None:
        def on(array: ArrayLike) -> Tensor:
            return torch.tensor(np.ascontiguousarray(array))

        self.mean.copy_(on(self.field.mean))
        self.tables.copy_(on(self.field.tables.reshape(-1, self.config.rank).T))
        for matrix, array in zip(self.networks, self.field.networks, strict=True):
            matrix.copy_(on(array))
