"""Modes `stream` and `stream-per-gop`: frames on reliable, ordered streams.

The rule: nothing stale is coded. While the transport is behind, `can_send` says so *before* the
predictor runs; frames that wait too long all go together, and then only a keyframe is accepted.
With `stream-per-gop` each keyframe begins a stream of its own, so what was lost on the last one
holds nothing up, and a path that has fallen behind gets a keyframe on a new stream.
Reference: docs/wire-format.md, "Frames on a stream". Two bytes of header per usual frame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from quic_transport.codec.profile import SEQUENCE_MODULUS, EncodedFrame
from quic_transport.errors import LocalError, WireError
from quic_transport.wire import encode_varint, peek_varint, unzigzag, zigzag

MAX_FRAME_BYTES = 4096
"""Of one frame's payload; `eg0` needs at most 105."""
MAX_GAP = 2**31
MAX_TIME_MS = 2**53
FLAG_KEY, FLAG_GAP = 1, 2


def nominal_interval_ms(fps: float) -> int:
    """What both ends expect between two captures; the header carries the deviation."""
    return round(1000 / fps)


def check_frame(frame: EncodedFrame, after: int) -> None:
    """LocalError unless `frame` can be written and follows the frame with sequence `after`."""
    if not 0 < len(frame.payload) <= MAX_FRAME_BYTES:
        raise LocalError(f"a frame has 1 to {MAX_FRAME_BYTES} bytes, not {len(frame.payload)}")
    if (frame.sequence - after - 1) % SEQUENCE_MODULUS >= MAX_GAP:
        raise LocalError(f"frame {frame.sequence} does not follow frame {after}")
    if abs(frame.capture_time) * 1000 > MAX_TIME_MS:
        raise LocalError(f"a capture time of {frame.capture_time} s is out of range")


class FrameWriter:
    """Frames to bytes. Each header is relative to the frame before."""

    def __init__(self, fps: float) -> None:
        self._interval_ms = nominal_interval_ms(fps)
        self._sequence = SEQUENCE_MODULUS - 1
        self._time_ms = 0

    def write(self, frame: EncodedFrame) -> bytes:
        """The frame's bytes; frames must be checked and come in sequence."""
        time_ms = round(frame.capture_time * 1000)
        gap = (frame.sequence - self._sequence - 1) % SEQUENCE_MODULUS
        flags = (FLAG_KEY if frame.key else 0) | (FLAG_GAP if gap else 0)
        out = encode_varint(len(frame.payload) << 1 | (flags != 0))
        if flags:
            out += bytes([flags])
        if gap:
            out += encode_varint(gap)
        out += encode_varint(zigzag(time_ms - self._time_ms - self._interval_ms))
        self._sequence, self._time_ms = frame.sequence, time_ms
        return out + frame.payload


class FrameReader:
    """Bytes to frames; holds at most one incomplete frame between calls."""

    def __init__(self, fps: float) -> None:
        self._interval_ms = nominal_interval_ms(fps)
        self._sequence = SEQUENCE_MODULUS - 1
        self._time_ms = 0
        self._buffer = bytearray()
        self._start = 0  # of the first unread byte in the buffer

    def feed(self, data: bytes) -> None:
        """Store bytes; call `next_frame` until it returns None before feeding more."""
        del self._buffer[: self._start]
        self._start = 0
        self._buffer += data

    def next_frame(self) -> EncodedFrame | None:
        """The next complete frame, or None: more bytes are needed."""
        head = peek_varint(self._buffer, self._start)
        if head is None:
            return None
        size, at = head[0] >> 1, head[1]
        if not 0 < size <= MAX_FRAME_BYTES:
            raise WireError(f"a frame of {size} bytes; 1 to {MAX_FRAME_BYTES} are allowed")
        flags = gap = 0
        if head[0] & 1:
            if at >= len(self._buffer):
                return None
            flags, at = self._buffer[at], at + 1
            if not 0 < flags <= FLAG_KEY | FLAG_GAP:
                raise WireError(f"a frame has unknown flags {flags:#x}")
        if flags & FLAG_GAP:
            got = peek_varint(self._buffer, at)
            if got is None:
                return None
            gap, at = got
            if not 0 < gap < MAX_GAP:
                raise WireError(f"a frame skips {gap} others")
        got = peek_varint(self._buffer, at)
        if got is None:
            return None
        time_ms = self._time_ms + self._interval_ms + unzigzag(got[0])
        if abs(time_ms) > MAX_TIME_MS:
            raise WireError("a frame's capture time is out of range")
        at = got[1]
        if len(self._buffer) < at + size:
            return None
        self._sequence = (self._sequence + 1 + gap) % SEQUENCE_MODULUS
        self._time_ms = time_ms
        self._start = at + size
        payload = bytes(self._buffer[at : self._start])
        return EncodedFrame(self._sequence, bool(flags & FLAG_KEY), time_ms / 1000, payload)

    def pending(self) -> bool:
        """Whether the stream stopped in the middle of a frame."""
        return len(self._buffer) > self._start


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """What became of the frames in one direction."""

    frames: int = 0
    """Frames handed to the transport (sending) or received whole."""
    keyframes: int = 0
    """Those of them that were keyframes."""
    payload_bytes: int = 0
    """Their codec bytes."""
    header_bytes: int = 0
    """Their framing bytes (sending only)."""
    dropped: int = 0
    """Coded frames that were dropped, always down to the next keyframe (sending only)."""
    repeated_bytes: int = 0
    """Codec bytes of frames that left once more, against loss (sending datagrams only)."""

    def plus(self, later: FrameCounts) -> FrameCounts:
        """The totals of both."""
        return FrameCounts(
            self.frames + later.frames, self.keyframes + later.keyframes,
            self.payload_bytes + later.payload_bytes, self.header_bytes + later.header_bytes,
            self.dropped + later.dropped, self.repeated_bytes + later.repeated_bytes,
        )  # fmt: skip


