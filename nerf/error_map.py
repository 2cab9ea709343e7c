"""Where the head is still unlike: a coarse map of the colour error over the portrait.

The rule: the portrait is stabilised, so that an ear or a hairline keeps its place; the map is one
for all frames, and follows what the steps' own rays report, at no cost. Rays drawn from it favour
what is wrong with the square root of its error: enough that edges, ears and hair are learned
sooner, and not so much that all else is forgotten.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

CELLS = 64  # per side of the portrait
SLOW = 0.03  # how much one ray moves its cell
WARM_UP = 100  # steps before the map says anything
AGE = 32  # steps for which one reading of the map serves
POWER = 0.5


class ErrorMap:
    """Mean squared colour error per cell of a portrait of `size` × `size` pixels."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.error = np.zeros((CELLS, CELLS))
        self.known = np.zeros((CELLS, CELLS), bool)
        self.steps = 0
        self._shares: NDArray[np.float64] | None = None

    @property
    def ready(self) -> bool:
        """Whether pixels can be drawn."""
        return self.steps >= WARM_UP and bool(self.error.any())

    def note(self, x: NDArray[np.int64], y: NDArray[np.int64],
             errors: NDArray[np.float32]) -> None:  # fmt: skip
        """One step's rays: pixels x, y [R] and their squared errors [R]."""
        cell = (y * CELLS // self.size) * CELLS + x * CELLS // self.size
        self.add(np.bincount(cell, minlength=CELLS * CELLS),
                 np.bincount(cell, errors, minlength=CELLS * CELLS))  # fmt: skip

    def add(self, counts: ArrayLike, totals: ArrayLike, steps: int = 1) -> None:
        """The rays of `steps` steps: how many fell into each cell, row by row [CELLS²], and the
        sums of their squared errors there."""
        count, total = np.asarray(counts), np.asarray(totals)
        hit = count > 0
        error, known = self.error.reshape(-1), self.known.reshape(-1)
        new = total[hit] / count[hit]
        weight = np.where(known[hit], 1 - (1 - SLOW) ** count[hit], 1.0)
        error[hit] += weight * (new - error[hit])
        known[hit] = True
        self.steps += steps

    def heights(self) -> NDArray[np.float64]:
        """[CELLS²]: the cells' shares of the rays, each with those before it, the last 1."""
        heights = np.cumsum(self.error.reshape(-1) ** POWER)
        return np.asarray(heights / heights[-1])

    def draw(self, count: int, rng: np.random.Generator,
             ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
        """Pixels x, y [count], where errors are large more often; only when `ready`."""
        if self._shares is None or self.steps % AGE == 0:
            self._shares = self.heights()
        cell = np.searchsorted(self._shares, rng.random(count))
        inside = rng.random((2, count))
        x = ((cell % CELLS + inside[0]) * (self.size / CELLS)).astype(np.int64)
        y = ((cell // CELLS + inside[1]) * (self.size / CELLS)).astype(np.int64)
        return np.minimum(x, self.size - 1), np.minimum(y, self.size - 1)

    def state(self) -> NDArray[np.float64]:
        """[CELLS + 1, CELLS]: the map, −1 where nothing is known, and the steps it has seen."""
        last = np.full((1, CELLS), float(self.steps))
        return np.concatenate([np.where(self.known, self.error, -1.0), last])

    def load_state(self, state: NDArray[np.float64]) -> None:
        """Take over what `state` gave."""
        self.known = state[:-1] >= 0
        self.error = np.where(self.known, state[:-1], 0.0)
        self.steps = int(state[-1, 0])
        self._shares = None
