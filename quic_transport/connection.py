"""One QUIC connection that carries one session: the narrow place where aioquic is touched.

The rule: all policy is in the session; this class moves bytes, events and time between it and
aioquic. What aioquic 1.x keeps private (stream progress, round trips, the peer's certificate) is
read in `stream_progress`, `round_trips` and `peer_fingerprint` and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events as quic_events
from aioquic.quic.connection import QuicConnection
from cryptography.hazmat.primitives import hashes

from quic_transport.avatar_cache import AvatarCache
from quic_transport.call import Call
from quic_transport.events import AvatarReceived, CallEnded, CallOpened, Event, Ringing
from quic_transport.loop_thread import LoopThread
from quic_transport.outbound import Progress
from quic_transport.session import Session
from quic_transport.wire_count import HEADER_BYTES_V4, HEADER_BYTES_V6, WireCount, WireCounter

ALL_ACKED = 2**62
DEFAULT_RTT_S = 0.1
REFUSED_S = 1.0  # ICMP "port unreachable" for so long, and nothing else: the process is gone


def stream_progress(quic: QuicConnection, stream_id: int) -> tuple[int, int]:
    """Bytes of our stream that wait in aioquic, and bytes the peer confirmed without a gap."""
    stream = quic._streams.get(stream_id)
    if stream is None:  # finished, and forgotten by aioquic
        return 0, ALL_ACKED
    sender = stream.sender
    return sum(r.stop - r.start for r in sender._pending), sender._buffer_start


def round_trips(quic: QuicConnection) -> tuple[float, float]:
    """The latest and the smallest round trip, seconds."""
    loss = quic._loss
    if not loss._rtt_initialized:
        return DEFAULT_RTT_S, DEFAULT_RTT_S
    return loss._rtt_latest, min(loss._rtt_min, loss._rtt_latest)


def peer_fingerprint(quic: QuicConnection) -> bytes | None:
    """SHA-256 of the certificate that the peer proved to own; None before the handshake."""
    certificate = quic.tls._peer_certificate
    return certificate.fingerprint(hashes.SHA256()) if certificate is not None else None


class CountingTransport(asyncio.DatagramTransport):
    """A datagram transport that counts what passes; for a connected socket it drops the address."""

    def __init__(self, transport: Any, counter: WireCounter, connected: bool) -> None:
        super().__init__()
        self._transport = transport
        self._counter = counter
        self._connected = connected

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Count and send."""
        self._counter.sent(len(data))
        if not self._transport.is_closing():
            self._transport.sendto(data, None if self._connected else addr)

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()


