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
from aioquic.tls import SessionTicket

from quic_transport import quic_inside
from quic_transport.avatar_cache import AvatarCache
from quic_transport.call import Call
from quic_transport.engine import Engine
from quic_transport.events import AvatarReceived, CallEnded, CallOpened, Ending, Event, Ringing
from quic_transport.loop_thread import LoopThread
from quic_transport.offer import Reason
from quic_transport.session import Session
from quic_transport.unknown import SentPackets
from quic_transport.wire_count import HEADER_BYTES_V4, HEADER_BYTES_V6, WireCount, WireCounter

MOVED_CODE = 0xFF  # below the codes of refusals: the call itself goes on
CLOSING_S = 1.0


class CountingTransport(asyncio.DatagramTransport):
    """A datagram transport that counts what passes; for a connected socket it drops the address."""

    def __init__(self, transport: Any, counter: WireCounter, connected: bool) -> None:
        super().__init__()
        self.packets = SentPackets()
        self._transport = transport
        self._counter = counter
        self._connected = connected

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Count and send."""
        self._counter.sent(len(data))
        if self._connected:
            self.packets.sent(data)
        if not self._transport.is_closing():
            self._transport.sendto(data, None if self._connected else addr)

    def address(self, name: str) -> tuple[Any, ...] | None:
        """The socket's "sockname" or "peername"."""
        found: tuple[Any, ...] | None = self._transport.get_extra_info(name)
        return found

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
        call: Call | None = None,
    ) -> None:
        """`connected`: the socket is ours alone and has one peer (a client's). `on_event` is
        asked before the owner gets an event, `on_gone` told when nothing is left. `call`: the one
        that this connection may come to carry (`join`); None: a new one, which it carries."""
        super().__init__(quic)
        self.call = call if call is not None else Call(session, self, cache)
        self.resumes = call is not None
        self.quic = quic
        self.session = session
        self.resumed_tls = False
        self.gone = False
        self.heard_at = self._born = self._loop.time()
        self.on_unknown: Callable[[Connection], None] = lambda connection: None
        self.trusted: Callable[[Connection], bool] = lambda connection: True
        self.ticket: SessionTicket | None = None  # that a server issued, and nobody keeps yet
        self.handshake: asyncio.Future[None] = self._loop.create_future()
        self.refusals = 0  # ICMP errors since the peer was last heard
        self._session = session
        self._wrapped: CountingTransport
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
        self._wrapped = CountingTransport(transport, self._counter, self._connected_socket)
        super().connection_made(self._wrapped)

    def addresses(self) -> tuple[str | None, tuple[Any, ...] | None]:
        """Our address as the socket has it, and the peer's; None where there is no socket."""
        ours = self._wrapped.address("sockname")
        return (str(ours[0]) if ours is not None else None), self._wrapped.address("peername")

    async def move_socket(self, peer: tuple[str, int]) -> None:
        """Go on from a new local address (RFC 9000, section 9): a client's, to the same `peer`."""
        before = self._wrapped
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Moved(self), remote_addr=peer
        )
        self.connection_made(transport)
        before.close()
        self.change_connection_id()  # so that nobody on the way can tell that it is the same one
        self._quic.send_ping(0)
        self.transmit()

    def datagram_received(self, data: Any, addr: Any) -> None:
        """Count, then let aioquic take it apart."""
        if self._connected_socket and self._wrapped.packets.is_notice(data):
            self.refusals = 0
            self.on_unknown(self)
            return
        self._counter.received(len(data))
        self.refusals = 0
        if self.gone:
            return
        self.heard_at = self._loop.time()
        with self.call.lock:
            self._session.heard(self.heard_at)
        super().datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        """The network says that nothing listens there (connected sockets only), or that there is
        no way at present, which `route` sees too."""
        self.refusals += isinstance(exc, ConnectionRefusedError)

    def quic_event_received(self, event: quic_events.QuicEvent) -> None:
        """Translate one event of aioquic."""
        if isinstance(event, quic_events.HandshakeCompleted) and not self.handshake.done():
            self.resumed_tls = event.session_resumed
            if not self.trusted(self):  # before what was refused as early data goes again
                self.gone = True
                self._quic.close(reason_phrase="another certificate")
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

    def join(self, call: Call) -> None:
        """From now on this connection carries `call`, which had another one."""
        self.resumes, self.call = True, call
        before = call.adopt(self.session, self)
        if isinstance(before, Connection) and before is not self:
            before.retire()

    def retire(self) -> None:
        """Another connection carries the call: say so, and be silent."""
        self.gone = True
        self._quic.close(error_code=MOVED_CODE, reason_phrase="another connection took over")
        super().transmit()
        if self._connected_socket:
            self.release_socket()
        else:
            self.release()
            self._loop.call_later(CLOSING_S, self._connection_terminated_handler)

    def idle(self, seconds: float) -> bool:
        """Whether this is older than so much and carries no call."""
        return self._loop.time() - self._born > seconds and not self.call.is_open()

    def _woken(self) -> None:
        self._wake_due = False
        if not self.gone:
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
        if isinstance(event, Ringing) or self.call.session is not self._session:
            return  # of a connection that does not carry the call, yet or any more
        if self.resumes and isinstance(event, CallOpened):
            self._loop.run_in_executor(None, self.call.fetch_avatar)
            return
        if isinstance(event, CallEnded) and self._comes_back(event):
            self.gone = True
            self._loop.call_later(self._session.limits.peer_timeout_s, self._give_up, event)
            return
        self.call.deliver(event)
        if isinstance(event, CallOpened) and self._session.receiving:
            self._loop.run_in_executor(None, self.call.fetch_avatar)
        elif isinstance(event, CallEnded) or (
            isinstance(event, AvatarReceived) and not event.cached
        ):
            self._loop.run_in_executor(None, self.call.keep_avatar, event)

    def _comes_back(self, event: CallEnded) -> bool:
        """Whether a broken connection is not the end of the call: another may follow."""
        broke = event.how is Ending.PEER_LOST and event.reason is Reason.FAILED
        return broke and self.call.is_open()

    def _give_up(self, event: CallEnded) -> None:
        if self.call.session is self._session:
            self.call.end(event)

    def _gone(self, event: quic_events.ConnectionTerminated) -> None:
        """aioquic has ended: nothing more comes or goes. `transmit`, which follows, delivers the
        last events."""
        if self._connected_socket and not self.handshake.done():
            self.handshake.set_exception(ConnectionError(event.reason_phrase))
            self.handshake.exception()  # whoever awaits it gets it; nobody need
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


class _Moved(asyncio.DatagramProtocol):
    """A later socket of the same connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def datagram_received(self, data: Any, addr: Any) -> None:
        """To the connection."""
        self._connection.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        """To the connection."""
        self._connection.error_received(exc)
