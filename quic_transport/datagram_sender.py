"""Mode `datagram`, the sending half: which frames go into the next datagram, and from which frame
the next one may be predicted.

The rule: nothing waits but the frames of one packet that is being filled, and a newer frame takes
the place of the oldest of them. A frame is predicted only from one that the receiver has said it
decoded, so a lost datagram costs its own frames and no others; while no such frame is near, every
frame stands alone. The frames of the last packets are repeated as the measured loss asks for.
Reference: NEWPRED (MPEG-4) for acknowledged references; RED (RFC 2198) for the repetition.
"""

from __future__ import annotations

import math
from collections import deque

from quic_transport.codec.profile import SEQUENCE_MODULUS, EncodedFrame, sequence_distance
from quic_transport.datagram import (
    MAX_PAYLOAD_BYTES,
    SEQUENCE_BITS,
    DatagramFrame,
    Report,
    expand,
    fits,
)
from quic_transport.errors import LocalError
from quic_transport.frame_stream import FrameCounts
from quic_transport.rate_control import RateControl, redundancy_for

MAX_REFERENCE_LAG = 30  # frames: both ends remember a few more
MAX_PER_PACKET = 3
MAX_REPEAT_AGE_S = 0.6  # older frames are of no use to a playout buffer
LIVE_S = 1.0
LARGE, LARGE_IN_COMPANY = 0.85, 0.6  # of the usual size: frames worth repeating at moderate loss
USUAL_SHARE = 0.06  # of a frame in the running mean of the sizes of those like it
FAR = 8  # frames: references beyond it are all alike
ECHO_LOSS = 0.28  # beyond it every packet leaves once more, between two others
WIRE_OVERHEAD_BYTES = 53  # IPv4, UDP, QUIC's short header, tag and frame header
KEY_REQUEST_S = 0.1  # requests closer together than this are one


