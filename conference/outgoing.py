"""Our face in a call: from the warm-up of the tracker to the sender's report.

The rule: the tracker is warm before the call is made and no frame is captured before the peer
can draw it; whoever is missing from the picture is reported missing, not made up; at the end both
sides exchange their numbers, then we hang up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from conference.exchange import FINAL, MEDIA_ORIGIN, NO_FACE_SINCE, ON_HOLD, Exchange
from conference.statistics import (
    CallReport,
    absence_rates,
    milliseconds,
    open_trace,
    pack_latency,
    rates_of,
)
from conference.terminal import Interrupt, StatusLine
from quic_transport.codec import PROFILES, Pacer, Terms
from quic_transport.codec.rc_tables import SECTION as CODEC_SECTION
from quic_transport.errors import FacewireError, LocalError
from quic_transport.offer import DATAGRAM, STREAM, STREAM_PER_GOP, Offer
from quic_transport.timeline import Timeline
from quic_transport.wire_count import WireCount
from sender.extractor import Extractor, open_extractor
from sender.face_choice import FaceChooser, check_wish
from sender.frames import Frame, mirrored
from sender.personal.body import BodyTracker
from sender.personal.body_model import BodyModel
from sender.personal.body_model import from_sections as body_from
from sender.personal.extractor import PersonalExtractor
from sender.pipeline import DURATIONS, Fate, SendPipeline, SendStream
from sender.smoothing import smoothed, unsmoothed
from sender.source import FrameSource, open_source
from sender.video import read_video

if TYPE_CHECKING:
    from quic_transport.avatar_meta import AvatarMeta
    from sender.personal.model import PersonalModel

CODECS = ("rc", "eg0")  # the first that the avatar has what it takes for
GOP_S = {STREAM: 5.0, STREAM_PER_GOP: 1.0, DATAGRAM: 0.0}
"""Seconds between keyframes; 0: only where nothing else can be decoded."""
WARM_UP_RUNS = 3
TRACKERS = ("facenet", "mediapipe", "cpem", "truth")  # an extractor's name begins with its choice
POLL_S = 0.1
FINAL_WAIT_S = 2.0  # for the receiver's last numbers
FACELESS_HINT_S = 3.0
QUIET_S = 1.5  # of silence: the connection counts as lost until something comes


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceWish:
    """Which face is sent, and how it is looked at."""

    which: str = "largest"
    """"largest", "left", "right" or a number, 1 being the leftmost."""
    mirror: bool = False
    """Whether the source shows a mirror image, which is undone before anything else."""
    raw: bool = False
    """Whether the tracker's output is sent as it is, without smoothing."""

    @staticmethod
    def parse(text: str) -> FaceWish:
        """The wish of 'left,mirror,raw'; LocalError names the word that makes no sense."""
        words = [word.strip() for word in text.split(",") if word.strip()]
        whose = [check_wish(word) for word in words if word not in ("mirror", "raw")]
        if len(whose) > 1:
            raise LocalError(f"one face can be sent, and --face names {' and '.join(whose)}")
        return FaceWish(which=whose[0] if whose else "largest", mirror="mirror" in words,
                        raw="raw" in words)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """What is sent."""

    source: str
    """"camera:N" or a video's path."""
    fps: float = 20.0
    """Frames per second wanted."""
    extractor: str | None = None
    """A name that `open_extractor` knows; None: the one that the avatar was made with."""
    models: Path | None = None
    """Folder of the tracker's model files."""
    codec: str | None = None
    """One of CODECS; None: the first that the avatar can."""
    payload_kbps: float | None = None
    """What the coded parameters may cost on average; None: the usual quality."""
    mode: str = DATAGRAM
    """How frames cross: one of `offer.MODES`."""
    seconds: float | None = None
    """End after so many seconds."""
    trace: Path | None = None
    """Where one JSON line per frame goes."""
    place: bool = False
    """Whether the head's place in the camera's picture crosses too, for the whole picture."""
    face: FaceWish = FaceWish()
    """Whose face, and how the camera shows it."""


def tracker_of(meta: AvatarMeta) -> str:
    """The name under which the avatar's tracker is opened; LocalError where there is none."""
    for name in TRACKERS:
        if meta.extractor.startswith(name):
            return name
    raise LocalError(
        f"the avatar of {meta.name!r} was made with the tracker {meta.extractor!r}, which this "
        "facewire does not have: install a newer one, or train the avatar again"
    )


