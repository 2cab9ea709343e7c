"""Congestion control for a call: bulk data is limited as usual, live packets never wait.

The rule: packets of at most LIVE_BYTES (frames, reports, messages; their rate has a control of its
own, `rate_control`) neither count against the window nor shrink it when they are lost. So nothing
live is held back in the transport, where it would go stale, and the first packet after an outage
leaves at once. What is larger (avatars, handshakes) is under New Reno (RFC 9002, section 7).
"""

from __future__ import annotations

from collections.abc import Iterable

from aioquic.quic.congestion.base import QuicCongestionControl, register_congestion_control
from aioquic.quic.congestion.reno import RenoCongestionControl
from aioquic.quic.packet_builder import QuicSentPacket

NAME = "facewire"
LIVE_BYTES = 600
RESERVE_BYTES = 16 * 1200  # of the window, beyond what bulk data may use


class LiveCongestionControl(QuicCongestionControl):  # type: ignore[misc]
    """New Reno for large packets, with a reserve on top for small ones."""

    def __init__(self, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self._reno = RenoCongestionControl(max_datagram_size=max_datagram_size)
        self._show()

    @property
    def bulk_window(self) -> int:
        """Bytes of large packets that may be in flight."""
        return int(self._reno.congestion_window)

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        """A packet has arrived."""
        if packet.sent_bytes > LIVE_BYTES:
            self._reno.on_packet_acked(now=now, packet=packet)
            self._show()

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:
        """A packet has left."""
        if packet.sent_bytes > LIVE_BYTES:
            self._reno.on_packet_sent(packet=packet)
            self._show()

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        """Packets are no longer followed."""
        self._reno.on_packets_expired(packets=_large(packets))
        self._show()

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:
        """Packets were lost."""
        large = _large(packets)
        if large:
            self._reno.on_packets_lost(now=now, packets=large)
            self._show()

    def on_persistent_congestion(self) -> None:
        """Nothing has arrived for long."""
        self._reno.on_persistent_congestion()
        self._show()

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """A round trip was measured."""
        self._reno.on_rtt_measurement(now=now, rtt=rtt)
        self._show()

    def _show(self) -> None:
        """What aioquic reads."""
        self.bytes_in_flight = self._reno.bytes_in_flight
        self.congestion_window = self._reno.congestion_window + RESERVE_BYTES
        self.ssthresh = self._reno.ssthresh


def _large(packets: Iterable[QuicSentPacket]) -> list[QuicSentPacket]:
    return [packet for packet in packets if packet.sent_bytes > LIVE_BYTES]


register_congestion_control(NAME, LiveCongestionControl)
