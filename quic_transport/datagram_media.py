"""Mode `datagram` in one call: frames out, frames in, and the reports between them.

The rule: one datagram leaves at a time, made at the moment at which the transport takes it, and
whatever is known then rides along. A side that has nothing to say for ALIVE_S says that.
"""

from __future__ import annotations

import math

from quic_transport.codec.profile import EncodedFrame
from quic_transport.datagram import Datagram, decode_datagram, encode_datagram
from quic_transport.datagram_receiver import DatagramReceiver
from quic_transport.datagram_sender import DatagramSender, crossing

ALIVE_S = 0.5
FLOWS_S = 0.35  # the next datagram comes sooner than this after the last one, if they flow


class DatagramMedia:
    """Both directions, as far as they use datagrams."""

    def __init__(
        self, sender: DatagramSender | None, receiver: DatagramReceiver | None, now: float
    ) -> None:
        """A side that only sends still gets reports, one that only receives sends them."""
        self.sender = sender
        self.receiver = receiver
        self._counter = 0
        self._sent_at = now
        self._steps = (math.inf, math.inf)  # between the last datagrams, seconds

    def flows(self, now: float) -> bool:
        """Whether datagrams leave so often that others may wait for the next one."""
        return max(*self._steps, now - self._sent_at) < FLOWS_S

    def receive(self, data: bytes, now: float) -> tuple[list[EncodedFrame], bool]:
        """New frames of a datagram, and whether the peer newly asks for one that stands alone;
        WireError on wrong bytes."""
        datagram = decode_datagram(data)
        asked = False
        if self.sender is not None:
            if datagram.report is not None:
                self.sender.report(datagram.report, now)
            if datagram.wants_key:
                asked = self.sender.keyframe_requested(now)
        if self.receiver is None:
            return [], asked
        return self.receiver.receive(datagram, now), asked

    def to_send(self, now: float, *, flush: bool = False) -> bytes | None:
        """The datagram that leaves now, if one does."""
        sender, receiver = self.sender, self.receiver
        frames = sender.take(now, flush=flush) if sender is not None else []
        reports = receiver is not None and receiver.report_due(now, riding=bool(frames))
        alive = sender is not None and now - self._sent_at >= ALIVE_S
        if not (frames or reports or alive):
            return None
        sent_ms = int(now * 1000)
        data = encode_datagram(
            Datagram(
                self._counter % 256,
                sent_ms % 2**24,
                crossing(frames, sent_ms),
                receiver.report(now) if receiver is not None and reports else None,
                receiver is not None and receiver.wants_key,
            )
        )
        self._counter += 1
        self._steps = (self._steps[1], now - self._sent_at)
        self._sent_at = now
        if sender is not None and frames:
            sender.sent(len(data), now)
        return data

    def next_time(self) -> float | None:
        """When `to_send` is due though nothing happens."""
        times = []
        if self.sender is not None:
            times += [self._sent_at + ALIVE_S, self.sender.next_time()]
        if self.receiver is not None:
            times.append(self.receiver.next_time())
        return min((t for t in times if t is not None), default=None)
