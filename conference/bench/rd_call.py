"""Facewire's side of `facewire bench rd`: a film's faces through a whole call, and what it cost.

The rule: real sessions, QUIC, codec and pacer over a clean path in virtual time, as in a call;
the wire counts every datagram of both directions with its IP and UDP headers, the handshake
included. A frame that is left out shows what came before it. How the body stands crosses where it
was measured and the codec can say it, and is followed over the whole call as a receiver follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from conference.bench.one_way import AVATAR, one_way_sessions
from conference.outgoing import GOP_S
from conference.virtual_call import SERVER, VirtualCall
from netsim.path import PathSettings
from netsim.settings import LinkSettings
from quic_transport.codec import PROFILES, Pacer, Terms
from quic_transport.errors import LocalError
from quic_transport.events import CallEnded, CallOpened, Event, FrameReceived, Ringing
from quic_transport.offer import DATAGRAM, STREAM
from quic_transport.params import FaceParams
from receiver.full_frame import Stance

HEADER_BYTES = 28  # IPv4 and UDP
RTT_MS = 100.0
OPENING_S = 5.0  # for the handshake, at most


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to send a face."""

    name: str
    """In rows: `rd.<scene>.<name>`."""
    label: str
    """For people."""
    profile: str
    """eg0 or rc; what else crosses is added: `profile_of`."""
    mode: str = DATAGRAM
    """How frames cross: one of `offer.MODES`."""
    latency_budget_s: float = 0.0
    """How long a frame may wait for company."""
    kbps: float | None = None
    """What the payload may cost."""


SETTINGS = (
    Setting("eg0", "facewire, eg0 in one stream (the paper's)", "eg0", STREAM),
    Setting("rc", "facewire, rc", "rc"),
    Setting("rc_50ms", "facewire, rc, --latency-budget 50", "rc", latency_budget_s=0.05),
    Setting(
        "rc_50ms_0.8",
        "facewire, the same, --payload-kbps 0.8",
        "rc",
        latency_budget_s=0.05,
        kbps=0.8,
    ),
    Setting(
        "rc_50ms_0.4",
        "facewire, the same, --payload-kbps 0.4",
        "rc",
        latency_budget_s=0.05,
        kbps=0.4,
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Crossed:
    """What came of a call."""

    faces: list[FaceParams]
    """What the receiver draws at each frame of the film."""
    payload_kbps: float
    """Codec bytes."""
    up_kbps: float
    """The sender's datagrams, from the first frame on."""
    down_kbps: float
    """The receiver's datagrams, from then on."""
    handshake_bytes: int
    """Both directions, before the first frame."""
    seconds: float
    """From the first frame to the end."""

    @property
    def wire_kbps(self) -> float:
        """All of it: both directions, the handshake spread over the call."""
        return self.up_kbps + self.down_kbps + self.handshake_bytes * 8e-3 / self.seconds


def profile_of(codec: str, faces: Sequence[FaceParams], *, placed: bool) -> str:
    """The name at hello where the faces' place crosses, and how the body stands if all know it and
    the codec can say it: as `OutgoingFace.profile`."""
    if not placed:
        return codec
    whole = f"{codec}+offset+body"
    measured = all(face.body is not None for face in faces)
    return whole if measured and whole in PROFILES else f"{codec}+offset"


def cross(setting: Setting, terms: Terms, faces: Sequence[FaceParams], order: Sequence[int],
          fps: float, *, placed: bool = False) -> Crossed:  # fmt: skip
    """A call in which the film's faces are sent in `order`; `placed`: with the head's place and
    the body. What the receiver draws of a face is that of its last time."""
    profile = PROFILES[profile_of(setting.profile, faces, placed=placed)]
    interval = 1.0 / fps
    encoder = profile.encoder(terms, gop=round(GOP_S[setting.mode] * fps))
    decoder = profile.decoder(terms)
    pacer = Pacer(encoder, kbps=setting.kbps)
    sender, receiver = one_way_sessions(
        "film", profile.name, terms.bounds, fps=fps, mode=setting.mode,
        latency_budget_s=setting.latency_budget_s,
    )  # fmt: skip
    positions: dict[int, int] = {}  # sequence → frame of the call
    got: dict[int, FaceParams] = {}
    ended: list[str] = []
    payload = count = 0
    crossed: list[tuple[float, int, int]] = []  # when the first frame left and after the last

    def on_event(side: int, event: Event, now: float) -> None:
        if isinstance(event, Ringing):
            receiver.accept(now)
        elif isinstance(event, CallOpened) and side == SERVER:
            receiver.avatar_known(AVATAR)
            receiver.send_ready()
        elif isinstance(event, CallEnded):
            ended.append(event.sentence)
        elif isinstance(event, FrameReceived):
            got[positions[event.frame.sequence]] = decoder.decode(event.frame)
            receiver.frame_decoded(event.frame.sequence, now)

    def capture(now: float) -> None:
        nonlocal payload, count
        may = sender.can_send_frame(now)
        if not may and not count:
            return
        if count in (0, len(order)):
            crossed.append((now, *bytes_of(call)))
        count += 1
        if not may or count > len(order):
            return
        face = replace(faces[order[count - 1]], capture_time=now)
        reference = sender.reference()
        if not pacer.wants(face, must=reference is None):
            return
        coded = encoder.encode(face, reference=reference)
        pacer.sent(coded)
        positions[coded.sequence] = count - 1
        if sender.send_frame(coded, now):
            payload += len(coded.payload)

    link = LinkSettings(delay_ms=RTT_MS / 2)
    call = VirtualCall(sender, receiver, PathSettings(link, link), on_event=on_event)
    call.every(interval, capture)
    call.run(OPENING_S + len(order) * interval)
    if ended or 0 not in got or len(crossed) < 2:
        raise LocalError(f"the simulated call failed: {' '.join(ended) or 'no frame came'}")
    (began, up_before, down_before), (done, up, down) = crossed
    spent = done - began
    shown = followed(held(got, len(order)))
    last = {frame: position for position, frame in enumerate(order)}
    return Crossed(
        [shown[last[i]] for i in range(len(faces))], payload * 8e-3 / spent,
        (up - up_before) * 8e-3 / spent, (down - down_before) * 8e-3 / spent,
        up_before + down_before, spent,
    )  # fmt: skip


def bytes_of(call: VirtualCall) -> tuple[int, int]:
    """What has left so far, up and down, with headers."""
    up, down = (call.path.links[way].counts() for way in ("up", "down"))
    return (up.sent_bytes + HEADER_BYTES * up.sent, down.sent_bytes + HEADER_BYTES * down.sent)


def held(got: dict[int, FaceParams], count: int) -> list[FaceParams]:
    """At each of `count` positions the newest that came; the first is there."""
    out: list[FaceParams] = []
    for position in range(count):
        out.append(got.get(position, out[-1] if out else got[0]))
    return out


def followed(faces: Sequence[FaceParams]) -> list[FaceParams]:
    """The same faces, one after the other, on a body that stands as it is drawn."""
    stance, out = Stance(), []
    for face in faces:
        body = stance.follow(face).astype(np.float32)
        out.append(face if face.body is None else replace(face, body=body))
    return out


__all__ = ["SETTINGS", "Crossed", "Setting", "cross", "followed", "held", "profile_of"]
