"""The messages of the control stream, and how each is written as bytes.

The rule: a message validates itself when it is made, so an invalid one can neither be sent nor
come out of the splitter; any bytes give a message, ask for more, or raise WireError.
Reference: docs/wire-format.md, "Messages".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from quic_transport.errors import LocalError, WireError
from quic_transport.offer import (
    AVATAR_ID_BYTES,
    MAX_TEXT_BYTES,
    Offer,
    Reason,
    need,
    short_text,
)
from quic_transport.wire import VERSION, Reader, Writer, encode_varint, peek_varint

TOKEN_BYTES = 16
CALL_ID_BYTES = 8
NO_CALL = bytes(CALL_ID_BYTES)
MAX_MESSAGE_BYTES = 2048
"""Of one message's body. A full hello has about 1,000 bytes."""
MAX_STATS = 32
MAX_STAT_NAME_BYTES = 40


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message each way: who speaks, and what this side sends and receives."""

    kind: ClassVar[int] = 1
    token: bytes
    """16 bytes from the invite in the client's hello; empty in the server's."""
    receives: bool
    """Whether this side wants the other's face."""
    offer: Offer | None = None
    """What this side sends; None if it sends nothing."""
    call_id: bytes = NO_CALL
    """8 random bytes of the caller, the same on each connection of one call; echoed."""
    attempt: int = 0
    """Which connection of the call this is: 0 the first, then growing."""
    clock_ms: int = 0
    """This side's clock when it speaks, ms: datagrams say only the low bits of a time."""
    version: int = VERSION
    """Protocol version; never changes its place, so that any two versions can refuse."""

    def __post_init__(self) -> None:
        need(len(self.token) in (0, TOKEN_BYTES), f"a token has {TOKEN_BYTES} bytes")
        need(len(self.call_id) == CALL_ID_BYTES, f"a call id has {CALL_ID_BYTES} bytes")
        need(self.attempt < 2**32 and self.clock_ms < 2**53, "attempt or clock is out of range")

    def write(self, w: Writer) -> None:
        w.varint(self.version)
        w.blob(self.token)
        w.u8(self.receives | (self.offer is not None) << 1)
        w.fixed(self.call_id)
        w.varint(self.attempt)
        w.varint(self.clock_ms)
        if self.offer is not None:
            self.offer.write(w)

    @staticmethod
    def read(r: Reader) -> Hello:
        version, token, flags = r.varint(), r.blob(TOKEN_BYTES), r.u8()
        if version != VERSION:  # its remaining fields are unknown
            raise WireError(f"the hello has version {version}, this side speaks {VERSION}")
        if flags > 3:
            raise WireError(f"the hello has unknown flags {flags:#x}")
        call_id, attempt, clock_ms = r.fixed(CALL_ID_BYTES), r.varint(), r.varint()
        offer = Offer.read(r) if flags & 2 else None
        return Hello(token, bool(flags & 1), offer, call_id, attempt, clock_ms)


@dataclass(frozen=True, slots=True)
class Refuse:
    """This call will not happen, or cannot go on."""

    kind: ClassVar[int] = 2
    reason: Reason
    """What kind of refusal, for programs."""
    sentence: str
    """Why and what to do, for people; printable, at most 256 bytes."""

    def __post_init__(self) -> None:
        short_text(self.sentence, "the sentence")

    def write(self, w: Writer) -> None:
        w.varint(int(self.reason))
        w.text(self.sentence)

    @staticmethod
    def read(r: Reader) -> Refuse:
        return Refuse(Reason.of(r.varint()), r.text(MAX_TEXT_BYTES))


@dataclass(frozen=True, slots=True)
class Bye:
    """A clean end: frames that were sent before it still count."""

    kind: ClassVar[int] = 3
    sentence: str
    """Why, for people; may be empty."""

    def __post_init__(self) -> None:
        short_text(self.sentence, "the sentence")

    def write(self, w: Writer) -> None:
        w.text(self.sentence)

    @staticmethod
    def read(r: Reader) -> Bye:
        return Bye(r.text(MAX_TEXT_BYTES))


@dataclass(frozen=True, slots=True)
class AvatarRequest:
    """The receiver lacks the offered avatar, or the rest of it."""

    kind: ClassVar[int] = 4
    avatar_id: str
    """64 hex digits: the offered avatar's."""
    offset: int
    """How many bytes the receiver already has."""

    def write(self, w: Writer) -> None:
        w.fixed(bytes.fromhex(self.avatar_id))
        w.varint(self.offset)

    @staticmethod
    def read(r: Reader) -> AvatarRequest:
        return AvatarRequest(r.fixed(AVATAR_ID_BYTES).hex(), r.varint())