class FrameSender:
    """The sending half: a queue of at most a few frames in front of the transport."""

    def __init__(
        self, fps: float, *, max_queued: int, stale_after_s: float, per_gop: bool = False
    ) -> None:
        """`per_gop`: keyframes begin new streams."""
        self._fps = fps
        self._per_gop = per_gop
        self._writer = FrameWriter(fps)
        self._max_queued = max_queued
        self._stale_after_s = stale_after_s
        self._queue: deque[tuple[EncodedFrame, float]] = deque()  # (frame, when it was queued)
        self._in_flight: deque[tuple[int, float]] = deque()  # (end offset, when handed over)
        self._written = 0
        self._unsent = 0
        self._rtt_s = 0.0
        self._frames = self._keyframes = self._payload = self._header = self._dropped = 0
        self._last = SEQUENCE_MODULUS - 1
        self.keyframe_due = True

    def can_send(self, now: float) -> bool:
        """Whether a frame coded now would leave soon; if not, drop it before the predictor."""
        if self._per_gop and self._stale(now):
            self._drop_queue()  # the next stream will not wait for this one
            self._in_flight.clear()
            self._unsent = 0
        return len(self._queue) < self._max_queued and not self._stale(now)

    def send(self, frame: EncodedFrame, now: float) -> bool:
        """Queue `frame`. False: it was dropped, with all that were queued, and a keyframe is due
        (also while one is due and this is none)."""
        check_frame(frame, self._last)
        self._last = frame.sequence
        if self.keyframe_due and not frame.key:
            self._dropped += 1
            return False
        if len(self._queue) >= self._max_queued:
            self._drop_queue()
            self._dropped += 1
            return False
        self._queue.append((frame, now))
        if frame.key:
            self.keyframe_due = False
        return True

    def outgoing(self, now: float, *, flush: bool = False) -> list[tuple[bool, bytes]]:
        """The bytes to hand to the transport now, and whether they begin a new stream: nothing
        while it still has unsent ones, unless this is the end (`flush`)."""
        if flush:
            pass
        elif self._queue and now - self._queue[0][1] > self._stale_after_s:
            self._drop_queue()
        if self._unsent > 0 and not flush:
            return []
        out: list[tuple[bool, bytes]] = []
        while self._queue:
            frame, _ = self._queue.popleft()
            begins = self._per_gop and frame.key
            if begins:
                self._writer = FrameWriter(self._fps)
                self._in_flight.clear()
            data = self._writer.write(frame)
            if begins or not out:
                out.append((begins, data))
            else:
                out[-1] = (out[-1][0], out[-1][1] + data)
            self._frames += 1
            self._keyframes += frame.key
            self._payload += len(frame.payload)
            self._header += len(data) - len(frame.payload)
        return out

    def handed_over(self, end_offset: int, size: int, now: float) -> None:
        """`size` bytes were given to the transport; the stream now ends at `end_offset`."""
        self._in_flight.append((end_offset, now))
        self._unsent += size

    def progress(self, unsent: int, acked: int, rtt_s: float) -> None:
        """The transport holds `unsent` bytes of ours; the peer has everything before `acked`."""
        self._unsent = unsent
        self._rtt_s = rtt_s
        while self._in_flight and self._in_flight[0][0] <= acked:
            self._in_flight.popleft()

    def empty(self) -> bool:
        """Whether no frame waits in the queue."""
        return not self._queue

    def counts(self) -> FrameCounts:
        """Totals so far."""
        return FrameCounts(
            self._frames, self._keyframes, self._payload, self._header, self._dropped
        )

    def _stale(self, now: float) -> bool:
        """Whether the oldest frame that the peer has not confirmed left too long ago."""
        if self._queue and now - self._queue[0][1] > self._stale_after_s:
            return True
        return bool(self._in_flight) and (
            now - self._in_flight[0][1] > self._stale_after_s + self._rtt_s
        )

    def _drop_queue(self) -> None:
        self._dropped += len(self._queue)
        self._queue.clear()
        self.keyframe_due = True