class DatagramSender:
    """One direction's frames on their way out; times in seconds on one clock."""

    def __init__(self, fps: float, latency_budget_s: float = 0.0) -> None:
        """`latency_budget_s`: how long a frame may wait for others to share its packet."""
        self._interval = 1.0 / fps
        wanted = 1 + int(latency_budget_s / self._interval + 0.05)
        self._wanted_per_packet = min(MAX_PER_PACKET, wanted)
        self.rate = RateControl()
        self.loss = 0.0
        self._bursts = False
        self._bundle: list[EncodedFrame] = []
        self._flush_at = 0.0
        self._echo_at: float | None = None
        self._usual_bytes: dict[int, float] = {}  # by how far the reference was
        self._packets: deque[tuple[float, list[EncodedFrame]]] = deque(maxlen=3)
        self._acked: int | None = None
        self._alone_from: int | None = None  # acknowledgements of earlier frames are void
        self._decoded: set[int] = set()
        self._last: int | None = None  # sequence of the newest frame that was handed over
        self._asked_at: float | None = None
        self._frames = self._keyframes = self._payload = self._repeated = self._dropped = 0

    @property
    def _spread(self) -> bool:
        """Whether so much is lost, or so much in a row, that more packets must leave."""
        return self._bursts or self.loss > ECHO_LOSS

    @property
    def per_packet(self) -> int:
        """Frames that share a packet: one where that would lose too many at once."""
        return 1 if self._spread else self._wanted_per_packet

    @property
    def acked(self) -> int | None:
        """The newest frame that the receiver has decoded and that may be a reference."""
        return self._acked

    def can_send(self, now: float) -> bool:
        """Whether a frame coded now would leave soon; if not, drop it before the predictor."""
        return bool(self._bundle) or self.rate.may_send(now)

    def reference(self) -> int | None:
        """The frame from which the next one is to be predicted; None: it stands alone."""
        if self._acked is None or self._last is None:
            return None
        ahead = sequence_distance(self._last, self._acked) + 1
        return self._acked if ahead <= MAX_REFERENCE_LAG else None

    def send(self, frame: EncodedFrame, now: float) -> None:
        """Take a coded frame."""
        if not 0 < len(frame.payload) <= MAX_PAYLOAD_BYTES:
            raise LocalError(
                f"a frame has 1 to {MAX_PAYLOAD_BYTES} bytes, not {len(frame.payload)}"
            )
        if self._last is not None and sequence_distance(frame.sequence, self._last) <= 0:
            raise LocalError(f"frame {frame.sequence} does not follow frame {self._last}")
        self._last = frame.sequence
        if not self._bundle:
            self._flush_at = now + (self.per_packet - 0.7) * self._interval
        self._bundle.append(frame)
        if len(self._bundle) > self.per_packet:
            del self._bundle[0]
            self._dropped += 1

    def take(self, now: float, *, flush: bool = False) -> list[EncodedFrame]:
        """The frames of the packet that leaves now, newest first; empty: none does."""
        full = len(self._bundle) >= self.per_packet
        if not self._bundle and self._echo_at is not None and now >= self._echo_at:
            self._echo_at = None
            return self._repeats([], now, 1 + redundancy_for(self.loss))
        if not self._bundle or not (full or flush or now >= self._flush_at):
            return []
        fresh, self._bundle = self._bundle[::-1], []
        out = fresh[:1]
        for frame in fresh[1:]:
            if fits([f.payload for f in (*out, frame)]):
                out.append(frame)
        for frame in out:
            self._frames += 1
            self._keyframes += frame.key
            self._payload += len(frame.payload)
            self._note_size(frame)
        self._dropped += len(fresh) - len(out)
        out = self._repeats(out, now, redundancy_for(self.loss))
        self._packets.append((now, fresh))
        if self._spread:
            self._echo_at = now + 0.5 * self.per_packet * self._interval
        return out

    def _repeats(self, out: list[EncodedFrame], now: float, packets: float) -> list[EncodedFrame]:
        """`out` and the frames of the last packets that fit beside it."""
        whole = math.ceil(packets)
        part = LARGE if self.per_packet == 1 else LARGE_IN_COMPANY
        part = part if packets % 1 > 0 else 0.0
        for sent_at, frames in list(self._packets)[: -whole - 1 : -1]:
            for frame in frames:
                old = now - sent_at > MAX_REPEAT_AGE_S or frame.sequence in self._decoded
                usual = self._usual_bytes.get(_distance(frame), 0.0)
                wanted = len(frame.payload) >= part * usual and not old
                if wanted and fits([f.payload for f in (*out, frame)]):
                    out.append(frame)
                    self._repeated += len(frame.payload)
        return out

    def _note_size(self, frame: EncodedFrame) -> None:
        """Follow how large frames usually are that are as far from their reference."""
        size, distance = len(frame.payload), _distance(frame)
        if distance:
            usual = self._usual_bytes.setdefault(distance, size)
            self._usual_bytes[distance] = usual + USUAL_SHARE * (size - usual)

    def sent(self, size: int, now: float) -> None:
        """A datagram of `size` bytes was made of them."""
        if self._last is not None:
            self.rate.sent(self._last, size + WIRE_OVERHEAD_BYTES, now)

    def next_time(self) -> float | None:
        """When `take` is due though no frame comes."""
        return self._flush_at if self._bundle else self._echo_at

    def report(self, report: Report, now: float) -> None:
        """What the receiver says; nonsense in it harms only the one who said it."""
        self.loss, self._bursts = report.loss, report.bursts
        if self._last is None:
            return
        newest = expand(report.newest, SEQUENCE_BITS, self._last)
        if newest > self._last or newest < 0:
            return
        self.rate.report(newest, report.queue_s, now)
        numbers = [newest] + [newest - 1 - i for i in range(16) if report.earlier >> i & 1]
        self._decoded = {n % SEQUENCE_MODULUS for n in numbers}
        if self._alone_from is not None and newest < self._alone_from:
            return
        if self._acked is None or newest > self._acked:
            self._acked = newest

    def keyframe_requested(self, now: float) -> bool:
        """The receiver lacks its reference; False if it said so a moment ago."""
        if self._asked_at is not None and now - self._asked_at < KEY_REQUEST_S:
            return False
        if self._asked_at is not None and self._acked is None:
            self._asked_at = now  # frames that stand alone are on their way already
            return False
        self._asked_at = now
        self._acked = None
        self._alone_from = 0 if self._last is None else self._last + 1
        return True

    def live(self, now: float) -> bool:
        """Whether frames are leaving."""
        return bool(self._packets) and now - self._packets[-1][0] < LIVE_S

    def counts(self) -> FrameCounts:
        """Totals so far."""
        return FrameCounts(
            self._frames, self._keyframes, self._payload, 0, self._dropped, self._repeated
        )


def _distance(frame: EncodedFrame) -> int:
    """How far the reference is, in frames; what is farther counts as FAR, none as 0."""
    if frame.reference is None:
        return 0
    return min(FAR, sequence_distance(frame.sequence, frame.reference))


def crossing(frames: list[EncodedFrame], sent_ms: int) -> tuple[DatagramFrame, ...]:
    """Frames as a datagram that leaves at `sent_ms` carries them."""
    return tuple(
        DatagramFrame(
            sequence=frame.sequence % 2**SEQUENCE_BITS,
            lag=0 if frame.reference is None
            else sequence_distance(frame.sequence, frame.reference),
            age_ms=max(0, sent_ms - round(frame.capture_time * 1000)),
            payload=frame.payload,
        )
        for frame in frames
    )  # fmt: skip
