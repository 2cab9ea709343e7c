"""What one direction of a path does to packets, as numbers.

The rule: every setting is off by default, so that `LinkSettings()` is a perfect wire; what is
switched on is checked here, once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from netsim.errors import NetsimError
from netsim.loss import Loss, check_share
from netsim.traces import Trace

UDP_OVERHEAD_BYTES = 28  # IPv4 and UDP headers: what a datagram costs beyond its own bytes


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which the link is down: what would leave it then is lost."""

    start_s: float
    """When it begins, seconds since the link's first packet or `Link(origin)`."""
    length_s: float
    """How long it lasts, seconds."""
    every_s: float | None = None
    """It comes again after so many seconds; None: once."""

    def __post_init__(self) -> None:
        if not (0 <= self.start_s < math.inf and 0 < self.length_s < math.inf):
            raise NetsimError("an outage begins at 0 or later and lasts longer than 0 s")
        if self.every_s is not None and not self.length_s < self.every_s < math.inf:
            raise NetsimError("an outage is shorter than the time after which it comes again")

    def holds(self, time_s: float) -> bool:
        """Whether the link is down at `time_s`."""
        since = time_s - self.start_s
        if self.every_s is not None and since >= 0:
            since %= self.every_s
        return 0 <= since < self.length_s


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """One direction of a path."""

    trace: Trace | None = None
    """Its rate over time, and where recorded delay and loss; None: unlimited."""
    delay_ms: float = 0.0
    """Time on the way, ms, beyond the queue and the trace's own delay."""
    jitter_ms: float = 0.0
    """Additional time on the way, ms: the upper end (uniform) or the mean (exponential)."""
    jitter: Literal["uniform", "exponential"] = "uniform"
    """How the additional time is distributed. Jitter alone never changes the order."""
    loss: Loss | None = None
    """Which packets are lost after the queue; None: none."""
    reorder: float = 0.0
    """Share of packets that is held back by `reorder_ms` while later ones pass, 0..1."""
    reorder_ms: float = 20.0
    """How long they are held back, ms."""
    duplicate: float = 0.0
    """Share of packets that arrives twice, 0..1."""
    queue_bytes: float | None = None
    """What may wait, bytes (with overhead); the packet that does not fit is dropped. None: all."""
    queue_packets: int | None = None
    """How many packets may wait; None: any number."""
    outages: tuple[Outage, ...] = ()
    """When the link is down."""
    overhead_bytes: int = UDP_OVERHEAD_BYTES
    """What each packet costs of the rate and the queue beyond its own bytes."""

    def __post_init__(self) -> None:
        for name in ("delay_ms", "jitter_ms", "reorder_ms", "overhead_bytes"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise NetsimError(f"{name} is 0 or more, not {value:g}")
        check_share("reorder", self.reorder)
        check_share("duplicate", self.duplicate)
        if self.queue_bytes is not None and not self.queue_bytes > 0:
            raise NetsimError(f"queue_bytes is positive or None, not {self.queue_bytes:g}")
        if self.queue_packets is not None and self.queue_packets < 1:
            raise NetsimError(f"queue_packets is 1 or more or None, not {self.queue_packets}")
        if self.jitter not in ("uniform", "exponential"):
            raise NetsimError(f"jitter is uniform or exponential, not {self.jitter!r}")
