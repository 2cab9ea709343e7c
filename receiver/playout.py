"""The playout buffer: decoded parameters in, the parameters of any later instant out.

The rule: what is shown never runs backwards. The sender's capture clock is mapped onto this
machine's clock by the fastest recent arrival, shifted by K frame intervals; that mapping is
steered slowly, so the instant shown ("media time", on the capture clock) only ever grows. Frames
that come too late are kept as long as they are the newest. A picture is meant to be ready at its
instant, so drawing may begin earlier by what it takes, but by no more than half of the delay: the
other half is for the path's jitter. Pure: `now` is a parameter.

Reference: the paper, "Ingestion and Rendering" (a playback buffer of K frames, base time from the
first frame, target times by the frame rate); the interpolation between frames is ours, and so is
the delay that follows what arrives (`receiver/arrivals.py`).
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quic_transport.params import EXPRESSION_DIM, PARAM_DIM, FaceParams, within_reach
from receiver.arrivals import Arrivals
from receiver.rest import Rest

FloatArray = NDArray[np.float32]

SNAP_S = 0.002  # a frame this little ahead of the media time counts as reached
STEER_RATE = 0.1  # the clock mapping moves by at most this many seconds per second
JUMP_S = 1.0  # a mapping that is off by more is taken at once (a restarted or suspended peer)
LEAD_SHARE = 0.5  # of the delay that drawing may use up
GROW_RATE, SHRINK_RATE = 0.25, 0.02  # the delay changes by at most so many seconds per second
PLACED_DIM = PARAM_DIM + 3
GAP_INTERVALS = 2.5  # frames further apart than this are not blended across the whole gap


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayoutSettings:
    """How the buffer trades delay for smoothness."""

    delay_frames: float = 1.0
    """K: how many frame intervals the picture stays behind the newest capture at least, 0..200."""
    max_delay: float = 0.4
    """Seconds to which the delay may grow while frames come irregularly; below K intervals: the
    delay is fixed."""
    frame_interval: float = 0.05
    """Seconds between two captured frames at the sender, > 0."""
    extrapolation: float = 0.1
    """Seconds over which the last motion may be continued when frames are missing, >= 0."""
    window: float = 10.0
    """Seconds of arrivals that decide which one was the fastest, > 0."""
    capacity: int = 256
    """Frames kept at most; the oldest go first."""

    def __post_init__(self) -> None:
        if not 0 <= self.delay_frames <= 200:
            raise ValueError(f"delay_frames must lie in 0..200, not {self.delay_frames}")
        if self.frame_interval <= 0 or self.window <= 0 or self.extrapolation < 0:
            raise ValueError(f"intervals must be positive, not {self}")

    @property
    def delay(self) -> float:
        """Seconds of delay that the buffer adds at least."""
        return self.delay_frames * self.frame_interval


@dataclass(slots=True, order=True)
class Slot:
    """One buffered frame."""

    capture_time: float
    """Seconds on the sender's clock."""
    sequence: int = field(compare=False)
    """The frame's number in its stream."""
    vector: FloatArray = field(compare=False)
    """Float32 [49]: expression, then rotation (radians); [52] with the head's offset, [56] with the
    body's numbers too."""
    used: bool = field(default=False, compare=False)
    """Whether a sample has drawn on it."""
    reached: bool = field(default=False, compare=False)
    """Whether a sample at or after its own instant has been reported."""


@dataclass(frozen=True, slots=True)
class PlayoutSample:
    """What is to be shown at one instant."""

    params: FaceParams
    """The parameters; their `capture_time` is the media time shown."""
    media_time: float
    """Seconds on the sender's clock."""
    used: tuple[int, ...]
    """Sequences of the frames that it was made of (one, or two when interpolated)."""
    reached: tuple[tuple[int, float], ...]
    """(sequence, capture time) of the frames whose instant has now come for the first time."""
    held: bool
    """Whether nothing newer is known, so that the picture stands still from here on."""


