"""When the avatar will be there: training, the fits of the tracker, and what comes after them.

The rule: the clock and the run's own pace say how long; what has not happened yet in this run is
guessed from what it cost elsewhere, times how much slower a step is here than there, and is
replaced by its own cost as soon as that is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from conference.train_report import SCORED

STEP_S = 0.020  # of 16,000 samples, on two idle cores of the machine where the rest was measured
FIT_S_PER_FRAME = 0.0045  # of the personal tracker
FILE_S = 12.0  # occupancy, codec tables, weights and file
SCORED_S, SENT_S, CEILING_S = 0.22, 0.002, 10.0  # a scored frame; a held-out frame that only passes
# through the personal tracker; all those whose pose is optimised
WHOLE_S = 7.5  # body and room
WARM = 3  # first steps that say nothing
FRESH = 0.02  # weight of a new step in the mean


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a run still has to do."""

    spent: float
    """Seconds of training so far."""
    seconds: float | None
    """The most that there may be; None: steps alone count."""
    steps: int
    """Steps that the schedule still holds."""
    fits: int
    """Fits of the personal tracker to come."""


class Eta:
    """Estimates how many seconds are left until the avatar is written."""

    def __init__(self, train_frames: int, held_out: int, *, personal: bool, whole: bool,
                 on_cpu: bool) -> None:  # fmt: skip
        """`personal`: with a personal tracker; `whole`: a body and a room will be learned;
        `on_cpu`: a step says how fast this machine is."""
        self._frames, self._on_cpu = train_frames, on_cpu
        scored = len(range(0, held_out, max(1, held_out // SCORED)))
        self._after = FILE_S + SCORED_S * scored + WHOLE_S * whole
        if personal:
            self._after += SENT_S * held_out + CEILING_S
        self._step_s: float | None = None
        self._seen = 0
        self._fit_s: float | None = None

    def stepped(self, seconds: float, steps: int) -> None:
        """So many steps took so long."""
        one = seconds / max(steps, 1)
        self._seen += 1
        if self._seen <= WARM:  # kernels are compiled or read from disk
            return
        if self._step_s is None:
            self._step_s = one
        self._step_s += max(FRESH, 1 / (self._seen - WARM)) * (one - self._step_s)

    def fitted(self, seconds: float) -> None:
        """A fit of the personal tracker took so long."""
        self._fit_s = seconds

    @property
    def pace(self) -> float:
        """How many times longer than elsewhere things take here."""
        if self._step_s is None or not self._on_cpu:
            return 1.0
        return min(max(self._step_s / STEP_S, 0.2), 20.0)

    def after(self) -> float:
        """Seconds from the last step to the avatar."""
        return self._after * self.pace

    def left(self, ahead: Ahead) -> float | None:
        """Seconds until the avatar is there; None while it is not known what a step takes."""
        if self._step_s is None:
            return None
        fit = self._fit_s if self._fit_s is not None else self._frames * FIT_S_PER_FRAME * self.pace
        by_steps = ahead.steps * self._step_s + ahead.fits * fit
        if ahead.seconds is None:
            return by_steps + self.after()
        # fits are part of the time that was given, but the last one is not cut short
        by_time = max(ahead.seconds - ahead.spent, ahead.fits * fit)
        return min(by_steps, by_time) + self.after()


def in_words(seconds: float) -> str:
    """About how long: 50 s, 3 min, 1 h 20 min."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(5 * round(minutes / 5), 60)
    return f"{hours} h {rest} min" if rest and hours < 10 else f"{hours} h"
