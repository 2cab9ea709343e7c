"""What becomes of frames and avatars in a session: what its owner does with them while the call is
open, and the datagrams that they leave in.

The rule: each of these says at once whether it is legal, and none decides anything that `Outbound`,
`Inbound` or `DatagramMedia` could decide; `Session` adds the call around them.
"""

from __future__ import annotations

from collections.abc import Mapping

from quic_transport import messages as msg
from quic_transport.call_state import CALLS, State
from quic_transport.clock_sync import ClockSync
from quic_transport.codec.profile import EncodedFrame, Reference
from quic_transport.datagram_media import DatagramMedia
from quic_transport.errors import LocalError
from quic_transport.frame_stream import FrameCounts
from quic_transport.heartbeat import Heartbeat
from quic_transport.inbound import Inbound
from quic_transport.offer import DATAGRAM, Offer
from quic_transport.outbound import Outbound


class FaceCalls:
    """The part of a session that frames and avatars go through."""

    state: State
    clock: ClockSync
    _outbound: Outbound
    _inbound: Inbound | None
    _media: DatagramMedia | None
    _heartbeat: Heartbeat | None
    _offer: Offer | None

    def can_send_frame(self, now: float) -> bool:
        """Ask before the predictor: whether a frame coded now would leave soon."""
        return (self.state is State.OPEN or self.presumes) and self._outbound.can_send(now)

    @property
    def presumes(self) -> bool:
        """Whether frames may flow though the peer has not said its hello yet."""
        return self.state is State.CALLING and self._media is not None

    def keyframe_due(self) -> bool:
        """Whether only a keyframe is accepted next."""
        return self._outbound.keyframe_due()

    def reference(self) -> Reference:
        """What the next frame is to be predicted from: give it to the encoder."""
        return self._outbound.reference()

    def frame_decoded(self, sequence: int, now: float) -> None:
        """The owner has decoded this frame: the sender may predict others from it."""
        if self._media is not None and self._media.receiver is not None:
            self._media.receiver.decoded(sequence, now)

    def send_frame(self, frame: EncodedFrame, now: float) -> bool:
        """Queue a coded frame. False: it and all queued ones were dropped; a keyframe is due."""
        if not self.presumes:
            self._check_call("send_frame")
        return self._outbound.send_frame(frame, now)

    def request_keyframe(self, now: float) -> bool:
        """Ask the sender for a keyframe; False if it was asked a moment ago."""
        self._check_call("request_keyframe")
        if self._media is not None and self._media.receiver is not None:
            return self._media.receiver.request_key(now)
        best = self.clock.round_trip()
        wanted = self._receiving().wants_keyframe(now, best.rtt_s if best else 0.0)
        if wanted:
            self._outbound.say(msg.KeyframeRequest())
        return wanted

    def send_ready(self) -> None:
        """Our renderer is warm."""
        self._check_call("send_ready")
        self._outbound.say(msg.Ready())

    def send_stats(self, values: Mapping[str, float]) -> None:
        """Our counters, for the peer's table."""
        self._check_call("send_stats")
        self._outbound.say(msg.Stats(dict(values)))

    def avatar_known(self, data: bytes) -> None:
        """The offered avatar is here already, verified."""
        self._check_call("avatar_known")
        self._receiving().avatar_known(data)

    def request_avatar(self, partial: bytes = b"") -> None:
        """Ask for the offered avatar, from after `partial` on."""
        self._check_call("request_avatar")
        self._outbound.say(self._receiving().request_avatar(partial))

    def avatar_partial(self) -> tuple[str, bytes] | None:
        """Id and beginning of an avatar whose transfer is not complete, to keep for later."""
        return self._inbound.partial() if self._inbound is not None else None

    def counts(self) -> tuple[FrameCounts, FrameCounts]:
        """What became of the frames that we sent, and the frames that came."""
        received = self._inbound.counts() if self._inbound is not None else FrameCounts()
        if self._media is not None and (got := self._media.receiver) is not None:
            received = FrameCounts(got.frames, got.keyframes, got.payload_bytes)
        return self._outbound.counts(), received

    def datagram_to_send(self, now: float) -> bytes | None:
        """The datagram that leaves now; ask again after it has left."""
        if self._media is None or self.state not in (State.CALLING, State.OPEN, State.CLOSING):
            return None
        data = self._media.to_send(now, flush=self.state is State.CLOSING)
        if data is not None:
            self._beat(now, riding=True)
        return data

    def _presume(self, now: float) -> None:
        """Frames may flow before the peer's hello: those that stand alone, in datagrams."""
        if self._offer is not None and self._offer.mode == DATAGRAM:
            self._outbound.open()
            self._media = DatagramMedia(self._outbound.datagrams, None, now)

    def _beat(self, now: float, *, riding: bool = False) -> None:
        """Say what the heartbeat wants to say; `riding`: with a packet that leaves anyway."""
        if self._heartbeat is not None and self.state is State.OPEN:
            for message in self._heartbeat.due(now, riding=riding, patient=self._flows(now)):
                self._outbound.say(message)

    def _flows(self, now: float) -> bool:
        return self._media is not None and self._media.flows(now)

    def _check_call(self, name: str) -> None:
        if name not in CALLS[self.state]:
            raise LocalError(f"{name} is not possible while the call is {self.state.value}")

    def _receiving(self) -> Inbound:
        if self._inbound is None:
            raise LocalError("this side does not receive, or the peer offers nothing")
        return self._inbound
