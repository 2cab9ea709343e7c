"""Calls over real sockets: `serve` waits for them, `connect` makes them.

    listener = serve("0.0.0.0", 4433, party=Party(receives=True, cache=AvatarCache()))
    print(listener.invite)                                  # facewire://HOST:PORT/...
    call = listener.accept(timeout=None)                    # None after a timeout
    call = connect(invite, party=Party(offer=offer, avatar=avatar_bytes))   # <= 5 s, or an error

Both give a `Call` (quic_transport/call.py); all its methods may be called from any thread:

    call.peer: Hello                 the peer's hello (call.peer.offer: Offer | None)
    call.next_event(timeout=None) -> Event | None    None: timeout; EndOfStream: after CallEnded
    call.can_send_frame() -> bool    ask BEFORE the predictor; False: drop the raw frame
    call.keyframe_due() -> bool      True until a keyframe was sent (reference=None)
    call.reference() -> Reference    what the encoder is to predict the next frame from
    call.send_frame(frame: EncodedFrame) -> bool     False: it and all queued ones were dropped
    call.frame_decoded(sequence)     after each decoded frame: it may be a reference from now on
    call.request_keyframe()          after a CodecError; rate-limited, call it as often as you like
    call.send_ready()                receiver: renderer is warm → peer gets PeerReady
    call.send_stats({...})           counters for the peer's table → peer gets PeerStats
    call.to_our_clock(t) -> float    peer's monotonic clock → ours
    call.round_trip() -> RoundTrip | None    rtt_s, offset_s, error_s
    call.wire() -> WireCount         bytes and packets both ways, with IP + UDP headers
    call.counts() -> (sent, received)        FrameCounts each
    call.refuse(Reason.BOUNDS, "...")        end it with a sentence for both sides
    call.hang_up("") -> None         clean end; waits (<= 1.5 s) until the peer has everything
    call.close()                     hang up if need be, free socket and thread; also `with call:`
    call.ended -> CallEnded | None   how it ended; .error() is what to raise (None: clean)

Typical receiver: CallOpened → AvatarReceived (from cache or wire) → load, warm up, send_ready()
→ FrameReceived ... → CallEnded. Typical sender: CallOpened → PeerReady → send frames → hang_up().

The rule: whatever goes wrong while a call is set up is one sentence, within the time-out.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from aioquic.asyncio.server import QuicServer
from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import pull_quic_header

from quic_transport.avatar_cache import AvatarCache
from quic_transport.call import Call
from quic_transport.certs import Identity, load_identity
from quic_transport.connection import Connection
from quic_transport.errors import FacewireError, LocalError, RemoteError
from quic_transport.events import CallOpened, Event, Ringing
from quic_transport.fifo import EndOfStream, Fifo
from quic_transport.invite import Invite, format_address, reachable_host
from quic_transport.limits import Limits
from quic_transport.loop_thread import LoopThread
from quic_transport.messages import TOKEN_BYTES
from quic_transport.offer import Offer, Reason
from quic_transport.quic_inside import client_connection, configuration, peer_fingerprint
from quic_transport.session import Session
from quic_transport.wire import ALPN

SLOW_CONNECT_S = 30.0


@dataclass(frozen=True, slots=True)
class Party:
    """What this side brings to a call."""

    offer: Offer | None = None
    """The face that it sends; None: it only receives."""
    avatar: bytes | None = None
    """The avatar file to hand out when the peer lacks it; None: the peer must have it."""
    receives: bool = False
    """Whether it wants the peer's face."""
    cache: AvatarCache | None = None
    """Where received avatars are kept; None: nowhere."""

    def session(self, token: bytes, limits: Limits, *, is_client: bool) -> Session:
        """A session with these properties."""
        return Session(
            is_client=is_client, token=token, offer=self.offer, avatar=self.avatar,
            receives=self.receives, limits=limits,
        )  # fmt: skip


class Listener:
    """A bound port that turns callers into calls, one at a time."""

    def __init__(
        self, host: str, port: int, party: Party, identity: Identity, token: bytes,
        limits: Limits, qlog: Path | None,
    ) -> None:  # fmt: skip
        """Use `serve`."""
        self._party = party
        self._token = token
        self._limits = limits
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
        session = self._party.session(self._token, self._limits, is_client=False)
        return Connection(
            quic, session, self._party.cache, self._thread, connected=False,
            on_event=self._on_event, on_gone=lambda connection: None,
        )  # fmt: skip

    def _on_event(self, connection: Connection, event: Event) -> None:
        call = connection.call
        if isinstance(event, Ringing):
            busy = self._current is not None and self._current.ended is None
            with call.lock:
                if busy:
                    why = "this receiver is in another call; try again later"
                    call.session.refuse(Reason.BUSY, why, time.monotonic())
                else:
                    self._current = call
                    call.session.accept(time.monotonic())
            connection.wake()
        elif isinstance(event, CallOpened):
            try:
                self._calls.put(call)
            except EndOfStream:
                pass  # the listener is being closed


