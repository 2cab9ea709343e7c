"""How many rays a training step takes, and fewer of them where memory runs out.

The rule: the number of rays follows the samples that the last steps took, so that a step costs the
same in fog and on bare skin; every failure for want of memory halves it, down to a floor, and it
does not grow again: the schedule goes on, each step sees less.
"""

from __future__ import annotations

import errno

import numpy as np

FIRST_RAYS = 1024
FEWEST, MOST = 256, 4096  # rays of a whole batch
LEAST_SHARE = 1 / 64  # of a batch; what is less than that is no step
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")


class BatchSize:
    """Steers the number of rays to `samples` samples."""

    def __init__(self, samples: int) -> None:
        self._whole = samples
        self.share = 1.0
        """How much of a batch is taken: 1, 1/2, 1/4, …"""
        self.rays = FIRST_RAYS
        """Of the next step."""

    @property
    def samples(self) -> float:
        """What the number of rays is steered to."""
        return self._whole * self.share

    def follow(self, samples: int) -> None:
        """A step with `rays` rays took this many samples."""
        wanted = self.rays * self.samples / max(samples, 1)
        low, high = max(FEWEST * self.share, 16), MOST * self.share
        self.rays = int(np.clip(0.9 * self.rays + 0.1 * wanted, low, high))

    def halve(self) -> bool:
        """Take half of what was taken so far; False where that would be too little."""
        if self.share <= LEAST_SHARE:
            return False
        self.share /= 2
        self.rays = max(self.rays // 2, 16)
        return True


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full: of Python, numpy, torch, CUDA or the system."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError):  # torch.OutOfMemoryError is one of these
        text = str(error).lower()
        return any(words in text for words in NO_MEMORY)
    return False
