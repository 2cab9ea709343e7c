"""What a call really costs on the wire.

The rule: every UDP datagram counts with its real length plus 28 bytes of IPv4 and UDP headers
(IPv6: 48), retransmissions, handshake and ACKs included. Link-layer framing is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

HEADER_BYTES_V4 = 28
HEADER_BYTES_V6 = 48


@dataclass(frozen=True, slots=True)
class WireCount:
    """Totals since the call began."""

    sent_packets: int
    """UDP datagrams sent."""
    sent_bytes: int
    """Their bytes, with IP and UDP headers."""
    received_packets: int
    """UDP datagrams received."""
    received_bytes: int
    """Their bytes, with IP and UDP headers."""

    def plus(self, later: WireCount) -> WireCount:
        """The totals of both."""
        return WireCount(
            self.sent_packets + later.sent_packets,
            self.sent_bytes + later.sent_bytes,
            self.received_packets + later.received_packets,
            self.received_bytes + later.received_bytes,
        )

    def since(self, earlier: WireCount) -> WireCount:
        """What came after `earlier`."""
        return WireCount(
            self.sent_packets - earlier.sent_packets,
            self.sent_bytes - earlier.sent_bytes,
            self.received_packets - earlier.received_packets,
            self.received_bytes - earlier.received_bytes,
        )


class WireCounter:
    """Adds up datagrams; written by the socket's thread only."""

    def __init__(self, header_bytes: int = HEADER_BYTES_V4) -> None:
        self.header_bytes = header_bytes
        self._sent = self._sent_bytes = self._received = self._received_bytes = 0

    def sent(self, size: int) -> None:
        """A datagram with `size` bytes of UDP payload left."""
        self._sent += 1
        self._sent_bytes += size + self.header_bytes

    def received(self, size: int) -> None:
        """A datagram with `size` bytes of UDP payload came."""
        self._received += 1
        self._received_bytes += size + self.header_bytes

    def count(self) -> WireCount:
        """The totals now."""
        return WireCount(self._sent, self._sent_bytes, self._received, self._received_bytes)
