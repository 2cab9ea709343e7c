"""The sending half of a call: our streams, what is on them, and how far the peer has it.

The rule: control first, then frames, then the avatar; the transport never holds more of the last
two than it can send soon. Stream numbers are QUIC's: our one-way streams count up in fours. Frames
in datagrams are made elsewhere (`datagram_media`); here they are only asked about.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from quic_transport.avatar_transfer import AvatarSender
from quic_transport.codec.profile import EncodedFrame, Reference
from quic_transport.datagram_sender import DatagramSender
from quic_transport.errors import LocalError, WireError
from quic_transport.events import AvatarProgress, Event, KeyframeWanted
from quic_transport.frame_stream import FrameCounts, FrameSender
from quic_transport.inbound import AVATAR, FRAMES, GOP, PROGRESS_STEP
from quic_transport.limits import Limits
from quic_transport.messages import AvatarRequest, Message, encode_message
from quic_transport.offer import DATAGRAM, STREAM_PER_GOP, Offer

CONTROL_STREAM = 0
KEYFRAME_REQUEST_S = 0.1  # requests closer together than this are one


@dataclass(frozen=True, slots=True)
class StreamData:
    """Bytes for the transport to append to one of our streams."""

    stream_id: int
    """QUIC's stream number."""
    data: bytes
    """May be empty if `end`."""
    end: bool = False
    """Whether the stream ends after them."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the transport is with one of our streams."""

    stream_id: int
    """QUIC's stream number."""
    unsent: int
    """Bytes that wait in the transport."""
    acked: int
    """The peer has confirmed every byte before this offset."""
    rtt_s: float
    """The path's latest round trip, seconds."""
    min_rtt_s: float
    """The path's smallest round trip, seconds."""
    window: int = 2**62
    """Bytes of streams that congestion control lets be in flight."""


