"""What a sender offers at hello, and the reasons for which a call is refused or ended.

The rule: an offer that exists is valid; whether it suits the other side is the session's question.
Reference: docs/wire-format.md, "Messages".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from quic_transport.errors import LocalError, RemoteError
from quic_transport.params import PARAM_DIM, ParamBounds
from quic_transport.wire import Reader, Writer

AVATAR_ID_BYTES = 32
MAX_TEXT_BYTES = 256
MAX_FPS = 240.0
STREAM, STREAM_PER_GOP, DATAGRAM = "stream", "stream-per-gop", "datagram"
MODES = (DATAGRAM, STREAM, STREAM_PER_GOP)
"""How frames can cross."""


class Reason(IntEnum):
    """Why a call is refused or ended; the code on the wire."""

    HUNG_UP = 0
    WRONG_TOKEN = 1
    VERSION = 2
    BUSY = 3
    ROLES = 4
    SCHEMA = 5
    PROFILE = 6
    BOUNDS = 7
    AVATAR = 8
    PROTOCOL = 9
    TIMEOUT = 10
    FAILED = 11

    @classmethod
    def of(cls, code: int) -> Reason:
        """The reason with this code; FAILED for codes from the future."""
        return cls(code) if code in set(cls) else cls.FAILED


class Refusal(RemoteError):
    """The peer is turned away, or turned us away; the text is the sentence for both sides."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def need(ok: bool, sentence: str) -> None:
    """LocalError with this sentence unless `ok`."""
    if not ok:
        raise LocalError(sentence)


def short_text(value: str, what: str) -> None:
    """LocalError unless `value` is printable and short enough to be sent."""
    need(
        len(value.encode("utf-8", "replace")) <= MAX_TEXT_BYTES and value.isprintable(),
        f"{what} must be printable text of at most {MAX_TEXT_BYTES} bytes",
    )


def clip_sentence(text: str) -> str:
    """`text` made fit to be sent as a reason: one printable line of at most 256 bytes."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line.encode("utf-8", "replace")[:MAX_TEXT_BYTES].decode("utf-8", "ignore")


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """What a sender says at hello about the face that it is going to send."""

    name: str
    """The avatar's or person's name, printable, at most 256 bytes; for display only."""
    schema: str
    """Names the 46 expression numbers: a key of `params.SCHEMAS`."""
    extractor: str
    """Which tracker makes the parameters, e.g. "mediapipe"; compared with the avatar's."""
    profile: str
    """The parameter codec's profile, e.g. "eg0"."""
    fps: float
    """Nominal frame rate, frames per second, in (0, 240]; kept as the float32 that crosses."""
    bounds: ParamBounds
    """The quantiser's range, 49 pairs; both ends must use the same."""
    avatar_id: str
    """SHA-256 of the avatar file, 64 lower-case hex digits."""
    avatar_size: int
    """The avatar file's size, bytes, > 0."""
    mode: str = "stream"
    """How frames cross, one of MODES: "stream" is one reliable, ordered stream (the paper's),
    "stream-per-gop" one for each keyframe and what follows it, "datagram" none at all."""

    def __post_init__(self) -> None:
        for what in ("name", "schema", "extractor", "profile", "mode"):
            short_text(getattr(self, what), what)
        need(
            math.isfinite(self.fps) and 0 < self.fps <= MAX_FPS,
            f"fps must lie in (0, {MAX_FPS:g}], not {self.fps}",
        )
        object.__setattr__(self, "fps", float(np.float32(self.fps)))
        need(
            len(self.avatar_id) == 2 * AVATAR_ID_BYTES
            and all(c in "0123456789abcdef" for c in self.avatar_id),
            "avatar_id must be 64 lower-case hex digits",
        )
        need(0 < self.avatar_size < 2**63, f"avatar_size must be positive, not {self.avatar_size}")

    def mismatch(self, schema: str, extractor: str, bounds: ParamBounds) -> str | None:
        """One sentence if this offer does not fit an avatar with these properties, else None."""
        if self.schema != schema:
            return f"the sender's schema is {self.schema}, its avatar's is {schema}"
        if self.extractor != extractor:
            return f"the sender tracks with {self.extractor}, its avatar was made with {extractor}"
        if not self.bounds.equals(bounds):
            return "the sender's parameter bounds are not those of its avatar"
        return None

    def write(self, w: Writer) -> None:
        for text in (self.name, self.schema, self.extractor, self.profile, self.mode):
            w.text(text)
        w.f32(self.fps)
        w.fixed(self.bounds.low.astype("<f4").tobytes())
        w.fixed(self.bounds.high.astype("<f4").tobytes())
        w.fixed(bytes.fromhex(self.avatar_id))
        w.varint(self.avatar_size)

    @staticmethod
    def read(r: Reader) -> Offer:
        name, schema, extractor, profile, mode = (r.text(MAX_TEXT_BYTES) for _ in range(5))
        fps = r.f32()
        low = np.frombuffer(r.fixed(4 * PARAM_DIM), "<f4")
        high = np.frombuffer(r.fixed(4 * PARAM_DIM), "<f4")
        avatar_id = r.fixed(AVATAR_ID_BYTES).hex()
        return Offer(name, schema, extractor, profile, fps, ParamBounds(low, high), avatar_id,
                     r.varint(), mode)  # fmt: skip
