"""What a face does when its sender cannot be reached: it comes to rest instead of freezing.

The rule: while the connection is lost the last face eases into the person's own resting face (the
running mean of what was shown), and when frames come again it eases back, so nothing ever jumps.
A sender that merely has nothing new to say is not lost. Pure: `now` is a parameter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

TO_REST_S = 0.8
BACK_S = 0.15
MEMORY_S = 20.0  # over which the resting face is averaged
LOST_S = 1.2  # not heard for so long: a live peer says something every 0.5 s


class Rest:
    """Follows one face; vectors are float32 [49]."""

    def __init__(self) -> None:
        self.lost = False
        self._mean: NDArray[np.float64] | None = None
        self._seen_at = 0.0
        self._learned_s = 0.0
        self._changed_at: float | None = None  # when it was lost or came back
        self._from: FloatArray | None = None  # what was shown then
        self._shown: FloatArray | None = None

    def note_quiet(self, quiet_s: float, now: float) -> None:
        """The peer was heard `quiet_s` seconds ago."""
        lost = quiet_s > LOST_S
        if lost != self.lost and self._shown is not None:
            self.lost = lost
            self._changed_at, self._from = now, self._shown

    def moving(self, now: float) -> bool:
        """Whether the face is on its way to rest or back."""
        span = TO_REST_S if self.lost else BACK_S
        return self._changed_at is not None and now - self._changed_at < span

    def apply(self, vector: FloatArray, now: float) -> FloatArray:
        """What is shown at `now` in place of the face that the frames say."""
        shown = vector
        if self._changed_at is not None and self._from is not None:
            since = now - self._changed_at
            goal = self._rest(vector) if self.lost else vector
            weight = min(1.0, max(0.0, since / (TO_REST_S if self.lost else BACK_S)))
            weight = weight * weight * (3.0 - 2.0 * weight)
            shown = np.asarray(self._from + np.float32(weight) * (goal - self._from))
            if not self.lost and weight >= 1.0:
                self._changed_at = self._from = None
        if not self.lost:
            self._learn(vector, now)
        self._shown = shown
        return shown

    def _rest(self, vector: FloatArray) -> FloatArray:
        return vector if self._mean is None else self._mean.astype(np.float32)

    def _learn(self, vector: FloatArray, now: float) -> None:
        if self._mean is None:
            self._mean = vector.astype(np.float64)
        else:
            self._learned_s += max(0.0, now - self._seen_at)
            share = max(0.0, now - self._seen_at) / max(1e-6, min(MEMORY_S, self._learned_s))
            self._mean += min(1.0, share) * (vector - self._mean)
        self._seen_at = now
