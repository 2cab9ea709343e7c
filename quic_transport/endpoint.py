"""Calls over real sockets. PUBLIC SIGNATURES (being filled in; build against these).

    listener = serve("0.0.0.0", 4433, party=Party(receives=True))      # LocalError: port in use ...
    print(listener.invite)                                             # facewire://HOST:PORT/...
    call = listener.accept(timeout=None)                               # None after a timeout
    call = connect(invite, party=Party(offer=offer, avatar=avatar_bytes))   # <= 5 s, or an error

Both give a `Call`; all its methods may be called from any thread:

    call.peer: Hello                 the peer's hello (call.peer.offer: Offer | None)
    call.next_event(timeout=None) -> Event | None    None: timeout; EndOfStream: after CallEnded
    call.can_send_frame() -> bool    ask BEFORE the predictor; False: drop the raw frame
    call.take_keyframe_request() -> bool   True once whenever the next frame must be a keyframe
    call.send_frame(frame: EncodedFrame) -> bool     False: it and all queued ones were dropped
    call.request_keyframe()          after a CodecError; rate-limited, call it as often as you like
    call.send_ready()                receiver: renderer is warm → peer gets PeerReady
    call.send_stats({...})           counters for the peer's table → peer gets PeerStats
    call.peer_time(t) -> float       peer's monotonic clock → ours
    call.round_trip() -> RoundTrip   rtt_s, offset_s, error_s
    call.wire() -> WireCount         bytes and packets both ways, with IP + UDP headers
    call.counts() -> FrameCounts     frames and payload bytes sent, dropped, received
    call.refuse(Reason.BOUNDS, "...")        end it with a sentence for both sides
    call.hang_up("") -> None         clean end; waits (<= 1 s) until the peer has everything
    call.ended -> CallEnded | None   how it ended; .error() is what to raise (None: clean)

Typical receiver: CallOpened → AvatarReceived (from cache or wire) → load, warm up, send_ready()
→ FrameReceived ... → CallEnded. Typical sender: CallOpened → PeerReady → send frames → hang_up().
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from quic_transport.avatar_cache import AvatarCache
from quic_transport.call import Call
from quic_transport.certs import Identity
from quic_transport.invite import Invite
from quic_transport.messages import Offer


@dataclass(frozen=True, slots=True)
class Party:
    """What this side brings to a call."""

    offer: Offer | None = None
    """The face that it sends; None: it only receives."""
    avatar: bytes | None = None
    """The avatar file to hand out when the peer lacks it; None: the peer must have it."""
    receives: bool = False
    """Whether it wants the peer's face."""
    cache: AvatarCache | None = None
    """Where received avatars are kept; None: nowhere."""


class Listener:
    """A bound port that turns callers into calls, one at a time."""

    invite: Invite

    def accept(self, timeout: float | None = None) -> Call | None:
        """The next call; None if nobody called within `timeout` seconds."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()


def serve(
    host: str, port: int, *, party: Party, identity: Identity | None = None,
    token: bytes | None = None,
) -> Listener:  # fmt: skip
    """Listen on `host`:`port` (0: any free port). LocalError: in use, not ours, no such host."""
    raise NotImplementedError


def connect(invite: Invite | str, *, party: Party, timeout: float = 5.0) -> Call:
    """Call the peer named by `invite`; returns when both hellos have crossed."""
    raise NotImplementedError
