"""What the datagrams of one direction tell of the path: their loss, its bursts, their queueing.

The rule: one number per datagram and one time, and nothing that a peer sends makes this grow.
A datagram counts as lost when LATE others have overtaken it; a duplicate counts for nothing.
"""

from __future__ import annotations

from collections import deque

from quic_transport.datagram import TIME_BITS, expand

LATE = 6  # datagrams that may overtake one before it counts as lost
MEMORY = 50  # datagrams over which loss is averaged
BURST_MEMORY = 16  # lost datagrams over which is averaged whether they followed another lost one
IN_A_ROW, NO_MORE = 0.55, 0.45  # of them: loss in bursts from the one on, down to the other
MUCH, LITTLE = 0.1, 0.04  # lost in all: bursts are spoken of from the one on, down to the other
UNKNOWN_IN_A_ROW, UNKNOWN_WEIGHT = 0.3, 2  # what is supposed at first
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
        self._in_row = UNKNOWN_IN_A_ROW  # share of the lost ones that followed another lost one
        self._losses = 0
        self._last_lost = False
        self._bursts = False
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
    def bursts(self) -> bool:
        """Whether much is lost, and mostly in a row."""
        return self._bursts

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
            self._watch_bursts(bool(lost))
        self._seen &= (1 << ALIVE_BITS) - 1

    def _watch_bursts(self, lost: bool) -> None:
        if lost:
            self._losses += 1
            share = max(1 / BURST_MEMORY, 1 / (self._losses + UNKNOWN_WEIGHT))
            self._in_row += share * (self._last_lost - self._in_row)
        self._last_lost = lost
        if self._bursts:
            self._bursts = self._in_row > NO_MORE and self._loss > LITTLE
        else:
            self._bursts = self._in_row > IN_A_ROW and self._loss > MUCH

    def _delay(self, transit: float, now: float) -> None:
        self._recent.append(transit)
        if not self._base or now > self._window_end:
            self._base = [*self._base[-1:], transit]
            self._window_end = now + BASE_WINDOW_S
        self._base[-1] = min(self._base[-1], transit)