class OutgoingFace:
    """A source and a tracker that belong to one avatar, before there is a call."""

    def __init__(
        self, options: SendOptions, meta: AvatarMeta, personal: PersonalModel | None = None,
        sections: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:  # fmt: skip
        """Opens the source and the tracker; LocalError with a sentence. `personal`: what the
        sender's own copy of the avatar knows of the person; `sections`: the avatar's."""
        self.meta = meta
        self.terms = Terms(meta.bounds, sections or {})
        self.options = options
        self.body: BodyModel | None = body_from(sections or {})
        """What measures how the body stands; None: that is not sent."""
        if not self.profile.endswith("+body"):
            self.body = None
        # whether the avatar has what it takes, and the budget is one
        Pacer(PROFILES[self.profile].encoder(self.terms, gop=0), kbps=options.payload_kbps)
        choice = options.extractor or tracker_of(meta)
        self.source: FrameSource = open_source(options.source, fps=options.fps)
        try:
            found = open_extractor(choice, models=options.models, source=options.source)
            if personal is not None:
                found = PersonalExtractor(unsmoothed(found), personal)
        except BaseException:
            self.source.close()
            raise
        self.extractor: Extractor = (unsmoothed if options.face.raw else smoothed)(found)
        try:
            self._check_extractor()
        except LocalError:
            self.close()
            raise

    def _check_extractor(self) -> None:
        tracker, meta = self.extractor, self.meta
        if tracker.name != meta.extractor or tracker.schema != meta.schema:
            raise LocalError(
                f"the avatar of {meta.name!r} was made with the tracker {meta.extractor} "
                f"({meta.schema}), and this is {tracker.name} ({tracker.schema}): send with "
                "--extractor as it was made, or train the avatar again"
            )

    @property
    def profile(self) -> str:
        """The codec's name at hello."""
        tables = any(name.startswith(CODEC_SECTION) for name in self.terms.sections)
        codec = self.options.codec or CODECS[0 if tables else -1]
        if not self.options.place:
            return codec
        whole = f"{codec}+offset+body"
        return whole if self.body is not None and whole in PROFILES else f"{codec}+offset"

    def warm_up(self) -> None:
        """Run the tracker on a first picture, so that the first frame of the call is not late;
        what it saw there is forgotten."""
        if self.options.source.startswith("camera"):
            first = next(self.source.frames())
        else:
            first = next(iter(read_video(Path(self.options.source))))
        first = Frame(0, first.capture_time, first.image, first.media_time)
        height, width = first.image.shape[:2]
        if (warm_up := getattr(self.extractor, "warm_up", None)) is not None:
            warm_up(width, height)  # also the networks that this picture may not need
        for _ in range(WARM_UP_RUNS):
            self.extractor.extract(mirrored(first) if self.options.face.mirror else first)
        if (reset := getattr(self.extractor, "reset", None)) is not None:
            reset()

    def offer(self, avatar_id: str, avatar_size: int) -> Offer:
        """What the peer is told of this face."""
        meta = self.meta
        return Offer(
            name=meta.name, schema=meta.schema, extractor=meta.extractor,
            profile=self.profile,
            fps=self.source.frame_rate, bounds=meta.bounds, avatar_id=avatar_id,
            avatar_size=avatar_size, mode=self.options.mode,
        )  # fmt: skip

    def close(self) -> None:
        """Let the source and the tracker go."""
        self.source.close()
        self.extractor.close()


class Sending:
    """An outgoing face at work in a call."""

    def __init__(self, face: OutgoingFace, exchange: Exchange) -> None:
        """Begins to capture and to send."""
        self._face = face
        self._exchange = exchange
        self._fps = face.source.frame_rate
        self._trace = open_trace(face.options.trace)
        self._timeline = Timeline(DURATIONS, log=self._trace)
        gop = round(GOP_S[face.options.mode] * self._fps)
        encoder = PROFILES[face.profile].encoder(face.terms, gop=gop)
        self._stream = SendStream(
            face.extractor, encoder, exchange.call, self._timeline, time.monotonic,
            chooser=FaceChooser(face.options.face.which), mirror=face.options.face.mirror,
            on_absent=lambda since: exchange.call.send_stats({NO_FACE_SINCE: since}),
            pacer=Pacer(encoder, kbps=face.options.payload_kbps),
            body=None if face.body is None else BodyTracker(face.body),
        )  # fmt: skip
        self._pipeline = SendPipeline(face.source, self._stream, seconds=face.options.seconds)
        self._wire = exchange.call.wire()
        self._wire_end: WireCount | None = None
        self._hinted = False
        self._failure: FacewireError | None = None
        self._pipeline.start()

    def run(self, interrupt: Interrupt, status: StatusLine) -> None:
        """Watch until the source ends, somebody hangs up or the peer is lost."""
        pipeline, exchange = self._pipeline, self._exchange
        told_origin = False
        while pipeline.alive and not interrupt.requested and not exchange.over:
            exchange.wait(lambda: not pipeline.alive, POLL_S)
            if pipeline.media_origin is not None and not told_origin:
                exchange.call.send_stats({MEDIA_ORIGIN: pipeline.media_origin})
                told_origin = True
            now = time.monotonic()
            if status.due(now):
                status.show(self.line(), now)
            self._hint(status)
        self._wire_end = exchange.call.wire()

    def _hint(self, status: StatusLine) -> None:
        fates = self._stream.fates
        enough = FACELESS_HINT_S * self._fps
        if not self._hinted and fates[Fate.SENT] == 0 and fates[Fate.NO_FACE] > enough:
            self._hinted = True
            status.say(f"no face in {self._face.source.name} so far: is somebody in the picture?")

    def hold(self, holding: bool) -> None:
        """Send nothing for a while, and say so; or go on."""
        if holding != self._stream.on_hold:
            self._stream.on_hold = holding
            self._exchange.call.send_stats({ON_HOLD: float(holding)})

    def finish(self, *, hang_up: bool = True) -> None:
        """Stop capturing and exchange the last numbers with the peer; `hang_up`: then do so."""
        self._pipeline.stop()
        try:
            self._pipeline.join()
        except FacewireError as error:  # a camera that was pulled out, ...
            self._failure = error
        self._timeline.finish()
        if self._trace is not None:
            self._trace.close()
        if not self._exchange.over:
            balance = self._pipeline.balance()
            numbers: dict[str, float] = {FINAL: 1.0, "captured": balance.captured}
            numbers |= {name: float(count) for name, count in balance.fates.items()}
            numbers["coded"] = numbers[Fate.SENT.value] + numbers[Fate.UNSENT.value]
            numbers |= pack_latency(self._timeline.summary())
            self._exchange.call.send_stats(numbers)
            self._exchange.wait(lambda: self._exchange.peer_seen_all, FINAL_WAIT_S)
        if hang_up:
            self._exchange.close()

    @property
    def _seconds(self) -> float:
        first, last = self._pipeline.first_capture, self._pipeline.last_capture
        return 0.0 if first is None or last is None else last - first + 1.0 / self._fps

    def _rates(self) -> dict[str, float]:
        wire = (self._wire_end or self._exchange.call.wire()).since(self._wire)
        return rates_of(self._stream.payload_bytes, wire, self._seconds, None)

    def line(self) -> str:
        """The live statistics."""
        fates, rates = self._pipeline.balance().fates, self._rates()
        if not rates:
            return "waiting for the first picture"
        others = ", ".join(f"{n} {name}" for name, n in fates.items() if n and name != "sent")
        away = "  NO FACE" if self._stream.absent else ""
        away = "  ON HOLD" if self._stream.on_hold else away
        away = "  CONNECTION LOST, trying" if self._exchange.call.quiet_s() > QUIET_S else away
        return (
            f"{self._seconds:6.1f} s{away}  sent {fates['sent']} frames"
            f"{f' ({others})' if others else ''}  payload {rates['payload kbps']:.1f} kbps  "
            f"wire {rates['wire kbps sent']:.1f} up {rates['wire kbps received']:.1f} down"
        )

    def report(self) -> CallReport:
        """The sender's account; complete after `finish`."""
        balance = self._pipeline.balance()
        frames = {"captured": balance.captured, **balance.fates}
        told = self._exchange.peer_stats
        frames |= {f"{name} at the receiver": int(told[name])
                   for name in ("received", "rendered") if name in told}  # fmt: skip
        rates = self._rates()
        rates |= absence_rates(
            self._stream.absences, self._stream.absent_seconds(self._pipeline.last_capture or 0.0)
        )
        if sent := balance.fates["sent"]:
            rates["payload bytes per frame"] = round(self._stream.payload_bytes / sent, 2)
            rates["keyframes"] = float(self._stream.keyframes)
        ended = self._exchange.ended
        return CallReport(
            role="sender",
            ended=ended.sentence if ended is not None else "the call ended",
            clean=ended is None or ended.error() is None,
            seconds=round(self._seconds, 3),
            frames=frames,
            balanced=balance.balanced and balance.open == 0,
            rates=rates,
            latency_ms={name: ms for name, summary in self._timeline.summary().items()
                        if (ms := milliseconds(summary))},
            notes=(f"tracker {self._face.extractor.name}, profile {self._face.profile}, "
                   f"mode {self._face.options.mode}",),
        )  # fmt: skip

    def failure(self) -> FacewireError | None:
        """What to say after the table; None if all is well."""
        fates = self._pipeline.balance().fates
        if self._failure is not None:
            return self._failure
        if self._exchange.ended is not None and (error := self._exchange.ended.error()):
            return error
        if not fates["sent"] and fates["no face"]:
            return LocalError(
                f"no face was found in any of the {fates['no face']} frames of "
                f"{self._face.source.name} that were looked at: choose a clip or a camera that "
                "shows one person from the front"
            )
        return None