@dataclass(frozen=True, slots=True)
class Ready:
    """The receiver has the avatar and its renderer is warm: frames are shown from now on."""

    kind: ClassVar[int] = 5

    def write(self, w: Writer) -> None:
        pass

    @staticmethod
    def read(r: Reader) -> Ready:
        return Ready()


@dataclass(frozen=True, slots=True)
class KeyframeRequest:
    """The receiver's decoder has lost its reference: send a frame that stands alone."""

    kind: ClassVar[int] = 6

    def write(self, w: Writer) -> None:
        pass

    @staticmethod
    def read(r: Reader) -> KeyframeRequest:
        return KeyframeRequest()


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there, and what time is it? Also the keepalive."""

    kind: ClassVar[int] = 7
    sent_us: int
    """When it was sent, microseconds on the sender's clock."""

    def write(self, w: Writer) -> None:
        w.varint(self.sent_us)

    @staticmethod
    def read(r: Reader) -> Ping:
        return Ping(r.varint())


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping, with the three times that NTP needs."""

    kind: ClassVar[int] = 8
    ping_sent_us: int
    """The ping's own time, echoed."""
    received_us: int
    """When the ping arrived, microseconds on the answering side's clock."""
    sent_us: int
    """When this answer left, same clock; never before `received_us`."""

    def write(self, w: Writer) -> None:
        for value in (self.ping_sent_us, self.received_us, self.sent_us - self.received_us):
            w.varint(value)

    @staticmethod
    def read(r: Reader) -> Pong:
        sent, received, held = r.varint(), r.varint(), r.varint()
        return Pong(sent, received, received + held)


@dataclass(frozen=True, slots=True)
class Stats:
    """Named counters that one side tells the other, for its table at the end."""

    kind: ClassVar[int] = 9
    values: Mapping[str, float] = field(default_factory=dict)
    """At most 32 finite numbers with printable names."""

    def __post_init__(self) -> None:
        need(len(self.values) <= MAX_STATS, f"at most {MAX_STATS} statistics fit a message")
        for name, value in self.values.items():
            short = len(name.encode("utf-8", "replace")) <= MAX_STAT_NAME_BYTES
            need(short and name.isprintable(), f"{name!r} is too long to name a statistic")
            need(math.isfinite(value), f"the statistic {name} is {value}")

    def write(self, w: Writer) -> None:
        w.u8(len(self.values))
        for name, value in self.values.items():
            w.text(name)
            w.f64(value)

    @staticmethod
    def read(r: Reader) -> Stats:
        return Stats({r.text(MAX_STAT_NAME_BYTES): r.f64() for _ in range(r.u8())})


Message = Hello | Refuse | Bye | AvatarRequest | Ready | KeyframeRequest | Ping | Pong | Stats
MESSAGE_TYPES: dict[int, type[Message]] = {
    cls.kind: cls
    for cls in (Hello, Refuse, Bye, AvatarRequest, Ready, KeyframeRequest, Ping, Pong, Stats)
}


def encode_message(message: Message) -> bytes:
    """Kind (1 byte), body length (varint), body."""
    w = Writer()
    message.write(w)
    body = w.data()
    if len(body) > MAX_MESSAGE_BYTES:
        raise LocalError(f"a {type(message).__name__} of {len(body)} bytes exceeds the limit")
    return bytes([message.kind]) + encode_varint(len(body)) + body


def decode_message(kind: int, body: bytes) -> Message:
    """The message with this kind and body; WireError if there is none."""
    if kind not in MESSAGE_TYPES:
        raise WireError(f"there is no message of kind {kind}")
    r = Reader(body, f"a message of kind {kind}")
    try:
        message = MESSAGE_TYPES[kind].read(r)
    except LocalError as error:  # the constructor's sentence; here the peer is to blame
        raise WireError(f"a message of kind {kind} is invalid: {error}") from None
    r.end()
    return message


class MessageSplitter:
    """Cuts the control stream's bytes into (kind, body), holding at most one message."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Store bytes; call `next_raw` until it returns None before feeding more."""
        self._buffer += data

    def next_raw(self) -> tuple[int, bytes] | None:
        """The next complete message, undecoded, or None: more bytes are needed."""
        if len(self._buffer) < 2:
            return None
        if self._buffer[0] not in MESSAGE_TYPES:
            raise WireError(f"there is no message of kind {self._buffer[0]}")
        got = peek_varint(self._buffer, 1)
        if got is None:
            return None
        size, start = got
        if size > MAX_MESSAGE_BYTES:
            raise WireError(f"a message of {size} bytes; the limit is {MAX_MESSAGE_BYTES}")
        if len(self._buffer) < start + size:
            return None
        kind, body = self._buffer[0], bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return kind, body

    def pending(self) -> bool:
        """Whether the stream stopped in the middle of a message."""
        return bool(self._buffer)
