"""The body under the head: one picture of neck and torso, bent as the head moves.

The rule: the body belongs to the camera's picture, not to the head. It has one texture with its
opacity, a coarse grid of displacements and one of shades, both linear in what drives them: the
head's rotation and place, some coefficients, and a few numbers of the body's own that are guessed
from those (a body moves by itself too, and a texture learned without them is a blur). Beyond what
training saw the body moves along as a whole. Reference: RAD-NeRF's 2-D torso field (Tang et al.
2022), whose network a CPU has no time for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.cpu.pool import WorkerPool
from nerf.framing import Framing, Place
from nerf.picture_code import MAX_PX, PictureError, packed, unpacked
from nerf.torso_kernels import torso_over

PREFIX = "torso."
QUALITY = 88  # of the texture's colours
HEAD_DRIVERS = 6  # pitch, yaw, roll, offset x, offset y, log size
MAX_DRIVERS, MAX_OWN, MAX_NODES = 24, 8, 96
MOST_AWAY = 127.0  # of the body's own numbers from their guess

Float32 = NDArray[np.float32]


class TorsoError(ValueError):
    """An avatar's sections are no torso; the sentence says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """What of the picture the torso can cover, and what its texture covers."""

    top: int
    """The first row of the picture under `rest`."""
    cell: float
    """Pixels between two nodes of the grids."""
    margin: tuple[int, int]
    """Pixels that the texture goes on beside the picture and below it."""
    rest: Place
    """The place of the head at which nothing is bent."""


