"""One direction of a network path in virtual time: packets in, packets out later, or never.

    link = Link(LinkSettings(trace=trace, delay_ms=20, queue_bytes=15_000), seed=1)
    link.send(b"...", now)
    while (at := link.due()) is not None: ...      # when to look again
    for arrival in link.deliver(now): arrival.packet

A packet waits in the queue until the trace has carried it (first in, first out; what does not fit
when it comes is dropped), may then be lost, and travels. The rule: the books balance. Every packet
that went in is delivered, dropped by a named cause, waiting, or on its way, and the same seed and
the same sends give the same deliveries, whatever the machine.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from netsim.errors import NetsimError
from netsim.settings import LinkSettings
from netsim.traces import Capacity

Cause = Literal["queue full", "loss", "outage"]
CAUSES: tuple[Cause, ...] = ("queue full", "loss", "outage")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet at the far end."""

    packet: bytes
    """Its bytes."""
    tag: int
    """What `send` was given with it."""
    sent_at: float
    """When it went in, seconds."""
    at: float
    """When it is there, seconds; not after `now` of `deliver`."""


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """The books: sent + duplicated = delivered + sum of dropped + queued + under_way."""

    sent: int
    """Packets that went in."""
    sent_bytes: int
    """Their bytes, without overhead."""
    delivered: int
    """Packets that came out, copies included."""
    delivered_bytes: int
    """Their bytes, without overhead."""
    duplicated: int
    """Copies that the link made."""
    dropped: Mapping[Cause, int]
    """Packets that will never come out, by cause."""
    queued: int
    """Packets that wait for the rate."""
    queued_bytes: int
    """Their bytes, with overhead."""
    under_way: int
    """Packets that have left the queue and are not there yet."""

    def balanced(self) -> bool:
        """Whether every packet is accounted for."""
        gone = sum(self.dropped.values())
        return self.sent + self.duplicated == (self.delivered + gone + self.queued + self.under_way)


@dataclass(slots=True)
class _Waiting:
    """A packet in the queue."""

    leaves_at: float
    size: int  # with overhead
    fate: Cause | None
    copies: int


