"""What a session tells its owner: small frozen facts, in the order in which they became true.

The rule: exactly one `CallEnded` comes, and it comes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from quic_transport.codec.profile import EncodedFrame
from quic_transport.errors import FacewireError, LocalError, RemoteError
from quic_transport.messages import Hello
from quic_transport.offer import Reason, Refusal, clip_sentence

CLOSE_CODE_BASE = 0x100
"""QUIC application error codes are this plus the Reason."""


class Ending(Enum):
    """How a call came to its end."""

    HUNG_UP = "we hung up"
    PEER_HUNG_UP = "the peer hung up"
    PEER_LOST = "the peer fell silent"
    PEER_REFUSED = "the peer refused"
    WE_REFUSED = "we refused the peer"


@dataclass(frozen=True, slots=True)
class Ringing:
    """Server only: an authenticated caller waits for `accept()` or `refuse()`."""

    hello: Hello
    """What the caller said."""


@dataclass(frozen=True, slots=True)
class CallOpened:
    """Both hellos have crossed and fit: frames may flow."""

    hello: Hello
    """What the peer said."""


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """A parameter frame has arrived, in order."""

    frame: EncodedFrame
    """The frame; `capture_time` is on the sender's clock, rounded to a millisecond."""
    arrival: float
    """Seconds on our clock at which its last byte came."""


@dataclass(frozen=True, slots=True)
class KeyframeWanted:
    """The next frame that is sent must be a keyframe."""

    why: str
    """"peer" (its decoder asked) or "queue" (a queue of ours was dropped as a whole)."""


@dataclass(frozen=True, slots=True)
class AvatarProgress:
    """Part of an avatar has crossed, in either direction."""

    done: int
    """Bytes so far, including what was there before."""
    total: int
    """Bytes in all."""
    sending: bool
    """True at the side that sends the avatar."""


@dataclass(frozen=True, slots=True)
class AvatarReceived:
    """The peer's avatar is here, whole and verified (or came from the cache)."""

    avatar_id: str
    """64 hex digits."""
    data: bytes
    """The file."""
    cached: bool = False
    """Whether it was already here."""


@dataclass(frozen=True, slots=True)
class PeerReady:
    """The peer's renderer is warm; frames from now on are shown."""


@dataclass(frozen=True, slots=True)
class PeerStats:
    """The peer's counters, for our table."""

    values: dict[str, float]
    """Name → number."""


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The last event of a call."""

    how: Ending
    """What kind of end."""
    sentence: str
    """Cause and remedy for the user."""
    reason: Reason = Reason.HUNG_UP
    """The code of a refusal; HUNG_UP for clean ends, TIMEOUT for a lost peer."""

    @property
    def close_code(self) -> int:
        """The QUIC error code with which this side then closes the connection."""
        ours = self.how is Ending.WE_REFUSED
        return CLOSE_CODE_BASE + (self.reason if ours else Reason.HUNG_UP)

    @staticmethod
    def by_transport(code: int, sentence: str) -> CallEnded:
        """The end of a call whose connection was closed under it."""
        sentence = clip_sentence(sentence)
        if code == CLOSE_CODE_BASE + Reason.HUNG_UP:
            return CallEnded(Ending.PEER_HUNG_UP, sentence or "the peer hung up")
        if code > CLOSE_CODE_BASE:
            reason = Reason.of(code - CLOSE_CODE_BASE)
            return CallEnded(Ending.PEER_REFUSED, f"the peer refused: {sentence}", reason)
        why = f"the connection to the peer broke ({sentence or 'no reason given'})"
        return CallEnded(Ending.PEER_LOST, why, Reason.FAILED)

    @staticmethod
    def silence(seconds: float) -> CallEnded:
        """The end of a call whose peer was not heard for so long."""
        why = f"the peer has been silent for {seconds:g} s: it was stopped or the network is gone"
        return CallEnded(Ending.PEER_LOST, why, Reason.TIMEOUT)

    @staticmethod
    def no_hello(seconds: float) -> CallEnded:
        """The end of a connection on which nobody introduced themselves."""
        why = f"the peer connected but said no hello within {seconds:g} s; try again"
        return CallEnded(Ending.PEER_LOST, why, Reason.TIMEOUT)

    def error(self) -> FacewireError | None:
        """What to raise: None after a clean end, LocalError if a wrong token or a busy peer is
        ours to mend, RemoteError otherwise."""
        if self.how in (Ending.HUNG_UP, Ending.PEER_HUNG_UP):
            return None
        if self.reason in (Reason.WRONG_TOKEN, Reason.BUSY) and self.how is Ending.PEER_REFUSED:
            return LocalError(self.sentence)
        if self.reason is not None and self.how is Ending.PEER_REFUSED:
            return Refusal(self.reason, self.sentence)
        return RemoteError(self.sentence)


Event = (
    Ringing | CallOpened | FrameReceived | KeyframeWanted | AvatarProgress | AvatarReceived
    | PeerReady | PeerStats | CallEnded
)  # fmt: skip
