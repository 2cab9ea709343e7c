"""How fast live frames may leave: a bucket of bytes whose rate follows the path's standing delay.

The rule: delay is the signal, loss is not. A path that queues is slowed down for, to a share of
what it delivers; random loss is answered with redundancy instead (`redundancy_for`). While
reports come but speak of frames that left long ago, nothing leaves at all; while none come, a
datagram leaves every PROBE_S, so that the first one after an outage is soon there.
Reference: LEDBAT (RFC 6817) and SCReAM (RFC 8298) for delay targets and self-clocking.
"""

from __future__ import annotations

import math
from collections import deque

START_BYTES_PER_S = 1400.0  # little, so that the first datagrams meet no queue of their own making
MIN_BYTES_PER_S = 250.0
MAX_BYTES_PER_S = 40_000.0
HIGH_QUEUE_S, LOW_QUEUE_S = 0.05, 0.03  # standing delay beyond which to slow down, below: faster
GROWTH, START_GROWTH = 1.03, 1.4  # per STEP_S; the second until the first sign of a queue
STEP_S = 0.25
STALE_S = 0.3  # a report this much older than the freshest one: stop until the queue is gone
SILENT_S = 0.6  # no report for so long: they are lost, or the path is down
PROBE_S = 0.08
BURST_S = 0.08  # what the bucket holds, in time
MIN_BURST_BYTES = 250.0
HIGH_LOSS = 0.12  # from here on nearer references are worth more reports
HALF_BELOW, ONE_BELOW = 0.28, 0.32  # loss up to which half, and one packet's frames are repeated
MEASURE_S = 0.8  # over which deliveries are measured


class RateControl:
    """Bytes are counted as they are on the wire, headers included; times in seconds."""

    def __init__(self) -> None:
        self._rate = START_BYTES_PER_S
        self._tokens = MIN_BURST_BYTES
        self._at: float | None = None
        self._stepped_at = -math.inf
        self._growth = START_GROWTH
        self._limited_at = -math.inf  # when the rate last held something back
        self._sent_at = -math.inf
        self._reported_at: float | None = None
        self._sent: deque[tuple[int, int, float]] = deque(maxlen=256)  # number, size, when
        self._delivered: deque[tuple[float, int]] = deque()  # when reported, bytes
        self._freshest = math.inf  # the least time from a frame's leaving to its report
        self._behind = False  # what was reported last had left long before, and queued

    @property
    def bytes_per_s(self) -> float:
        """What may leave at present."""
        return self._rate

    def report(self, newest: int, queue_s: float, now: float) -> None:
        """The receiver has frame `newest`, and says how long its datagrams have been queueing."""
        self._reported_at = now
        size, left_at = 0, None
        while self._sent and self._sent[0][0] <= newest:
            _, one, left_at = self._sent.popleft()
            size += one
        self._delivered.append((now, size))
        while now - self._delivered[0][0] > MEASURE_S:
            self._delivered.popleft()
        if left_at is not None:
            age = now - left_at
            self._freshest = min(self._freshest, age)
            self._behind = queue_s > HIGH_QUEUE_S and age > self._freshest + STALE_S
        if now - self._stepped_at < STEP_S:
            return
        if queue_s > HIGH_QUEUE_S:
            self._stepped_at, self._growth = now, GROWTH
            share = 0.75 if queue_s < 2 * HIGH_QUEUE_S else 0.6
            delivered = sum(size for _, size in self._delivered) / MEASURE_S
            self._rate = max(MIN_BYTES_PER_S, min(self._rate, share * delivered))
        elif queue_s < LOW_QUEUE_S and now - self._limited_at < 2 * STEP_S:
            self._stepped_at = now
            self._rate = min(MAX_BYTES_PER_S, self._rate * self._growth)

    def may_send(self, now: float) -> bool:
        """Whether a datagram may leave now."""
        self._refill(now)
        if self._reported_at is not None and now - self._reported_at > SILENT_S:
            return self._tokens > 0 or now - self._sent_at >= PROBE_S
        if self._behind and self._sent:
            return False
        if self._tokens <= 0:
            self._limited_at = now
            return False
        return True

    def sent(self, newest: int, size: int, now: float) -> None:
        """A datagram of `size` bytes left, its newest frame is number `newest`."""
        self._refill(now)
        self._tokens -= size
        self._sent_at = now
        self._sent.append((newest, size, now))

    def _refill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            burst = max(MIN_BURST_BYTES, self._rate * BURST_S)
            self._tokens = min(burst, self._tokens + (now - self._at) * self._rate)
        self._at = now if self._at is None else max(self._at, now)


def redundancy_for(loss: float) -> float:
    """How many earlier packets' frames to repeat in each, by the share that is lost. One half: the
    large ones among them; where little happened, a missing frame can be interpolated."""
    if loss < 0.02:
        return 0.0
    if loss < HALF_BELOW:
        return 0.5
    return 1.0 if loss < ONE_BELOW else 2.0
