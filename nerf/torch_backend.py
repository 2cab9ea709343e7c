"""The plain PyTorch backend: training and rendering on CUDA (or any device of torch).

The rule: the surface of the CPU backend (`nerf.cpu.engine`, `nerf.cpu.render`), the operations of
`nerf.reference`, gradients by autograd. Simple rather than fast: fused kernels come beside it.
The field itself is one function, `Evaluate`, so that other kernels can take its place
(`nerf.tcnn_backend`). Reference: Gao et al. 2022; Kingma & Ba 2015.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nerf import reference
from nerf.camera import Camera
from nerf.config import FieldConfig
from nerf.cpu.render import STEPS, Rendered
from nerf.field import HeadField, cube_rays
from nerf.step import LossWeights, Rates, RayBatch, StepResult

Float32 = NDArray[np.float32]
CHUNK = 1 << 15  # rays rendered at a time
EPS = 1e-12

Evaluate = Callable[[Tensor, list[Tensor], Tensor], tuple[Tensor, Tensor]]
"""Density [S] and colour [S, 3] of a blended table [E, 4], weight matrices and points [S, 3]."""


def reference_field(config: FieldConfig) -> Evaluate:
    """The field in plain tensor operations."""

    def evaluate(table: Tensor, nets: list[Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
        return reference.networks(reference.encode(table, config, points), nets,
                                  config.density_layers)  # fmt: skip

    return evaluate


class _Weights:
    """A field's arrays as tensors on a device."""

    def __init__(self, field: HeadField, device: str) -> None:
        self.device = torch.device(device)

        def on(array: ArrayLike) -> Tensor:
            return torch.tensor(np.asarray(array), device=self.device)

        self.mean, self.tables = on(field.mean), on(field.tables)
        self.networks = [on(w) for w in field.networks]
        self.occupancy = on(field.occupancy)


