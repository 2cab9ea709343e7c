"""When to draw the next picture: at every frame's own instant, and between them where time allows.

The rule: a picture starts at the very moment at which a frame falls due, never before; more
pictures per frame are drawn only if drawing takes up no more than `load` of the time, because
on one machine the extractor of the other direction needs the rest. Pure: `now` is a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass

SLOW_DECAY = 0.95  # how slowly the estimate of the drawing time forgets a slow picture


@dataclass(frozen=True, slots=True, kw_only=True)
class CadenceSettings:
    """How often pictures are wanted."""

    frame_interval: float = 0.05
    """Seconds between the sender's frames, > 0."""
    display_fps: float | None = None
    """Pictures per second, exactly; None adapts to what the renderer sustains."""
    load: float = 0.6
    """The share of the time that drawing may take before pictures between frames are left out."""
    max_fps: float = 60.0
    """Pictures per second at most when adapting."""


class Cadence:
    """The instants at which pictures start."""

    def __init__(self, settings: CadenceSettings | None = None) -> None:
        self.settings = settings or CadenceSettings()
        self._last: float | None = None  # the instant for which the last picture was meant
        self._cost = 0.0  # seconds, an upper estimate of drawing one picture

    @property
    def cost(self) -> float:
        """Seconds that drawing a picture takes, a cautious estimate; 0 before the first."""
        return self._cost

    @property
    def period(self) -> float:
        """Seconds between two pictures at present."""
        s = self.settings
        if s.display_fps is not None:
            return 1.0 / s.display_fps
        if self._cost == 0.0:
            return s.frame_interval
        room = s.load * s.frame_interval / self._cost
        return s.frame_interval / max(1, min(int(room), int(s.max_fps * s.frame_interval + 1e-6)))

    def next_start(self, now: float, frame_due: float | None) -> float:
        """The instant of the next picture, >= now; `frame_due`: when the next frame falls due."""
        if self._last is None:
            return now if frame_due is None else max(now, frame_due)
        target = self._last + self.period
        adapting = self.settings.display_fps is None
        if adapting and frame_due is not None and frame_due < target + self.period / 2:
            target = max(frame_due, self._last + self.period / 2)
        return max(now, target)

    def started(self, target: float, now: float) -> None:
        """A picture meant for `target` starts at `now`; a grid that fell behind is left behind."""
        self._last = target if now - target < self.period else now

    def drawn(self, seconds: float) -> None:
        """One picture took this long to draw."""
        self._cost = max(seconds, SLOW_DECAY * self._cost + (1 - SLOW_DECAY) * seconds)
