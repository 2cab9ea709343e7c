"""Weights averaged over the last part of a run.

The rule: training never sees the average; it only leaves with it. Steps may then stay large to the
end: what they scatter is averaged away, and what they still learn is kept.
References: Polyak and Juditsky 1992; Izmailov et al. 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Float32 = NDArray[np.float32]

FROM = 0.5  # of the run: what was earlier has no part
EVERY = 8  # steps between two looks


class WeightAverage:
    """An exponential average of an engine's weights, over a share of the run, where they lie."""

    def __init__(self, weights: Callable[[], Sequence[Tensor]], horizon: float) -> None:
        """`weights` gives the tensors that train, as they are; `horizon` in (0, 1]: share of the
        run after which weights count a third."""
        self.weights = weights
        self.horizon = horizon
        self.mean: tuple[Tensor, ...] | None = None
        self.progress = 0.0

    def look(self, progress: float) -> None:
        """At `progress` 0..1 of the run, every `EVERY` steps or more."""
        if progress < FROM:
            return
        if self.mean is None:
            self.mean = tuple(w.clone() for w in self.weights())
        else:
            part = 1 - float(np.exp(-max(progress - self.progress, 0.0) / self.horizon))
            for mean, now in zip(self.mean, self.weights(), strict=True):
                mean.lerp_(now, part)  # in place: no second copy of the tables
        self.progress = progress

    def leave(self) -> None:
        """Put the averages where the weights are; nothing where there are none yet."""
        if self.mean is not None:
            for mean, now in zip(self.mean, self.weights(), strict=True):
                now.copy_(mean)

    def state(self) -> dict[str, Float32]:
        """The averages as named arrays; empty where there are none yet."""
        if self.mean is None:
            return {}
        named = {f"average{i}": mean.cpu().numpy() for i, mean in enumerate(self.mean)}
        return {**named, "average_at": np.array([self.progress], np.float32)}

    def load_state(self, state: dict[str, NDArray[np.float64]]) -> None:
        """Take over what `state` gave; weights that lie otherwise here (the run goes on elsewhere)
        are averaged anew."""
        if "average_at" not in state:
            return
        weights = self.weights()
        arrays = [state[f"average{i}"] for i in range(len(weights))]
        if all(a.shape == tuple(w.shape) for a, w in zip(arrays, weights, strict=True)):
            self.mean = tuple(torch.tensor(a, dtype=w.dtype, device=w.device)
                              for a, w in zip(arrays, weights, strict=True))  # fmt: skip
            self.progress = float(state["average_at"][0])
