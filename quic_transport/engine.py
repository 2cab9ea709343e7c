"""One session on one QUIC connection, without sockets, clocks or threads.

The rule: all policy is in the session; this class moves bytes, events and time between it and
aioquic. Whoever drives it (a socket's thread, or virtual time) hands packets and timers to `quic`,
then its events to `handle`, and calls `fill` before it asks `quic` for packets.
"""

from __future__ import annotations

from aioquic.quic import events as quic_events
from aioquic.quic.connection import QuicConnection

from quic_transport import quic_inside
from quic_transport.call_state import State
from quic_transport.outbound import CONTROL_STREAM
from quic_transport.session import Session

MAX_WAITING = 1  # datagrams that aioquic may hold; newer frames wait where they can be replaced


class Engine:
    """See the module's rule."""

    def __init__(self, quic: QuicConnection, session: Session, *, is_client: bool) -> None:
        self.quic = quic
        self.session = session
        self.started = False
        self.gone = False
        """The connection is over: no packet comes or goes."""
        self._is_client = is_client
        self._closing = False

    def start(self, now: float) -> None:
        """The peer is who it should be, or nobody is expected to be known: speak."""
        if not self.started:
            self.started = True
            self.session.start(now)

    def handle(self, event: quic_events.QuicEvent, now: float) -> None:
        """Translate one event of aioquic. A client's session is started by its owner."""
        session = self.session
        if isinstance(event, quic_events.ProtocolNegotiated) and not self._is_client:
            self.start(now)  # before the handshake is complete: early data may follow
        elif isinstance(event, quic_events.HandshakeCompleted):
            quic_inside.lazy_acks(self.quic)
            if not event.early_data_accepted:
                quic_inside.resend_refused(self.quic, now)
        elif isinstance(event, quic_events.StreamDataReceived):
            # bulk and greetings: their sender waits
            if event.stream_id != CONTROL_STREAM or session.state is not State.OPEN:
                quic_inside.hurry_acks(self.quic, now)
            session.receive(event.stream_id, event.data, event.end_stream, now)
        elif isinstance(event, quic_events.DatagramFrameReceived):
            session.receive_datagram(event.data, now)
        elif isinstance(event, quic_events.StreamReset):
            session.stream_reset(event.stream_id, now)
        elif isinstance(event, quic_events.ConnectionTerminated):
            # frame_type tells aioquic's and TLS's own errors from the peer's application
            code = event.error_code if event.frame_type is None else 0
            session.transport_closed(code, event.reason_phrase)
            self.started = self.gone = True  # its last events are taken, no packet is

    def fill(self, now: float) -> bool:
        """Hand what the session wants to say to aioquic; whether there was anything."""
        quic_inside.limit_backoff(self.quic)
        if not self.started or self.gone:
            return False
        self.report(now)
        said = False
        while quic_inside.datagrams_waiting(self.quic) < MAX_WAITING:
            data = self.session.datagram_to_send(now)
            if data is None:
                break
            self.quic.send_datagram_frame(data)
            said = True
        for out in self.session.data_to_send(now):  # afterwards: messages go with a datagram
            self.quic.send_stream_data(out.stream_id, out.data, out.end)
            said = True
        end = self.session.close_wanted()
        if end is not None and not self._closing:
            self._closing = said = True
            self.quic.close(error_code=end.close_code, reason_phrase=end.sentence)
        if said:
            quic_inside.ride_acks(self.quic, now)
        return said

    def report(self, now: float) -> None:
        """Tell the session how far aioquic is with its streams."""
        for stream_id in self.session.sending_streams():
            self.session.progress(quic_inside.progress(self.quic, stream_id), now)
