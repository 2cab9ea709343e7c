"""Two sessions joined by a reliable transport in virtual time: no sockets, no threads, no waiting.

The transport keeps each stream in order, delays everything by `delay_s` and serialises at
`bytes_per_s`; what is not yet serialised is "unsent", and what arrived is confirmed a delay later.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable
from functools import partial
from itertools import count

import numpy as np

from quic_transport.codec.profile import EncodedFrame, Reference
from quic_transport.events import CallEnded, CallOpened, Event, FrameReceived, Ringing
from quic_transport.limits import Limits
from quic_transport.offer import Offer
from quic_transport.outbound import Progress
from quic_transport.params import PARAM_DIM, ParamBounds
from quic_transport.session import Session

TOKEN = b"0123456789abcdef"
BOUNDS = ParamBounds(np.zeros(PARAM_DIM, np.float32), np.ones(PARAM_DIM, np.float32))
AVATAR = b"a small avatar" * 1000


def make_offer(avatar: bytes = AVATAR, **changes: object) -> Offer:
    fields: dict[str, object] = {
        "name": "Zoë", "schema": "arkit46", "extractor": "truth", "profile": "eg0", "fps": 20,
        "bounds": BOUNDS, "avatar_id": hashlib.sha256(avatar).hexdigest(),
        "avatar_size": len(avatar),
    }  # fmt: skip
    return Offer(**{**fields, **changes})  # type: ignore[arg-type]


def make_session(
    *, is_client: bool, sends: bool, receives: bool, token: bytes = TOKEN,
    avatar: bytes | None = AVATAR, offer: Offer | None = None, limits: Limits | None = None,
) -> Session:  # fmt: skip
    if sends and offer is None:
        offer = make_offer(avatar or AVATAR)
    return Session(
        is_client=is_client, token=token, offer=offer, receives=receives, limits=limits,
        avatar=avatar if sends else None,
    )  # fmt: skip


def frame(sequence: int, time_s: float, key: bool = False, size: int = 31) -> EncodedFrame:
    return EncodedFrame(sequence, key, time_s, bytes([sequence % 256]) * size)


class Simulation:
    """A client, a server and the way between them."""

    def __init__(
        self, client: Session, server: Session, *, delay_s: float = 0.02,
        bytes_per_s: float = math.inf, clock_offset_s: float = 0.0,
        owner: Callable[[Session, Event, float], None] | None = None,
    ) -> None:  # fmt: skip
        """The server's clock is `clock_offset_s` ahead. `owner` reacts to events; by default
        calls are accepted and avatars requested."""
        self.now = 0.0
        self.sessions = (client, server)
        self.events: tuple[list[Event], list[Event]] = ([], [])
        self.next_sequence = [0, 0]  # of the frames that each side sends
        self.cut = False  # nothing arrives any more
        self._offset = (0.0, clock_offset_s)
        self._delay = delay_s
        self._rate = bytes_per_s
        self._free_at = [0.0, 0.0]
        self._written: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._sent: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._acked: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = count()
        self._owner = owner or default_owner
        for side in (0, 1):
            self.sessions[side].start(self.local(side))
            self.pump(side)

    def local(self, side: int) -> float:
        """The time on this side's clock."""
        return self.now + self._offset[side]

    def at(self, time: float, work: Callable[[], None]) -> None:
        """Have `work` done at `time` of the simulation."""
        heapq.heappush(self._queue, (time, next(self._ids), work))

    def run(self, until: float) -> None:
        """Let everything happen that is due up to `until`."""
        while self._queue and self._queue[0][0] <= until:
            time, _, work = heapq.heappop(self._queue)
            self.now = max(self.now, time)
            work()
        self.now = until

    def pump(self, side: int) -> None:
        """What a shell does after everything that happens."""
        session = self.sessions[side]
        for out in session.data_to_send(self.local(side)):
            self._transmit(side, out.stream_id, out.data, out.end)
        while (datagram := session.datagram_to_send(self.local(side))) is not None:
            self.at(self.now + self._delay, partial(self._arrive_datagram, 1 - side, datagram))
        while (event := session.next_event()) is not None:
            self.events[side].append(event)
            self._owner(session, event, self.local(side))
            self.at(self.now, lambda: self.pump(side))
        timer = session.next_timer(self.local(side))
        if timer is not None:
            due = max(self.now, timer - self._offset[side])
            self.at(due, lambda: self._fire(side, timer))

    def frames(self, side: int) -> list[FrameReceived]:
        return [e for e in self.events[side] if isinstance(e, FrameReceived)]

    def end(self, side: int) -> CallEnded:
        """The one CallEnded of a side, which must be its last event."""
        ends = [e for e in self.events[side] if isinstance(e, CallEnded)]
        assert len(ends) == 1
        assert self.events[side][-1] is ends[0]
        return ends[0]

    def _fire(self, side: int, timer: float) -> None:
        now = self.local(side)
        if self.sessions[side].next_timer(now) == timer:
            self.sessions[side].handle_timer(now)
            self.pump(side)

    def _transmit(self, side: int, stream: int, data: bytes, end: bool) -> None:
        start = self._written[side].get(stream, 0)
        self._written[side][stream] = start + len(data)
        step = 1100
        pieces = [data[i : i + step] for i in range(0, len(data), step)] or [b""]
        for i, piece in enumerate(pieces):
            self._free_at[side] = max(self.now, self._free_at[side]) + len(piece) / self._rate
            stop = start + i * step + len(piece)
            fin = end and i == len(pieces) - 1
            self.at(self._free_at[side], lambda stop=stop: self._left(side, stream, stop))  # type: ignore[misc]
            self.at(
                self._free_at[side] + self._delay,
                lambda piece=piece, stop=stop, fin=fin: self._arrive(
                    side, stream, piece, stop, fin
                ),  # type: ignore[misc]
            )
        self._report(side, stream)

    def _left(self, side: int, stream: int, stop: int) -> None:
        self._sent[side][stream] = stop
        self._report(side, stream)
        self.pump(side)

    def _arrive(self, side: int, stream: int, data: bytes, stop: int, end: bool) -> None:
        if self.cut:
            return
        peer = 1 - side
        self.sessions[peer].receive(stream, data, end, self.local(peer))
        self.at(self.now + self._delay, lambda: self._ack(side, stream, stop))
        self.pump(peer)

    def _arrive_datagram(self, side: int, data: bytes) -> None:
        if not self.cut:
            self.sessions[side].receive_datagram(data, self.local(side))
            self.pump(side)

    def _ack(self, side: int, stream: int, stop: int) -> None:
        if self.cut:
            return
        self._acked[side][stream] = stop
        self.sessions[side].heard(self.local(side))
        self._report(side, stream)
        self.pump(side)

    def _report(self, side: int, stream: int) -> None:
        written = self._written[side][stream]
        unsent = written - self._sent[side].get(stream, 0)
        acked = self._acked[side].get(stream, 0)
        queueing = max(0.0, self._free_at[side] - self.now)
        rtt = 2 * self._delay
        progress = Progress(stream, unsent, acked, rtt + queueing, rtt)
        self.sessions[side].progress(progress, self.local(side))


def default_owner(session: Session, event: Event, now: float) -> None:
    if isinstance(event, Ringing):
        session.accept(now)
    elif isinstance(event, CallOpened) and session.receiving:
        session.request_avatar()


def talk(sim: Simulation, side: int, seconds: float, fps: float = 20.0) -> list[int]:
    """`side` sends a frame per tick wherever the session lets it; the sequences that were sent."""
    sent: list[int] = []
    session = sim.sessions[side]
    start = sim.now

    def tick() -> None:
        now = sim.local(side)
        if session.can_send_frame(now):
            sequence = sim.next_sequence[side]
            sim.next_sequence[side] += 1
            if session.send_frame(frame(sequence, now, session.keyframe_due()), now):
                sent.append(sequence)
            sim.pump(side)

    for i in range(int(seconds * fps)):
        sim.at(start + i / fps, tick)
    sim.run(start + seconds)
    return sent


def coded_frame(sequence: int, now: float, reference: Reference) -> EncodedFrame:
    """A frame of 31 bytes; one without a reference is a keyframe."""
    before = sequence - 1 if reference == "last" else reference
    return EncodedFrame(sequence, before is None, now, bytes(31), before)
