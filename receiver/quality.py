"""How much quality is given up to keep the frame rate, and when it comes back.

The rule: resolution goes first, then the length of the steps along rays; down at once when
pictures have become too slow, up one level after a time without need, and that time doubles with
each step up that had to be taken back. So a machine that is a little too slow settles instead of
changing its mind every second. Pure: times are parameters.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Quality:
    """How a picture is drawn."""

    share: float = 1.0
    """Of the width and height that were asked for, 0..1; the picture is enlarged to them."""
    stride: float = 1.0
    """Length of the steps along rays, relative to full quality, at least 1."""

    @property
    def cost(self) -> float:
        """Drawing time relative to full quality, about."""
        return self.share**2 / self.stride

    @property
    def note(self) -> str:
        """What a viewer is told; empty at full quality."""
        if self == FULL:
            return ""
        steps = f", steps × {self.stride:.1f}" if self.stride > 1 else ""
        return f"drawn at {100 * self.share:.0f} % of its width{steps}"


FULL = Quality()
LADDER = (
    FULL, Quality(0.84), Quality(0.71), Quality(0.59), Quality(0.5),
    Quality(0.5, 1.4), Quality(0.5, 2.0),
)  # fmt: skip
"""From full quality down: each level costs about 0.7 of the one before."""
LOAD = 0.8  # of the time between frames that drawing may take
ROOM = 0.85  # of that, at most, is what a lower level is expected to take
SPARE = 0.75  # of that, at most, is what a higher level must be expected to take
WINDOW = 7  # pictures whose median is believed
PATIENCE_S = 3.0  # of spare time before quality goes up
MOST_PATIENCE_S = 60.0


class QualityControl:
    """Follows the drawing times of one call."""

    def __init__(self, fps: float) -> None:
        """`fps`: pictures per second that must be kept, > 0."""
        if not fps > 0:
            raise ValueError(f"a frame rate must be above 0, not {fps}")
        self._budget_ms = 1000.0 * LOAD / fps
        self._level = 0
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._spare_since: float | None = None
        self._raised_at: float | None = None
        self._patience = PATIENCE_S

    @property
    def quality(self) -> Quality:
        """How to draw now."""
        return LADDER[self._level]

    def adapt(self, measured_ms: float, now: float) -> Quality:
        """A picture drawn as `quality` said took this long, seen at `now` (seconds, any origin)."""
        self._recent.append(measured_ms)
        if len(self._recent) == WINDOW:
            usual = median(self._recent)
            if usual > self._budget_ms:
                self._lower(usual, now)
            else:
                self._consider_raising(usual, now)
        return self.quality

    def _lower(self, usual: float, now: float) -> None:
        """To the first level that is expected to fit."""
        self._spare_since = None
        if self._raised_at is not None and now - self._raised_at < 2 * self._patience:
            self._patience = min(2 * self._patience, MOST_PATIENCE_S)
        self._raised_at = None
        level = self._level
        while level + 1 < len(LADDER):
            level += 1
            if usual * LADDER[level].cost / self.quality.cost <= ROOM * self._budget_ms:
                break
        self._move(level)

    def _consider_raising(self, usual: float, now: float) -> None:
        if self._level == 0:
            return
        expected = usual * LADDER[self._level - 1].cost / self.quality.cost
        if expected > SPARE * self._budget_ms:
            self._spare_since = None
        elif self._spare_since is None:
            self._spare_since = now
        elif now - self._spare_since >= self._patience:
            if self._raised_at is not None and now - self._raised_at >= MOST_PATIENCE_S:
                self._patience = PATIENCE_S  # the last step up has lasted
            self._spare_since, self._raised_at = None, now
            self._move(self._level - 1)

    def _move(self, level: int) -> None:
        if level != self._level:
            self._level = level
            self._recent.clear()
