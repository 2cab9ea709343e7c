"""Whether the sender is there and has a face to show: when the picture is veiled, and how much.

The rule: the sender says once since when its face is missing (its capture clock); the first frame
that was captured later ends that. So the order in which the two arrive does not matter, and a
receiver that ignores the message just keeps its last picture. Pure: `media`, the instant that is
shown on the sender's clock, and `now` are parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_STEP_S = 0.1  # of the veil: the picture may have stood still for long before
MAX_LASTING = 8  # absences that no frame has ended yet; a peer can't make them grow
VEIL_S = 0.4  # the picture dims over so long ...
LOST_CAPTION = "connection lost"
HOLD_CAPTION = "on hold"
UNVEIL_S = 0.15  # ... and comes back over so long


@dataclass(slots=True)
class Absence:
    """One stretch without a face, on the sender's clock."""

    since: float
    """Capture time of the first frame without a face, seconds."""
    until: float = math.inf
    """Capture time of the first frame with one after it, seconds; inf while it lasts."""


class PresenceView:
    """Follows what the sender says and what comes."""

    def __init__(self) -> None:
        self.count = 0
        self.lost = False
        """Whether the sender cannot be reached at present."""
        self.on_hold = False
        """Whether the sender has put the call on hold."""
        self._absences: list[Absence] = []  # in order of time; those in the past are let go
        self._newest = -math.inf  # capture time of the newest frame
        self._past_s = 0.0  # length of the absences that were let go
        self._veil = 0.0
        self._at: float | None = None

    def note_absent(self, since: float) -> None:
        """The sender has had no face since `since`; old news and nonsense change nothing."""
        if not math.isfinite(since) or (self._absences and since <= self._absences[-1].since):
            return
        if sum(math.isinf(a.until) for a in self._absences) >= MAX_LASTING:
            return
        self.count += 1
        self._absences.append(Absence(since, self._newest if self._newest > since else math.inf))

    def note_frame(self, capture_time: float) -> None:
        """A frame that shows a face has come."""
        self._newest = max(self._newest, capture_time)
        for absence in self._absences:
            if absence.since < capture_time < absence.until:
                absence.until = capture_time

    @property
    def told(self) -> bool:
        """Whether, by the latest news, there is no face at present."""
        return bool(self._absences) and math.isinf(self._absences[-1].until)

    @property
    def caption(self) -> str:
        """What stands on the veil."""
        if self.lost:
            return LOST_CAPTION
        return HOLD_CAPTION if self.on_hold else ""

    def absent_at(self, media: float) -> bool:
        """Whether no face was there at the instant `media`, or nobody knows."""
        return self.lost or self.on_hold or any(a.since <= media < a.until for a in self._absences)

    def changing(self, media: float) -> bool:
        """Whether the veil moves, or will without further news."""
        goal = 1.0 if self.absent_at(media) else 0.0
        return self._veil != goal or any(
            a.since > media or media < a.until < math.inf for a in self._absences
        )

    def veil_at(self, media: float, now: float) -> float:
        """How much the picture that shows `media` is veiled at `now`, 0 (not) to 1."""
        dt = 0.0 if self._at is None else min(MAX_STEP_S, max(0.0, now - self._at))
        self._at = now
        if self.absent_at(media):
            self._veil = min(1.0, self._veil + dt / VEIL_S)
        else:
            self._veil = max(0.0, self._veil - dt / UNVEIL_S)
        while len(self._absences) > 1 and self._absences[0].until <= media:
            self._past_s += self._absences[0].until - self._absences.pop(0).since
        return self._veil

    def absent_seconds(self, end: float) -> float:
        """Seconds of absence up to `end` on the sender's clock."""
        lasting = (max(0.0, min(a.until, end) - a.since) for a in self._absences)
        return self._past_s + sum(lasting)
