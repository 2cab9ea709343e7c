"""How aioquic is set up for a call, and everything of it that is private.

The rule: what aioquic 1.x keeps to itself (stream progress, round trips, the peer's certificate,
the datagram queue, when acknowledgements leave) is touched in this file and nowhere else.

Acknowledgements: aioquic sends one for every packet, as packets of their own that cost more than
a face does. Here those of datagrams may be LAZY_ACK_S late and ride on whatever leaves before;
those of streams stay prompt. Both ends know, so neither takes the delay for loss.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path

from aioquic import tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.logger import QuicFileLogger
from aioquic.quic.packet import QuicPacketType
from cryptography.hazmat.primitives import hashes

from quic_transport import congestion
from quic_transport.congestion import LiveCongestionControl
from quic_transport.datagram import MAX_DATAGRAM_BYTES
from quic_transport.outbound import Progress
from quic_transport.wire import ALPN

ALL_ACKED = 2**62
DEFAULT_RTT_S = 0.1
IDLE_TIMEOUT_S = 60.0  # aioquic's own; the session gives up sooner
SERVER_NAME = "facewire"  # in the TLS hello, in place of an address: nobody routes by it
LAZY_ACK_S = 0.35  # longer than the time between two reports, which carry them
PROMPT_ACK_S = 0.001
MAX_PROBE_BACKOFF = 2  # doublings: a call tries again at least every second or so
CONNECTION_ID_BYTES = 3  # in every packet; aioquic's 8 are for servers behind balancers
FIRST_CONNECTION_ID_BYTES = 8  # of a client's first packets (RFC 9000, section 7.2)


def configuration(*, is_client: bool, qlog: Path | None = None) -> QuicConfiguration:
    """What both ends of every call use; a server adds its certificate."""
    made = QuicConfiguration(
        alpn_protocols=[ALPN], is_client=is_client, idle_timeout=IDLE_TIMEOUT_S,
        congestion_control_algorithm=congestion.NAME, connection_id_length=CONNECTION_ID_BYTES,
        max_datagram_frame_size=MAX_DATAGRAM_BYTES + 50,
    )  # fmt: skip
    if is_client:
        made.server_name = SERVER_NAME
        made.verify_mode = ssl.CERT_NONE  # the certificate is pinned by the caller instead
    if qlog is not None:
        qlog.mkdir(parents=True, exist_ok=True)
        made.quic_logger = QuicFileLogger(str(qlog))
    return made


def client_connection(
    settings: QuicConfiguration, on_ticket: Callable[[tls.SessionTicket], None] | None = None
) -> QuicConnection:
    """A client's connection, not connected yet; `on_ticket` gets what a later one may open with."""
    quic = QuicConnection(configuration=settings, session_ticket_handler=on_ticket)
    quic._peer_cid.cid = os.urandom(FIRST_CONNECTION_ID_BYTES)
    quic._original_destination_connection_id = quic._peer_cid.cid
    return quic


def on_ticket(quic: QuicConnection, handler: Callable[[tls.SessionTicket], None]) -> None:
    """Have a server's connection issue a ticket, and `handler` get it; before the first packet."""
    quic._session_ticket_handler = handler


def resend_refused(quic: QuicConnection, now: float) -> None:
    """The peer did not take our early data: it goes again at once, nobody will miss it there."""
    space = quic._spaces[tls.Epoch.ONE_RTT]
    early = [
        packet
        for packet in space.sent_packets.values()
        if packet.packet_type is QuicPacketType.ZERO_RTT
    ]
    quic._loss._on_packets_lost(congestion_event=False, now=now, packets=early, space=space)


def end_qlog(quic: QuicConnection) -> None:
    """Write the connection's log now: aioquic would wait for the end of its closing period."""
    logger = quic._configuration.quic_logger
    if logger is not None and quic._quic_logger is not None:
        logger.end_trace(quic._quic_logger)
        quic._quic_logger = None


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


def progress(quic: QuicConnection, stream_id: int) -> Progress:
    """How far one of our streams is."""
    unsent, acked = stream_progress(quic, stream_id)
    control = quic._loss._cc
    window = control.bulk_window if isinstance(control, LiveCongestionControl) else 2**62
    return Progress(stream_id, unsent, acked, *round_trips(quic), window)


def peer_fingerprint(quic: QuicConnection) -> bytes | None:
    """SHA-256 of the certificate that the peer proved to own; None before the handshake."""
    certificate = quic.tls._peer_certificate
    return certificate.fingerprint(hashes.SHA256()) if certificate is not None else None


def datagrams_waiting(quic: QuicConnection) -> int:
    """Datagrams that aioquic holds; it has no limit of its own."""
    return len(quic._datagrams_pending)


def lazy_acks(quic: QuicConnection) -> None:
    """After the handshake: acknowledge datagrams late, and expect the peer to do so."""
    quic._ack_delay = LAZY_ACK_S
    quic._loss.max_ack_delay = LAZY_ACK_S


def hurry_acks(quic: QuicConnection, now: float) -> None:
    """Stream data has come: its sender waits for the acknowledgement."""
    _ack_at(quic, now + PROMPT_ACK_S)


def limit_backoff(quic: QuicConnection) -> None:
    """After a timer: do not let the time to the next retransmission double for ever."""
    quic._loss._pto_count = min(quic._loss._pto_count, MAX_PROBE_BACKOFF)


def ride_acks(quic: QuicConnection, now: float) -> None:
    """A packet is about to leave: what is to be acknowledged goes with it."""
    _ack_at(quic, now)


def _ack_at(quic: QuicConnection, at: float) -> None:
    space = quic._spaces.get(tls.Epoch.ONE_RTT) if quic._handshake_complete else None
    if space is not None and space.ack_at is not None:
        space.ack_at = min(space.ack_at, at)