class Outbound:
    """What leaves; facts are appended to the session's events."""

    def __init__(
        self, *, is_client: bool, offer: Offer | None, avatar: bytes | None, limits: Limits,
        events: deque[Event],
    ) -> None:  # fmt: skip
        self._offer = offer
        self._avatar = avatar
        self._limits = limits
        self._events = events
        self._control = bytearray()
        self._next_stream = 2 if is_client else 3
        self._written: dict[int, int] = {}  # bytes given to the transport, by stream
        self._acked: dict[int, int] = {}
        self._frames: FrameSender | None = None
        self.datagrams: DatagramSender | None = None
        self._frames_stream: int | None = None
        self._frames_ended = False
        self._asked_at: float | None = None  # when the peer last got its way
        self._transfer: AvatarSender | None = None
        self._transfer_stream: int | None = None
        self._told = 0

    def say(self, message: Message) -> None:
        """Queue a message."""
        self._control += encode_message(message)

    def open(self) -> None:
        """The peer wants our frames."""
        assert self._offer is not None
        if self._offer.mode == DATAGRAM:
            self.datagrams = DatagramSender(self._offer.fps, self._limits.latency_budget_s)
            return
        self._frames = FrameSender(
            self._offer.fps, max_queued=self._limits.max_queued_frames,
            stale_after_s=self._limits.stale_after_s, per_gop=self._offer.mode == STREAM_PER_GOP,
        )  # fmt: skip

    def can_send(self, now: float) -> bool:
        """Whether a frame coded now would leave soon."""
        if self.datagrams is not None:
            return self.datagrams.can_send(now)
        return self._frames is not None and self._frames.can_send(now)

    def reference(self) -> Reference:
        """What the next frame is to be predicted from."""
        if self.datagrams is not None:
            return self.datagrams.reference()
        return None if self.keyframe_due() else "last"

    def keyframe_due(self) -> bool:
        """Whether only a keyframe is accepted next."""
        return self._frames is not None and self._frames.keyframe_due

    def send_frame(self, frame: EncodedFrame, now: float) -> bool:
        """Queue a frame; False: dropped, a keyframe is due."""
        if self.datagrams is not None:
            self.datagrams.send(frame, now)
            return True
        if self._frames is None:
            raise LocalError("the peer does not receive, or this side made no offer")
        was_due = self._frames.keyframe_due
        accepted = self._frames.send(frame, now)
        self._tell_keyframe(was_due)
        return accepted

    def keyframe_requested(self, now: float) -> None:
        """The peer asks for a keyframe."""
        if self.datagrams is not None:
            if self.datagrams.keyframe_requested(now):
                self._events.append(KeyframeWanted("peer"))
            return
        if self._frames is None:
            raise WireError("a keyframe was requested of a side that sends nothing")
        if self._asked_at is None or now - self._asked_at >= KEYFRAME_REQUEST_S:
            self._asked_at = now
            self._frames.keyframe_due = True
            self._events.append(KeyframeWanted("peer"))

    def avatar_requested(self, request: AvatarRequest) -> bool:
        """The peer asks for our avatar; False if it is not handed out."""
        if self._offer is None or request.avatar_id != self._offer.avatar_id:
            raise WireError("an avatar was requested that was not offered")
        if request.offset > self._offer.avatar_size:
            raise WireError("an avatar was requested from beyond its end")
        if self._transfer is not None and not self._transfer.done:
            raise WireError("an avatar was requested twice at once")
        if self._avatar is None:
            return False
        rate = self._limits.avatar_bytes_per_s
        self._transfer = AvatarSender(self._avatar, request.offset, rate)
        self._transfer_stream = None
        self._told = request.offset
        return True

    def counts(self) -> FrameCounts:
        """What became of our frames."""
        if self.datagrams is not None:
            return self.datagrams.counts()
        return self._frames.counts() if self._frames is not None else FrameCounts()

    def streams(self) -> list[int]:
        """Those whose `progress` is of interest."""
        return list(self._written)

    def progress(self, at: Progress, now: float) -> None:
        """One of `streams` is further."""
        self._acked[at.stream_id] = at.acked
        if self._frames is not None and at.stream_id == self._frames_stream:
            self._frames.progress(at.unsent, at.acked, at.min_rtt_s)
        if self._transfer is not None and at.stream_id == self._transfer_stream:
            live = self.datagrams is not None and self.datagrams.live(now)
            self._transfer.window(at.window, careful=live)
            self._transfer.progress(max(0, at.acked - 1), at.rtt_s, at.min_rtt_s, now)
            done, total = self._transfer.confirmed, len(self._avatar or b"")
            if done - self._told >= PROGRESS_STEP or done == total > self._told:
                self._told = done
                self._events.append(AvatarProgress(done, total, sending=True))

    def delivered(self) -> bool:
        """Whether the peer has everything but the avatar."""
        return not self._control and all(
            self._acked.get(stream_id, 0) >= size
            for stream_id, size in self._written.items()
            if stream_id != self._transfer_stream
        )

    def to_send(self, now: float, *, media: bool, closing: bool) -> list[StreamData]:
        """What to append to which stream now: with frames and avatar if `media`; `closing` sends
        what is queued and ends the frames."""
        out: list[StreamData] = []
        if self._control:
            out.append(self._wrote(CONTROL_STREAM, bytes(self._control)))
            self._control.clear()
        if self._frames is not None and not self._frames_ended and (media or closing):
            out += self._frames_to_send(self._frames, now, closing)
        if self._transfer is not None and media:
            out += self._avatar_to_send(self._transfer, now)
        return out

    def next_time(self, now: float) -> float | None:
        """When `to_send` is worth another try though nothing happened."""
        return self._transfer.next_time(now) if self._transfer is not None else None

    def _frames_to_send(self, frames: FrameSender, now: float, closing: bool) -> list[StreamData]:
        was_due = frames.keyframe_due
        pieces = frames.outgoing(now, flush=closing)
        self._tell_keyframe(was_due)
        self._frames_ended = closing
        out = []
        for begins, data in pieces:
            if begins and self._frames_stream is not None:
                out.append(self._wrote(self._frames_stream, b"", True))
                self._frames_stream = None
            size = len(data)
            if self._frames_stream is None:
                self._frames_stream = self._new_stream()
                data = bytes([GOP if begins else FRAMES]) + data
            out.append(self._wrote(self._frames_stream, data))
            frames.handed_over(self._written[self._frames_stream], size, now)
        if closing:
            if self._frames_stream is None:
                self._frames_stream = self._new_stream()
                out.append(self._wrote(self._frames_stream, bytes([self._frames_kind()])))
            out.append(self._wrote(self._frames_stream, b"", True))
        return out

    def _frames_kind(self) -> int:
        per_gop = self._offer is not None and self._offer.mode == STREAM_PER_GOP
        return GOP if per_gop else FRAMES

    def _avatar_to_send(self, transfer: AvatarSender, now: float) -> list[StreamData]:
        data = transfer.take(now)
        first = self._transfer_stream is None
        if not data and not (first and transfer.done):
            return []
        if self._transfer_stream is None:
            self._transfer_stream = self._new_stream()
            data = bytes([AVATAR]) + data
        return [self._wrote(self._transfer_stream, data, transfer.done)]

    def _tell_keyframe(self, was_due: bool) -> None:
        if self.keyframe_due() and not was_due:
            self._events.append(KeyframeWanted("queue"))

    def _new_stream(self) -> int:
        self._next_stream += 4
        return self._next_stream - 4

    def _wrote(self, stream_id: int, data: bytes, end: bool = False) -> StreamData:
        self._written[stream_id] = self._written.get(stream_id, 0) + len(data)
        return StreamData(stream_id, data, end)
