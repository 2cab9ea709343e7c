"""One call as the media threads see it: a session behind a lock, fed by the endpoint's thread.

PUBLIC SIGNATURES; being filled in.
"""

from __future__ import annotations

from collections.abc import Mapping

from quic_transport.clock_sync import RoundTrip
from quic_transport.codec.profile import EncodedFrame
from quic_transport.events import CallEnded, Event
from quic_transport.messages import Hello, Reason
from quic_transport.wire_count import WireCount


class Call:
    """See quic_transport/endpoint.py for the whole interface on one page."""

    @property
    def peer(self) -> Hello:
        """What the peer said at hello."""
        raise NotImplementedError

    @property
    def ended(self) -> CallEnded | None:
        """How the call ended; None while it lasts."""
        raise NotImplementedError

    def next_event(self, timeout: float | None = None) -> Event | None:
        """The next event; None after `timeout` seconds; EndOfStream after CallEnded."""
        raise NotImplementedError

    def can_send_frame(self) -> bool:
        """Whether a frame coded now would leave soon. False: drop the raw frame."""
        raise NotImplementedError

    def take_keyframe_request(self) -> bool:
        """True once whenever the next frame must be a keyframe."""
        raise NotImplementedError

    def send_frame(self, frame: EncodedFrame) -> bool:
        """Queue a frame; False if it was dropped (then a keyframe is due)."""
        raise NotImplementedError

    def request_keyframe(self) -> None:
        """Ask the peer for a keyframe; rate-limited."""
        raise NotImplementedError

    def send_ready(self) -> None:
        """The renderer is warm: the peer gets PeerReady."""
        raise NotImplementedError

    def send_stats(self, values: Mapping[str, float]) -> None:
        """Counters for the peer's table: the peer gets PeerStats."""
        raise NotImplementedError

    def peer_time(self, peer_time: float) -> float:
        """A time on the peer's monotonic clock, on ours."""
        raise NotImplementedError

    def round_trip(self) -> RoundTrip | None:
        """Path and clock estimate; None before the first answer."""
        raise NotImplementedError

    def wire(self) -> WireCount:
        """Datagrams and bytes both ways so far."""
        raise NotImplementedError

    def refuse(self, reason: Reason, sentence: str) -> None:
        """End the call; both sides say `sentence`."""
        raise NotImplementedError

    def hang_up(self, sentence: str = "", timeout: float = 1.0) -> None:
        """Clean end; waits until the peer has everything, at most `timeout` seconds."""
        raise NotImplementedError
