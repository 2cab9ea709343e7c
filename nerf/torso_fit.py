"""Learning a torso: a texture and how it bends, from pictures with known opacity.

The rule: two rounds. Small pictures decide how the torso bends: texture, grids and, for every
picture, a few numbers of the body's own are found together by gradient descent, which keeps the
texture sharp where the body moved by itself; then these numbers are regressed on the drivers.
Large pictures then only sharpen the texture. Pixels that the head covers count little: what is
there was painted in. Reference: Tang et al. 2022 (RAD-NeRF); Kingma and Ba 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nerf.framing import Framing, Place
from nerf.torso import Region, TorsoLayer, spline

SMALL_PX = 96.0  # portrait width in the small pictures
NODES = 14  # of the grids, per portrait width
MARGIN = 0.12  # beside and below the picture, portrait widths
OWN = 4  # numbers of the body's own
STEPS, BATCH = 420, 10
SHARP_STEPS, SHARP_BATCH = 48, 4
SHARP_PX = 32e6  # pixels that the second round may draw: large pictures get fewer steps
SPEAKS = 0.05  # opacity from which a row of some picture belongs to the torso
LEAST = 0.02  # of the row must have it: not a few hairs
SHARE = 0.02  # of the pictures must have a row for the torso to begin there
STEP_UNIT = 0.01  # of displacements (portrait widths) and shades (of 1), for equal rates

Float32 = NDArray[np.float32]
Tensor = Any


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The torso in one picture."""

    picture: NDArray[np.uint8]
    """[H, W, 4] colour times opacity, and opacity."""
    weight: NDArray[np.uint8]
    """[H, W] how much a pixel counts, of 255."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What there is to learn from."""

    framing: Framing
    """The picture that a call shows."""
    rest: Place
    """The head's usual place in it."""
    drivers: NDArray[np.float64]
    """[N, D] of the N pictures: rotation, offset, coefficients."""
    spread: NDArray[np.float64]
    """[M, D] of all training frames: their mean and range are the layer's."""
    uses: tuple[int, ...]
    """Which coefficients the last D - 6 are."""
    view: Callable[[int], View]
    """Gives the i-th picture."""
    large: Sequence[int]
    """Which of the N sharpen the texture."""


Progress = Callable[[float], None]


def fit_torso(lesson: Lesson, progress: Progress = lambda share: None,
              seed: int = 0) -> TorsoLayer:  # fmt: skip
    """The torso of a lesson with at least two pictures; deterministic on one machine.

    On one thread: with two it takes two thirds of the time on an idle machine, and several times
    as long on a busy one, where torch's threads spin against the others.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _Fit(lesson, progress, seed).run()
    finally:
        torch.set_num_threads(before)


class _Canvas:
    """The torso's part of the picture at one size, and what is drawn there."""

    def __init__(self, lesson: Lesson, size: tuple[int, int], top: int) -> None:
        width, height = size
        self.side = lesson.rest.side * width / lesson.framing.size[0]
        self.cell = self.side / NODES
        self.margin = (round(MARGIN * self.side), round(MARGIN * self.side))
        self.shape = (height - top + self.margin[1], width + 2 * self.margin[0])
        columns, rows = np.arange(width) + 0.5, np.arange(height - top) + 0.5
        self.nodes = (node_count(height - top, self.cell), node_count(width, self.cell))
        self.across = torch.from_numpy(spline(columns / self.cell, self.nodes[1]).T.copy())
        self.down = torch.from_numpy(spline(rows / self.cell, self.nodes[0]))
        x = torch.from_numpy(columns.astype(np.float32)) + self.margin[0]
        y = torch.from_numpy(rows.astype(np.float32))
        self.base = torch.stack([x.expand(len(rows), -1), y[:, None].expand(-1, width)])

    def spread(self, z: Tensor, grid: Tensor) -> Tensor:
        """[b, c, h, w] of z [b, Z] and a grid [Z, c, gh, gw]."""
        nodes = torch.tensordot(z, grid, 1)
        return self.down @ (nodes @ self.across)

    def draw(self, z: Tensor, texture: Tensor, moves: Tensor, shades: Tensor) -> Tensor:
        """[b, 4, h, w] the torso under z, of a texture [4, th, tw]."""
        at = self.base + (STEP_UNIT * self.side) * self.spread(z, moves)
        th, tw = self.shape
        at = torch.stack([at[:, 0] * (2 / tw) - 1, at[:, 1] * (2 / th) - 1], -1)
        seen = torch.nn.functional.grid_sample(
            texture.expand(len(z), -1, -1, -1), at, padding_mode="border", align_corners=False
        )
        lit = seen[:, :3] + STEP_UNIT * self.spread(z, shades) * seen[:, 3:]
        return torch.cat([lit, seen[:, 3:]], 1)