class Server(QuicServer):  # type: ignore[misc]
    """aioquic's server with a cap on connections, so that strangers cannot fill the memory."""

    def __init__(self, listener: Listener, configuration: QuicConfiguration) -> None:
        super().__init__(
            configuration=configuration,
            create_protocol=lambda quic, stream_handler=None: listener.connection(quic),
        )
        self._limit = listener._limits.max_connections
        self.port = 0

    def connection_made(self, transport: Any) -> None:
        """The port is bound."""
        super().connection_made(transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: Any, addr: Any) -> None:
        """To its connection; strangers beyond the cap are ignored."""
        if len(set(self._protocols.values())) >= self._limit:
            try:
                length = self._configuration.connection_id_length
                header = pull_quic_header(Buffer(data=data), host_cid_length=length)
            except ValueError:
                return
            if header.destination_cid not in self._protocols:
                return
        super().datagram_received(data, addr)

    def close_all(self) -> None:
        """Close every connection and the socket."""
        for connection in set(self._protocols.values()):
            connection.close()
            if isinstance(connection, Connection):
                connection.release()
        self._protocols.clear()
        if self._transport is not None:
            self._transport.close()


def serve(
    host: str, port: int, *, party: Party, identity: Identity | None = None,
    token: bytes | None = None, limits: Limits | None = None, qlog: Path | None = None,
) -> Listener:  # fmt: skip
    """Listen on `host`:`port` (0: any free port). LocalError: in use, not ours, no such host.

    `identity` None: the user's own, made on first use; `token` None: a new random one; `qlog`: a
    folder for QUIC's own logs.
    """
    token = token if token is not None else secrets.token_bytes(TOKEN_BYTES)
    if len(token) != TOKEN_BYTES:
        raise LocalError(f"a token has {TOKEN_BYTES} bytes, not {len(token)}")
    identity = identity or load_identity()
    return Listener(host, port, party, identity, token, limits or Limits(), qlog)


def connect(
    invite: Invite | str, *, party: Party, timeout: float = 5.0, limits: Limits | None = None,
    qlog: Path | None = None,
) -> Call:  # fmt: skip
    """Call the peer named by `invite`; returns when both hellos have crossed.

    LocalError or RemoteError with one sentence if that fails: after `timeout` seconds if nothing at
    all is heard, after SLOW_CONNECT_S if the peer is there but the path is that slow.
    """
    invite = invite if isinstance(invite, Invite) else Invite.parse(invite)
    limits = limits or Limits()
    thread = LoopThread("facewire-call")
    try:
        connection = thread.run(_handshake(invite, party, timeout, limits, thread, qlog))
    except BaseException:
        thread.stop()
        raise
    call = connection.call
    try:
        opened = call.wait_open(limits.hello_timeout_s + 1.0)  # it is there, if slow
    except BaseException:  # Ctrl-C
        connection.shut()
        raise
    if opened and call.ended is None:
        return call
    error = call.ended.error() if call.ended is not None else None
    connection.shut()
    raise error or RemoteError(f"the peer at {invite.address} did not answer the hello; try again")


async def _handshake(
    invite: Invite, party: Party, timeout: float, limits: Limits, thread: LoopThread,
    qlog: Path | None,
) -> Connection:  # fmt: skip
    """A connection to the server that the invite names, proven by its certificate."""
    loop = asyncio.get_running_loop()
    session = party.session(invite.token, limits, is_client=True)
    quic = client_connection(configuration(is_client=True, qlog=qlog))
    try:
        transport, connection = await loop.create_datagram_endpoint(
            lambda: Connection(
                quic, session, party.cache, thread, connected=True,
                on_event=lambda connection, event: None, on_gone=Connection.release_socket,
            ),
            remote_addr=(invite.host, invite.port),
        )  # fmt: skip
    except OSError as error:
        raise LocalError(_cannot_reach(invite, error)) from None
    try:
        connection.connect(transport.get_extra_info("peername"))
        try:
            await _handshake_done(connection, timeout)
        except (TimeoutError, ConnectionError) as error:
            raise _no_handshake(invite, timeout, connection.refusals, str(error)) from None
        if peer_fingerprint(quic) != invite.fingerprint:
            raise RemoteError(
                f"the server at {invite.address} is not the one that made this invite (its "
                "certificate differs): do not trust it, ask for a fresh invite"
            )
    except FacewireError:
        connection.close()
        connection.release_socket()
        raise
    connection.start_session()
    return connection


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
            f"nothing listens at {invite.address} (UDP): start the receiver there first, or "
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
