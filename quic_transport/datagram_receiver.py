"""Mode `datagram`, the receiving half: every frame once, in whatever order datagrams come, and
the reports by which the sender learns what was decoded.

The rule: a datagram that comes twice, late or never changes nothing for the others; what is
remembered of the past is a fixed number of bits. A report says "decoded" only of frames of which
the owner said so. Wrong bytes raise WireError.
"""

from __future__ import annotations

from quic_transport.codec.profile import SEQUENCE_MODULUS, EncodedFrame, sequence_distance
from quic_transport.datagram import SEQUENCE_BITS, Datagram, Report, expand
from quic_transport.errors import WireError
from quic_transport.limits import RateLimit
from quic_transport.packet_watch import PacketWatch
from quic_transport.rate_control import HIGH_LOSS

MEMORY_FRAMES = 512
REPORT_MIN_S, REPORT_MAX_S = 0.1, 0.3
PACKETS_PER_REPORT, AT_HIGH_LOSS = 3, 2
REPEAT_REQUEST_S = 0.1  # while a frame that stands alone is missing


class DatagramReceiver:
    """One direction's frames as they come in; `now` is on our clock."""

    def __init__(self, rate: RateLimit, peer_ms: int) -> None:
        """`rate` limits frames; `peer_ms`: the peer's clock about now, ms."""
        self.watch = PacketWatch(peer_ms)
        self.frames = self.keyframes = self.payload_bytes = 0
        self._rate = rate
        self._highest: int | None = None
        self._seen = 0  # bit i: frame highest - i came
        self._decoded: int | None = None
        self._decoded_bits = 0  # bit i: frame decoded - i was decoded
        self._reported_at: float | None = None
        self._report_at: float | None = None  # when one is due
        self._packet_at: float | None = None
        self._packet_interval = REPORT_MIN_S / PACKETS_PER_REPORT
        self.wants_key = False

    def receive(self, datagram: Datagram, now: float) -> list[EncodedFrame]:
        """The frames in it that are new, oldest first."""
        sent_ms = self.watch.note(datagram.counter, datagram.sent_ms, now)
        if sent_ms is None:
            return []
        if datagram.frames:
            if self._packet_at is not None:
                step = min(0.5, now - self._packet_at) - self._packet_interval
                self._packet_interval += 0.1 * step
            self._packet_at = now
        out = []
        for frame in reversed(datagram.frames):
            near = self._highest if self._highest is not None else frame.sequence
            number = expand(frame.sequence, SEQUENCE_BITS, near)
            if number < 0 or not self._note(number):
                continue
            if not self._rate.allow(now):
                raise WireError("frames come far faster than announced")
            self.frames += 1
            self.keyframes += frame.lag == 0
            self.payload_bytes += len(frame.payload)
            reference = (number - frame.lag) % SEQUENCE_MODULUS if frame.lag else None
            out.append(
                EncodedFrame(
                    sequence=number % SEQUENCE_MODULUS, key=reference is None,
                    capture_time=(sent_ms - frame.age_ms) / 1000, payload=frame.payload,
                    reference=reference,
                )
            )  # fmt: skip
        return out

    def _note(self, number: int) -> bool:
        """Whether this frame is new."""
        if self._highest is None:
            self._highest, self._seen = number, 1
            return True
        ahead = number - self._highest
        if ahead > 0:
            mask = (1 << MEMORY_FRAMES) - 1
            self._seen = (self._seen << min(ahead, MEMORY_FRAMES) | 1) & mask
            self._highest = number
            return True
        if -ahead >= MEMORY_FRAMES or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True

    def decoded(self, sequence: int, now: float) -> None:
        """The owner has decoded this frame: a report on it becomes due."""
        if self._decoded is None:
            self._decoded, self._decoded_bits = sequence, 1
        else:
            ahead = sequence_distance(sequence, self._decoded)
            if ahead > 0:
                self._decoded_bits = (self._decoded_bits << min(ahead, 32) | 1) & 0x1FFFF
                self._decoded = sequence
            elif ahead > -17:
                self._decoded_bits |= 1 << -ahead
        self.wants_key = False
        self._due(now)

    def _due(self, now: float) -> None:
        if self._report_at is not None:
            return
        packets = PACKETS_PER_REPORT if self.watch.loss < HIGH_LOSS else AT_HIGH_LOSS
        interval = min(REPORT_MAX_S, max(REPORT_MIN_S, packets * self._packet_interval))
        last = self._reported_at
        # a little early, so that the packet that makes it due is also the one it answers
        self._report_at = now if last is None else max(now, last + 0.9 * interval)

    def request_key(self, now: float) -> bool:
        """The decoder lacks a reference: say so now and until one comes; False if that was said
        a moment ago."""
        recently = self._reported_at is not None and now - self._reported_at < REPEAT_REQUEST_S
        if self.wants_key and recently:
            return False
        self.wants_key = True
        self._report_at = now
        return True

    def report_due(self, now: float, *, riding: bool) -> bool:
        """Whether a report leaves now: it is due, or there is news and a packet to ride on."""
        return self._report_at is not None and (riding or now >= self._report_at)

    def report(self, now: float) -> Report | None:
        """The report that leaves now; None while nothing was decoded."""
        self._report_at = now + REPEAT_REQUEST_S if self.wants_key else None
        self._reported_at = now
        if self._decoded is None:
            return None
        return Report(
            self._decoded % 2**SEQUENCE_BITS, self._decoded_bits >> 1 & 0xFFFF, self.watch.loss,
            self.watch.queue_s, self.watch.bursts,
        )  # fmt: skip

    def next_time(self) -> float | None:
        """When a report is due."""
        return self._report_at
