"""The side that calls: the first handshake, and finding back when a connection breaks.

The rule: an old connection is given up only when a new one has proved itself. When this machine
would send from another address than the socket's, the socket is moved at once. While the peer is
silent it is moved too (a box on the way may have changed) and new connections are tried beside the
old one; whichever is heard first carries the call on. After `peer_timeout_s` it is lost.
Reference: RFC 9000, section 9 (migration), RFC 9001, section 4.6 (0-RTT).
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from aioquic.tls import SessionTicket

from quic_transport.call import Call
from quic_transport.connection import Connection
from quic_transport.errors import FacewireError, LocalError, RemoteError
from quic_transport.events import CallEnded, CallOpened, Ending, Event
from quic_transport.invite import Invite
from quic_transport.limits import Limits
from quic_transport.loop_thread import LoopThread
from quic_transport.messages import CALL_ID_BYTES, Hello
from quic_transport.offer import Reason
from quic_transport.party import Party
from quic_transport.quic_inside import client_connection, configuration, peer_fingerprint
from quic_transport.route import source_address
from quic_transport.wire import ALPN

SLOW_CONNECT_S = 30.0
LOOK_S = 0.05
MOVE_AFTER_S = 1.0  # of silence: the way of the old port may be gone
MOVE_AGAIN_S = 3.0
REROUTE_S = 0.2  # between two moves for the sake of another address of ours, at least
RETRY_AFTER_S = 1.5  # of silence: a new connection is tried beside the old one
ATTEMPT_S = 3.0  # after which another one takes its place
LEAN_S = 1.0  # frames go to a connection that its listener has not greeted yet, at most
REFUSED_ATTEMPT_S = 0.25  # the same while nothing listens there


@dataclass(frozen=True, slots=True)
class Destination:
    """What a call needs to be made, once or again."""

    invite: Invite
    """Whom to call."""
    party: Party
    """What we bring."""
    limits: Limits
    """What we tolerate."""
    qlog: Path | None
    """Where QUIC's log goes; None: nowhere."""


