"""The plain PyTorch twin of every kernel: the oracle of the tests, and the first GPU path.

The rule: nothing clever; one tensor operation per line of the equations, differentiable by
autograd, on any device. Reference: Müller et al. 2022, §3; Mildenhall et al. 2020, eq. 3.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from nerf.config import WARP_UNIT, FieldConfig
from nerf.field import DENSITY_LIMIT, DENSITY_SHIFT

PRIMES = (1, 2654435761, 805459861)


def blend_tables(mean: Tensor, tables: Tensor, code: Tensor) -> Tensor:
    """The frame's table [E, 4]: mean [E, 4] plus tables [Eb, 4, B] weighted by code [B]."""
    blended = mean[: tables.shape[0]] + tables @ code
    return torch.cat([blended, mean[tables.shape[0] :]])


def encode(table: Tensor, config: FieldConfig, xyz: Tensor) -> Tensor:
    """Features [S, L·4] of points [S, 3] in [0, 1]³ from a blended table [E, 4]."""
    return look_up(table, config, warped(table, config, xyz))


def look_up(table: Tensor, config: FieldConfig, xyz: Tensor) -> Tensor:
    """What the levels say, [S, L·4], of points [S, 3] that the warp has moved."""
    offsets = config.offsets()
    return torch.cat([
        interpolate(table[first:end], res, xyz)
        for res, (first, end) in zip(config.resolutions, pairwise(offsets), strict=True)
    ], dim=-1)  # fmt: skip


def warped(table: Tensor, config: FieldConfig, xyz: Tensor) -> Tensor:
    """Where the points [S, 3] are looked up."""
    if not config.warp:
        return xyz
    by = interpolate(table[: config.warp_entries], config.warp, xyz)
    return xyz + WARP_UNIT * by[:, :3].to(xyz.dtype)


def interpolate(grid: Tensor, res: int, xyz: Tensor) -> Tensor:
    """Trilinear [S, 4] of one level's entries [N, 4] with `res` cells at points [S, 3]; outside of
    [0, 1]³ the cells at the border go on."""
    position = xyz * res
    cell = position.detach().floor().clamp(0, res - 1).long()  # [S, 3]
    fraction = position - cell
    out = torch.zeros(xyz.shape[0], grid.shape[1], dtype=grid.dtype, device=xyz.device)
    for corner in range(8):
        bit = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2], device=xyz.device)
        weight = torch.where(bit == 1, fraction, 1 - fraction).prod(dim=-1)
        out = out + weight[:, None] * grid[_index(cell + bit, res, len(grid))]
    return out


def _index(corner: Tensor, res: int, size: int) -> Tensor:
    """Row-major where (res+1)³ entries fit, else the spatial hash; [S] from corners [S, 3]."""
    stride = res + 1
    if stride**3 <= size:
        return corner[:, 0] + stride * (corner[:, 1] + stride * corner[:, 2])
    h = corner[:, 0] * PRIMES[0] ^ corner[:, 1] * PRIMES[1] ^ corner[:, 2] * PRIMES[2]
    return h & (size - 1)


def networks(features: Tensor, weights: list[Tensor], density_layers: int) -> tuple[Tensor, Tensor]:
    """Density [S] and colour [S, 3] of features [S, L·4]."""
    x = features
    for weight in weights[:density_layers]:
        x = torch.relu(x @ weight)
    x = x @ weights[density_layers]
    sigma = torch.exp((x[:, 0] - DENSITY_SHIFT).clamp(max=DENSITY_LIMIT))
    for weight in weights[density_layers + 1 : -1]:
        x = torch.relu(x @ weight)
    return sigma, torch.sigmoid(x @ weights[-1])


def lattice(start: Tensor, exit_: Tensor, dt: float) -> tuple[Tensor, Tensor]:
    """All sample positions t [R, N] of rays from `start` to `exit_` [R], and which exist [R, N]."""
    longest = float((exit_ - start).clamp(min=0).max()) if len(start) else 0.0
    count = max(int(longest / dt) + 1, 1)
    t = start[:, None] + (torch.arange(count, device=start.device) + 0.5) * dt
    return t, t < exit_[:, None]


def occupied(xyz: Tensor, grid: Tensor) -> Tensor:
    """Whether points [..., 3] in [0, 1]³ lie in an occupied voxel of `grid` [G, G, G]."""
    g = grid.shape[0]
    i = (xyz * g).long().clamp(0, g - 1)
    return grid[i[..., 0], i[..., 1], i[..., 2]] > 0


def clip_to_cube(origin: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Entry and exit distances [R] of rays origin [3], directions [R, 3] in the cube [0, 1]³."""
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    a, b = (0.0 - origin) / safe, (1.0 - origin) / safe
    near = torch.minimum(a, b).amax(dim=-1).clamp(min=0.0)
    return near, torch.maximum(a, b).amin(dim=-1)


def composite(sigma: Tensor, rgb: Tensor, t: Tensor, dt: float,
              background: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Colour [R, 3] over `background`, opacity [R], mean distance [R] and spread [R].

    `sigma` [R, N] is 0 where a ray has no sample; `rgb` [R, N, 3]; `t` [R, N]. The spread is
    Σ w (t − t̄)² with t̄ held constant, as its gradient through t̄ is zero anyway.
    """
    optical = sigma * dt
    before = torch.cumsum(optical, dim=-1) - optical
    weight = torch.exp(-before) * (1 - torch.exp(-optical))  # [R, N]
    opacity = weight.sum(dim=-1)
    color = (weight[..., None] * rgb).sum(dim=-2) + (1 - opacity)[:, None] * background
    mean_t = (weight * t).sum(dim=-1) / opacity.clamp(min=1e-6)
    spread = (weight * (t - mean_t.detach()[:, None]) ** 2).sum(dim=-1)
    return color, opacity, mean_t, spread


def smooth_l1(x: Tensor, delta: float) -> Tensor:
    """Quadratic below `delta`, slope 1 beyond."""
    a = x.abs()
    return torch.where(a < delta, 0.5 * a * a / delta, a - 0.5 * delta)
