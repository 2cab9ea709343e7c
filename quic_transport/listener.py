"""The side that is called: a bound port that turns callers into calls, one at a time.

The rule: a stranger costs a bounded amount. Connections, handshakes per second and answers to
unknown packets have caps (`Limits`); who has no valid token is gone after one message. A caller
whose connection broke comes back into its own call, with a number that was never used before, so
that a replayed greeting opens nothing. Its ticket is kept only once it has shown the token.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from aioquic.asyncio.server import QuicServer
from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from aioquic.tls import SessionTicket

from quic_transport import quic_inside
from quic_transport.call import Call
from quic_transport.call_state import State
from quic_transport.certs import Identity
from quic_transport.connection import Connection
from quic_transport.errors import LocalError
from quic_transport.events import CallOpened, Event, Ringing
from quic_transport.fifo import EndOfStream, Fifo
from quic_transport.invite import Invite, format_address, reachable_host
from quic_transport.limits import Limits, RateLimit
from quic_transport.loop_thread import LoopThread
from quic_transport.messages import NO_CALL, Hello
from quic_transport.offer import Reason
from quic_transport.party import Party
from quic_transport.quic_inside import configuration
from quic_transport.tickets import TicketStore
from quic_transport.unknown import notice_for

DESERTED_S = 3.0  # a call whose peer is silent for so long makes room for another caller
STRANGER_S = 2.0  # for a connection without a call, where there is no room for others


class Listener:
    """A bound port that turns callers into calls, one at a time."""

    def __init__(
        self, host: str, port: int, party: Party, identity: Identity, token: bytes,
        limits: Limits, qlog: Path | None, tickets: TicketStore,
    ) -> None:  # fmt: skip
        """Use `endpoint.serve`."""
        self._party = party
        self.tickets = tickets
        self._token = token
        self.limits = limits
        self._current: Call | None = None
        self._calls: Fifo[Call] = Fifo(8, "drop-oldest")
        settings = configuration(is_client=False, qlog=qlog)
        settings.load_cert_chain(identity.path)
        self._thread = LoopThread("facewire-listener")
        try:
            self._server = self._thread.run(self._bind(host, port, settings))
        except OSError as error:
            self._thread.stop()
            raise LocalError(_cannot_listen(host, port, error)) from None
        self.port: int = self._server.port
        self.invite = Invite(reachable_host(host), self.port, identity.fingerprint, token)

    def accept(self, timeout: float | None = None) -> Call | None:
        """The next call; None if nobody called within `timeout` seconds. EndOfStream once the
        listener is closed."""
        try:
            return self._calls.get(timeout)
        except TimeoutError:
            return None

    @property
    def connections(self) -> int:
        """How many connections there are at present, strangers included."""
        return self._server.connections

    def close(self) -> None:
        """Hang up, free the port and the thread. May be called twice."""
        self._calls.close()
        if self._current is not None:
            self._current.close()
        self._thread.soon(self._server.close_all)
        self._thread.stop()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _bind(self, host: str, port: int, settings: QuicConfiguration) -> Server:
        loop = asyncio.get_running_loop()
        _, server = await loop.create_datagram_endpoint(
            lambda: Server(self, settings), local_addr=(host, port)
        )
        return server

    # In the loop's thread.

    def connection(self, quic: QuicConnection) -> Connection:
        """What aioquic's server makes of a new caller."""
        session = self._party.session(self._token, self.limits, is_client=False)
        connection = Connection(
            quic, session, self._party.cache, self._thread, connected=False,
            on_event=self._on_event, on_gone=lambda connection: None,
        )  # fmt: skip
        quic_inside.on_ticket(quic, lambda ticket: self._issued(connection, ticket))
        return connection

    def _issued(self, connection: Connection, ticket: SessionTicket) -> None:
        connection.ticket = ticket
        self._keep_ticket(connection)

    def _keep_ticket(self, connection: Connection) -> None:
        """Strangers get tickets too, which are good for nothing: until the token was shown, this
        is a matter of one connection."""
        if connection.ticket is not None and connection.session.state is State.OPEN:
            self.tickets.add(connection.ticket)
            connection.ticket = None

    def _on_event(self, connection: Connection, event: Event) -> None:
        if isinstance(event, Ringing):
            self._ring(connection, event.hello)
            self._keep_ticket(connection)
            connection.wake()
        elif isinstance(event, CallOpened) and connection.call is not self._current:
            pass  # it was turned away meanwhile
        elif isinstance(event, CallOpened) and not connection.resumes:
            try:
                self._calls.put(connection.call)
            except EndOfStream:
                pass  # the listener is being closed

    def _ring(self, connection: Connection, hello: Hello) -> None:
        """A caller with a valid token: into its own call, into a new one, or away."""
        session, current, now = connection.session, self._current, time.monotonic()
        busy = current is not None and current.ended is None
        own = busy and current is not None and hello.call_id != NO_CALL
        if own and current is not None and current.is_same(hello):
            session.accept(now)
            connection.join(current)
            return
        if busy and current is not None and current.quiet_s() > DESERTED_S:
            current.desert("its caller was silent, and another one came")
            busy = False
        if busy:
            why = "this receiver is in another call; try again later"
            session.refuse(Reason.BUSY, why, now)
            return
        self._current = connection.call
        session.accept(now)


