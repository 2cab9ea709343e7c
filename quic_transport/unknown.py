"""What a server answers to packets of a connection that it does not know, and who believes it.

The rule: the answer is shorter than the packet and repeats its first bytes, so it neither amplifies
nor can be made up by somebody who does not see the path; and believing it costs a new handshake
beside the old connection, never the old connection: the listener that does know it takes the frames
of either.
Reference: QUIC's stateless reset (RFC 9000, section 10.3), which aioquic does not have.
"""

from __future__ import annotations

from collections import deque

ECHO_BYTES = 12
MARK = b"\x40unknown"  # so short that the answer is shorter than a small face's packet
MIN_PACKET_BYTES = len(MARK) + ECHO_BYTES + 1
REMEMBERED = 128


def notice_for(packet: bytes) -> bytes | None:
    """The answer to a packet; None to one that must not be answered."""
    if len(packet) < MIN_PACKET_BYTES or packet.startswith(MARK):
        return None
    return MARK + packet[:ECHO_BYTES]


class SentPackets:
    """The beginnings of the packets that left lately."""

    def __init__(self) -> None:
        self._beginnings: deque[bytes] = deque(maxlen=REMEMBERED)

    def sent(self, packet: bytes) -> None:
        """A packet left."""
        self._beginnings.append(bytes(packet[:ECHO_BYTES]))

    def is_notice(self, data: bytes) -> bool:
        """Whether this is an answer to one of them, from somebody who has seen it."""
        return data.startswith(MARK) and data[len(MARK) :] in self._beginnings