class Link:
    """One direction; `now` must not fall from call to call."""

    def __init__(self, settings: LinkSettings, seed: int = 0, origin: float = 0.0) -> None:
        """`origin`: the time at which the trace and the outages begin."""
        self.settings = settings
        self._origin = origin
        self._now = origin
        self._capacity = Capacity(settings.trace) if settings.trace is not None else None
        # Each mechanism has its own numbers: switching one on does not change the others.
        names = ("loss", "trace loss", "jitter", "reorder", "duplicate")
        self._rng = {name: random.Random(f"{seed}/{name}") for name in names}
        self._loses = settings.loss.start(self._rng["loss"]) if settings.loss else None
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._free_at = origin  # when the last packet in the queue has left
        self._last_at = origin  # the latest arrival of those that keep their order
        self._arrivals: list[tuple[float, int, Arrival]] = []
        self._number = 0
        self._sent = self._sent_bytes = self._delivered = self._delivered_bytes = 0
        self._duplicated = self._under_way = 0
        self._dropped: dict[Cause, int] = dict.fromkeys(CAUSES, 0)

    def send(self, packet: bytes, now: float, tag: int = 0) -> bool:
        """Put a packet in; False if the queue had no room for it."""
        self._advance(now)
        settings = self.settings
        size = len(packet) + settings.overhead_bytes
        self._sent += 1
        self._sent_bytes += len(packet)
        if self._full(size):
            self._dropped["queue full"] += 1
            return False
        leaves_at = max(now, self._free_at)
        if self._capacity is not None and leaves_at < math.inf:
            done = self._capacity.time_after(leaves_at - self._origin, size)
            leaves_at = max(leaves_at, self._origin + done)
        self._free_at = leaves_at
        fate = self._fate(leaves_at)
        arrivals = [] if fate is not None else self._travel(leaves_at)
        for at in arrivals:
            self._number += 1
            heapq.heappush(self._arrivals, (at, self._number, Arrival(packet, tag, now, at)))
        self._duplicated += max(0, len(arrivals) - 1)
        self._waiting.append(_Waiting(leaves_at, size, fate, len(arrivals)))
        self._waiting_bytes += size
        self._advance(now)
        return True

    def due(self) -> float | None:
        """When the next packet is there; None: none is coming."""
        if not self._arrivals or self._arrivals[0][0] == math.inf:
            return None
        return self._arrivals[0][0]

    def deliver(self, now: float) -> list[Arrival]:
        """The packets that are there by `now`, in the order in which they came."""
        self._advance(now)
        out: list[Arrival] = []
        while self._arrivals and self._arrivals[0][0] <= now:
            out.append(heapq.heappop(self._arrivals)[2])
            self._delivered_bytes += len(out[-1].packet)
        self._delivered += len(out)
        self._under_way -= len(out)
        return out

    def counts(self) -> LinkCounts:
        """The books, as of the last `send` or `deliver`."""
        copies = sum(max(0, w.copies - 1) for w in self._waiting)
        return LinkCounts(
            sent=self._sent, sent_bytes=self._sent_bytes, delivered=self._delivered,
            delivered_bytes=self._delivered_bytes, duplicated=self._duplicated - copies,
            dropped=MappingProxyType(dict(self._dropped)), queued=len(self._waiting),
            queued_bytes=self._waiting_bytes, under_way=self._under_way,
        )  # fmt: skip

    def _advance(self, now: float) -> None:
        """Let leave the queue what has left it by `now`."""
        if now < self._now:
            raise NetsimError(f"time runs backwards on a link: {now:g} s after {self._now:g} s")
        self._now = now
        while self._waiting and self._waiting[0].leaves_at <= now:
            gone = self._waiting.popleft()
            self._waiting_bytes -= gone.size
            if gone.fate is not None:
                self._dropped[gone.fate] += 1
            self._under_way += gone.copies

    def _full(self, size: int) -> bool:
        packets, total = self.settings.queue_packets, self.settings.queue_bytes
        if packets is not None and len(self._waiting) >= packets:
            return True
        return total is not None and self._waiting_bytes + size > total

    def _fate(self, leaves_at: float) -> Cause | None:
        """Why the packet that leaves at this time is lost; None: it is not."""
        if leaves_at == math.inf:
            return None  # it waits for ever
        lost = self._loses is not None and self._loses()
        trace = self.settings.trace
        if trace is not None and trace.loss is not None:
            share = trace.loss[trace.index_at(leaves_at - self._origin)]
            lost = self._rng["trace loss"].random() < share or lost
        if any(outage.holds(leaves_at - self._origin) for outage in self.settings.outages):
            return "outage"
        return "loss" if lost else None

    def _travel(self, leaves_at: float) -> list[float]:
        """When the packet, and a copy of it if there is one, arrives."""
        settings = self.settings
        if leaves_at == math.inf:
            return [math.inf]
        delay_ms = settings.delay_ms
        if settings.trace is not None and settings.trace.delay_ms is not None:
            trace = settings.trace
            delay_ms += float(settings.trace.delay_ms[trace.index_at(leaves_at - self._origin)])
        if settings.jitter_ms > 0:
            spread = self._rng["jitter"].random()
            if settings.jitter == "exponential":
                spread = -math.log(1.0 - spread)
            delay_ms += settings.jitter_ms * spread
        at = leaves_at + delay_ms / 1000.0
        if settings.reorder > 0 and self._rng["reorder"].random() < settings.reorder:
            at = max(at, self._last_at) + settings.reorder_ms / 1000.0
        else:
            at = self._last_at = max(at, self._last_at)
        again = settings.duplicate > 0 and self._rng["duplicate"].random() < settings.duplicate
        return [at, at] if again else [at]
