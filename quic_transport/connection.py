"""One QUIC connection that carries one session: the narrow place where aioquic is touched.

The rule: all policy is in the session, and all translation in `engine`; this class adds a socket,
a clock and the lock that the media threads share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events as quic_events
from aioquic.quic.connection import QuicConnection

from quic_transport import quic_inside
from quic_transport.avatar_cache import AvatarCache
from quic_transport.call import Call
from quic_transport.engine import Engine
from quic_transport.events import AvatarReceived, CallEnded, CallOpened, Event, Ringing
from quic_transport.loop_thread import LoopThread
from quic_transport.session import Session
from quic_transport.wire_count import HEADER_BYTES_V4, HEADER_BYTES_V6, WireCount, WireCounter

REFUSED_S = 1.0  # ICMP "port unreachable" for so long, and nothing else: the process is gone


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
        self._engine = Engine(quic, session, is_client=connected)
        self._thread = thread
        self._connected_socket = connected
        self._on_event = on_event
        self._on_gone = on_gone
        self._counter = WireCounter()
        self._session_timer: asyncio.TimerHandle | None = None
        self._session_timer_at: float | None = None
        self._wake_due = False

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
        if isinstance(event, quic_events.HandshakeCompleted) and not self.handshake.done():
            self.handshake.set_result(None)  # a client's owner now checks the fingerprint
        with self.call.lock:
            self._engine.handle(event, self._loop.time())
        if isinstance(event, quic_events.ConnectionTerminated):
            self._gone(event)

    def transmit(self) -> None:
        """Session → aioquic → socket, and the timers. Called after everything that happens."""
        now = self._loop.time()
        more = True
        while more:
            with self.call.lock:
                more = self._engine.fill(now)
            super().transmit()
        with self.call.lock:
            self._engine.report(now)
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
            self._engine.start(self._loop.time())
        self.transmit()

    def _woken(self) -> None:
        self._wake_due = False
        self.transmit()

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
        """Leave no timer and no unwritten log behind."""
        quic_inside.end_qlog(self._quic)
        self._arm(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def release_socket(self) -> None:
        """Leave no timer and no socket behind; a client's loop has nothing else to do then."""
        self.release()
        if self._transport is not None:
            self._transport.close()
