"""Every bound that a call keeps, in one place, and the bucket that enforces rates.

The rule: nothing that a peer can make grow is without a number here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from quic_transport.codec import PROFILES
from quic_transport.errors import LocalError

MAX_AVATAR_BYTES = 64 * 2**20
"""What a receiver accepts by default. The largest trained heads have about 30 MB."""


def give_up_s(env: Mapping[str, str] = os.environ) -> float:
    """FACEWIRE_GIVE_UP, or 30 seconds; LocalError if that is no time."""
    text = env.get("FACEWIRE_GIVE_UP", "30")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= 3600.0:
        raise LocalError(f"FACEWIRE_GIVE_UP is 1 to 3600 seconds of silence, not {text!r}")
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one side of a call tolerates; the defaults are the product's."""

    max_avatar_bytes: int = MAX_AVATAR_BYTES
    """The largest avatar that is accepted, bytes."""
    avatar_bytes_per_s: float = 4e6
    """The fastest that an avatar is sent, bytes per second; usually delay limits it further."""
    max_queued_frames: int = 3
    """Coded frames that wait for the transport; one more and all of them are dropped."""
    latency_budget_s: float = 0.0
    """How long a frame in a datagram may wait for others to share its packet, seconds."""
    stale_after_s: float = 0.25
    """A frame that is not confirmed this long (plus a round trip) after it left says that the
    path is behind, seconds."""
    hello_timeout_s: float = 25.0
    """How long the peer may take to say hello, seconds: 12 kbps carry one in four."""
    peer_timeout_s: float = field(default_factory=give_up_s)
    """A peer that is silent this long is lost, seconds; until then the call tries to come back."""
    linger_s: float = 1.0
    """How long a goodbye waits until the peer has everything, seconds."""
    datagram_linger_s: float = 0.1
    """How long after a goodbye the last datagrams are awaited, seconds."""
    control_per_s: float = 100.0
    """Messages that a peer may send per second (bursts: twice as many)."""
    frame_burst: int = 1024
    """Frames that may arrive at once, beyond ten times the announced rate."""
    max_early_bytes: int = 256 * 1024
    """Of streams that overtake the server's hello."""
    max_connections: int = 32
    """Connections that a listener keeps at once, calls and strangers together."""
    handshakes_per_s: float = 10.0
    """Connections that strangers may begin per second (bursts: twice as many); about 5 ms of
    processor each."""
    notices_per_s: float = 20.0
    """Answers per second to packets of unknown connections."""
    profiles: frozenset[str] = field(default_factory=lambda: frozenset(PROFILES))
    """Parameter codecs that this side can decode."""


class RateLimit:
    """A token bucket: `allow` says whether one more is within rate and burst."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at: float | None = None

    def allow(self, now: float) -> bool:
        """Take one; False if there is none."""
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_s)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
