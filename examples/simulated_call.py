"""A whole call without sockets: encoder → session → (20 ms) → session → decoder, in virtual time.

    python examples/simulated_call.py

Two sessions are all that a call needs; a shell (here `carry`) moves the bytes between them.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from quic_transport.codec import PROFILES, Terms
from quic_transport.events import AvatarReceived, CallOpened, FrameReceived, Ringing
from quic_transport.offer import Offer
from quic_transport.outbound import Progress
from quic_transport.params import PARAM_DIM, FaceParams, ParamBounds
from quic_transport.session import Session

FPS, SECONDS, DELAY_S = 20, 10, 0.02
TOKEN, AVATAR = b"sixteen bytes !!", bytes(200_000)  # the latter stands for a trained head
BOUNDS = ParamBounds(np.full(PARAM_DIM, -0.5, np.float32), np.ones(PARAM_DIM, np.float32))
EG0, TERMS, ID = PROFILES["eg0"], Terms(BOUNDS), hashlib.sha256(AVATAR).hexdigest()
OFFER = Offer("a wave", "arkit46", "truth", "eg0", FPS, BOUNDS, ID, len(AVATAR))


def carry(source: Session, target: Session, now: float, written: dict[int, int]) -> None:
    """Everything that `source` wants to send, to `target` a little later, confirmed at once."""
    for out in source.data_to_send(now):
        target.receive(out.stream_id, out.data, out.end, now + DELAY_S)
        written[out.stream_id] = written.get(out.stream_id, 0) + len(out.data)
        done = Progress(out.stream_id, 0, written[out.stream_id], 2 * DELAY_S, 2 * DELAY_S)
        source.progress(done, now)


def face(t: float) -> FaceParams:
    """A face that moves like a wave."""
    phase = np.arange(PARAM_DIM) * 0.3 + 2 * math.pi * 0.4 * t
    return FaceParams.from_vector(0.25 + 0.2 * np.sin(phase), t)


def main() -> None:
    """Ten seconds of calling; prints what crossed and how exact it was."""
    sender = Session(is_client=True, token=TOKEN, offer=OFFER, avatar=AVATAR)
    receiver = Session(is_client=False, token=TOKEN, receives=True)
    encoder, decoder = EG0.encoder(TERMS, gop=60), EG0.decoder(TERMS)
    written: tuple[dict[int, int], dict[int, int]] = ({}, {})
    shown, worst = 0, 0.0
    sender.start(0.0)
    receiver.start(0.0)
    for tick in range(FPS * (SECONDS + 1)):
        now = tick / FPS
        if sender.can_send_frame(now):
            sender.send_frame(encoder.encode(face(now), reference=sender.reference()), now)
        carry(sender, receiver, now, written[0])
        while (event := receiver.next_event()) is not None:
            if isinstance(event, Ringing):
                receiver.accept(now)
            elif isinstance(event, CallOpened):
                receiver.request_avatar()
            elif isinstance(event, AvatarReceived):
                print(f"{now:5.2f} s  the avatar is here: {len(event.data)} bytes, verified")
            elif isinstance(event, FrameReceived):
                got, t = decoder.decode(event.frame), event.frame.capture_time
                worst = max(worst, float(np.abs(got.vector() - face(t).vector()).max()))
                shown += 1
        carry(receiver, sender, now, written[1])
        for session in (sender, receiver):
            session.handle_timer(now)
    sent = sender.counts()[0]
    kbps = 8 * (sent.payload_bytes + sent.header_bytes) / (sent.frames / FPS) / 1000
    print(f"{sent.frames} frames sent, {shown} decoded, {kbps:.2f} kbps with framing")
    print(f"largest parameter error {worst:.4f} (half a quantiser step is {0.75 / 255:.4f})")


if __name__ == "__main__":
    main()
