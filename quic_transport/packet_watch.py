"""What the datagrams of one direction tell of the path: their loss and their queueing.

The rule: one number per datagram and one time, and nothing that a peer sends makes this grow.
A datagram counts as lost when LATE others have overtaken it; a duplicate counts for nothing.
"""

from __future__ import annotations

from collections import deque

from quic_transport.datagram import TIME_BITS, expand

LATE = 6  # datagrams that may overtake one before it counts as lost
MEMORY = 50  # datagrams over which loss is averaged
RECENT = 4  # the smallest of so many delays is the standing one
BASE_WINDOW_S = 20.0  # the quickest datagram of two such windows has met no queue
ALIVE_BITS = 64


class PacketWatch:
    """Follows counters and send times; `now` is on our clock."""

    def __init__(self, peer_ms: int) -> None:
        """`peer_ms`: the sending side's clock about now, ms."""
        self._newest = 0  # expanded counter of the newest datagram
        self._seen = 0  # bit i: datagram newest - i came
        self._settled = 0
        self._loss = 0.0
        self._sent_ms = peer_ms
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._base: list[float] = []  # smallest transit of the last window and of this one
        self._window_end = 0.0
        self._began = False

    @property
    def loss(self) -> float:
        """Share of the recent datagrams that never came, 0..1."""
        return self._loss

    @property
    def queue_s(self) -> float:
        """Standing delay of the recent datagrams beyond the quickest, seconds."""
        return max(0.0, min(self._recent) - min(self._base)) if self._recent else 0.0

    def note(self, counter: int, sent_low_ms: int, now: float) -> int | None:
        """A datagram came; its send time, ms on the sender's clock. None: it came before."""
        sent_ms = expand(sent_low_ms, TIME_BITS, self._sent_ms)
        if not self._began:
            ahead = 1
        else:
            ahead = expand(counter, 8, self._newest) - self._newest
            if sent_ms > self._sent_ms:  # its time says that it is newer: an outage may be long
                ahead = (counter - self._newest - 1) % 256 + 1
        if ahead <= 0 or sent_ms < self._sent_ms:
            if ahead > 0 or -ahead >= ALIVE_BITS or self._seen >> -ahead & 1:
                return None
            self._seen |= 1 << -ahead
        else:
            for _ in range(min(ahead, ALIVE_BITS)):
                self._seen <<= 1
                self._settle()
            self._seen |= 1
            self._newest = counter if not self._began else self._newest + ahead
            self._began, self._sent_ms = True, sent_ms
        self._delay(now - sent_ms / 1000, now)
        return sent_ms

    def _settle(self) -> None:
        """The datagram that is now LATE + 1 behind has come or never will."""
        self._settled += 1
        if self._settled > LATE + 1:
            lost = 1 - (self._seen >> (LATE + 1) & 1)
            share = max(1 / MEMORY, 1 / (self._settled - LATE + 9))
            self._loss += share * (lost - self._loss)
        self._seen &= (1 << ALIVE_BITS) - 1

    def _delay(self, transit: float, now: float) -> None:
        self._recent.append(transit)
        if not self._base or now > self._window_end:
            self._base = [*self._base[-1:], transit]
            self._window_end = now + BASE_WINDOW_S
        self._base[-1] = min(self._base[-1], transit)
