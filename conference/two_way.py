"""A call in which both sides may send and both may receive, from its opening to its end.

The rule: the two directions share the connection and nothing else; each ends with its own numbers,
and the call ends when both have ended, or as soon as either person leaves. Pictures are shown on
the main thread (windows want that), our own face is sent from another.
"""

from __future__ import annotations

import threading
import time

from conference.call_log import CallEntry, began_at
from conference.exchange import Exchange
from conference.incoming import ReceiveOptions, Receiving
from conference.incoming_face import IncomingFace
from conference.outgoing import OutgoingFace, Sending
from conference.statistics import CallReport
from conference.terminal import Interrupt, StatusLine
from quic_transport.endpoint import Call
from quic_transport.errors import FacewireError

POLL_S = 0.05
HOLD_KEY, HANG_UP_KEY = "h", "q"


class SendingLine(StatusLine):
    """What our own direction would say, kept for the line of the other one."""

    def __init__(self, whole: StatusLine) -> None:
        super().__init__()
        self._whole = whole

    def due(self, now: float) -> bool:
        """Never: the line belongs to the other direction."""
        return False

    def say(self, text: str) -> None:
        """Lines that stay are everybody's."""
        self._whole.say(text)


class BothLine(StatusLine):
    """The receiving direction's line, with the other's behind it."""

    def __init__(self, whole: StatusLine, call: TwoWayCall) -> None:
        super().__init__()
        self._whole = whole
        self._call = call

    def due(self, now: float) -> bool:
        """As often as a line is wanted."""
        return self._whole.due(now)

    def show(self, text: str, now: float) -> None:
        """Both directions."""
        ours = self._call.sending_line()
        self._whole.show(f"{text}  |  you: {ours}" if ours else text, now)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._whole.say(text)


class TwoWayCall:
    """One call; `run` returns when it is over."""

    def __init__(
        self, call: Call, face: OutgoingFace | None, options: ReceiveOptions,
        interrupt: Interrupt, status: StatusLine,
    ) -> None:  # fmt: skip
        """`face`: what we send; None: nothing. `options`: how the peer is shown, if it sends."""
        self._call = call
        self._face = face
        self._options = options
        self._interrupt = interrupt
        self._status = status
        self._began = time.time()
        self._began_at = time.monotonic()
        self._seconds = 0.0
        self.exchange = Exchange(call)
        self.sending: Sending | None = None
        self.receiving: Receiving | None = None
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._holding = False

    def run(self) -> None:
        """Talk until both directions have ended or somebody leaves; FacewireError otherwise."""
        hello = self._call.peer
        thread = None
        if self._face is not None and hello.receives:
            thread = threading.Thread(target=self._send, name="our face", daemon=True)
            thread.start()
        try:
            if hello.offer is not None:
                self._receive()
            while thread is not None and thread.is_alive():
                thread.join(POLL_S)
        except BaseException:
            self._interrupt.requested = True
            raise
        finally:
            if thread is not None:
                thread.join(5.0)
            self.exchange.close("the other side hung up")
            self._seconds = time.monotonic() - self._began_at
        if isinstance(self._failure, FacewireError):
            raise self._failure

    def _receive(self) -> None:
        line = BothLine(self._status, self)
        face = IncomingFace(self._options, self.exchange, self._interrupt, line)
        if not face.prepare():
            return
        receiving = Receiving(face)
        receiving.on_key = self._on_key
        self.receiving = receiving
        receiving.run()
        if receiving.left:
            self._interrupt.requested = True
        receiving.finish(hang_up=False)

    def _send(self) -> None:
        assert self._face is not None
        exchange = self.exchange
        try:
            while not exchange.peer_ready:
                if self._interrupt.requested or exchange.over:
                    return
                exchange.wait(lambda: exchange.peer_ready, POLL_S)
            with self._lock:
                self.sending = sending = Sending(self._face, exchange)
                sending.hold(self._holding)
            sending.run(self._interrupt, SendingLine(self._status))
            sending.finish(hang_up=False)
        except BaseException as error:  # told by `run`, on the main thread
            self._failure = error
            self._interrupt.requested = True

    def _on_key(self, name: str) -> None:
        if name == HOLD_KEY:
            self.toggle_hold()

    def toggle_hold(self) -> None:
        """Send nothing any more, or go on."""
        with self._lock:
            self._holding = not self._holding
            if self.sending is not None:
                self.sending.hold(self._holding)
        self._status.say("on hold: the other side sees you no more" if self._holding
                         else "on again")  # fmt: skip

    def sending_line(self) -> str:
        """How our own direction is doing; empty if there is none."""
        return self.sending.line() if self.sending is not None else ""

    def reports(self) -> list[CallReport]:
        """Each direction's account, after `run`."""
        both = (self.sending, self.receiving)
        return [direction.report() for direction in both if direction is not None]

    def failure(self) -> FacewireError | None:
        """What to say after the tables; None if all is well."""
        for direction in (self.receiving, self.sending):
            if direction is not None and (error := direction.failure()) is not None:
                return error
        ended = self.exchange.ended
        return ended.error() if ended is not None else None

    def entry(self, *, outgoing: bool, address: str) -> CallEntry:
        """This call's line in the log, after `run`."""
        sent, received = self._call.counts()
        wire = self._call.wire()
        offer, ended = self._call.peer.offer, self.exchange.ended
        return CallEntry(
            began=began_at(self._began),
            direction="out" if outgoing else "in",
            peer=offer.name if offer is not None else address,
            seconds=round(self._seconds, 1),
            sent_frames=sent.frames,
            received_frames=received.frames,
            wire_kb=round((wire.sent_bytes + wire.received_bytes) / 1000, 1),
            ended=ended.sentence if ended is not None else "hung up",
        )
