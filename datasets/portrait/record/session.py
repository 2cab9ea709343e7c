"""The recording as a pure state machine: step(now, what is seen) → prompt and events.

    waiting ──picture is good──► countdown ──3 s──► recording ──script done──► repeating ─► done
       └── after WAIT_S in any case ──►                └── nothing was missed ──────────────►┘

The rule: nothing here knows a camera, a window or a clock. With a tracker, steps whose goals
were missed are asked once more at the end; without one, time alone decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from portrait.record.prompts import Script, Step, measured
from portrait.record.sight import Seen, SteadyHints, picture_hints

COUNTDOWN_S = 3.0
WAIT_S = 20.0  # a picture that stays bad is recorded all the same; the hints stay on
GOOD_S = 1.0  # the picture must be good for so long before the countdown
MAX_REPEATS = 5  # steps that are asked once more


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is on the screen now."""

    phase: str
    """"waiting", "countdown", "recording", "repeating" or "done"."""
    title: str
    """What to do."""
    detail: str
    """How, or what to read."""
    step_share: float
    """0..1 of the current step's time."""
    total_share: float
    """0..1 of the recording."""
    remaining_s: float
    """Seconds left of the recording (without repeats that may come)."""
    countdown: int | None
    """3, 2, 1 before the start."""
    hints: tuple[str, ...]
    """What is wrong with the picture, the most urgent first."""
    toward: tuple[float, float] | None
    """Where an arrow points, in the mirrored picture."""
    reached: bool
    """The step's goals are all reached."""
    following: str
    """The next step's title; empty at the end."""

    @property
    def filming(self) -> bool:
        """Whether the picture belongs into the file."""
        return self.phase in ("recording", "repeating")


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step begins."""

    step: Step
    """Which."""


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step's time is over."""

    step: Step
    """Which."""
    reached: bool | None
    """Whether its goals were; None where nobody measured them or it has none."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The recording is complete."""

    missed: tuple[Step, ...]
    """Steps whose goals were measured and not reached, repeats included."""


Event = StepStarted | StepEnded | Finished


class RecordingSession:
    """One recording of a script."""

    def __init__(self, script: Script, *, repeat: bool = True) -> None:
        """`repeat`: ask once more, at the end, for what a tracker did not see."""
        self.script = script
        self.phase = "waiting"
        self.missed: list[Step] = []
        self._repeat = repeat
        self._queue: list[Step] = list(script.steps)
        self._position = 0
        self._entered: float | None = None  # when this phase, or this step, began
        self._good_since: float | None = None
        self._hints = SteadyHints()
        self._reached: set[int] = set()
        self._measured = False

    def start(self, now: float) -> None:
        """Begin the countdown at once (a key was pressed)."""
        if self.phase == "waiting":
            self.phase, self._entered = "countdown", now

    def step(self, now: float, seen: Seen) -> tuple[Prompt, list[Event]]:
        """Take notice of a picture at `now` (seconds, never going back)."""
        events: list[Event] = []
        if self._entered is None:
            self._entered = now
        raw = picture_hints(seen)
        hints = self._hints.update(now, raw)
        if self.phase == "waiting":
            self._wait(now, bool(raw))
        if self.phase == "countdown" and now - self._entered >= COUNTDOWN_S:
            self.phase, self._entered = "recording", now
            self._begin(events)
        if self.phase in ("recording", "repeating"):
            self._advance(now, seen, events)
        return self._prompt(now, hints), events

    def _wait(self, now: float, bad: bool) -> None:
        if bad:
            self._good_since = None
        elif self._good_since is None:
            self._good_since = now
        good = self._good_since is not None and now - self._good_since >= GOOD_S
        assert self._entered is not None
        if good or now - self._entered >= WAIT_S:
            self.start(now)

    def _begin(self, events: list[Event]) -> None:
        self._reached, self._measured = set(), False
        events.append(StepStarted(self._queue[self._position]))

    def _advance(self, now: float, seen: Seen, events: list[Event]) -> None:
        assert self._entered is not None
        while now - self._entered >= self._queue[self._position].seconds:
            step = self._queue[self._position]
            done = len(self._reached) == len(step.goals)
            events.append(StepEnded(step, done if self._measured else None))
            if self._measured and done and step in self.missed:
                self.missed.remove(step)
            elif self._measured and not done and step not in self.missed:
                self.missed.append(step)
            self._entered += step.seconds
            self._position += 1
            if self._position == len(self._queue) and not self._next_round():
                self.phase = "done"
                events.append(Finished(tuple(self.missed)))
                return
            self._begin(events)
        self._measure(self._queue[self._position], seen)

    def _next_round(self) -> bool:
        """Whether missed steps are asked again now."""
        if not self._repeat or self.phase != "recording" or not self.missed:
            return False
        self.phase = "repeating"
        self._queue, self._position = self.missed[:MAX_REPEATS], 0
        return True

    def _measure(self, step: Step, seen: Seen) -> None:
        if seen.face is None:
            return
        for i, goal in enumerate(step.goals):
            value = measured(goal.measure, seen.face.rotation_deg, seen.face.expression)
            self._measured |= math.isfinite(value)
            if goal.reached_by(value):
                self._reached.add(i)

    def _prompt(self, now: float, hints: tuple[str, ...]) -> Prompt:
        assert self._entered is not None
        since = now - self._entered
        if self.phase == "waiting":
            return self._still(hints, "Sit in front of the camera", "Face and hair in the picture, "
                               "a light in front of you. Space: begin now.")  # fmt: skip
        if self.phase == "countdown":
            left = max(1, math.ceil(COUNTDOWN_S - since))
            return self._still(hints, "Get ready", self._queue[0].title, left)
        if self.phase == "done":
            return self._still(hints, "Done", "Thank you.", total=1.0)
        step = self._queue[self._position]
        again = self.phase == "repeating"
        done = sum(s.seconds for s in self._queue[: self._position]) + since
        whole = sum(s.seconds for s in self._queue)
        following = self._queue[self._position + 1 :]
        return Prompt(
            phase=self.phase,
            title=f"Once more: {step.title}" if again else step.title,
            detail=(step.again[:1].upper() + step.again[1:] + ".") if again else step.detail,
            step_share=min(1.0, since / step.seconds),
            total_share=min(1.0, done / whole),
            remaining_s=max(0.0, whole - done),
            countdown=None,
            hints=hints,
            toward=step.toward,
            reached=bool(step.goals) and len(self._reached) == len(step.goals),
            following=following[0].title if following else "",
        )

    def _still(
        self,
        hints: tuple[str, ...],
        title: str,
        detail: str,
        countdown: int | None = None,
        total: float = 0.0,
    ) -> Prompt:
        left = self.script.seconds * (1 - total)
        return Prompt(
            self.phase, title, detail, 0.0, total, left, countdown, hints, None, False, ""
        )