class Connection(QuicConnectionProtocol):  # type: ignore[misc]
    """One connection, its session and its call."""

    def __init__(
        self,
        quic: QuicConnection,
        session: Session,
        cache: AvatarCache | None,
        thread: LoopThread,
        *,
        connected: bool,
        on_event: Callable[[Connection, Event], None],
        on_gone: Callable[[Connection], None],
    ) -> None:
        """`connected`: the socket is ours alone and has one peer (a client's). `on_event` is
        asked before the owner gets an event, `on_gone` told when nothing is left."""
        super().__init__(quic)
        self.call = Call(session, self, cache)
        self.handshake: asyncio.Future[None] = self._loop.create_future()
        self.refusals = 0  # ICMP errors since the peer was last heard
        self._refused_at = 0.0
        self._session = session
        self._thread = thread
        self._connected_socket = connected
        self._on_event = on_event
        self._on_gone = on_gone
        self._counter = WireCounter()
        self._session_timer: asyncio.TimerHandle | None = None
        self._session_timer_at: float | None = None
        self._wake_due = False
        self._closing = False

    # What the call needs (call.Link).

    def wake(self) -> None:
        """There may be something to send. From any thread."""
        if not self._wake_due:
            self._wake_due = True
            self._thread.soon(self._woken)

    def wire(self) -> WireCount:
        """Datagrams so far."""
        return self._counter.count()

    def shut(self) -> None:
        """A client's loop and socket end with its call; a server's belong to the listener."""
        if self._connected_socket:
            self._thread.soon(self.release_socket)
            self._thread.stop()

    # What asyncio and aioquic call.

    def connection_made(self, transport: Any) -> None:
        """The socket is there."""
        address = transport.get_extra_info("sockname")
        if address is not None and ":" in address[0] and "." not in address[0]:
            self._counter.header_bytes = HEADER_BYTES_V6
        else:
            self._counter.header_bytes = HEADER_BYTES_V4
        super().connection_made(CountingTransport(transport, self._counter, self._connected_socket))

    def datagram_received(self, data: Any, addr: Any) -> None:
        """Count, then let aioquic take it apart."""
        self._counter.received(len(data))
        self.refusals = 0
        with self.call.lock:
            self._session.heard(self._loop.time())
        super().datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        """The network says that nothing listens there (connected sockets only)."""
        now = self._loop.time()
        self.refusals += 1
        if self.refusals == 1:
            self._refused_at = now
        elif self.handshake.done() and now - self._refused_at > REFUSED_S:
            with self.call.lock:
                self._session.transport_closed(0, "nothing listens at the peer's port any more")
            self.wake()

    def quic_event_received(self, event: quic_events.QuicEvent) -> None:
        """Translate one event of aioquic."""
        now = self._loop.time()
        with self.call.lock:
            if isinstance(event, quic_events.HandshakeCompleted):
                if not self.handshake.done():
                    self.handshake.set_result(None)
                if not self._connected_socket:  # a client first checks the fingerprint
                    self._session.start(now)
            elif isinstance(event, quic_events.StreamDataReceived):
                self._session.receive(event.stream_id, event.data, event.end_stream, now)
            elif isinstance(event, quic_events.StreamReset):
                self._session.stream_reset(event.stream_id, now)
            elif isinstance(event, quic_events.ConnectionTerminated):
                # frame_type tells aioquic's and TLS's own errors from the peer's application
                code = event.error_code if event.frame_type is None else 0
                self._session.transport_closed(code, event.reason_phrase)
        if isinstance(event, quic_events.ConnectionTerminated):
            self._gone(event)

    def transmit(self) -> None:
        """Session → aioquic → socket, and the timers. Called after everything that happens."""
        now = self._loop.time()
        with self.call.lock:
            self._report_progress(now)
            for out in self._session.data_to_send(now):
                self._quic.send_stream_data(out.stream_id, out.data, out.end)
            end = self._session.close_wanted()
        if end is not None and not self._closing:
            self._closing = True
            self._quic.close(error_code=end.close_code, reason_phrase=end.sentence)
        super().transmit()
        with self.call.lock:
            self._report_progress(now)
            timer_at = self._session.next_timer(now)
            happened = []
            while (event := self._session.next_event()) is not None:
                happened.append(event)
        self._arm(timer_at)
        for event in happened:
            self._handle_event(event)

    # Inside; in the loop's thread.

    def start_session(self) -> None:
        """The client trusts the server: say hello."""
        with self.call.lock:
            self._session.start(self._loop.time())
        self.transmit()

    def _woken(self) -> None:
        self._wake_due = False
        self.transmit()

    def _report_progress(self, now: float) -> None:
        latest, smallest = round_trips(self._quic)
        for stream_id in self._session.sending_streams():
            unsent, acked = stream_progress(self._quic, stream_id)
            self._session.progress(Progress(stream_id, unsent, acked, latest, smallest), now)

    def _arm(self, timer_at: float | None) -> None:
        if self._session_timer is not None and timer_at != self._session_timer_at:
            self._session_timer.cancel()
            self._session_timer = None
        if self._session_timer is None and timer_at is not None:
            self._session_timer = self._loop.call_at(timer_at, self._session_timer_fired)
        self._session_timer_at = timer_at

    def _session_timer_fired(self) -> None:
        self._session_timer = self._session_timer_at = None
        with self.call.lock:
            self._session.handle_timer(self._loop.time())
        self.transmit()

    def _handle_event(self, event: Event) -> None:
        self._on_event(self, event)
        if isinstance(event, Ringing):
            return
        self.call.deliver(event)
        if isinstance(event, CallOpened) and self._session.receiving:
            self._loop.run_in_executor(None, self.call.fetch_avatar)
        elif isinstance(event, CallEnded) or (
            isinstance(event, AvatarReceived) and not event.cached
        ):
            self._loop.run_in_executor(None, self.call.keep_avatar, event)

    def _gone(self, event: quic_events.ConnectionTerminated) -> None:
        """aioquic has ended: nothing more comes or goes. `transmit`, which follows, delivers the
        last events."""
        if self._connected_socket and not self.handshake.done():
            self.handshake.set_exception(ConnectionError(event.reason_phrase))
        self._on_gone(self)

    def release(self) -> None:
        """Leave no timer behind."""
        self._arm(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def release_socket(self) -> None:
        """Leave no timer and no socket behind; a client's loop has nothing else to do then."""
        self.release()
        if self._transport is not None:
            self._transport.close()
