"""A whole call in virtual time: two real sessions over real QUIC over a simulated path.

    call = VirtualCall(client, server, PathSettings(up=..., down=...), seed=1, on_event=owner)
    call.every(0.05, send_a_frame)
    call.at(60.0, call.move_client)     # another address
    call.at(90.0, lambda: call.restart_server(new_server_session, new_client_session))
    call.run(until=3600.0)              # an hour in under two minutes

Only the sockets, the clock and the threads of `quic_transport.endpoint` are replaced (and of its
caller, that part which comes back when the listener says that it does not know it); packets,
acknowledgements, retransmissions and TLS are aioquic's. The rule: the same sessions, settings and
seed give the same events at the same times. For that the server's certificate is made from fixed
numbers (Ed25519, so its signatures have one length); nothing here protects anything.
"""

from __future__ import annotations

import datetime
import hashlib
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted
from aioquic.tls import SessionTicket
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from netsim.path import WAYS, Path, PathSettings, Way
from quic_transport import quic_inside
from quic_transport.engine import Engine
from quic_transport.events import Event
from quic_transport.session import Session
from quic_transport.tickets import TicketStore
from quic_transport.unknown import SentPackets, notice_for

CLIENT, SERVER = 0, 1
LONG_HEADER = 0x80  # of the first byte of a packet that may begin a connection (RFC 9000, 17.2)
TICK_S = 1e-6
"""Timers fire this much late: aioquic compares some with `>`, and would ask for ever."""

Owner = Callable[[int, Event, float], None]
"""Told of each event: whose (CLIENT or SERVER), what, and when, on the simulation's clock."""


@dataclass(slots=True)
class _Side:
    """One end."""

    engine: Engine
    way: Way  # of what it sends
    heard: bool = False  # before that a server has nobody to send to
    packets: SentPackets = field(default_factory=SentPackets)


