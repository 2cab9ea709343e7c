"""The receiver's core: coded frames in, the next picture to draw out, books and times kept.

The rule: decode on arrival, buffer decoded parameters, draw at the display's rate. A frame that
cannot be decoded asks for a keyframe and nothing else; a picture is drawn only when something has
changed; while the sender has no face, the last one is veiled. Time is a parameter (`now`, and
`clock` where one call takes several stamps); `receiver.pipeline` adds the threads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quic_transport.codec import EncodedFrame, ParameterDecoder, sequence_distance
from quic_transport.errors import CodecError
from quic_transport.params import FaceParams
from quic_transport.timeline import Timeline
from receiver.accounting import Balance, Fate, FrameLedger
from receiver.cadence import Cadence
from receiver.playout import PlayoutBuffer, PlayoutSample
from receiver.pose_control import PoseControl
from receiver.presence import PresenceView

DURATIONS = {
    "capture to arrival": ("captured", "arrived"),
    "decode": ("taken", "decoded"),
    "playout wait": ("decoded", "drawing"),
    "generate": ("drawing", "ready"),
    "end to end": ("captured", "ready"),
}
"""The receiver's stages: what a Timeline is to measure."""

MAX_OPEN_STAMPS = 512


@dataclass(frozen=True, slots=True, eq=False)
class PictureJob:
    """One picture to be drawn."""

    params: FaceParams
    """The parameters; `capture_time` is the instant shown, on the sender's clock."""
    pose: NDArray[np.float64]
    """[4, 4] head → camera, metres."""
    started: float
    """Seconds on our clock at which drawing began."""
    sample: PlayoutSample
    """Which frames it is made of."""
    veil: float = 0.0
    """0..1: how much of it is veiled, because the sender has no face to show or is lost."""
    caption: str = ""
    """What stands on the veil; empty: the usual."""


class ReceiveStream:
    """Follows one incoming face from coded frames to pictures."""

    def __init__(
        self, decoder: ParameterDecoder, playout: PlayoutBuffer, cadence: Cadence,
        control: PoseControl, timeline: Timeline, *, clock: Callable[[], float],
        to_local: Callable[[float], float] = lambda t: t,
    ) -> None:  # fmt: skip
        """`to_local` turns the sender's clock into ours, for the times that are reported."""
        self.control = control
        self.ledger = FrameLedger()
        self.presence = PresenceView()
        self.pictures = 0
        self.payload_bytes = 0
        self._decoder = decoder
        self._playout = playout
        self._cadence = cadence
        self._timeline = timeline
        self._clock = clock
        self._to_local = to_local
        self._highest = -1
        self._still = False
        # Drawn frames whose own instant has not come yet: sequence → nothing, oldest first.
        self._drawn: OrderedDict[int, None] = OrderedDict()

    def on_frame(self, frame: EncodedFrame, arrival: float) -> bool:
        """A frame came; whether it was decoded. If not, see `wants_keyframe`."""
        number = self._number(frame.sequence)
        if number < 0 or not self.ledger.receive(number):
            return True
        self.payload_bytes += len(frame.payload)
        stamp = self._timeline.stamp
        stamp(number, "captured", self._to_local(frame.capture_time))
        stamp(number, "arrived", arrival)
        stamp(number, "taken", self._clock())
        try:
            params = self._decoder.decode(frame)
        except CodecError:
            self.ledger.settle(number, Fate.UNDECODABLE)
            return False
        now = self._clock()
        stamp(number, "decoded", now)
        self._playout.push(number, params, now)
        self.presence.note_frame(params.capture_time)
        self._settle_superseded()
        return True

    @property
    def wants_keyframe(self) -> bool:
        """Whether the newest frame could not be decoded: the sender must be asked."""
        return self._decoder.needs_keyframe

    def note_quiet(self, quiet_s: float, now: float) -> bool:
        """The sender was heard `quiet_s` seconds ago; whether that changes the picture."""
        before = self._playout.rest.lost
        self._playout.rest.note_quiet(quiet_s, now)
        self.presence.lost = self._playout.rest.lost
        return self.presence.lost != before

    def _number(self, sequence: int) -> int:
        """The frame's number without the wrap at 2**32."""
        if self._highest < 0:
            number = sequence
        else:
            number = self._highest + sequence_distance(sequence, self._highest % 2**32)
        self._highest = max(self._highest, number)
        return number

    def _settle_superseded(self) -> None:
        for number in self._playout.take_superseded():
            self.ledger.settle(number, Fate.SUPERSEDED)

    def next_start(self, now: float) -> float | None:
        """When to call `begin` next; None: nothing changes until a frame comes or a key does."""
        if len(self._playout) == 0:
            return None
        due = self._playout.next_due()
        moving = self.control.moving or self.presence.changing(self._playout.media_time(now) or 0.0)
        moving = moving or self._playout.rest.moving(now)
        if due is None and self._still and not moving:
            return None
        return self._cadence.next_start(now, due)

    def begin(self, target: float, now: float) -> PictureJob | None:
        """The picture that was meant for `target` and starts now."""
        sample = self._playout.sample(now)
        if sample is None:
            return None
        self._cadence.started(target, now)
        self._settle_superseded()
        self._still = sample.held
        pose = self.control.pose(sample.params.rotation, now)
        veil = self.presence.veil_at(sample.media_time, now)
        return PictureJob(sample.params, pose, now, sample, veil, self.presence.caption)

    def finish(self, job: PictureJob, now: float) -> None:
        """The picture is ready: its frames are rendered, and their latency is known."""
        self.pictures += 1
        self._cadence.drawn(now - job.started)
        self._playout.anticipate(self._cadence.cost)
        for number in job.sample.used:
            if self.ledger.settle(number, Fate.RENDERED):
                self._drawn[number] = None
        for number, _ in job.sample.reached:
            if number in self._drawn:  # shown in full: not only blended in, ahead of its time
                del self._drawn[number]
                self._timeline.stamp(number, "drawing", job.started)
                self._timeline.stamp(number, "ready", now)
        while len(self._drawn) > MAX_OPEN_STAMPS:
            self._drawn.popitem(last=False)

    def absent_seconds(self, now: float) -> float:
        """Seconds without a face, up to what is shown at `now`."""
        return self.presence.absent_seconds(self._playout.media_time(now) or 0.0)

    @property
    def waiting(self) -> bool:
        """Whether frames still wait for their turn."""
        return self._playout.next_due() is not None

    def close(self) -> Balance:
        """The call is over; the final books."""
        self._settle_superseded()
        return self.ledger.close()
