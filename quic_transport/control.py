"""The control stream as it comes in: bytes to messages that are legal now.

The rule: a message reaches the session only if it is whole, valid, allowed in the call's state
and not one of too many.
"""

from __future__ import annotations

from quic_transport.call_state import MESSAGES, State
from quic_transport.errors import WireError
from quic_transport.handshake import check_prefix
from quic_transport.limits import Limits, RateLimit
from quic_transport.messages import (
    MESSAGE_TYPES,
    Hello,
    Message,
    MessageSplitter,
    decode_message,
)


class ControlReader:
    """One side's view of the peer's messages."""

    def __init__(self, token: bytes | None, limits: Limits) -> None:
        """`token` must be in the peer's hello; None: the peer proved itself otherwise."""
        self._token = token
        self._splitter = MessageSplitter()
        self._rate = RateLimit(limits.control_per_s, 2 * limits.control_per_s)

    def feed(self, data: bytes) -> None:
        """Store bytes; call `next_message` until it returns None before feeding more."""
        self._splitter.feed(data)

    def next_message(self, state: State, now: float) -> Message | None:
        """The next message, or None; WireError or Refusal where the peer is in the wrong."""
        raw = self._splitter.next_raw()
        if raw is None:
            return None
        kind, body = raw
        if not issubclass(MESSAGE_TYPES[kind], MESSAGES[state]):
            name = MESSAGE_TYPES[kind].__name__
            raise WireError(f"{name} came while the call was {state.value}")
        if kind == Hello.kind:
            check_prefix(body, self._token)
        if not self._rate.allow(now):
            raise WireError("the peer sends too many messages")
        return decode_message(kind, body)