class VirtualCall:
    """A client, a server and the path between them, from the first packet on."""

    def __init__(
        self, client: Session, server: Session, settings: PathSettings, seed: int = 0, *,
        on_event: Owner, tickets: TicketStore | None = None,
    ) -> None:  # fmt: skip
        """The call is made at once, at time 0; `on_event` may call the sessions' methods.
        `tickets`: the server's; None: it gives none, and a client comes back without early data."""
        self.now = 0.0
        self.path = Path(settings, seed)
        self._on_event = on_event
        self._work: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = count()
        self._client_address = _address(CLIENT)
        self._again: tuple[Session, Session] | None = None  # who speak after a restart
        self._tickets = tickets
        self._ticket: SessionTicket | None = None  # the client's
        self._sides = self._connect(client, server)
        self.pump(CLIENT)

    def _connect(self, client: Session, server: Session) -> tuple[_Side, _Side]:
        settings = quic_inside.configuration(is_client=True)
        settings.session_ticket, self._ticket = self._ticket, None
        client_quic = quic_inside.client_connection(settings, self._keep_ticket)
        tickets = self._tickets
        server_quic = QuicConnection(
            configuration=_server_configuration(),
            original_destination_connection_id=client_quic.original_destination_connection_id,
            session_ticket_fetcher=tickets.take if tickets is not None else None,
            session_ticket_handler=tickets.add if tickets is not None else None,
        )
        client_quic.connect(_address(SERVER), now=self.now)
        engine = Engine(client_quic, client, is_client=True)
        if settings.session_ticket is not None:
            engine.start(self.now)  # with the first packet
        return (
            _Side(engine, "up", heard=True),
            _Side(Engine(server_quic, server, is_client=False), "down"),
        )

    def _keep_ticket(self, ticket: SessionTicket) -> None:
        self._ticket = ticket

    def move_client(self) -> None:
        """The client's address changes, and it knows: what was sent to the old one is lost."""
        host, port = self._client_address
        self._client_address = (host, port + 1)
        quic = self._sides[CLIENT].engine.quic
        quic.change_connection_id()
        quic.send_ping(0)

    def restart_server(
        self, server: Session, client: Session, tickets: TicketStore | None = None
    ) -> None:
        """The server's process is another one now, with `server`; its first answer to the old
        connection's packets makes the client call again, with `client`. `tickets`: the new
        process's, if it has not the old one's."""
        self._tickets = tickets if tickets is not None else self._tickets
        self._again = (client, server)
        gone = self._sides[SERVER]
        gone.engine.gone, gone.engine.started, gone.heard = True, False, False

    def at(self, time: float, work: Callable[[], None]) -> None:
        """Have `work` done at `time`; both ends are pumped after it."""
        heapq.heappush(self._work, (time, next(self._ids), work))

    def every(self, interval_s: float, work: Callable[[float], None], start_s: float = 0.0) -> None:
        """Have `work(now)` done again and again, at multiples of the interval after `start_s`."""
        ticks = count()

        def tick() -> None:
            work(self.now)
            self.at(start_s + next(ticks) * interval_s, tick)

        self.at(start_s + next(ticks) * interval_s, tick)

    def run(self, until: float) -> None:
        """Let everything happen that is due up to `until`."""
        while (due := self._next()) <= until:
            self.now = max(self.now, due)
            while self._work and self._work[0][0] <= self.now:
                heapq.heappop(self._work)[2]()
                self.pump(CLIENT)
                self.pump(SERVER)
            for way in WAYS:
                side = SERVER if way == "up" else CLIENT
                arrivals = self.path.deliver(way, self.now)
                for arrival in arrivals:
                    self._arrived(side, arrival.packet)
                if arrivals:
                    self.pump(side)
            for side in (CLIENT, SERVER):
                self._timers(side)
        self.now = max(self.now, until)

    def pump(self, which: int) -> None:
        """What a shell does after everything that happens to one end."""
        side = self._sides[which]
        engine = side.engine
        if not side.heard:
            return
        more = True
        while more:
            more = engine.fill(self.now)
            for data, address in engine.quic.datagrams_to_send(now=self.now):
                if which == SERVER and address != self._client_address:
                    continue  # nobody is there any more
                side.packets.sent(data)
                self.path.send(side.way, data, self.now)
        if not engine.started:
            return
        engine.report(self.now)
        happened = False
        while (event := engine.session.next_event()) is not None:
            happened = True
            self._on_event(which, event, self.now)
        if happened:
            self.pump(which)

    def _next(self) -> float:
        times = [self._work[0][0]] if self._work else []
        if (due := self.path.due()) is not None:
            times.append(due)
        for side in self._sides:
            times += [t + TICK_S for t in self._side_timers(side.engine)]
        return min(times, default=float("inf"))

    def _side_timers(self, engine: Engine) -> list[float]:
        quic = None if engine.gone else engine.quic.get_timer()
        session = engine.session.next_timer(self.now) if engine.started else None
        return [t for t in (quic, session) if t is not None]

    def _timers(self, which: int) -> None:
        engine = self._sides[which].engine
        fired = False
        quic_at = None if engine.gone else engine.quic.get_timer()
        if quic_at is not None and quic_at + TICK_S <= self.now:
            engine.quic.handle_timer(now=self.now)
            self._take_quic_events(engine)
            fired = True
        session_at = engine.session.next_timer(self.now) if engine.started else None
        if session_at is not None and session_at + TICK_S <= self.now:
            engine.session.handle_timer(self.now)
            fired = True
        if fired:
            self.pump(which)

    def _arrived(self, which: int, data: bytes) -> None:
        side = self._sides[which]
        if self._again is not None and self._restarted(which, data):
            return
        late = which == SERVER and not side.heard and not data[0] & LONG_HEADER
        if side.engine.gone or late:  # of the connection before
            return
        side.heard = True
        if side.engine.started:
            side.engine.session.heard(self.now)
        source = self._client_address if which == SERVER else _address(SERVER)
        side.engine.quic.receive_datagram(data, source, now=self.now)
        self._take_quic_events(side.engine)

    def _restarted(self, which: int, data: bytes) -> bool:
        """A packet while the server knows no connection; whether that is all about it."""
        if which == SERVER:
            if (notice := notice_for(data)) is not None:
                self.path.send("down", notice, self.now)
            return True
        if self._again is not None and self._sides[CLIENT].packets.is_notice(data):
            self._sides, self._again = self._connect(*self._again), None
            self.pump(CLIENT)
            return True
        return False

    def _take_quic_events(self, engine: Engine) -> None:
        while (event := engine.quic.next_event()) is not None:
            engine.handle(event, self.now)
            if isinstance(event, HandshakeCompleted):
                engine.start(self.now)


def _address(side: int) -> tuple[str, int]:
    return (f"192.0.2.{1 + side}", 4433)


def _server_configuration() -> QuicConfiguration:
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a simulated server").digest())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated")])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(day)
        .not_valid_after(day + datetime.timedelta(days=3650))
        .sign(key, None)
    )
    configuration = quic_inside.configuration(is_client=False)
    configuration.certificate = certificate
    configuration.private_key = key
    return configuration
