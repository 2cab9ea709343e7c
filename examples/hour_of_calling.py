"""An hour of calling over a bad network in about a minute: real codec, sessions and QUIC.

    python examples/hour_of_calling.py [TRACE] [SECONDS]        e.g. gprs 600, my.csv, 12kbps

The network is `netsim`'s, the time is virtual: nothing waits, and the same numbers come out
wherever and whenever it runs.
"""

from __future__ import annotations

import hashlib
import math
import sys
import time

import numpy as np

from conference.virtual_call import CLIENT, VirtualCall
from netsim.choose import choose_trace
from netsim.path import PathSettings, report_lines
from netsim.settings import LinkSettings
from quic_transport.codec import PROFILES, Terms
from quic_transport.errors import CodecError
from quic_transport.events import CallEnded, CallOpened, Event, FrameReceived, Ringing
from quic_transport.offer import Offer
from quic_transport.params import PARAM_DIM, FaceParams, ParamBounds
from quic_transport.session import Session

FPS = 20
AVATAR = bytes(50_000)  # stands for a trained head
BOUNDS = ParamBounds(np.full(PARAM_DIM, -0.5, np.float32), np.ones(PARAM_DIM, np.float32))
OFFER = Offer(
    "a wave", "arkit46", "truth", "eg0", FPS, BOUNDS, hashlib.sha256(AVATAR).hexdigest(),
    len(AVATAR),
)  # fmt: skip


def main(network: str = "wifi", seconds: str = "3600") -> None:
    """Call, talk, and tell what arrived when."""
    token = b"sixteen bytes !!"
    sender = Session(is_client=True, token=token, offer=OFFER, avatar=AVATAR)
    receiver = Session(is_client=False, token=token, receives=True)
    terms = Terms(BOUNDS)
    encoder, decoder = PROFILES["eg0"].encoder(terms, gop=60), PROFILES["eg0"].decoder(terms)
    delays_ms: list[float] = []
    captured = 0

    def on_event(side: int, event: Event, now: float) -> None:
        if isinstance(event, FrameReceived):
            try:
                decoder.decode(event.frame)
                delays_ms.append(1000 * (now - event.frame.capture_time))
            except CodecError:
                receiver.request_keyframe(now)
        elif isinstance(event, Ringing):
            receiver.accept(now)
        elif isinstance(event, CallOpened) and side != CLIENT:
            receiver.request_avatar()
        elif isinstance(event, CallEnded) and side == CLIENT:
            print(f"{now:.1f} s: the call ended: {event.sentence}")

    def capture(now: float) -> None:
        nonlocal captured
        captured += 1
        if sender.can_send_frame(now):
            phase = np.arange(PARAM_DIM) * 0.3 + 2 * math.pi * 0.4 * now
            face = FaceParams.from_vector(0.25 + 0.2 * np.sin(phase), now)
            sender.send_frame(encoder.encode(face, reference=sender.reference()), now)

    link = LinkSettings(trace=choose_trace(network), queue_packets=100)
    call = VirtualCall(sender, receiver, PathSettings(link, link), seed=1, on_event=on_event)
    call.every(1 / FPS, capture)
    began, until = time.perf_counter(), float(seconds)
    call.run(until)
    print("\n".join(report_lines(call.path.report(call.now), call.now)))
    p50, p95 = np.percentile(delays_ms, (50, 95))
    print(f"{captured} frames captured, {len(delays_ms)} decoded, {p50:.0f} ms p50, {p95:.0f} p95")
    print(f"{until:g} s of calling took {time.perf_counter() - began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:3])
