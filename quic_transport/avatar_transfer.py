"""Handing over an avatar beside a live call: paced, resumable, verified.

The rule: live frames go first. The sender watches the round trip and keeps only as much in flight
as adds no standing queue (a scavenger), below a fixed rate; while frames flow on a path on which
even single packets are felt, pieces get small and rare. The receiver checks size and hash.
Reference: LEDBAT (RFC 6817) for the idea of backing off on delay.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque

from quic_transport.errors import RemoteError, WireError

CHUNK_BYTES = 1100  # about what one datagram carries
START_WINDOW = 4 * CHUNK_BYTES
MIN_WINDOW = 4 * CHUNK_BYTES
MAX_WINDOW = 512 * 1024
SMALL_CHUNK_BYTES = 200  # beside frames on a slow path
MIN_CAREFUL_BYTES_PER_S = 100.0
MAX_QUEUEING_S = 0.03  # standing delay that we tolerate to add
MUCH_QUEUEING_S = 0.3  # a hiccup is not as long as that
DELAY_SAMPLES = 8  # the smallest of so many round trips counts: one hiccup is no queue


class Pacer:
    """How many avatar bytes may leave now."""

    def __init__(self, bytes_per_s: float) -> None:
        self._rate = self._most = bytes_per_s
        self.careful = False
        """Whether live frames share the path."""
        self._burst = max(4.0 * CHUNK_BYTES, bytes_per_s * 0.02)
        self._tokens = self._burst
        self._refilled: float | None = None
        self._window = float(START_WINDOW)
        self._probing = True  # doubling per round trip until the first sign of delay
        self._recent: deque[float] = deque(maxlen=DELAY_SAMPLES)
        self._shrunk_at = -math.inf

    @property
    def window(self) -> int:
        """Bytes that may be in flight."""
        return int(self._window)

    def acked(self, size: int, rtt_s: float, min_rtt_s: float, now: float) -> None:
        """The peer confirmed `size` more bytes while a round trip took `rtt_s`."""
        self._recent.append(rtt_s)
        full = len(self._recent) == DELAY_SAMPLES
        standing = full and min(self._recent) - min_rtt_s > MAX_QUEUEING_S
        if standing or rtt_s - min_rtt_s > MUCH_QUEUEING_S:
            self._probing = False
            if now - self._shrunk_at > rtt_s:  # once per round trip
                least = SMALL_CHUNK_BYTES if self.careful else MIN_WINDOW
                if self.careful and self._window <= MIN_WINDOW:
                    per_s = min(self._rate, self._window / rtt_s)
                    self._rate = max(MIN_CAREFUL_BYTES_PER_S, per_s / 2)
                self._window = max(least, self._window / 2)
                self._shrunk_at = now
                self._recent.clear()
        elif self._probing:
            self._window = min(MAX_WINDOW, self._window + size)
        else:
            step = 0.25 * self.chunk if self.careful else self.chunk
            self._window = min(MAX_WINDOW, self._window + step * size / self._window)
        grows = self._rate < self._most and (not self.careful or now - self._shrunk_at > 1.0)
        if grows:
            self._rate = min(self._most, self._rate * (1.05 if self.careful else 1.5))

    def budget(self, in_flight: int, now: float) -> int:
        """Whole chunks that may leave now, in bytes."""
        if self._refilled is None:
            self._refilled = now
        self._tokens = min(self._burst, self._tokens + (now - self._refilled) * self._rate)
        self._refilled = now
        allowed = min(self._window - in_flight, self._tokens)
        return max(0, int(allowed // self.chunk) * self.chunk)

    @property
    def chunk(self) -> int:
        """Bytes that leave at once."""
        return SMALL_CHUNK_BYTES if self._window < MIN_WINDOW else CHUNK_BYTES

    def spend(self, size: int) -> None:
        """`size` bytes left."""
        self._tokens -= size

    def next_time(self, in_flight: int, now: float) -> float | None:
        """When the rate allows the next chunk; None if only an acknowledgement can."""
        if in_flight + self.chunk > self._window:
            return None
        return now + max(0.001, (self.chunk - self._tokens) / self._rate)


class AvatarSender:
    """The bytes that one request asks for."""

    def __init__(self, data: bytes, offset: int, bytes_per_s: float) -> None:
        self._data = memoryview(data)
        self._at = offset
        self._first = offset
        self._handed = 0
        self._acked = 0
        self._pacer = Pacer(bytes_per_s)
        self._path_window = 2**62

    def window(self, size: int, *, careful: bool) -> None:
        """Congestion control lets `size` bytes be in flight; `careful`: beside live frames."""
        self._path_window = size
        self._pacer.careful = careful

    @property
    def done(self) -> bool:
        """Whether everything was handed to the transport."""
        return self._at == len(self._data)

    @property
    def confirmed(self) -> int:
        """Bytes of the avatar that the peer certainly has."""
        return min(self._first + self._acked, self._at)

    def take(self, now: float) -> bytes:
        """The next bytes to hand over; empty if the pacer says wait."""
        in_flight = self._handed - self._acked
        size = min(
            len(self._data) - self._at, self._pacer.budget(in_flight, now),
            max(0, self._path_window - in_flight),
        )  # fmt: skip
        if size <= 0:
            return b""
        self._pacer.spend(size)
        self._at += size
        self._handed += size
        return bytes(self._data[self._at - size : self._at])

    def progress(self, acked: int, rtt_s: float, min_rtt_s: float, now: float) -> None:
        """`acked` of the bytes handed over have reached the peer."""
        if acked > self._acked:
            self._pacer.acked(acked - self._acked, rtt_s, min_rtt_s, now)
            self._acked = min(acked, self._handed)

    def next_time(self, now: float) -> float | None:
        """When `take` is worth another try."""
        if self.done:
            return None
        return self._pacer.next_time(self._handed - self._acked, now)


class AvatarReceiver:
    """Collects one avatar; holds at most the announced size."""

    def __init__(self, avatar_id: str, size: int, partial: bytes) -> None:
        """`partial` is the beginning that is already here."""
        self.avatar_id = avatar_id
        self.size = size
        self.resumed_at = len(partial)
        self._data = bytearray(partial)
        self._hash = hashlib.sha256(partial)

    @property
    def received(self) -> int:
        """Bytes so far, with those that were here before."""
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """The next bytes; WireError if there are more than announced."""
        if len(self._data) + len(data) > self.size:
            raise WireError(f"the avatar is longer than the {self.size} bytes that were announced")
        self._data += data
        self._hash.update(data)

    def partial(self) -> bytes:
        """What is here so far."""
        return bytes(self._data)

    def finish(self) -> bytes:
        """The whole file; RemoteError if it is short or its hash is wrong."""
        if len(self._data) != self.size:
            raise RemoteError(
                f"the avatar ended after {len(self._data)} of {self.size} bytes; call again"
            )
        if self._hash.hexdigest() != self.avatar_id:
            raise RemoteError("the avatar arrived damaged: its SHA-256 is not the announced one")
        return bytes(self._data)
