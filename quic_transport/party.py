"""What one side brings to a call.

The rule: an avatar is in here only if its owner consents to its leaving this machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from quic_transport.avatar_cache import AvatarCache
from quic_transport.limits import Limits
from quic_transport.messages import NO_CALL, Hello
from quic_transport.offer import Offer
from quic_transport.session import Session


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

    def session(
        self, token: bytes, limits: Limits, *, is_client: bool, call_id: bytes = NO_CALL,
        attempt: int = 0, presumed: Hello | None = None,
    ) -> Session:  # fmt: skip
        """A session with these properties; `attempt`: which connection of the call it is on;
        `presumed`: what the peer said on an earlier one."""
        return Session(
            is_client=is_client, token=token, offer=self.offer, avatar=self.avatar,
            receives=self.receives, limits=limits, call_id=call_id, attempt=attempt,
            presumed=presumed,
        )  # fmt: skip