class Caller:
    """Makes a call and keeps it; everything runs in the loop's thread."""

    def __init__(self, destination: Destination, thread: LoopThread) -> None:
        self._to = destination
        self._thread = thread
        self._call_id = secrets.token_bytes(CALL_ID_BYTES)
        self._attempt = 0
        self._ticket: SessionTicket | None = None
        self._current: Connection | None = None
        self._challenger: Connection | None = None
        self._tried_at = 0.0
        self._moved_at = self._rerouted_at = 0.0
        self._watch: asyncio.Task[None] | None = None

    async def first(self, timeout: float) -> Connection:
        """A connection to the server that the invite names, proven by its certificate."""
        invite = self._to.invite
        try:
            connection = await self._connection(None)
        except OSError as error:
            raise LocalError(_cannot_reach(invite, error)) from None
        self._current = connection
        try:
            try:
                await _handshake_done(connection, timeout)
            except (TimeoutError, ConnectionError) as error:
                raise _no_handshake(invite, timeout, connection.refusals, str(error)) from None
            self._check(connection)
        except FacewireError:
            connection.close()
            connection.release_socket()
            raise
        connection.start_session()
        self._watch = asyncio.get_running_loop().create_task(self._keep(connection.call))
        return connection

    async def _connection(self, call: Call | None, presumed: Hello | None = None) -> Connection:
        """A connection under way: the first one, or one more for `call`."""
        invite = self._to.invite
        session = self._to.party.session(
            invite.token, self._to.limits, is_client=True, call_id=self._call_id,
            attempt=self._attempt, presumed=presumed,
        )  # fmt: skip
        self._attempt += 1
        settings = configuration(is_client=True, qlog=self._to.qlog)
        settings.session_ticket = self._ticket
        quic = client_connection(settings, self._keep_ticket)
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_datagram_endpoint(
            lambda: Connection(
                quic, session, self._to.party.cache, self._thread, connected=True,
                on_event=self._on_event, on_gone=self._on_gone, call=call,
            ),
            remote_addr=(invite.host, invite.port),
        )  # fmt: skip
        connection.on_unknown = self._unknown
        connection.trusted = self._trusts
        connection.connect(transport.get_extra_info("peername"))
        if settings.session_ticket is not None:
            connection.start_session()  # with the first packet: the ticket proves who reads it
        return connection

    def _keep_ticket(self, ticket: SessionTicket) -> None:
        self._ticket = ticket

    def _spend_ticket(self, connection: Connection) -> None:
        """The listener takes each ticket once: it is spent when the connection that was opened
        with it was heard; a flight that nobody answered may go again."""
        if (
            connection.wire().received_packets > 0
            and connection.quic.configuration.session_ticket is self._ticket
        ):
            self._ticket = None

    def _trusts(self, connection: Connection) -> bool:
        known = peer_fingerprint(connection.quic) == self._to.invite.fingerprint
        return connection.resumed_tls or known

    def _check(self, connection: Connection) -> None:
        if self._trusts(connection):
            return
        raise RemoteError(
            f"the server at {self._to.invite.address} is not the one that made this invite (its "
            "certificate differs): do not trust it, ask for a fresh invite"
        )

    # Keeping the call.

    async def _keep(self, call: Call) -> None:
        """Look after the connection until the call ends."""
        try:
            await self._look_after(call)
        finally:  # also where the loop is being stopped
            self._drop_challenger()

    async def _look_after(self, call: Call) -> None:
        loop = asyncio.get_running_loop()
        while call.ended is None:
            await asyncio.sleep(LOOK_S)
            current, now = self._current, loop.time()
            if current is None or not call.is_open():
                continue
            if now - self._rerouted_at > REROUTE_S and not current.gone and _rerouted(current):
                self._rerouted_at = now
                await self._move(current)
            quiet = now - current.heard_at
            if quiet < MOVE_AFTER_S and not current.gone:
                if current.heard_at > self._tried_at and self._challenger is not None:
                    if self._challenger.session.presumes and now - self._tried_at < LEAN_S:
                        continue  # frames take it already, and the listener may have moved to it
                    self._drop_challenger()  # the old one is well
                    # unless the listener has taken the other's hello: then one more, soon
                    self._tried_at = now - ATTEMPT_S + REFUSED_ATTEMPT_S
                continue
            if quiet > self._to.limits.peer_timeout_s:
                call.end(CallEnded.silence(self._to.limits.peer_timeout_s))
                break
            if now - self._moved_at > MOVE_AGAIN_S and not current.gone:
                self._moved_at = now
                await self._move(current)
            refusals = (self._challenger or current).refusals
            pause = REFUSED_ATTEMPT_S if refusals else ATTEMPT_S
            if (quiet > RETRY_AFTER_S or current.gone) and now - self._tried_at > pause:
                await self._try_again(call)

    async def _move(self, connection: Connection) -> None:
        """Take a new socket, as after a change of address."""
        try:
            await connection.move_socket((self._to.invite.host, self._to.invite.port))
        except OSError:
            pass  # there is no network at present

    async def _try_again(self, call: Call, presumed: Hello | None = None) -> None:
        self._drop_challenger()
        self._tried_at = asyncio.get_running_loop().time()
        try:
            challenger = await self._connection(call, presumed)
        except OSError:
            return
        self._challenger = challenger
        if challenger.session.presumes:
            challenger.call.lean((challenger.session, challenger))
        challenger.handshake.add_done_callback(lambda done: self._greet(challenger, done))

    def _greet(self, challenger: Connection, done: asyncio.Future[None]) -> None:
        if done.cancelled():
            return
        self._spend_ticket(challenger)
        if done.exception() is not None:
            return
        try:
            self._check(challenger)
        except RemoteError:
            challenger.release_socket()
        else:
            challenger.start_session()
            if challenger.session.presumes:
                challenger.call.lean((challenger.session, challenger))

    def _unknown(self, connection: Connection) -> None:
        """The server says that it does not know this connection: it was started anew, and frames
        on the old one are lost. They go with our hello on the new one, to whoever has proved to
        be the one that made the invite, or can read what only that one can (early data)."""
        now = asyncio.get_running_loop().time()
        in_vain = self._challenger is not None and self._challenger.refusals > 0
        tried = now - self._tried_at <= REFUSED_ATTEMPT_S and not in_vain
        if connection is self._current and not tried:
            self._tried_at = now
            presumed = connection.session.peer
            task = self._try_again(connection.call, presumed)
            self._thread.loop.create_task(task)

    def _on_event(self, connection: Connection, event: Event) -> None:
        if connection is not self._challenger:
            return
        if isinstance(event, CallOpened):
            self._current, self._challenger = connection, None
            connection.join(connection.call)
        elif isinstance(event, CallEnded):
            self._challenger = None
            final = event.how is Ending.PEER_REFUSED and event.reason is not Reason.BUSY
            if final:
                connection.call.end(event)

    def _on_gone(self, connection: Connection) -> None:
        if connection is not self._current or connection.call.ended is not None:
            connection.release_socket()

    def _drop_challenger(self) -> None:
        if self._challenger is not None:
            self._challenger.call.lean(None)
            self._spend_ticket(self._challenger)
            self._challenger.retire()
            self._challenger = None


def _rerouted(connection: Connection) -> bool:
    """Whether packets would leave from another address of this machine than its socket has."""
    ours, peer = connection.addresses()
    if ours is None or peer is None:
        return False
    would_be = source_address(peer)
    return would_be is not None and would_be != ours


async def _handshake_done(connection: Connection, timeout: float) -> None:
    """Wait for the handshake: `timeout` seconds for a sign of life, then as long as a path of a
    few kbps needs."""
    try:
        await asyncio.wait_for(asyncio.shield(connection.handshake), timeout)
    except TimeoutError:
        if connection.wire().received_packets == 0:
            raise
        await asyncio.wait_for(connection.handshake, SLOW_CONNECT_S)


def _no_handshake(invite: Invite, timeout: float, refusals: int, reason: str) -> FacewireError:
    if refusals:
        return LocalError(
            f"nothing listens at {invite.address} (UDP): start the other side there first, or "
            "check the port in the invite"
        )
    if reason:
        return RemoteError(
            f"the server at {invite.address} speaks something else than {ALPN} ({reason}); "
            "run the same version of facewire on both sides"
        )
    return LocalError(
        f"no answer from {invite.address} within {timeout:g} s; check that the receiver runs "
        "and that no firewall stops UDP"
    )


def _cannot_reach(invite: Invite, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host name {invite.host} cannot be resolved; check the network or the invite"
    return f"{invite.address} cannot be reached from here ({error.strerror or error})"
