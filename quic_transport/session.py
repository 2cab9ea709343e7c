"""One call as a pure state machine: bytes, user calls and time in; bytes and events out.

Rule 1: it holds no socket, no clock and no thread; `now` is a parameter everywhere.
Rule 2: it is symmetric: client and server differ only in who says hello first.
Rule 3: for a caller whose token is wrong it stores nothing and answers one refusal.
Rule 4: what is legal when stands in the two tables of `call_state`.

Its owner, the transport and a timer drive it; after each of them ask `data_to_send`, `next_event`
and `close_wanted`. Stream numbers are QUIC's (RFC 9000, section 2.1): 0 is the control stream.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from quic_transport import events as ev
from quic_transport import messages as msg
from quic_transport.call_state import ENDING, State
from quic_transport.clock_sync import ClockSync
from quic_transport.control import ControlReader
from quic_transport.datagram_media import DatagramMedia
from quic_transport.datagram_receiver import DatagramReceiver
from quic_transport.errors import LocalError, RemoteError, WireError
from quic_transport.face_calls import FaceCalls
from quic_transport.handshake import check_fit
from quic_transport.heartbeat import Heartbeat
from quic_transport.inbound import Inbound
from quic_transport.limits import Limits, RateLimit
from quic_transport.offer import DATAGRAM, Offer, Reason, Refusal, clip_sentence
from quic_transport.outbound import CONTROL_STREAM, Outbound, Progress, StreamData

UNHEARD_S = 1.5


class Session(FaceCalls):
    """One side of one call."""

    def __init__(
        self, *, is_client: bool, token: bytes, offer: Offer | None = None,
        avatar: bytes | None = None, receives: bool = False, limits: Limits | None = None,
        call_id: bytes = msg.NO_CALL, attempt: int = 0, presumed: msg.Hello | None = None,
    ) -> None:  # fmt: skip
        """`token` is the invite's; `avatar` is handed out on request (None: never); `call_id`: the
        client's, random; `attempt`: which connection of that call this is; `presumed`: what the
        peer said on an earlier one: frames leave right behind our hello."""
        if offer is None and not receives:
            raise LocalError("a side of a call sends, receives or both")
        if offer is not None and avatar is not None and len(avatar) != offer.avatar_size:
            raise LocalError("the offer's avatar_size is not the avatar's")
        self.state = State.IDLE
        self.peer: msg.Hello | None = None
        self.receiving = False  # the peer's face comes: avatar_known or request_avatar is due
        self.clock = ClockSync()
        self._is_client = is_client
        self._offer = offer
        self._receives = receives
        self.limits = limits or Limits()
        self._events: deque[ev.Event] = deque()
        self._control = ControlReader(None if is_client else token, self.limits)
        self._hello = msg.Hello(token if is_client else b"", receives, offer, call_id, attempt)
        self._outbound = Outbound(
            is_client=is_client, offer=offer, avatar=avatar, limits=self.limits,
            events=self._events,
        )  # fmt: skip
        self._presumed = presumed
        self._inbound: Inbound | None = None
        self._media: DatagramMedia | None = None
        self._early: list[tuple[int, bytes, bool]] = []
        self._heartbeat: Heartbeat | None = None
        self._deadline: float | None = None  # of the hello, the drain or the linger
        self._timer_at: float | None = None
        self._end: ev.CallEnded | None = None

    # The owner.

    def start(self, now: float) -> None:
        """The transport is connected: say hello (client) or wait for it (server)."""
        self._check_call("start")
        self._deadline = now + self.limits.hello_timeout_s
        if self._is_client:
            self.state = State.CALLING
            self._say_hello(now)
            if self._presumed is not None and self._presumed.receives:
                self._presume(now)
        else:
            self.state = State.LISTENING

    def accept(self, now: float) -> None:
        """Take the ringing call."""
        self._check_call("accept")
        assert self.peer is not None
        self._say_hello(now, self.peer)
        self._open(self.peer, now)

    def refuse(self, reason: Reason, sentence: str, now: float) -> None:
        """End the call because of the peer; both sides get `sentence`."""
        self._check_call("refuse")
        if self.state in ENDING:
            return
        sentence = clip_sentence(sentence)
        self._outbound.say(msg.Refuse(reason, sentence))
        self._close_after_delivery(ev.CallEnded(ev.Ending.WE_REFUSED, sentence, reason), now)

    def hang_up(self, sentence: str, now: float) -> None:
        """End the call cleanly: queued frames still go out, then a goodbye."""
        self._check_call("hang_up")
        if self.state in ENDING:
            return
        sentence = clip_sentence(sentence)
        self._outbound.say(msg.Bye(sentence))
        self._close_after_delivery(ev.CallEnded(ev.Ending.HUNG_UP, sentence or "hung up"), now)

    def next_event(self) -> ev.Event | None:
        """The oldest event not yet taken, or None."""
        return self._events.popleft() if self._events else None

    # The transport.

    def receive(self, stream_id: int, data: bytes, end: bool, now: float) -> None:
        """Bytes have come, in order, on one of the peer's streams."""
        self.heard(now)
        if self.state in (State.IDLE, State.CLOSING, State.CLOSED):
            return
        try:
            if stream_id == CONTROL_STREAM:
                self._receive_control(data, end, now)
            else:
                self._receive_stream(stream_id, data, end, now)
        except RemoteError as error:
            self._turn_away(error, now)

    def receive_datagram(self, data: bytes, now: float) -> None:
        """A datagram has come; one that overtook the hello is let go."""
        self.heard(now)
        if self._media is None or self.state not in (State.OPEN, State.DRAINING):
            return
        try:
            frames, asked = self._media.receive(data, now)
        except RemoteError as error:
            self._turn_away(error, now)
            return
        self._events += [ev.FrameReceived(frame, now) for frame in frames]
        if asked:
            self._events.append(ev.KeyframeWanted("peer"))

    def stream_reset(self, stream_id: int, now: float) -> None:
        """The peer cut one of its streams off; this protocol never does that."""
        if self.state is not State.IDLE:
            self._turn_away(WireError(f"the peer cut stream {stream_id} off"), now)

    def quiet_s(self, now: float) -> float:
        """How long ago something came from the peer, seconds; 0 before the call is open."""
        return self._heartbeat.quiet_s(now) if self._heartbeat is not None else 0.0

    def heard(self, now: float) -> None:
        """The transport got something from the peer: it lives."""
        if self._heartbeat is not None:
            self._heartbeat.heard(now)

    def progress(self, at: Progress, now: float) -> None:
        """How far the transport is with one of `sending_streams`."""
        self._outbound.progress(at, now)
        if self.state is State.CLOSING and self._outbound.delivered():
            assert self._end is not None
            self._finish(self._end)

    def transport_closed(self, code: int, sentence: str) -> None:
        """The connection is gone: by the peer's will if `code` is one of ours, else broken."""
        self._finish(self._end or ev.CallEnded.by_transport(code, sentence))

    def sending_streams(self) -> list[int]:
        """Our streams whose `progress` is of interest."""
        return self._outbound.streams()

    def data_to_send(self, now: float) -> list[StreamData]:
        """What to append to which stream now."""
        if self.state is State.CLOSED:
            return []
        return self._outbound.to_send(
            now, media=self.state is State.OPEN, closing=self.state is State.CLOSING
        )

    def close_wanted(self) -> ev.CallEnded | None:
        """The end of the call, once all is said: close the connection with its code."""
        return self._end if self.state is State.CLOSED else None

    # The timer.

    def next_timer(self, now: float) -> float | None:
        """When `handle_timer` wants to be called; None if never."""
        times = [self._deadline]
        if self._media is not None and self.state in (State.CALLING, State.OPEN):
            times.append(self._media.next_time())
        if self._heartbeat is not None and self.state is State.OPEN:
            times += [self._heartbeat.next_at(patient=self._flows(now)), self._heartbeat.lost_at]
            times.append(self._outbound.next_time(now))
        self._timer_at = min((t for t in times if t is not None), default=None)
        return self._timer_at

    def handle_timer(self, now: float) -> None:
        """Time has passed. May be called at any time."""
        if self._heartbeat is not None and self._timer_at is not None:
            self._heartbeat.pardon(now - self._timer_at, now)
        self._timer_at = None
        if self._deadline is not None and now >= self._deadline:
            quiet = self.quiet_s(now)
            if self.state is State.CLOSING and quiet > UNHEARD_S:  # nobody hears our goodbye
                self._end = ev.CallEnded.silence(round(quiet, 1))
            self._finish(self._end or ev.CallEnded.no_hello(self.limits.hello_timeout_s))
        if self._heartbeat is None or self.state is not State.OPEN:
            return
        if now >= self._heartbeat.lost_at:
            self._finish(ev.CallEnded.silence(self.limits.peer_timeout_s))
        else:
            self._beat(now)

    # Inside.

    def _say_hello(self, now: float, to: msg.Hello | None = None) -> None:
        ours = replace(self._hello, clock_ms=max(0, int(now * 1000)))
        if to is not None:
            ours = replace(ours, call_id=to.call_id, attempt=to.attempt)
        self._outbound.say(ours)

    def _open(self, hello: msg.Hello, now: float) -> None:
        self.state = State.OPEN
        self.peer = hello
        self._deadline = None
        if self._offer is not None and hello.receives and self._media is None:
            self._outbound.open()
        if hello.offer is not None and self._receives:
            self._inbound = Inbound(hello.offer, self.limits, self._events)
            self.receiving = True
        receiver = None
        if self._inbound is not None and hello.offer is not None and hello.offer.mode == DATAGRAM:
            rate = RateLimit(10 * hello.offer.fps, self.limits.frame_burst)
            receiver = DatagramReceiver(rate, hello.clock_ms)
        if self._media is not None and not hello.receives:  # it was presumed to
            self._media = self._outbound.datagrams = None
        if self._media is not None:
            self._media.receiver = receiver
        elif receiver is not None or self._outbound.datagrams is not None:
            self._media = DatagramMedia(self._outbound.datagrams, receiver, now)
        timeout_s = self.limits.peer_timeout_s
        self._heartbeat = Heartbeat(now, self.clock, eager=self.receiving, timeout_s=timeout_s)
        self._events.append(ev.CallOpened(hello))
        early, self._early = self._early, []
        for stream_id, data, end in early:
            self.receive(stream_id, data, end, now)

    def _receive_control(self, data: bytes, end: bool, now: float) -> None:
        self._control.feed(data)
        while self.state not in (State.CLOSING, State.CLOSED):
            message = self._control.next_message(self.state, now)
            if message is None:
                break
            if self.state is not State.DRAINING:
                self._handle(message, now)
        if end and self.state not in ENDING:
            raise WireError("the control stream ended in mid-call")

    def _handle(self, message: msg.Message, now: float) -> None:
        match message:
            case msg.Hello():
                self._handle_hello(message, now)
            case msg.Refuse():
                why = f"the peer refused: {message.sentence}"
                self._finish(ev.CallEnded(ev.Ending.PEER_REFUSED, why, message.reason))
            case msg.Bye():
                self._handle_bye(message.sentence, now)
            case msg.AvatarRequest():
                if not self._outbound.avatar_requested(message):
                    why = "the sender does not hand out its avatar without consent (--share-avatar)"
                    self.refuse(Reason.AVATAR, why, now)
            case msg.Ready():
                self._events.append(ev.PeerReady())
            case msg.KeyframeRequest():
                self._outbound.keyframe_requested(now)
            case msg.Ping():
                if self._heartbeat is not None:
                    self._heartbeat.asked(message, now)
                    self._beat(now)
            case msg.Pong():
                if self._heartbeat is not None:
                    self._heartbeat.answered(message, now)
            case msg.Stats():
                self._events.append(ev.PeerStats(dict(message.values)))

    def _handle_hello(self, hello: msg.Hello, now: float) -> None:
        check_fit(hello, self._offer, self._receives, self.limits)
        if self._is_client:
            self._open(hello, now)
        else:
            self.state = State.RINGING
            self.peer = hello
            self._deadline = None
            self._events.append(ev.Ringing(hello))

    def _handle_bye(self, sentence: str, now: float) -> None:
        self._end = ev.CallEnded(ev.Ending.PEER_HUNG_UP, sentence or "the peer hung up")
        if self._inbound is None or self._inbound.frames_ended:
            self._finish(self._end)
        else:  # frames travel beside the control stream and may be behind
            self.state = State.DRAINING
            by_datagram = self._media is not None and self._media.receiver is not None
            wait = self.limits.datagram_linger_s if by_datagram else self.limits.linger_s
            self._deadline = now + wait

    def _receive_stream(self, stream_id: int, data: bytes, end: bool, now: float) -> None:
        if stream_id % 4 != (3 if self._is_client else 2):
            raise WireError(f"stream {stream_id} is none that the peer may send on")
        if self.state is State.CALLING:  # it overtook the server's hello
            self._early.append((stream_id, data, end))
            if sum(len(d) + 64 for _, d, _ in self._early) > self.limits.max_early_bytes:
                raise WireError("too much came before the hello")
            return
        if self.state not in (State.OPEN, State.DRAINING) or self._inbound is None:
            raise WireError(f"stream {stream_id} came while none was expected")
        again = self._inbound.receive(stream_id, data, end, now)
        if again is not None:
            self._outbound.say(again)
        if self.state is State.DRAINING and self._inbound.frames_ended:
            assert self._end is not None
            self._finish(self._end)

    def _turn_away(self, error: RemoteError, now: float) -> None:
        if self.state is State.DRAINING and self._end is not None:
            self._finish(self._end)  # it said goodbye already: nothing more to tell it
        else:
            reason = error.reason if isinstance(error, Refusal) else Reason.PROTOCOL
            self.refuse(reason, str(error), now)

    def _close_after_delivery(self, end: ev.CallEnded, now: float) -> None:
        self._end = end
        self.state = State.CLOSING
        self._deadline = now + self.limits.linger_s

    def _finish(self, end: ev.CallEnded) -> None:
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._end = end
            self._deadline = None
            self._events.append(end)
