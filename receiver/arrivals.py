"""How long a picture must wait so that its frames are there: measured from what arrives.

The rule: what counts is the time for which the newest frame was the newest although later ones
had been captured; a sender that pauses, and an outage, say nothing about the path. The delay that
would have been enough for nearly all of the last seconds is what is needed, so it shrinks again.
Pure: `now` is a parameter. Reference: moq's and NetEQ's jitter buffers set their target by
measured arrivals too, not by the round trip.
"""

from __future__ import annotations

import math
from collections import deque

WINDOW_S = 12.0
MAX_SAMPLES = 1024
COVERED = 0.98  # the share of arrivals for which the delay is to be enough
OUTAGE_S = 1.0  # longer gaps are no jitter


class Arrivals:
    """Follows the frames of one stream; times in seconds."""

    def __init__(self, frame_interval: float) -> None:
        self._interval = frame_interval
        self._lags: deque[tuple[float, float]] = deque(maxlen=MAX_SAMPLES)
        self._newest: tuple[int, float] | None = None  # sequence, capture time
        self._lag = -math.inf

    def need(self, quickest: float) -> float:
        """The delay beyond the quickest transit, in seconds, that would have been enough; 0 or
        less before anything is known."""
        return self._lag - quickest

    def note(self, sequence: int, capture_time: float, quickest: float, now: float) -> None:
        """A frame came at `now`; the quickest one takes `quickest` seconds (with the clocks'
        difference) from its capture."""
        last, self._newest = self._newest, (sequence, capture_time)
        if last is None:
            return
        if capture_time <= last[1]:
            self._newest = last
            return
        lag = now - last[1]
        if sequence == last[0] + 1:  # a pause of the sender is no delay
            lag = now - capture_time + min(self._interval, capture_time - last[1])
        if lag - quickest > OUTAGE_S:
            return
        self._lags.append((now, lag))
        while self._lags[0][0] < now - WINDOW_S:
            self._lags.popleft()
        ranked = sorted(lag for _, lag in self._lags)
        self._lag = ranked[min(len(ranked) - 1, int(COVERED * len(ranked)))]
