"""The sender's pipeline: paced frames → face → 49 numbers → bytes → the call.

The rule: drop before the predictor, never after it. Raw frames that come too fast are replaced
by newer ones in a fifo of one; while the transport is behind, frames are dropped unseen; what has
been coded either leaves or takes everything after it along, up to the next keyframe. Every
captured frame ends in exactly one fate. Who is missing from the picture is not made up: after a
short grace the receiver is told, once, since when there is no face, and the next frame ends that.
`SendStream` is the core (its clock is a parameter), `SendPipeline` the two threads around it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from quic_transport.codec import EncodedFrame, Pacer, ParameterEncoder, Reference
from quic_transport.fifo import EndOfStream, Fifo, Stage, run_stage
from quic_transport.timeline import Timeline
from sender.extractor import Extractor
from sender.face_choice import FaceChooser, Presence
from sender.frames import Frame, mirrored
from sender.personal.body import BodyTracker
from sender.source import FrameSource

RAW_FRAMES = 1  # capacity of the fifo between capture and extraction
JOIN_TIMEOUT_S = 5.0

DURATIONS = {
    "capture wait": ("captured", "taken"),
    "extract": ("taken", "extracted"),
    "encode": ("extracted", "encoded"),
    "hand over": ("encoded", "sent"),
}
"""The sender's stages: what a Timeline is to measure."""


class Fate(Enum):
    """What became of a captured frame at the sender."""

    SENT = "sent"
    """It was coded and handed to the transport."""
    LATE = "dropped late"
    """A newer frame took its place before it was looked at."""
    CONGESTED = "dropped, transport behind"
    """The transport had not got rid of earlier frames."""
    HELD = "on hold"
    """The caller had put the call on hold."""
    NO_FACE = "no face"
    """The tracker found nobody in it."""
    SPARED = "spared"
    """It says nothing new, or the payload's budget is spent."""
    UNSENT = "dropped after coding"
    """The transport let its queue go; a keyframe followed."""


class FrameLink(Protocol):
    """What a call offers to a sender."""

    def can_send_frame(self) -> bool:
        """Whether a frame handed over now would leave soon."""

    def reference(self) -> Reference:
        """What the next frame is to be predicted from; None: it must stand alone."""

    def send_frame(self, frame: EncodedFrame) -> bool:
        """Hand over a coded frame; False: it and all queued ones were dropped."""


@dataclass(frozen=True, slots=True)
class SendBalance:
    """The sender's books at one moment."""

    captured: int
    """Frames that came out of the source."""
    open: int
    """Frames on their way through the pipeline."""
    fates: dict[str, int]
    """Frames by fate, every fate named, zero or not."""

    @property
    def balanced(self) -> bool:
        """Whether every captured frame is accounted for."""
        return self.captured == self.open + sum(self.fates.values())


