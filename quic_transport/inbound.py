"""The receiving half of a call: the peer's one-way streams, taken apart.

The rule: a stream says with its first byte what it is, and every size and rate is checked against
what the peer announced before anything is kept. Wrong bytes raise WireError.
"""

from __future__ import annotations

from collections import deque

from quic_transport.avatar_transfer import AvatarReceiver
from quic_transport.errors import LocalError, RemoteError, WireError
from quic_transport.events import AvatarProgress, AvatarReceived, Event, FrameReceived
from quic_transport.frame_stream import FrameCounts, FrameReader
from quic_transport.limits import Limits, RateLimit
from quic_transport.messages import AvatarRequest
from quic_transport.offer import STREAM, STREAM_PER_GOP, Offer

FRAMES, AVATAR, GOP = 1, 2, 3
MAX_GOP_STREAMS = 32  # unfinished ones at once; the oldest are forgotten
PROGRESS_STEP = 32 * 1024


class Inbound:
    """What arrives for one offer; facts are appended to the session's events."""

    def __init__(self, offer: Offer, limits: Limits, events: deque[Event]) -> None:
        self._offer = offer
        self._events = events
        self._kinds: dict[int, int] = {}  # stream → its first byte
        self._readers: dict[int, FrameReader] = {}  # of unfinished streams of frames
        self._rate = RateLimit(10 * offer.fps, limits.frame_burst)
        self._avatar: AvatarReceiver | None = None
        self._avatar_here = False
        self._told = 0
        self._frames = self._keyframes = self._payload = 0
        self._asked_at: float | None = None
        self.frames_ended = False

    def receive(self, stream_id: int, data: bytes, end: bool, now: float) -> AvatarRequest | None:
        """Bytes of one stream; the answer, if they call for one, is what to say."""
        kind = self._kinds.get(stream_id)
        if kind is None:
            if not data:
                raise WireError("a stream ended before it said what it is")
            kind, data = data[0], data[1:]
            self._open(stream_id, kind)
        if kind in (FRAMES, GOP):
            self._receive_frames(stream_id, data, end, now)
            return None
        return self._receive_avatar(stream_id, data, end)

    def avatar_known(self, data: bytes) -> None:
        """The avatar was here already."""
        self._avatar_here = True
        self._events.append(AvatarReceived(self._offer.avatar_id, data, cached=True))

    def request_avatar(self, partial: bytes) -> AvatarRequest:
        """Start receiving the avatar after `partial`; what to say for that."""
        if self._avatar is not None or self._avatar_here:
            raise LocalError("the avatar was requested already")
        if len(partial) > self._offer.avatar_size:
            partial = b""
        self._avatar = AvatarReceiver(self._offer.avatar_id, self._offer.avatar_size, partial)
        self._told = len(partial)
        return AvatarRequest(self._offer.avatar_id, len(partial))

    def wants_keyframe(self, now: float, rtt_s: float) -> bool:
        """Whether to ask for a keyframe now: not if one was asked for a moment ago."""
        if self._asked_at is not None and now - self._asked_at < max(0.25, 2 * rtt_s):
            return False
        self._asked_at = now
        return True

    def partial(self) -> tuple[str, bytes] | None:
        """Id and beginning of an avatar that is not complete."""
        if self._avatar is None or self._avatar.received == 0:
            return None
        return self._avatar.avatar_id, self._avatar.partial()

    def counts(self) -> FrameCounts:
        """Frames so far."""
        return FrameCounts(self._frames, self._keyframes, self._payload, 0, 0)

    def _open(self, stream_id: int, kind: int) -> None:
        if kind not in (FRAMES, AVATAR, GOP):
            raise WireError(f"a stream of unknown kind {kind}")
        if kind == FRAMES and (FRAMES in self._kinds.values() or self._offer.mode != STREAM):
            raise WireError("a second stream of frames")
        if kind == GOP:
            if self._offer.mode != STREAM_PER_GOP:
                raise WireError("a stream per keyframe, though that was not agreed")
            if len(self._readers) >= MAX_GOP_STREAMS:
                del self._readers[min(self._readers)]
        if kind != AVATAR:
            self.frames_ended = False
            self._readers[stream_id] = FrameReader(self._offer.fps)
        if kind == AVATAR and (self._avatar is None or AVATAR in self._kinds.values()):
            raise WireError("an avatar that was not requested")
        self._kinds[stream_id] = kind

    def _receive_frames(self, stream_id: int, data: bytes, end: bool, now: float) -> None:
        reader = self._readers.get(stream_id)
        if reader is None:  # forgotten: far newer ones are on their way
            if end:
                del self._kinds[stream_id]
            return
        reader.feed(data)
        while (frame := reader.next_frame()) is not None:
            if not self._rate.allow(now):
                raise WireError("frames come far faster than announced")
            self._frames += 1
            self._keyframes += frame.key
            self._payload += len(frame.payload)
            self._events.append(FrameReceived(frame, now))
        if end:
            if reader.pending():
                raise WireError("the last frame is truncated")
            del self._readers[stream_id]
            if self._kinds[stream_id] == GOP:  # those of ended ones would add up
                del self._kinds[stream_id]
            self.frames_ended = not self._readers

    def _receive_avatar(self, stream_id: int, data: bytes, end: bool) -> AvatarRequest | None:
        avatar = self._avatar
        if avatar is None:
            raise WireError("an avatar that was not requested")
        avatar.feed(data)
        if avatar.received - self._told >= PROGRESS_STEP or (end and data):
            self._told = avatar.received
            self._events.append(AvatarProgress(avatar.received, avatar.size, sending=False))
        if not end:
            return None
        self._avatar = None
        try:
            whole = avatar.finish()
        except RemoteError:
            if avatar.resumed_at == 0:
                raise
            del self._kinds[stream_id]  # the old beginning was wrong: once more, from the start
            return self.request_avatar(b"")
        self._avatar_here = True
        self._events.append(AvatarReceived(avatar.avatar_id, whole))
        return None