@dataclass(frozen=True, slots=True, eq=False)
class TorsoLayer:
    """One person's torso. H × W is the picture that a call shows."""

    framing: Framing
    """That picture."""
    region: Region
    """Which part of it."""
    texture: NDArray[np.uint8]
    """[h, w, 4]: colour times opacity, opacity."""
    drivers: Float32
    """[4, D] mean, scale, lowest and highest value of each driver in training."""
    uses: NDArray[np.uint8]
    """[D - 6] which coefficients drive, beside the head's rotation and offset."""
    moves: Float32
    """[1 + D + B, 2, gh, gw] displacement, portrait widths per unit: always, drivers, the body's
    own."""
    shades: Float32
    """[1 + D + B, 3, gh, gw] brightness added where the torso is, of 255."""
    own: Float32
    """[B, 1 + D] how the body's own numbers are guessed from the drivers."""

    def __post_init__(self) -> None:
        ranks = (self.drivers.ndim, self.uses.ndim, self.moves.ndim, self.shades.ndim,
                 self.own.ndim, self.texture.ndim)  # fmt: skip
        if ranks != (2, 1, 4, 4, 2, 3):
            raise TorsoError("the parts of the torso have the wrong shapes")
        count, b = self.drivers.shape[1], len(self.own)
        z, gh, gw = 1 + count + b, *self.moves.shape[2:4]
        w, h = self.framing.size
        (mx, my), top = self.region.margin, self.region.top
        fits = (
            HEAD_DRIVERS <= count <= MAX_DRIVERS and b <= MAX_OWN
            and self.drivers.shape == (4, count) and self.own.shape == (b, 1 + count)
            and self.uses.shape == (count - HEAD_DRIVERS,)
            and self.moves.shape == (z, 2, gh, gw) and self.shades.shape == (z, 3, gh, gw)
            and 0 < gh <= MAX_NODES and 0 < gw <= MAX_NODES
            and 0 <= top < h and 0 <= mx <= MAX_PX and 0 <= my <= MAX_PX
            and self.texture.shape == (h - top + my, w + 2 * mx, 4)
            and self.region.cell >= 1 and 1 <= self.region.rest.side <= 8 * MAX_PX
        )  # fmt: skip
        arrays = (self.drivers, self.moves, self.shades, self.own)
        numbers = (self.region.rest.u, self.region.rest.v, self.region.rest.side, self.region.cell)
        if not (fits and np.isfinite(numbers).all() and all(np.isfinite(a).all() for a in arrays)):
            raise TorsoError("the parts of the torso do not fit together")
        if (self.drivers[1] <= 0).any() or (self.drivers[2] > self.drivers[3]).any():
            raise TorsoError("the torso's drivers have no range")

    def driven(self, rotation: ArrayLike, offset: ArrayLike, expression: ArrayLike,
               body: ArrayLike | None = None) -> Float32:  # fmt: skip
        """[1 + D + B] what bends the torso under these; the head never more than in training.
        `body`: how far its own numbers are from their guess, as many as are known."""
        e = np.asarray(expression, dtype=np.float32)
        uses = self.uses[self.uses < len(e)]
        raw = np.concatenate([np.asarray(rotation), np.asarray(offset), e[uses]])
        mean, scale, low, high = self.drivers
        z = np.ones(1 + self.drivers.shape[1], np.float32)
        z[1 : 1 + len(raw)] = ((np.clip(raw, low, high) - mean) / scale)[: len(raw)]
        own = self.own @ z
        if body is not None:
            known = np.asarray(body, np.float32)[: len(own)]
            own[: len(known)] += np.clip(known, -MOST_AWAY, MOST_AWAY)
        return np.concatenate([z, own]).astype(np.float32)

    def carried(self, offset: ArrayLike) -> tuple[float, float, float]:
        """(k, x, y): pixel p of the picture shows what the trained one has at k·p + (x, y), for a
        head whose offset lies outside of what training saw."""
        inside = np.clip(np.asarray(offset, np.float64), *self.drivers[2:, 3:6])
        there, here = self.framing.place(offset), self.framing.place(inside)
        k = here.side / there.side
        return k, here.u - k * there.u, here.v - k * there.v

    def over(self, picture: NDArray[np.uint8], rotation: ArrayLike, offset: ArrayLike,
             expression: ArrayLike, pool: WorkerPool,
             body: ArrayLike | None = None) -> NDArray[np.uint8]:  # fmt: skip
        """Draw the torso over `picture`, uint8 [H, W, 4] colour times opacity and opacity; the
        torso's own opacity, uint8 [H, W]."""
        height = picture.shape[0]
        cover = np.zeros(picture.shape[:2], np.uint8)
        k, x, y = self.carried(offset)
        first = int(np.clip((self.region.top - y) / k, 0, height))
        z = self.driven(rotation, offset, expression, body)
        nodes = np.tensordot(z, np.concatenate([self.moves, self.shades], axis=1), 1)
        nodes = np.ascontiguousarray(nodes.transpose(1, 2, 0), dtype=np.float32)
        bounds = np.linspace(first, height, 2 * pool.threads + 1).astype(int).tolist()
        r = self.region

        def work(band: int) -> None:
            torso_over(picture, cover, bounds[band], bounds[band + 1], self.texture, nodes, r.cell,
                       r.top, r.margin[0], r.rest.side, k, x, y)  # fmt: skip

        pool.map(work, range(len(bounds) - 1))
        return cover

    def reference(self, picture: NDArray[np.uint8], rotation: ArrayLike, offset: ArrayLike,
                  expression: ArrayLike,
                  body: ArrayLike | None = None) -> NDArray[np.uint8]:  # fmt: skip
        """What `over` leaves of `picture`, in plain numpy."""
        import cv2

        height, width = picture.shape[:2]
        k, x, y = self.carried(offset)
        columns = k * (np.arange(width) + 0.5) + x
        rows = k * (np.arange(height) + 0.5) + y
        gh, gw = self.moves.shape[2:]
        across = spline(columns / self.region.cell, gw)
        down = spline((rows - self.region.top) / self.region.cell, gh)
        z = self.driven(rotation, offset, expression, body)
        grids = np.concatenate([self.moves, self.shades], axis=1)
        bent = down @ np.tensordot(z, grids, 1) @ across.T
        at_x = columns + (self.region.margin[0] - 0.5) + bent[0] * self.region.rest.side
        at_y = rows[:, None] - (self.region.top + 0.5) + bent[1] * self.region.rest.side
        seen = cv2.remap(self.texture.astype(np.float32), at_x.astype(np.float32),
                         at_y.astype(np.float32), cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        a = seen[..., 3:]
        lit = np.clip(seen[..., :3] + np.moveaxis(bent[2:], 0, -1) * a / 255, 0, a)
        out = np.concatenate([lit, a], axis=-1) + (1 - a / 255) * picture
        return np.asarray(out + 0.5, dtype=np.uint8)

    def to_sections(self) -> dict[str, NDArray[Any]]:
        """Named arrays for an avatar file."""
        r = self.region
        numbers = [r.top, *r.margin, r.cell, r.rest.u, r.rest.v, r.rest.side]
        return {
            PREFIX + "picture": packed(self.texture, QUALITY),
            PREFIX + "region": np.array(numbers, np.float32),
            PREFIX + "drivers": self.drivers.astype(np.float32),
            PREFIX + "uses": self.uses.astype(np.uint8),
            PREFIX + "moves": self.moves.astype(np.float16),
            PREFIX + "shades": self.shades.astype(np.float16),
            PREFIX + "own": self.own.astype(np.float32),
        }


def torso_from(sections: Mapping[str, NDArray[Any]], framing: Framing) -> TorsoLayer | None:
    """The torso in an avatar's sections; None where there is none, TorsoError for a bad one."""
    if PREFIX + "picture" not in sections:
        return None
    try:
        numbers = np.asarray(sections[PREFIX + "region"], np.float64)
        if numbers.shape != (7,) or not np.isfinite(numbers).all():
            raise TorsoError("the torso has no region")
        top, mx, my = (int(n) for n in numbers[:3])
        region = Region(top, float(numbers[3]), (mx, my), Place(*(float(n) for n in numbers[4:])))
        width, height = framing.size
        size = (width + 2 * mx, height - top + my)
        texture = unpacked(sections[PREFIX + "picture"], size, 4)
        texture[..., :3] = np.minimum(texture[..., :3], texture[..., 3:])
        return TorsoLayer(
            framing, region, texture,
            np.asarray(sections[PREFIX + "drivers"], np.float32),
            np.asarray(sections[PREFIX + "uses"], np.uint8),
            *(np.asarray(sections[PREFIX + name], np.float32)
              for name in ("moves", "shades", "own")),
        )  # fmt: skip
    except (KeyError, IndexError, PictureError) as error:
        raise TorsoError(f"the avatar's torso is damaged ({error})") from error


def spline(positions: ArrayLike, count: int) -> Float32:
    """[N, count] weights of the nodes 0 … count − 1 at `positions` [N] (in nodes): a quadratic
    B-spline, so that the torso bends without kinks; the ends go on."""
    p = np.asarray(positions, np.float64)
    near = np.floor(p + 0.5)
    t = p - near
    out = np.zeros((len(p), count), np.float32)
    rows = np.arange(len(p))
    for step, weight in ((-1, 0.5 * (0.5 - t) ** 2), (0, 0.75 - t * t), (1, 0.5 * (0.5 + t) ** 2)):
        np.add.at(out, (rows, np.clip(near + step, 0, count - 1).astype(np.intp)), weight)
    return out