def wrapped(angle: FloatArray) -> FloatArray:
    """Angles brought into [-pi, pi), radians."""
    return np.asarray((angle + math.pi) % (2 * math.pi) - math.pi, dtype=np.float32)


def blend(a: FloatArray, b: FloatArray, weight: float) -> FloatArray:
    """The vector [49], [52] or [56] at `weight` between a (0) and b (1, or more: extrapolated).

    Angles take the short way round; expressions stay within reach.
    """
    angles = slice(EXPRESSION_DIM, PARAM_DIM)
    step = b - a
    step[angles] = wrapped(step[angles])
    out = a + np.float32(weight) * step
    out[:EXPRESSION_DIM] = within_reach(out[:EXPRESSION_DIM])
    out[angles] = wrapped(out[angles])
    return out


def vector_of(params: FaceParams) -> FloatArray:
    """What is blended of a frame: its 49 numbers and, where it has them, its offset and its
    body's numbers (which mean nothing without a place)."""
    if params.offset is None:
        return params.vector()
    more = () if params.body is None else (params.body,)
    return np.concatenate([params.vector(), params.offset, *more])


def params_of(vector: FloatArray, capture_time: float) -> FaceParams:
    """The inverse of `vector_of`."""
    face = FaceParams.from_vector(vector[:PARAM_DIM], capture_time)
    if len(vector) == PARAM_DIM:
        return face
    body = vector[PLACED_DIM:] if len(vector) > PLACED_DIM else None
    return FaceParams(face.expression, face.rotation, capture_time, vector[PARAM_DIM:PLACED_DIM],
                      body)  # fmt: skip


