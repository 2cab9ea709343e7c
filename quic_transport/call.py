"""One call as the media threads see it: a session behind a lock, fed by the endpoint's thread.

The rule: every method may be called from any thread and none waits for the network, except
`next_event` and `close`. Events wait in a bounded queue: an owner that does not keep up loses the
queued frames all together and gets the next keyframe, never a frame without its reference.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Protocol

from quic_transport.avatar_cache import AvatarCache
from quic_transport.call_state import State
from quic_transport.clock_sync import RoundTrip
from quic_transport.codec.profile import EncodedFrame, Reference
from quic_transport.errors import LocalError
from quic_transport.events import AvatarReceived, CallEnded, CallOpened, Event, FrameReceived
from quic_transport.fifo import EndOfStream, Fifo
from quic_transport.frame_stream import FrameCounts
from quic_transport.messages import Hello
from quic_transport.offer import Reason
from quic_transport.session import Session
from quic_transport.wire_count import WireCount

MAX_EVENTS = 1024
MAX_QUEUED_FRAMES = 512  # 25 s at 20 fps

log = logging.getLogger("facewire.transport")


class Link(Protocol):
    """What a call needs of its connection."""

    def wake(self) -> None:
        """There may be something to send. From any thread."""

    def wire(self) -> WireCount:
        """Datagrams so far. From any thread."""

    def shut(self) -> None:
        """Leave nothing behind; the call has ended. From any thread but the link's own."""