class _Fit:
    """One run."""

    def __init__(self, lesson: Lesson, progress: Progress, seed: int) -> None:
        self.lesson, self.progress = lesson, progress
        self.rng = np.random.default_rng(seed)
        self.random = torch.Generator().manual_seed(seed)
        low, high = lesson.spread.min(axis=0), lesson.spread.max(axis=0)
        scale = np.maximum(lesson.spread.std(axis=0), 1e-4)
        self.drivers = np.stack([lesson.spread.mean(axis=0), scale, low, high]).astype(np.float32)
        raw = np.clip(lesson.drivers, low, high)
        z = np.concatenate([np.ones((len(raw), 1)), (raw - self.drivers[0]) / scale], axis=1)
        self.z = torch.from_numpy(z.astype(np.float32))

    def run(self) -> TorsoLayer:
        """Both rounds."""
        lesson = self.lesson
        width, height = lesson.framing.size
        scale = min(1.0, SMALL_PX / lesson.rest.side)
        size = (max(8, round(width * scale)), max(8, round(height * scale)))
        pictures, weights = self._small(size)
        top = first_row(pictures[:, 3])
        bent = self._bent(pictures[:, :, top:], weights[:, :, top:], _Canvas(lesson, size, top))
        texture, moves, shades, own = bent
        top = top * height // size[1]
        canvas = _Canvas(lesson, (width, height), top)
        region = Region(top, canvas.cell, canvas.margin, lesson.rest)
        moves, shades = fitted(moves, canvas.nodes), fitted(shades, canvas.nodes)
        texture = self._sharp(canvas, top, texture, moves, shades, own)
        picture = (texture.clamp(0, 1) * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
        picture[..., :3] = np.minimum(picture[..., :3], picture[..., 3:])
        guess = regressed(self.z.numpy(), own.numpy())
        return TorsoLayer(
            lesson.framing, region, picture, self.drivers, np.array(lesson.uses, np.uint8),
            (STEP_UNIT * moves).numpy(), (255 * STEP_UNIT * shades).numpy(), guess,
        )  # fmt: skip

    def _small(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """[N, 4, h, w] and [N, 1, h, w] of all pictures, small, 0..1."""
        import cv2

        pictures, weights = [], []
        for i in range(len(self.z)):
            view = self.lesson.view(i)
            pictures.append(cv2.resize(view.picture, size, interpolation=cv2.INTER_AREA))
            weights.append(cv2.resize(view.weight, size, interpolation=cv2.INTER_AREA))
            self.progress(0.2 * (i + 1) / len(self.z))
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
        return x, torch.from_numpy(np.stack(weights))[:, None].float() / 255

    def _bent(self, pictures: Tensor, weights: Tensor,
              canvas: _Canvas) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Texture, grids, and each picture's own numbers [N, B]."""
        count, drivers = self.z.shape
        mean = (pictures * weights).sum(0) / (weights.sum(0) + 1e-3)
        texture = widened(mean, canvas).requires_grad_(True)
        moves = torch.zeros(drivers + OWN, 2, *canvas.nodes)
        start = torch.randn(OWN, 2, 3, 3, generator=self.random)
        moves[drivers:] = 0.3 * resized(start, canvas.nodes)
        moves.requires_grad_(True)
        shades = torch.zeros(drivers + OWN, 3, *canvas.nodes, requires_grad=True)
        own = torch.zeros(count, OWN, requires_grad=True)
        rates = (5e-3, 3e-2, 3e-2, 1e-1)
        groups: list[dict[str, Any]] = [
            {"params": [p], "lr": r} for p, r in zip((texture, moves, shades, own), rates,
                                                     strict=True)
        ]  # fmt: skip
        optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
        for step in range(STEPS):
            batch = torch.from_numpy(self.rng.choice(count, min(BATCH, count), replace=False))
            z = torch.cat([self.z[batch], own[batch]], 1)
            w = weights[batch]
            error = ((canvas.draw(z, texture, moves, shades) - pictures[batch]) ** 2 * w).sum()
            loss = error / (4 * w.sum() + 1) + 1e-5 * (rough(moves) + rough(shades))
            loss = loss + 1e-4 * rough(texture) + 1e-5 * (own[batch] ** 2).mean()
            loss = loss + 1e-7 * ((moves**2).mean() + (shades**2).mean())
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * 0.05 ** ((step + 1) / STEPS)
            self.progress(0.2 + 0.5 * (step + 1) / STEPS)
        return texture.detach(), moves.detach(), shades.detach(), own.detach()

    def _sharp(self, canvas: _Canvas, top: int, texture: Tensor, moves: Tensor, shades: Tensor,
               own: Tensor) -> Tensor:  # fmt: skip
        """The texture at full size."""
        large = list(self.lesson.large)
        views = [self.lesson.view(i) for i in large]
        z = torch.cat([self.z, own], 1)[large]
        sharp = resized(texture[None], canvas.shape)[0].requires_grad_(True)
        optimiser = torch.optim.Adam([sharp], lr=2e-2, betas=(0.8, 0.95))
        order: list[int] = []
        pixels = SHARP_BATCH * canvas.base[0].numel()
        steps = int(np.clip(SHARP_PX / pixels, SHARP_STEPS // 2, SHARP_STEPS))
        for step in range(steps):
            if len(order) < SHARP_BATCH:
                order = self.rng.permutation(len(large)).tolist()
            batch, order = order[:SHARP_BATCH], order[SHARP_BATCH:]
            x = torch.from_numpy(np.stack([views[i].picture[top:] for i in batch]))
            w = torch.from_numpy(np.stack([views[i].weight[top:] for i in batch]))[:, None]
            x, w = x.permute(0, 3, 1, 2).float() / 255, w.float() / 255
            error = ((canvas.draw(z[batch], sharp, moves, shades) - x) ** 2 * w).sum()
            loss = error / (4 * w.sum() + 1) + 1e-5 * rough(sharp)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            optimiser.param_groups[0]["lr"] = 2e-2 * 0.05 ** ((step + 1) / steps)
            self.progress(0.7 + 0.3 * (step + 1) / steps)
        return sharp.detach()


def first_row(opacity: Tensor) -> int:
    """The row in which the torso begins, of [N, h, w]."""
    has = ((opacity > SPEAKS).float().mean(dim=2) > LEAST).float().mean(dim=0) > SHARE
    rows = torch.nonzero(has).flatten()
    return max(0, int(rows[0]) - 2) if len(rows) else 0


def node_count(px: int, cell: float) -> int:
    """How many nodes a grid has along `px` pixels."""
    return int(np.ceil(px / cell)) + 1


def fitted(grid: Tensor, nodes: tuple[int, int]) -> Tensor:
    """A grid with so many nodes: rounding may want one more or fewer at its far ends."""
    rows = torch.arange(nodes[0]).clamp(max=grid.shape[2] - 1)
    columns = torch.arange(nodes[1]).clamp(max=grid.shape[3] - 1)
    return grid[:, :, rows][:, :, :, columns]


def widened(picture: Tensor, canvas: _Canvas) -> Tensor:
    """A picture [4, h, w] with the texture's margin, in which it goes on as it ends."""
    mx, my = canvas.margin
    return torch.nn.functional.pad(picture[None], (mx, mx, 0, my), mode="replicate")[0].clone()


def resized(picture: Tensor, shape: tuple[int, int]) -> Tensor:
    """[n, c, h, w] at another size."""
    return torch.nn.functional.interpolate(picture, shape, mode="bilinear", align_corners=False)


def rough(x: Tensor) -> Tensor:
    """Mean squared difference of neighbours."""
    down, across = x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]
    out: Tensor = (down**2).sum() / max(down.numel(), 1) + (across**2).sum() / max(
        across.numel(), 1
    )
    return out


def regressed(z: Float32, own: Float32) -> Float32:
    """[B, 1 + D] that guesses own [N, B] from z [N, 1 + D]; a ridge against few pictures."""
    gram = z.T @ z + np.diag([1e-3] + [0.5] * (z.shape[1] - 1))
    return np.linalg.solve(gram, z.T @ own).T.astype(np.float32)
