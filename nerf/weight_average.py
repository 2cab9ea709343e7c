"""Weights averaged over the last part of a run.

The rule: training never sees the average; it only leaves with it. Steps may then stay large to the
end: what they scatter is averaged away, and what they still learn is kept.
References: Polyak and Juditsky 1992; Izmailov et al. 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

FROM = 0.5  # of the run: what was earlier has no part
EVERY = 8  # steps between two looks
BLOCK = 1 << 16  # numbers at a time


class WeightAverage:
    """An exponential average of arrays that change in place, over a share of the run."""

    def __init__(self, weights: Sequence[Float32], horizon: float) -> None:
        """`horizon` in (0, 1]: share of the run after which weights count a third."""
        self.weights = tuple(weights)
        self.horizon = horizon
        self.mean: tuple[Float32, ...] | None = None
        self.progress = 0.0

    def look(self, step: int, progress: float) -> None:
        """After step number `step`, at `progress` 0..1 of the run."""
        if progress < FROM or step % EVERY:
            return
        if self.mean is None:
            self.mean = tuple(w.copy() for w in self.weights)
        else:
            part = np.float32(1 - np.exp(-max(progress - self.progress, 0.0) / self.horizon))
            for mean, now in zip(self.mean, self.weights, strict=True):
                old, new = mean.reshape(-1), now.reshape(-1)
                for at in range(0, len(old), BLOCK):  # no second copy of the tables
                    old[at : at + BLOCK] += part * (new[at : at + BLOCK] - old[at : at + BLOCK])
        self.progress = progress

    def leave(self) -> None:
        """Put the averages where the weights are; nothing where there are none yet."""
        if self.mean is not None:
            for mean, now in zip(self.mean, self.weights, strict=True):
                now[:] = mean

    def state(self) -> dict[str, Float32]:
        """The averages as named arrays; empty where there are none yet."""
        if self.mean is None:
            return {}
        named = {f"average{i}": mean for i, mean in enumerate(self.mean)}
        return {**named, "average_at": np.array([self.progress], np.float32)}

    def load_state(self, state: dict[str, NDArray[np.float64]]) -> None:
        """Take over what `state` gave."""
        if "average_at" in state:
            self.mean = tuple(np.asarray(state[f"average{i}"], dtype=np.float32)
                              for i in range(len(self.weights)))  # fmt: skip
            self.progress = float(state["average_at"][0])