class PlayoutBuffer:
    """Keeps the frames around the instant that is shown; see the module's rule."""

    def __init__(self, settings: PlayoutSettings | None = None) -> None:
        self.settings = settings or PlayoutSettings()
        self._slots: list[Slot] = []  # sorted by capture time
        self._transits: deque[tuple[float, float]] = deque()  # (arrival, transit), transit rising
        self._offset: float | None = None  # local time - capture time, without the delay
        self._steered_at = 0.0
        self._arrivals = Arrivals(self.settings.frame_interval)
        self._delay = self.settings.delay
        self._lead = 0.0
        self.rest = Rest()
        self._media = -math.inf
        self._superseded: list[int] = []

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def delay(self) -> float:
        """Seconds that the picture stays behind the quickest arrival at present."""
        return self._delay

    def push(self, sequence: int, params: FaceParams, now: float) -> None:
        """Take a decoded frame that arrived at `now`; one of a known instant is superseded."""
        self._note_transit(now - params.capture_time, now)
        self._arrivals.note(sequence, params.capture_time, self._transits[0][1], now)
        slot = Slot(params.capture_time, sequence, vector_of(params))
        newest = self._slots[-1].capture_time if self._slots else -math.inf
        overtaken = slot.capture_time < self._media and slot.capture_time < newest
        if overtaken or any(s.capture_time == slot.capture_time for s in self._slots):
            self._superseded.append(sequence)
            return
        insort(self._slots, slot)
        if len(self._slots) > self.settings.capacity:
            self._drop(1)

    def _note_transit(self, transit: float, now: float) -> None:
        while self._transits and self._transits[-1][1] >= transit:
            self._transits.pop()
        self._transits.append((now, transit))
        while self._transits[0][0] < now - self.settings.window:
            self._transits.popleft()
        if self._offset is None:
            self._offset, self._steered_at = transit, now
        self._steer(now)

    def anticipate(self, drawing_s: float) -> None:
        """Drawing a picture takes so long, seconds: samples are wanted that much earlier."""
        self._lead = min(max(0.0, drawing_s), LEAD_SHARE * self._delay)

    def _steer(self, now: float) -> None:
        """Move the clock mapping towards the fastest recent arrival, less the drawing time."""
        if self._offset is None or now <= self._steered_at:
            return
        error = self._transits[0][1] - self._lead - self._offset
        limit = STEER_RATE * (now - self._steered_at)
        if abs(error) > JUMP_S:
            self._offset += error
        else:
            self._offset += max(-limit, min(limit, error))
        least = self.settings.delay
        need = self._arrivals.need(self._transits[0][1])
        need -= max(0.0, self.settings.frame_interval - least)
        wanted = max(least, min(need, self.settings.max_delay))
        step = now - self._steered_at
        low, high = self._delay - SHRINK_RATE * step, self._delay + GROW_RATE * step
        self._delay = max(least, min(max(wanted, low), high))
        self._steered_at = now

    def media_time(self, now: float) -> float | None:
        """The capture time that is to be shown at `now`, never less than before; None at first."""
        self._steer(now)
        if self._offset is None:
            return None
        self._media = max(self._media, now - self._offset - self._delay)
        return self._media

    def due_time(self, capture_time: float) -> float | None:
        """The local time at which a frame captured then is to be shown; None before any came."""
        if self._offset is None:
            return None
        return capture_time + self._offset + self._delay

    def next_due(self) -> float | None:
        """The local time at which the next frame not yet reached is to be shown; None: none."""
        for slot in self._slots:
            if not slot.reached and slot.capture_time > self._media:
                return self.due_time(slot.capture_time)
        return None

    def sample(self, now: float) -> PlayoutSample | None:
        """What is to be shown at `now`; None before the first frame."""
        media = self.media_time(now)
        if media is None or not self._slots:
            return None
        at = sum(slot.capture_time <= media + SNAP_S for slot in self._slots)
        vector, used, held = self._vector_at(media, at)
        reached = []
        for slot in self._slots[:at]:
            if not slot.reached:
                slot.reached = True
                reached.append((slot.sequence, slot.capture_time))
        for slot in used:
            slot.used = True
        self._drop(max(0, at - 2))  # the current frame and the one before it (for its motion)
        params = params_of(self.rest.apply(vector, now), media)
        held = held and not self.rest.moving(now)
        return PlayoutSample(params, media, tuple(s.sequence for s in used), tuple(reached), held)

    def _vector_at(self, media: float, at: int) -> tuple[FloatArray, list[Slot], bool]:
        """The vector at `media`, the slots it is made of, and whether it stands still."""
        slots, interval = self._slots, self.settings.frame_interval
        if at == 0:  # case 1: before the first frame: show it, motionless
            return slots[0].vector, [slots[0]], False
        here = slots[at - 1]
        if at < len(slots):  # case 2: between two frames
            after = slots[at]
            gap = after.capture_time - here.capture_time
            if gap > GAP_INTERVALS * interval:  # across a pause: stay, then move in one interval
                weight = 1.0 - (after.capture_time - media) / interval
            else:
                weight = (media - here.capture_time) / gap
            if weight <= 0 or media <= here.capture_time + SNAP_S:
                return here.vector, [here], False
            return blend(here.vector, after.vector, min(1.0, weight)), [here, after], False
        ahead = media - here.capture_time  # case 3: past the newest frame
        limit = self.settings.extrapolation
        if at < 2 or ahead <= SNAP_S or limit == 0:
            return here.vector, [here], ahead > limit
        before = slots[at - 2]
        gap = here.capture_time - before.capture_time
        if gap > GAP_INTERVALS * interval:
            return here.vector, [here], ahead > limit
        # The last motion goes on, slowing to a stop: dt (1 - dt / 2T) rests at T / 2 for dt = T.
        dt = min(ahead, limit)
        glide = dt * (1.0 - dt / (2.0 * limit))
        return blend(before.vector, here.vector, 1.0 + glide / gap), [here], ahead > limit

    def _drop(self, count: int) -> None:
        for slot in self._slots[:count]:
            if not slot.used:
                self._superseded.append(slot.sequence)
        del self._slots[:count]

    def take_superseded(self) -> list[int]:
        """Sequences of frames that were let go without having been shown, since the last call."""
        out, self._superseded = self._superseded, []
        return out

    def unshown(self) -> list[int]:
        """Sequences of frames that still wait for their turn."""
        return [slot.sequence for slot in self._slots if not slot.used]
