"""The body's own numbers in units that the eye knows.

The rule: a change of basis, so the torso looks as before. Afterwards one unit of any of its own
numbers, and of any mixture of them, changes the torso's picture by UNIT grey levels (root mean
square), and the numbers do not go together where they were measured: they can be sent with one
step for all, and no table. Reference: the Karhunen-Loève transform in a metric of the picture.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.cpu.pool import WorkerPool
from nerf.torso import TorsoLayer

UNIT = 4.0
STEP = 0.2  # of the old numbers, in which they usually are 0.2 to 1: for the differences
FLOOR = 1e-4  # of the strongest direction: a number that moves nothing gets no more than this

Float64 = NDArray[np.float64]


def visibility(layer: TorsoLayer) -> Float64:
    """[B, B]: mean square change of the torso's picture, in grey levels, for a small change of its
    own numbers, in the middle of what training saw."""
    b, pool = len(layer.own), WorkerPool(1)
    rotation, offset = layer.drivers[0, :3], layer.drivers[0, 3:6]
    expression = np.zeros(max(layer.uses.tolist(), default=0) + 1, np.float32)
    expression[layer.uses] = layer.drivers[0, 6:]

    def drawn(body: Float64) -> NDArray[np.uint8]:
        picture = np.zeros((*layer.framing.size[::-1], 4), np.uint8)
        layer.over(picture, rotation, offset, expression, pool, body)
        return picture

    there = drawn(np.zeros(b))[..., 3] > 127
    if b == 0 or not there.any():
        return np.eye(b)
    rows = []
    for k in range(b):
        step = STEP * np.eye(b)[k]
        change = drawn(step)[there].astype(np.float32) - drawn(-step)[there]
        rows.append(change.ravel() / (2 * STEP))
    slopes = np.array(rows, np.float64)
    return np.asarray(slopes @ slopes.T / slopes.shape[1])


def evened(layer: TorsoLayer) -> TorsoLayer:
    """The same torso with own numbers of equal visibility."""
    metric = visibility(layer)
    values, vectors = np.linalg.eigh(metric)
    values = np.maximum(values, max(FLOOR * values.max(initial=0.0), 1e-6))
    return turned(layer, vectors * np.sqrt(values) / UNIT)


def turned(layer: TorsoLayer, basis: ArrayLike) -> TorsoLayer:
    """The same torso whose own numbers x (a row [B]) are now x @ basis [B, B]."""
    t = np.asarray(basis, dtype=np.float64)
    back, b = np.linalg.inv(t), len(layer.own)
    first = len(layer.moves) - b

    def grids(grid: NDArray[np.float32]) -> NDArray[np.float32]:
        own = np.tensordot(back, grid[first:].astype(np.float64), 1)
        return np.concatenate([grid[:first], own]).astype(np.float32)

    return replace(layer, moves=grids(layer.moves), shades=grids(layer.shades),
                   own=(t.T @ layer.own).astype(np.float32))  # fmt: skip


def apart(deviations: ArrayLike) -> Float64:
    """[B, B] the rotation after which deviations [N, B] do not go together, strongest first."""
    x = np.asarray(deviations, dtype=np.float64)
    _, vectors = np.linalg.eigh(x.T @ x)
    vectors = vectors[:, ::-1]
    most = np.abs(vectors).argmax(axis=0)
    return np.asarray(vectors * np.sign(vectors[most, np.arange(len(vectors))]))
