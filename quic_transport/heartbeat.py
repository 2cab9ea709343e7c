"""When to ask "are you there?", and when to believe that nobody is.

Rule 1: only silence while we were awake counts. A process that was starved of CPU (its timer
came late) gives the peer that much longer before it calls it lost.
Rule 2: where packets leave anyway, questions and answers wait a moment to go with one of them: a
packet of their own costs four times as much as they do. A pong says how long its ping was held.
"""

from __future__ import annotations

from collections import deque

from quic_transport.clock_sync import ClockSync
from quic_transport.messages import Ping, Pong

BURST = 5  # quick pings at the start, for a first estimate of the peer's clock
BURST_INTERVAL_S = 0.15
EAGER_PINGS = 10  # then one a second for a while
STARVED_S = 0.5  # a timer this late says that we slept
RIDE_S = 0.35  # how long a ping or pong waits for a packet to go with: reports are 0.3 s apart
MAX_WAITING = 4  # pings that are not answered yet; one more and all are


class Heartbeat:
    """The schedule of our pings and the peer's deadline; times in seconds on one clock."""

    def __init__(self, now: float, clock: ClockSync, *, eager: bool, timeout_s: float) -> None:
        """Answers go to `clock`. `eager`: this side needs the peer's clock (it receives);
        otherwise it only listens."""
        self._eager = eager
        self._timeout_s = timeout_s
        self._heard_at = now
        self._pinged_at = now
        self._next_at = now
        self._pings = 0
        self._unanswered: deque[int] = deque(maxlen=8)
        self._asked: list[tuple[Ping, float]] = []  # by the peer, and when
        self._clock = clock

    def heard(self, now: float) -> None:
        """Something came from the peer."""
        self._heard_at = max(self._heard_at, now)

    def pardon(self, late_s: float, now: float) -> None:
        """Our timer came `late_s` late: that silence may be ours."""
        if late_s > STARVED_S:
            self._heard_at = min(now, self._heard_at + late_s)

    def quiet_s(self, now: float) -> float:
        """How long ago something came from the peer, seconds."""
        return max(0.0, now - self._heard_at)

    @property
    def lost_at(self) -> float:
        """When the peer counts as lost."""
        return self._heard_at + self._timeout_s

    @property
    def ping_at(self) -> float:
        """When the next ping is due: by schedule, or because it has become quiet."""
        quiet = max(self._heard_at + self._timeout_s / 2, self._pinged_at + 1.0)
        return min(self._next_at, quiet)

    def asked(self, ping: Ping, now: float) -> None:
        """The peer's ping came."""
        self._asked.append((ping, now))

    def due(self, now: float, *, riding: bool, patient: bool) -> list[Ping | Pong]:
        """What leaves now. `riding`: with a packet that leaves anyway; `patient`: one will soon."""
        wait = RIDE_S if patient and not riding else 0.0
        out: list[Ping | Pong] = []
        if self._asked and (now >= self._asked[0][1] + wait or len(self._asked) > MAX_WAITING):
            out += [answer(ping, came, now) for ping, came in self._asked]
            self._asked.clear()
        if now >= self.ping_at + wait:
            out.append(self.ping(now))
        return out

    def next_at(self, *, patient: bool) -> float:
        """When something is due though no packet leaves."""
        at = min(self.ping_at, self._asked[0][1]) if self._asked else self.ping_at
        return at + (RIDE_S if patient else 0.0)

    def ping(self, now: float) -> Ping:
        """The ping that leaves now."""
        self._pings += 1
        self._pinged_at = now
        if self._pings < BURST:
            interval = BURST_INTERVAL_S
        elif self._eager:
            interval = 1.0 if self._pings < EAGER_PINGS else 5.0
        else:
            interval = 10.0
        self._next_at = now + interval
        self._unanswered.append(_microseconds(now))
        return Ping(self._unanswered[-1])

    def answered(self, pong: Pong, now: float) -> None:
        """A pong came; those that answer no ping of ours are ignored."""
        if pong.ping_sent_us in self._unanswered:
            self._unanswered.remove(pong.ping_sent_us)
            self._clock.add(
                pong.ping_sent_us / 1e6, pong.received_us / 1e6, pong.sent_us / 1e6, now
            )


def answer(ping: Ping, came: float, now: float) -> Pong:
    """The pong that leaves now, for a ping that came then."""
    return Pong(ping.sent_us, _microseconds(came), _microseconds(now))


def _microseconds(now: float) -> int:
    return max(0, round(now * 1e6))
