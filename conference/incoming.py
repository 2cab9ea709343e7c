"""The peer's face in a call: from its avatar to the receiver's report.

The rule: nobody is told that we are ready before the head is loaded, warm and fits what the
sender announced; when the sender is gone, what has come is still drawn, counted and kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conference.exchange import FINAL_SEEN, MEDIA_ORIGIN, NO_FACE_SINCE
from conference.incoming_face import IncomingFace
from conference.reference import ReferenceMeter
from conference.statistics import (
    CallReport,
    absence_rates,
    milliseconds,
    open_trace,
    rates_of,
    unpack_latency,
)
from conference.terminal import StatusLine
from quic_transport.errors import FacewireError, LocalError
from quic_transport.events import FrameReceived
from quic_transport.fifo import EndOfStream
from quic_transport.timeline import Timeline
from receiver.cadence import Cadence, CadenceSettings
from receiver.display import Picture, Sink, WindowSink, file_sink, window_available
from receiver.pipeline import ReceivePipeline
from receiver.playout import PlayoutBuffer, PlayoutSettings
from receiver.pose_control import KEY_HELP, PoseControl, View
from receiver.stream import DURATIONS, ReceiveStream
from receiver.veil import empty_picture

POLL_S = 0.02  # how long a window waits for a picture before it looks at its keys
FINAL_WAIT_S = 3.0  # for the sender's goodbye after our last numbers
SENDER_FRAMES = (
    "captured",
    "dropped late",
    "dropped, transport behind",
    "spared",
    "no face",
    "on hold",
)
SENDER_STAGES = ("capture wait", "extract", "encode", "hand over")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveOptions:
    """How a call is received."""

    size: int = 256
    """Width and height of the pictures, or of the head in whole ones at most, pixels."""
    background: str | None = None
    """What is behind the person in the whole picture (`full_frame.background_of`); None: the head
    alone, on white."""
    view: View
    """The viewpoint at the start."""
    buffer: float = 1.0
    """K: frames of playout delay."""
    display_fps: float | None = None
    """Pictures per second; None adapts."""
    fps: float | None = None
    """Pictures per second for which quality is given up; None: the sender's rate, or none at all
    where pictures are compared with a `reference`; 0: none."""
    threads: int | None = None
    """Of the renderer; None: all cores."""
    device: str = "auto"
    """auto, cuda or cpu."""
    backend: str = "auto"
    """One of `nerf.backends.BACKENDS`, or auto."""
    output: Path | None = None
    """Video file or folder; None: a window if there is a display, else a new video here."""
    reference: Path | None = None
    """Training set to compare with."""
    stats: Path | None = None
    """Where the report goes as JSON."""
    trace: Path | None = None
    """Where one JSON line per frame goes."""


def open_sink(options: ReceiveOptions, fps: float, status: StatusLine) -> Sink:
    """Where the pictures of this call go."""
    if options.output is not None:
        return file_sink(options.output, fps)
    if window_available():
        status.say(KEY_HELP)
        return WindowSink("facewire")
    path = Path(time.strftime("facewire-%Y%m%d-%H%M%S.mp4"))
    status.say(f"there is no display here: recording to {path}")
    return file_sink(path, fps)


class Receiving:
    """An incoming face at work in a call."""

    def __init__(self, face: IncomingFace) -> None:
        """Tells the peer that frames are welcome."""
        options, offer = face.options, face.offer
        call = face.exchange.call
        interval = 1.0 / offer.fps
        self._face = face
        self._exchange = face.exchange
        self._sink = open_sink(options, options.display_fps or offer.fps, face.status)
        self._meter = ReferenceMeter(options.reference, options.size) if options.reference else None
        self._trace = open_trace(options.trace)
        self._timeline = Timeline(DURATIONS, log=self._trace)
        self._stream = ReceiveStream(
            face.decoder,
            PlayoutBuffer(PlayoutSettings(delay_frames=options.buffer, frame_interval=interval)),
            Cadence(CadenceSettings(frame_interval=interval, display_fps=options.display_fps)),
            PoseControl(face.head.distance_m, options.view),
            self._timeline,
            clock=time.monotonic,
            to_local=call.to_our_clock,
        )
        self._pipeline = ReceivePipeline(self._stream, lambda p, pose: face.head.draw(p, pose))
        self._first_capture: float | None = None
        self._first_shown: float | None = None
        self._last_capture = 0.0
        self._absent_since: float | None = None
        self._absent_s = 0.0
        self._sink_failure: FacewireError | None = None
        self._left = False
        self.on_key: Callable[[str], None] = lambda name: None
        self._wire = call.wire()
        self._wire_end = self._wire
        self._pipeline.start()
        self._exchange.on_frame = self._on_frame
        call.send_ready()
        face.status.say(f"{offer.name} is on: {self._sink.description}")

    def _on_frame(self, event: FrameReceived) -> None:
        """Runs on the thread that takes events off the call."""
        if self._first_capture is None:
            self._first_capture = event.frame.capture_time
        self._last_capture = max(self._last_capture, event.frame.capture_time)
        if self._pipeline.feed(event.frame, event.arrival):
            self._exchange.call.frame_decoded(event.frame.sequence)
        elif self._stream.wants_keyframe:
            self._exchange.call.request_keyframe()

    def run(self) -> None:
        """Show pictures until the call is over or the viewer leaves; on the main thread."""
        exchange, status = self._exchange, self._face.status
        draining = False
        while True:
            if not draining and (exchange.peer_final or exchange.over):
                self._wire_end = exchange.call.wire()
                self._pipeline.drain()
                draining = True
            if self._face.interrupt.requested or self._left:
                self._left = True
                self._pipeline.stop()
            if not draining:
                self._wire_end = exchange.call.wire()
            if self._meter is not None and MEDIA_ORIGIN in exchange.peer_stats:
                self._meter.set_origin(exchange.peer_stats[MEDIA_ORIGIN])
            try:
                self._look_for_absence()
                self._pipeline.note_quiet(0.0 if draining else exchange.call.quiet_s())
                self._pipeline.note_hold(exchange.peer_holds)
                self._show_next()
            except EndOfStream:
                break
            except LocalError as error:  # the disk is full, ...
                self._sink_failure = error
                self._left = True
            self._face.look_for_rest()
            now = time.monotonic()
            if status.due(now):
                status.show(self.line(), now)

    def _show_next(self) -> None:
        try:
            picture = self._pipeline.pictures.get(POLL_S)
        except TimeoutError:
            pass
        else:
            self._sink.show(picture)
            if self._first_shown is None:
                self._first_shown = picture.media_time
            if self._meter is not None and not picture.veil:
                self._meter.offer(picture)
        for key in self._sink.pressed():
            self._left = self._left or (key == "q")
            self._pipeline.key(key)
            self.on_key(key)

    def _look_for_absence(self) -> None:
        """Pass on that the sender has no face; before its first picture, show a plain one."""
        since = self._exchange.peer_stats.get(NO_FACE_SINCE)
        if since is None or since == self._absent_since:
            return
        self._absent_since = since
        self._pipeline.absent(since)
        if self._first_capture is None and self._first_shown is None:
            self._first_shown = since
            self._sink.show(Picture(empty_picture(*self._face.head.shape), since, 1.0))

    @property
    def left(self) -> bool:
        """Whether the viewer has left."""
        return self._left

    def finish(self, *, hang_up: bool = True) -> None:
        """Exchange the last numbers and finish the recording; `hang_up`: wait for the peer to do
        so, and do it if it does not."""
        self._exchange.on_frame = None
        self._absent_s = self._stream.absent_seconds(time.monotonic())
        try:
            self._pipeline.join(5.0)
        finally:
            if not self._exchange.over:
                balance = self._stream.ledger.balance()
                numbers = {FINAL_SEEN: 1.0, "received": float(balance.received)}
                numbers["rendered"] = float(balance.fates["rendered"])
                self._exchange.call.send_stats(numbers)
                if hang_up and not self._left:
                    self._exchange.wait_for_end(FINAL_WAIT_S)
            if hang_up:
                self._exchange.close("the viewer left" if self._left else "")
            self._timeline.finish()
            if self._trace is not None:
                self._trace.close()
            try:
                self._sink.close()
            except LocalError as error:
                self._sink_failure = self._sink_failure or error

    @property
    def _seconds(self) -> float:
        if self._first_capture is None:
            return 0.0
        return self._last_capture - self._first_capture + 1.0 / self._face.offer.fps

    def _rates(self) -> dict[str, float]:
        wire = self._wire_end.since(self._wire)
        return rates_of(self._stream.payload_bytes, wire, self._seconds, self._stream.pictures)

    def line(self) -> str:
        """The live statistics."""
        rates, books = self._rates(), self._stream.ledger.balance()
        if not rates:
            nobody = self._stream.presence.told
            return "nobody in the picture yet" if nobody else "ready; waiting for the first frame"
        gone = ", ".join(
            f"{n} {name}" for name, n in books.fates.items() if n and name != "rendered"
        )
        delay = self._timeline.summary()["end to end"]
        away = "  NO FACE" if self._stream.presence.told else ""
        away = "  CONNECTION LOST, trying" if self._stream.presence.lost else away
        if note := self._face.head.quality.note:
            away += f"  [{note}]"
        return (
            f"{self._seconds:6.1f} s{away}  rendered {books.fates['rendered']} of {books.sent} "
            f"frames{f' ({gone})' if gone else ''}  {rates['pictures per second']:.1f} pictures/s  "
            f"payload {rates['payload kbps']:.1f} kbps  wire {rates['wire kbps received']:.1f} in "
            f"{rates['wire kbps sent']:.1f} out  delay {1000 * delay.p50:.0f} ms"
        )

    def report(self) -> CallReport:
        """The receiver's account; complete after `finish`."""
        told = self._exchange.peer_stats
        if "coded" in told:
            self._stream.ledger.expect(int(told["coded"]))
        books = self._stream.close()
        before = {name: int(told[name]) for name in SENDER_FRAMES if name in told}
        frames = {**before, "coded": books.sent, "received": books.received, **books.fates}
        captured = before.pop("captured", None)
        balanced = books.balanced and captured in (None, sum(before.values()) + books.sent)
        options, offer = self._face.options, self._face.offer
        height, width = self._face.head.shape
        notes = [
            f"K = {options.buffer:g}, {width} × {height} pixels, tracker "
            f"{offer.extractor}, profile {offer.profile}"
        ]
        theirs = unpack_latency(told)
        latency = {name: theirs[name] for name in SENDER_STAGES if name in theirs}
        latency |= {name: milliseconds(s) for name, s in self._timeline.summary().items()}
        path = self._exchange.call.round_trip()
        if path is not None:
            latency["round trip, smallest"] = {"p50": round(1000 * path.rtt_s, 2)}
            notes.append(
                f"the sender's clock is known within {1000 * path.error_s:.1f} ms; times that span "
                "both ends are as good as that"
            )
        rates = self._rates() | absence_rates(self._stream.presence.count, self._absent_s)
        ended = self._exchange.ended
        return CallReport(
            role="receiver",
            ended=ended.sentence if ended is not None else "the call ended",
            clean=ended is None or ended.error() is None,
            seconds=round(self._seconds, 3),
            frames=frames,
            balanced=balanced,
            rates=rates,
            latency_ms={name: ms for name, ms in latency.items() if ms},
            likeness=self._meter.finish() if self._meter is not None else {},
            recording_start_s=self._first_shown - told[MEDIA_ORIGIN]
            if self._first_shown is not None and MEDIA_ORIGIN in told else None,
            notes=tuple(notes),
        )  # fmt: skip

    def failure(self) -> FacewireError | None:
        """What to say after the table; None if all is well."""
        if self._sink_failure is not None:
            return self._sink_failure
        return self._exchange.ended.error() if self._exchange.ended is not None else None
