"""What time it is at the peer, and how long the way there is.

The rule: the sample with the smallest round trip of the last minute or so decides, because
queueing only ever adds delay; the offset's error is at most half of that round trip.
Reference: NTP (RFC 5905, section 8, "on-wire protocol" and clock filter).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW = 16
MAX_HELD_S = 60.0


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """What is known about the path and the peer's clock."""

    rtt_s: float
    """Smallest recent round trip, seconds, without the time the peer held the ping."""
    offset_s: float
    """The peer's clock minus ours, seconds."""
    error_s: float
    """The offset is wrong by at most this, seconds (asymmetric paths)."""
    samples: int
    """Answered pings so far."""


class ClockSync:
    """Collects answered pings; times are seconds on the clock named by the argument."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=WINDOW)  # (rtt, offset)
        self._total = 0

    def add(
        self, sent_here: float, received_there: float, sent_there: float, received_here: float
    ) -> None:
        """One ping: it left here, came there, was answered there, and the answer came here.

        Impossible times (an answer before its question, a negative hold) are ignored: they are
        the peer's, and only it would be harmed.
        """
        held = sent_there - received_there
        rtt = (received_here - sent_here) - held
        if received_here < sent_here or not 0 <= held <= MAX_HELD_S or rtt < -1e-4:
            return
        offset = ((received_there - sent_here) + (sent_there - received_here)) / 2
        self._samples.append((max(rtt, 0.0), offset))
        self._total += 1

    def round_trip(self) -> RoundTrip | None:
        """The best estimate; None before the first answer."""
        if not self._samples:
            return None
        rtt, offset = min(self._samples)
        return RoundTrip(rtt, offset, rtt / 2, self._total)

    def to_ours(self, peer_time: float) -> float:
        """A time on the peer's clock, on ours; unchanged before the first answer."""
        best = self.round_trip()
        return peer_time - best.offset_s if best is not None else peer_time