class Call:
    """See quic_transport/endpoint.py for the whole interface on one page."""

    def __init__(self, session: Session, link: Link, cache: AvatarCache | None) -> None:
        self.session = session
        self.lock = threading.Lock()
        self._link = link
        self._cache = cache
        self._events: Fifo[Event] = Fifo(MAX_EVENTS)
        self._opened = threading.Event()
        self._ended: CallEnded | None = None
        self._done = threading.Event()
        self._skipping = False  # until the next keyframe: the owner did not keep up
        self._skipped = 0
        self._heir: tuple[Session, Link] | None = None
        self._before = (FrameCounts(), FrameCounts())  # on earlier connections
        self._wire_before = WireCount(0, 0, 0, 0)
        self._attempt = 0
        self._avatar_here = False
        self._partial = b""
        self.reconnects = 0
        """How often another connection took over."""

    # For the owner, from any thread.

    @property
    def peer(self) -> Hello:
        """What the peer said at hello."""
        peer = self.session.peer
        if peer is None:
            raise LocalError("the peer has not said hello yet")
        return peer

    @property
    def ended(self) -> CallEnded | None:
        """How the call ended; None while it lasts."""
        return self._ended

    def next_event(self, timeout: float | None = None) -> Event | None:
        """The next event; None after `timeout` seconds; EndOfStream after CallEnded."""
        try:
            return self._events.get(timeout)
        except TimeoutError:
            return None

    def can_send_frame(self) -> bool:
        """Whether a frame coded now would leave soon. False: drop the raw frame."""
        with self.lock:
            return self._speaking()[0].can_send_frame(time.monotonic())

    def keyframe_due(self) -> bool:
        """Whether the next frame must be a keyframe (asked for, or a queue was dropped)."""
        with self.lock:
            return self._speaking()[0].keyframe_due()

    def reference(self) -> Reference:
        """What the next frame is to be predicted from: give it to the encoder."""
        with self.lock:
            return self._speaking()[0].reference()

    def frame_decoded(self, sequence: int) -> None:
        """A received frame was decoded: the peer may predict others from it."""
        with self.lock:
            self.session.frame_decoded(sequence, time.monotonic())
        self._link.wake()

    def send_frame(self, frame: EncodedFrame) -> bool:
        """Queue a frame; False if it was dropped (then a keyframe is due) or the call is over."""
        with self.lock:
            session, link = self._speaking()
            if session.state is not State.OPEN and not session.presumes:
                return False
            accepted = session.send_frame(frame, time.monotonic())
        link.wake()
        return accepted

    def request_keyframe(self) -> None:
        """Ask the peer for a keyframe; call it as often as you like."""
        with self.lock:
            if self.session.state is not State.OPEN:
                return
            wanted = self.session.request_keyframe(time.monotonic())
        if wanted:
            self._link.wake()

    def send_ready(self) -> None:
        """The renderer is warm: the peer gets PeerReady."""
        with self.lock:
            if self.session.state is State.OPEN:
                self.session.send_ready()
        self._link.wake()

    def send_stats(self, values: Mapping[str, float]) -> None:
        """Counters for the peer's table: the peer gets PeerStats."""
        with self.lock:
            if self.session.state is State.OPEN:
                self.session.send_stats(values)
        self._link.wake()

    def to_our_clock(self, peer_time: float) -> float:
        """A time on the peer's monotonic clock, on ours; see `round_trip().error_s`."""
        with self.lock:
            return self.session.clock.to_ours(peer_time)

    def round_trip(self) -> RoundTrip | None:
        """Path and clock estimate; None before the first answer."""
        with self.lock:
            return self.session.clock.round_trip()

    def quiet_s(self) -> float:
        """How long ago anything came from the peer, seconds."""
        with self.lock:
            return self.session.quiet_s(time.monotonic())

    def counts(self) -> tuple[FrameCounts, FrameCounts]:
        """Frames sent, and frames received (those dropped for a slow owner counted there)."""
        with self.lock:
            sent, received = self.session.counts()
            before = self._before
        received = before[1].plus(received)
        return before[0].plus(sent), replace(received, dropped=self._skipped)

    def wire(self) -> WireCount:
        """Datagrams and bytes both ways so far, with IP and UDP headers."""
        return self._wire_before.plus(self._link.wire())

    def refuse(self, reason: Reason, sentence: str) -> None:
        """End the call because of the peer; both sides get `sentence`."""
        with self.lock:
            self.session.refuse(reason, sentence, time.monotonic())
        self._link.wake()

    def hang_up(self, sentence: str = "", timeout: float = 1.5) -> None:
        """Clean end; waits until the peer has everything, at most `timeout` seconds."""
        with self.lock:
            self.session.hang_up(sentence, time.monotonic())
        self._link.wake()
        self._done.wait(timeout)

    def close(self) -> None:
        """Hang up if the call lasts, and free its socket and thread. May be called twice."""
        if self._ended is None:
            self.hang_up()
        self._link.shut()
        self._events.close()

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # For the endpoint.

    def is_open(self) -> bool:
        """Whether frames may flow, or could if the connection had not broken."""
        return self._opened.is_set() and self._ended is None

    def is_same(self, hello: Hello) -> bool:
        """Whether a caller says that this call is its own, with a number not used before."""
        with self.lock:
            peer = self.session.peer
            same = peer is not None and peer.call_id == hello.call_id
            return same and hello.attempt > self._attempt

    def lean(self, heir: tuple[Session, Link] | None) -> None:
        """A connection that will probably carry the call on: our frames take it from now on, for
        as long as it takes them before its peer has said hello. None: it will not."""
        with self.lock:
            self._heir = heir

    def _speaking(self) -> tuple[Session, Link]:
        """Where our frames go."""
        if self._heir is not None and self._heir[0].presumes:
            return self._heir
        return self.session, self._link

    def adopt(self, session: Session, link: Link) -> Link:
        """Another connection carries the call on; the link that carried it before."""
        with self.lock:
            old, before = self.session, self._link
            if session is old:
                return before
            sent, received = old.counts()
            self._before = (self._before[0].plus(sent), self._before[1].plus(received))
            self._wire_before = self._wire_before.plus(before.wire())
            session.clock = old.clock
            partial = old.avatar_partial()
            self._partial = partial[1] if partial is not None else self._partial
            self.session, self._link, self._heir = session, link, None
            if session.peer is not None:
                self._attempt = max(self._attempt, session.peer.attempt)
            self.reconnects += 1
        return before

    def end(self, event: CallEnded) -> None:
        """No connection carries the call any more."""
        if self._ended is None:
            self.deliver(event)

    def desert(self, why: str) -> None:
        """The peer is given up for another caller."""
        self.end(CallEnded.by_transport(0, why))

    def wait_open(self, timeout: float) -> bool:
        """Wait until the call is open or has ended; False if neither came to pass."""
        return self._opened.wait(timeout)

    def deliver(self, event: Event) -> None:
        """Hand an event to the owner. From the endpoint's thread; never waits."""
        if isinstance(event, FrameReceived) and not self._room_for(event):
            return
        try:
            if not self._events.put(event, timeout=0):
                log.warning("an event was lost because nobody takes them: %s", type(event))
        except EndOfStream:
            pass  # the owner closed the call
        if isinstance(event, AvatarReceived):
            self._avatar_here = True
        if isinstance(event, CallEnded):
            self._ended = event
            self._events.close()
            self._done.set()
        if isinstance(event, CallOpened | CallEnded):
            self._opened.set()

    def avatar_beginning(self) -> bytes:
        """What is here of the offered avatar while it is under way; empty before and after."""
        with self.lock:
            partial = self.session.avatar_partial()
        return b"" if partial is None else partial[1]

    def fetch_avatar(self) -> None:
        """After CallOpened: take the avatar from the cache, or ask for what is missing. Reads
        files, so not in the endpoint's thread."""
        offer = self.peer.offer
        if offer is None:
            return
        data = self._cache.load(offer.avatar_id) if self._cache else None
        partial = self._cache.load_partial(offer.avatar_id) if self._cache and not data else b""
        partial = max(partial, self._partial, key=len)
        with self.lock:
            if self.session.state is not State.OPEN or self._avatar_here:
                return
            if data is not None:
                self.session.avatar_known(data)
            else:
                self.session.request_avatar(partial)
        self._link.wake()

    def keep_avatar(self, event: AvatarReceived | CallEnded) -> None:
        """Write a received avatar, or the beginning of one, to the cache. Writes files."""
        if self._cache is None:
            return
        try:
            if isinstance(event, AvatarReceived):
                self._cache.store(event.avatar_id, event.data)
            elif (partial := self.session.avatar_partial()) is not None:
                self._cache.store_partial(*partial)
        except LocalError as error:  # the call itself goes on
            log.warning("%s", error)

    def _room_for(self, event: FrameReceived) -> bool:
        """Whether this frame may be queued; makes room by dropping all queued ones."""
        if len(self._events) >= MAX_QUEUED_FRAMES:
            self._skipped += self._events.discard(lambda e: isinstance(e, FrameReceived))
            self._skipping = True
        if self._skipping and not event.frame.key:
            self._skipped += 1
            self.request_keyframe()
            return False
        self._skipping = False
        return True
