"""Where a call stands, and what is legal there: the session's two tables.

The rule: everything that decides whether a message or a call of the owner is legal is in here.
"""

from __future__ import annotations

from enum import Enum

from quic_transport.messages import (
    AvatarRequest,
    Bye,
    Hello,
    KeyframeRequest,
    Ping,
    Pong,
    Ready,
    Refuse,
    Stats,
)


class State(Enum):
    """Where a call stands."""

    IDLE = "idle"
    CALLING = "calling"  # client: our hello is out
    LISTENING = "listening"  # server: the peer's hello is awaited
    RINGING = "ringing"  # server: the owner decides
    OPEN = "open"
    DRAINING = "draining"  # the peer said bye; its last frames are awaited
    CLOSING = "closing"  # we said bye or refused; that is being delivered
    CLOSED = "closed"


ENDING = frozenset({State.DRAINING, State.CLOSING, State.CLOSED})
"""States of a call that is over but for what is still on its way."""

_TALK = (Refuse, Bye, AvatarRequest, Ready, KeyframeRequest, Ping, Pong, Stats)
MESSAGES: dict[State, tuple[type, ...]] = {
    State.IDLE: (),
    State.CALLING: (Hello, Refuse, Bye),
    State.LISTENING: (Hello,),
    State.RINGING: (Bye,),
    State.OPEN: _TALK,
    State.DRAINING: _TALK,
    State.CLOSING: (Hello, *_TALK),
    State.CLOSED: (Hello, *_TALK),
}
"""Which messages a peer may send when; in the last three they are ignored."""

_ENDS = frozenset({"refuse", "hang_up"})
_OPEN = {"send_frame", "request_keyframe", "send_ready", "send_stats"}
CALLS: dict[State, frozenset[str]] = {
    State.IDLE: frozenset({"start"}),
    State.CALLING: _ENDS,
    State.LISTENING: _ENDS,
    State.RINGING: _ENDS | {"accept"},
    State.OPEN: _ENDS | _OPEN | {"request_avatar", "avatar_known"},
    State.DRAINING: _ENDS,
    State.CLOSING: _ENDS,
    State.CLOSED: _ENDS,
}
"""What the owner may do when; ending a call that is ending does nothing."""