def samples_of(origin: Tensor, directions: Tensor, occupancy: Tensor, dt: float,
               jitter: float) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Lattice points [R, N, 3], their distances [R, N] and which are occupied [R, N]."""
    near, far = reference.clip_to_cube(origin, directions)
    t, exists = reference.lattice(near - jitter * dt, far, dt)
    points = origin + t[..., None] * directions[:, None]
    return points, t, reference.occupied(points, occupancy) & exists


class TorchEngine:
    """Holds a field's weights and optimiser state on a device and advances them."""

    def __init__(self, field: HeadField, device: str, *, steps: int = 128,
                 betas: tuple[float, float] = (0.9, 0.99),
                 evaluate: Evaluate | None = None) -> None:  # fmt: skip
        self.field = field
        self._evaluate = evaluate or reference_field(field.config)
        self.step_length = np.float32(1.0 / steps)
        self.betas = betas
        self.count = 0
        self._w = _Weights(field, device)
        self._moment1, self._moment2 = (
            torch.zeros_like(self._w.mean),
            torch.zeros_like(self._w.mean),
        )
        self._net1 = [torch.zeros_like(w) for w in self._w.networks]
        self._net2 = [torch.zeros_like(w) for w in self._w.networks]
        self._table = self._w.mean

    def set_occupancy(self, fine: NDArray[np.uint8]) -> None:
        """Use the grid uint8 [G, G, G] from the next step on."""
        self.field.occupancy = np.ascontiguousarray(fine)
        self._w.occupancy = torch.tensor(fine, device=self._w.device)

    def store(self) -> None:
        """Bring the weights into the field's arrays."""
        self.field.mean[:] = self._w.mean.cpu().numpy()
        self.field.tables[:] = self._w.tables.cpu().numpy()
        for array, weight in zip(self.field.networks, self._w.networks, strict=True):
            array[:] = weight.cpu().numpy()

    def weights(self) -> list[Tensor]:
        """What steps change, as it is."""
        return [self._w.mean, self._w.tables, *self._w.networks]

    def state(self) -> dict[str, Float32 | int]:
        """The optimiser's state as named arrays, as `CpuEngine.state` gives it."""
        nets = {f"net{k}_{i}": m.cpu().numpy() for k, ms in enumerate((self._net1, self._net2))
                for i, m in enumerate(ms)}  # fmt: skip
        return {"moment1": self._moment1.cpu().numpy(), "moment2": self._moment2.cpu().numpy(),
                "count": self.count, **nets}  # fmt: skip

    def load_state(self, state: dict[str, Float32]) -> None:
        """Take over what `state` gave, and the weights that the field's arrays hold now."""
        self._w = _Weights(self.field, str(self._w.device))
        self._moment1 = torch.tensor(state["moment1"], device=self._w.device)
        self._moment2 = torch.tensor(state["moment2"], device=self._w.device)
        self.count = int(state["count"])
        for k, moments in enumerate((self._net1, self._net2)):
            for i, moment in enumerate(moments):
                moment.copy_(torch.tensor(state[f"net{k}_{i}"]))

    def blend(self, code: Float32) -> None:
        """The table that `density_at` looks into."""
        on = torch.tensor(code, device=self._w.device)
        self._table = reference.blend_tables(self._w.mean, self._w.tables, on)

    def density_at(self, xyz: Float32) -> Float32:
        """Densities [V] of cube coordinates [V, 3] under the last blended expression."""
        with torch.no_grad():
            points = torch.tensor(xyz, device=self._w.device)
            out = [self._evaluate(self._table, self._w.networks, part)[0].float()
                   for part in points.split(1 << 18)]  # fmt: skip
        return torch.cat(out).cpu().numpy()

    def step(self, batch: RayBatch, rates: Rates, loss: LossWeights, jitter: float,
             *, rigid: bool = True) -> StepResult:  # fmt: skip
        """One optimisation step; see `CpuEngine.step`."""
        device, dt = self._w.device, float(self.step_length)
        code = torch.tensor(batch.code, device=device)
        table = reference.blend_tables(self._w.mean, self._w.tables, code).requires_grad_()
        nets = [w.detach().requires_grad_() for w in self._w.networks]
        motion = torch.zeros(6, device=device, requires_grad=rigid)
        directions = torch.tensor(batch.directions, device=device)
        points, t, inside = samples_of(torch.tensor(batch.origin, device=device), directions,
                                       self._w.occupancy, dt, jitter)  # fmt: skip
        packed = points[inside] - 0.5
        packed = (
            packed + torch.linalg.cross(motion[:3].expand_as(packed), packed) + 0.5 + motion[3:]
        )
        sigma, rgb = self._evaluate(table, nets, packed)
        dense = torch.zeros(t.shape, device=device).masked_scatter(inside, sigma)
        colors = torch.zeros((*t.shape, 3), device=device).masked_scatter(inside[..., None], rgb)
        shown, opacity, _, spread = reference.composite(
            dense, colors, t, dt, torch.tensor(batch.background, device=device)
        )
        off = shown - torch.tensor(batch.rgb, device=device)
        off_alpha = opacity - torch.tensor(batch.alpha, device=device)
        total = (
            reference.smooth_l1(off, loss.huber).sum() / 3
            + loss.mask * reference.smooth_l1(off_alpha, loss.huber).sum()
            + loss.spread * spread.sum()
        )
        wanted = [table, *nets] + ([motion] if rigid else [])
        grads = torch.autograd.grad(total, wanted)
        stepped = self._stepped_tables(grads[0], code, rates, self.count + 1)
        self.count += 1  # from here on nothing asks for memory: a step is taken or has not been
        self._moment1, self._moment2, self._w.mean, self._w.tables = stepped
        self._step_networks(list(grads[1 : 1 + len(nets)]), rates.network)
        rays = len(batch.directions)
        moved = grads[-1].double().cpu().numpy() if rigid else np.zeros(6)
        errors = (off.detach() ** 2).mean(dim=1).cpu().numpy()
        return StepResult(float(total.detach()) / rays, float(errors.mean()),
                          int(inside.sum()), moved, errors)  # fmt: skip

    def _stepped_tables(self, grad: Tensor, code: Tensor, rates: Rates,
                        count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Adam's two memories, mean and expression tables after the sparse Adam of
        `nerf.cpu.tables.step_tables`, for the step number `count`."""
        beta1, beta2 = self.betas
        fix = float(np.sqrt(1 - beta2**count) / (1 - beta1**count))
        touched = grad != 0
        m = torch.where(touched, beta1 * self._moment1 + (1 - beta1) * grad, self._moment1)
        v = torch.where(touched, beta2 * self._moment2 + (1 - beta2) * grad * grad, self._moment2)
        scale = touched / (v.sqrt() + EPS)
        mean = self._w.mean - rates.table * fix * m * scale
        n = self._w.tables.shape[0]
        step = rates.expression * fix * (grad * scale)[:n, :, None] * code
        kept = 1 - rates.decay * touched[:n, :, None]
        return m, v, mean, self._w.tables * kept - step

    def _step_networks(self, grads: list[Tensor], rate: float) -> None:
        beta1, beta2 = self.betas
        fix1, fix2 = 1 - beta1**self.count, 1 - beta2**self.count
        for weight, m, v, g in zip(self._w.networks, self._net1, self._net2, grads, strict=True):
            m.mul_(beta1).add_(g, alpha=1 - beta1)
            v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            weight.addcdiv_(m, (v / fix2).sqrt_().add_(1e-15), value=-rate / fix1)


class TorchRenderer:
    """Renders one `HeadField` on a device; the surface of `nerf.cpu.render.CpuRenderer`."""

    def __init__(self, field: HeadField, device: str, *, steps: int = STEPS,
                 evaluate: Evaluate | None = None) -> None:  # fmt: skip
        self.field = field
        self._evaluate = evaluate or reference_field(field.config)
        self.step = 1.0 / steps
        self._w = _Weights(field, device)
        self._table = self._w.mean

    def set_expression(self, expression: ArrayLike) -> None:
        """Blend the tables for the numbers [K] of a face (`nerf.expression`)."""
        code = torch.tensor(self.field.code(expression), device=self._w.device)
        self._table = reference.blend_tables(self._w.mean, self._w.tables, code)

    @torch.no_grad()
    def render(self, pose: ArrayLike, camera: Camera, background: ArrayLike = (1.0, 1.0, 1.0),
               rigid: ArrayLike | None = None) -> Rendered:  # fmt: skip
        """The picture under head → camera `pose` [4, 4] (metres), with the blended expression."""
        w, h = camera.width, camera.height
        device = self._w.device
        index = np.arange(w * h)
        xy = np.stack([index % w + 0.5, index // w + 0.5], axis=-1)
        origin, directions = cube_rays(pose, camera, xy, self.field.cube, rigid)
        behind = torch.tensor(np.asarray(background, np.float32), device=device)
        parts, samples = [], 0
        for rays in torch.tensor(directions, device=device).split(CHUNK):
            points, t, inside = samples_of(torch.tensor(origin, device=device), rays,
                                           self._w.occupancy, self.step, 0.0)  # fmt: skip
            sigma, rgb = self._evaluate(self._table, self._w.networks, points[inside])
            dense = torch.zeros(t.shape, device=device).masked_scatter(inside, sigma)
            colors = torch.zeros((*t.shape, 3), device=device)
            colors = colors.masked_scatter(inside[..., None], rgb)
            color, opacity, depth, _ = reference.composite(dense, colors, t, self.step,
                                                           behind.expand(len(rays), 3))  # fmt: skip
            samples += int(inside.sum())
            parts.append(torch.cat([color, opacity[:, None], depth[:, None]], dim=-1))
        image = torch.cat(parts).cpu().numpy().reshape(h, w, 5)
        bytes_ = np.clip(image[..., :4] * 255 + 0.5, 0, 255).astype(np.uint8)
        metres = np.where(image[..., 3] > 0.5, image[..., 4] * self.field.cube.edge, 0)
        rgb8, alpha8 = (np.ascontiguousarray(a) for a in (bytes_[..., :3], bytes_[..., 3]))
        return Rendered(rgb8, alpha8, metres.astype(np.float32), samples)
