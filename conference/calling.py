"""Calling a peer that may be older than we are.

The rule: what an older facewire cannot read is left out, not insisted on: a peer that does not know
the body's numbers in the stream is called once more without them, and draws the body as it guesses
it from the head. Whatever else is refused stays refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from quic_transport.endpoint import Party, connect
from quic_transport.invite import Invite
from quic_transport.limits import Limits
from quic_transport.offer import Reason, Refusal

if TYPE_CHECKING:
    from quic_transport.call import Call
    from sender.personal.body_model import BodyModel


class Sendable(Protocol):
    """Our face."""

    body: BodyModel | None

    @property
    def profile(self) -> str:
        """The codec's name at hello; with `body` it carries the body's numbers."""


def call_peer(invite: Invite, party: Party, face: Sendable | None, *, limits: Limits,
              qlog: Path | None = None) -> Call:  # fmt: skip
    """As `connect`; `face` is what `party` offers, if it offers one."""
    try:
        return connect(invite, party=party, limits=limits, qlog=qlog)
    except Refusal as refusal:
        known = refusal.reason is Reason.PROFILE and face is not None and face.body is not None
        if not known or face is None or party.offer is None:
            raise
    face.body = None
    plain = replace(party, offer=replace(party.offer, profile=face.profile))
    return connect(invite, party=plain, limits=limits, qlog=qlog)