class Server(QuicServer):  # type: ignore[misc]
    """aioquic's server with caps, so that strangers cannot fill the memory or the processor."""

    def __init__(self, listener: Listener, settings: QuicConfiguration) -> None:
        super().__init__(
            configuration=settings,
            create_protocol=lambda quic, stream_handler=None: listener.connection(quic),
            session_ticket_fetcher=listener.tickets.take,
        )
        limits = listener.limits
        self._limit = limits.max_connections
        self._handshakes = RateLimit(limits.handshakes_per_s, 2 * limits.handshakes_per_s)
        self._notices = RateLimit(limits.notices_per_s, limits.notices_per_s)
        self.port = 0

    def connection_made(self, transport: Any) -> None:
        """The port is bound."""
        super().connection_made(transport)
        self.port = transport.get_extra_info("sockname")[1]

    @property
    def connections(self) -> int:
        """How many there are, strangers included."""
        return len(set(self._protocols.values()))

    def datagram_received(self, data: Any, addr: Any) -> None:
        """To its connection; strangers beyond the caps are ignored."""
        try:
            length = self._configuration.connection_id_length
            header = pull_quic_header(Buffer(data=data), host_cid_length=length)
        except ValueError:
            return
        if header.destination_cid not in self._protocols:
            if header.packet_type == QuicPacketType.ONE_RTT:
                self._answer_unknown(data, addr)
                return
            if not self._handshakes.allow(self._loop.time()) or not self._make_room():
                return
        super().datagram_received(data, addr)

    def _make_room(self) -> bool:
        """Whether one more connection fits; who has not rung for a while makes room."""
        if self.connections < self._limit:
            return True
        for connection in set(self._protocols.values()):
            if isinstance(connection, Connection) and connection.idle(STRANGER_S):
                connection.retire()
                self._connection_terminated(connection)
        return self.connections < self._limit

    def _answer_unknown(self, data: bytes, addr: Any) -> None:
        """A packet of a connection from before this process: tell its sender to come anew."""
        notice = notice_for(data)
        if (
            notice is not None
            and self._transport is not None
            and self._notices.allow(self._loop.time())
        ):
            self._transport.sendto(notice, addr)

    def close_all(self) -> None:
        """Close every connection and the socket."""
        for connection in set(self._protocols.values()):
            connection.close()
            if isinstance(connection, Connection):
                connection.release()
        self._protocols.clear()
        if self._transport is not None:
            self._transport.close()


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    address = format_address(host, port)
    if error.errno == errno.EADDRINUSE:
        return f"UDP port {port} is in use already; stop the other program or take another port"
    if error.errno == errno.EACCES:
        return f"this user may not listen on {address}; take a port above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; use 0.0.0.0 for all of them"
    if isinstance(error, socket.gaierror):
        return f"the host name {host} cannot be resolved"
    return f"cannot listen on {address} ({error.strerror or error})"
