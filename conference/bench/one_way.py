"""Two sessions for a bench's call in one direction, before either has begun.

The rule: as in `facewire send` and `receive`, but the avatar is known already, so that what crosses
is faces. References: quic_transport.session, quic_transport.offer.
"""

from __future__ import annotations

import hashlib

from quic_transport.limits import Limits
from quic_transport.offer import Offer
from quic_transport.params import ParamBounds
from quic_transport.session import Session

TOKEN = b"sixteen bytes !!"
AVATAR = bytes(1000)  # stands for a head that is known already


def one_way_sessions(name: str, profile: str, bounds: ParamBounds, *, fps: float, mode: str,
                     latency_budget_s: float) -> tuple[Session, Session]:  # fmt: skip
    """The client, which sends, and the server, which receives and has to say that it knows
    `AVATAR`. `profile` as negotiated, `mode` one of `offer.MODES`, the budget in seconds."""
    offer = Offer(
        name=name, schema="arkit46", extractor="facenet", profile=profile, fps=fps, bounds=bounds,
        avatar_id=hashlib.sha256(AVATAR).hexdigest(), avatar_size=len(AVATAR), mode=mode,
    )  # fmt: skip
    limits = Limits(latency_budget_s=latency_budget_s)
    sender = Session(is_client=True, token=TOKEN, offer=offer, avatar=AVATAR, limits=limits)
    return sender, Session(is_client=False, token=TOKEN, receives=True)