class SendStream:
    """Takes captured frames to the link, one after the other."""

    def __init__(
        self, extractor: Extractor, encoder: ParameterEncoder, link: FrameLink, timeline: Timeline,
        clock: Callable[[], float], *, chooser: FaceChooser | None = None, mirror: bool = False,
        on_absent: Callable[[float], None] | None = None, pacer: Pacer | None = None,
        body: BodyTracker | None = None,
    ) -> None:  # fmt: skip
        """`pacer`: which frames are left out (none by default); `chooser`: whose face (the largest
        by default); `body`: measures how the body stands, too; `mirror`: the camera shows a mirror
        image; `on_absent` gets the capture time of the first frame without a face, once for each
        time that the face stays away."""
        self._extractor = extractor
        self._encoder = encoder
        self._pacer = pacer
        self._body = body
        self._link = link
        self._timeline = timeline
        self._clock = clock
        self._chooser = chooser or FaceChooser()
        self._mirror = mirror
        self._on_absent = on_absent
        self.on_hold = False
        self._missed_since: float | None = None  # the first frame without the face
        self._told = False
        self.fates: Counter[Fate] = Counter()
        self.payload_bytes = 0
        self.keyframes = 0
        self.absences = 0
        self._absent_s = 0.0

    def process(self, frame: Frame) -> Fate:
        """Extract, code and hand over one frame; what became of it."""
        fate = self._process(frame)
        self.fates[fate] += 1
        return fate

    def _process(self, frame: Frame) -> Fate:
        def stamp(stage: str) -> None:
            self._timeline.stamp(frame.index, stage, self._clock())

        self._timeline.stamp(frame.index, "captured", frame.capture_time)
        stamp("taken")
        if self.on_hold:
            return Fate.HELD
        if not self._link.can_send_frame():
            return Fate.CONGESTED
        seen = mirrored(frame) if self._mirror else frame
        faces = self._extractor.extract(seen)
        choice = self._chooser.step(faces, frame.capture_time)
        self._note(choice.presence, frame.capture_time)
        if choice.face is None:
            return Fate.NO_FACE
        params, pacer = choice.face.params, self._pacer
        if self._body is not None:
            params = self._body.follow(seen.image, params)
        stamp("extracted")
        reference = self._link.reference()
        if pacer is not None and not pacer.wants(params, must=reference is None):
            return Fate.SPARED
        coded = self._encoder.encode(params, reference=reference)
        if pacer is not None:
            pacer.sent(coded)
        stamp("encoded")
        if not self._link.send_frame(coded):
            return Fate.UNSENT
        stamp("sent")
        self.payload_bytes += len(coded.payload)
        self.keyframes += coded.key
        return Fate.SENT

    def _note(self, presence: Presence, now: float) -> None:
        """Keep the books of absences; tell the receiver of one that lasts."""
        if presence is Presence.TRACKING:
            self._absent_s = self.absent_seconds(now)
            self._missed_since, self._told = None, False
            return
        if self._missed_since is None:
            self._missed_since = now
        grace = self._chooser.settings.grace_s  # also while nobody has come yet
        if presence is Presence.SEARCHING and not self._told and now - self._missed_since >= grace:
            self._told = True
            self.absences += 1
            if self._on_absent is not None:
                self._on_absent(self._missed_since)

    @property
    def absent(self) -> bool:
        """Whether the receiver has been told that there is no face, and that still holds."""
        return self._told

    def absent_seconds(self, now: float) -> float:
        """Seconds of capture time up to `now` for which the face stayed away."""
        if not self._told or self._missed_since is None:
            return self._absent_s
        return self._absent_s + now - self._missed_since


class SendPipeline:
    """Two threads: one captures, one extracts, codes and hands over."""

    def __init__(
        self, source: FrameSource, stream: SendStream, *, seconds: float | None = None
    ) -> None:
        """`source` paces itself; `seconds`: stop that long after its first frame."""
        self.stream = stream
        self.captured = 0
        self.media_origin: float | None = None
        self.first_capture: float | None = None
        self.last_capture: float | None = None
        self._source = source
        self._seconds = seconds
        self._stop = threading.Event()
        self._raw: Fifo[Frame] = Fifo(RAW_FRAMES, "drop-oldest")
        self._stages: list[Stage] = []

    def start(self) -> None:
        """Begin to capture."""
        self._stages = [
            run_stage("capture", self._capture, self._raw),
            run_stage("extract", self._extract, self._raw),
        ]

    def _capture(self) -> None:
        for frame in self._source.frames():
            if self._stop.is_set():
                break
            if self.first_capture is None:
                self.first_capture = frame.capture_time
            elapsed = frame.capture_time - self.first_capture
            if self._seconds is not None and elapsed > self._seconds - 1e-3:
                break
            if frame.media_time is not None:
                self.media_origin = frame.capture_time - frame.media_time
            self.last_capture = frame.capture_time
            self.captured += 1
            self._raw.put(frame)

    def _extract(self) -> None:
        while True:
            self.stream.process(self._raw.get())

    @property
    def alive(self) -> bool:
        """Whether frames are still on their way."""
        return any(stage.alive for stage in self._stages)

    def stop(self) -> None:
        """Capture no more; what is in the pipeline still goes out."""
        self._stop.set()
        self._source.close()
        self._raw.close()

    def join(self) -> None:
        """Wait for both threads; raises what ended them, if it was a failure."""
        failure: BaseException | None = None
        for stage in reversed(self._stages):
            try:
                stage.join(JOIN_TIMEOUT_S)
            except TimeoutError:
                pass  # a camera that blocks: its thread ends with the process
            except EndOfStream:
                pass
            except BaseException as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def balance(self) -> SendBalance:
        """The books now; exact once the threads have ended."""
        fates = {fate.value: self.stream.fates[fate] for fate in Fate}
        dropped = self._source.dropped  # by the source itself, which holds one frame at a time
        fates[Fate.LATE.value] += self._raw.stats().dropped + dropped
        captured = self.captured + dropped
        return SendBalance(captured, captured - sum(fates.values()), fates)
