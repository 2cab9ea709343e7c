"""One simulated call with real sessions, QUIC, codec and playout buffer, and what came of it.

The rule: what is judged is what a viewer would see: at every display instant the parameters shown
are compared with the track at the instant that they claim to show; pictures that stand still age.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from conference.bench.loss_track import LandmarkMeter, Track
from conference.bench.one_way import AVATAR, one_way_sessions
from conference.outgoing import GOP_S
from conference.virtual_call import SERVER, VirtualCall
from netsim.path import PathSettings
from quic_transport.codec import PROFILES, Terms
from quic_transport.errors import CodecError
from quic_transport.events import CallEnded, CallOpened, Event, FrameReceived, Ringing
from quic_transport.offer import DATAGRAM
from quic_transport.params import ParamBounds
from quic_transport.session import Session
from receiver.playout import PlayoutBuffer, PlayoutSettings

WRONG_PX = 1.5
SETTLE_S = 5.0  # after the first frame; what happens before is not judged


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """What is simulated."""

    mode: str = DATAGRAM
    """How frames cross: one of `offer.MODES`."""
    profile: str = "eg0"
    """The codec's profile."""
    fps: float = 20.0
    """Frames per second."""
    seconds: float = 60.0
    """Length of the call."""
    path: PathSettings
    """The network."""
    buffer_s: float = 0.1
    """The least delay of the playout buffer, seconds."""
    adapts: bool = True
    """Whether the playout delay follows the arrivals."""
    latency_budget_s: float = 0.0
    """How long a frame may wait for company."""
    seed: int = 1
    """Of the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What came of it."""

    wrong_percent: float
    """Display instants more than 1.5 px off."""
    error_px: float
    """Root mean square landmark error over the display instants."""
    longest_freeze_ms: float
    """The longest time for which the shown instant lay beyond every frame that had come."""
    frozen_percent: float
    """Display instants more than 100 ms beyond every frame."""
    payload_kbps: float
    """Codec bytes, repetitions included."""
    wire_kbps: float
    """Both directions together, with IP and UDP headers."""
    up_kbps: float
    """The sender's direction alone."""
    sent_fps: float
    """Frames that left, per second."""
    one_way_ms: Mapping[str, float]
    """p50, p95, p99 and max of capture to arrival, of the frames that came."""
    delay_ms: float
    """Median of capture to display."""
    keyframes: int
    """Frames that stood alone."""
    back_ms: float | None
    """After the outage's end: until the first frame came; None: there was none."""
    ended: str
    """How the call ended before its time; empty: it did not."""


@dataclass(slots=True)
class _Seen:
    """What was seen while it ran."""

    errors: list[float] = field(default_factory=list)
    starved: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    one_way: list[float] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    newest: float = -math.inf
    began: float = math.inf
    """When the first frame came."""
    ended: str = ""


def run_call(
    plan: CallPlan, track: Track, meter: LandmarkMeter, bounds: ParamBounds | None = None,
    sections: Mapping[str, NDArray[np.generic]] | None = None,
) -> CallResult:  # fmt: skip
    """Simulate `plan`; `bounds` and `sections` are the avatar's (None: of the track itself)."""
    terms = Terms(bounds or track.bounds(), dict(sections or {}))
    sender, receiver = one_way_sessions(
        track.name, plan.profile, terms.bounds, fps=plan.fps, mode=plan.mode,
        latency_budget_s=plan.latency_budget_s,
    )  # fmt: skip
    profile = PROFILES[plan.profile]
    encoder = profile.encoder(terms, gop=round(GOP_S[plan.mode] * plan.fps))
    decoder = profile.decoder(terms)
    interval = 1.0 / plan.fps
    playout = PlayoutBuffer(
        PlayoutSettings(
            delay_frames=plan.buffer_s / interval,
            frame_interval=interval,
            max_delay=0.4 if plan.adapts else 0.0,
        )
    )
    seen = _Seen()

    def on_event(side: int, event: Event, now: float) -> None:
        if isinstance(event, Ringing):
            receiver.accept(now)
        elif isinstance(event, CallOpened) and side == SERVER:
            receiver.avatar_known(AVATAR)
            receiver.send_ready()
        elif isinstance(event, CallEnded) and not seen.ended:
            seen.ended = event.sentence
        elif isinstance(event, FrameReceived):
            take(event, now)

    def take(event: FrameReceived, now: float) -> None:
        try:
            params = decoder.decode(event.frame)
        except CodecError:
            if decoder.needs_keyframe:
                receiver.request_keyframe(now)
            return
        receiver.frame_decoded(event.frame.sequence, now)
        playout.push(event.frame.sequence, params, now)
        seen.newest = max(seen.newest, params.capture_time)
        seen.arrivals.append(now)
        seen.began = min(seen.began, now)
        if now > seen.began + SETTLE_S:
            seen.one_way.append(now - params.capture_time)

    def capture(now: float) -> None:
        if sender.can_send_frame(now):
            coded = encoder.encode(track.params(now), reference=sender.reference())
            sender.send_frame(coded, now)

    def display(now: float) -> None:
        shown = playout.sample(now)
        if now < seen.began + SETTLE_S or shown is None:
            return
        seen.errors.append(meter.error_px(shown.params.vector(), track.at(shown.media_time)))
        seen.starved.append(max(0.0, shown.media_time - seen.newest))
        seen.delays.append(now - shown.media_time)

    call = VirtualCall(sender, receiver, plan.path, plan.seed, on_event=on_event)
    call.every(interval, capture)
    call.every(interval, display, start_s=0.001)
    call.run(plan.seconds)
    return _result(plan, call, seen, sender)


def _result(plan: CallPlan, call: VirtualCall, seen: _Seen, sender: Session) -> CallResult:
    counts = sender.counts()[0]
    report = call.path.report(plan.seconds)
    wire = {
        way: row["sent kbps"] + row["sent"] * 28 * 8e-3 / plan.seconds
        for way, row in report.items()
    }
    errors, starved = np.array(seen.errors or [math.nan]), np.array(seen.starved or [math.nan])
    late = 1000 * np.array(seen.one_way or [math.nan])
    back = None
    for outage in plan.path.up.outages:
        end = outage.start_s + outage.length_s
        after = [at for at in seen.arrivals if at >= end]
        back = 1000 * (after[0] - end) if after else math.inf
    payload = counts.payload_bytes + counts.repeated_bytes
    return CallResult(
        wrong_percent=float(100 * (errors > WRONG_PX).mean()) if seen.errors else 100.0,
        error_px=float(np.sqrt((errors**2).mean())),
        longest_freeze_ms=float(1000 * starved.max()),
        frozen_percent=float(100 * (starved > 0.1).mean()),
        payload_kbps=payload * 8e-3 / plan.seconds,
        wire_kbps=sum(wire.values()),
        up_kbps=wire["up"],
        sent_fps=counts.frames / plan.seconds,
        one_way_ms={
            **{f"p{p}": float(np.percentile(late, p)) for p in (50, 95, 99)},
            "max": float(late.max()),
        },
        delay_ms=float(1000 * np.median(seen.delays)) if seen.delays else math.nan,
        keyframes=counts.keyframes,
        back_ms=back,
        ended=seen.ended,
    )
