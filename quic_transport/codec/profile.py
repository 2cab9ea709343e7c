"""What every parameter codec looks like from outside: one frame in, one frame out.

The rule: whoever sends, receives or measures parameter frames knows only this interface, so a
second profile can live beside the first and two peers can agree on one by name at hello.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from quic_transport.errors import LocalError
from quic_transport.params import FaceParams, ParamBounds

SEQUENCE_MODULUS = 1 << 32
RING = 128
"""Frames that both ends remember: a frame may be predicted from any of the RING - 1 before it."""

Reference = int | Literal["last"] | None
"""What a frame is to be predicted from: a sequence number, the frame coded before, or nothing."""


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One coded parameter frame, as a message of the session carries it."""

    sequence: int
    """The encoder's frame counter, 0 .. 2**32 - 1, wrapping around to 0."""

    key: bool
    """Whether the frame decodes by itself; otherwise it needs frame `reference`."""

    capture_time: float
    """Seconds on the sender's monotonic clock at which the frame was captured."""

    payload: bytes
    """The coded parameters, whole bytes; their layout is the profile's business."""

    reference: int | None = None
    """Sequence number of the frame that this one is predicted from; None for keyframes. Left out
    for a predicted frame: the frame before."""

    def __post_init__(self) -> None:
        if not 0 <= self.sequence < SEQUENCE_MODULUS:
            raise LocalError(f"sequence must be in 0 .. 2**32 - 1, not {self.sequence}")
        if not math.isfinite(self.capture_time):
            raise LocalError(f"capture_time must be finite, not {self.capture_time}")
        if self.key and self.reference is not None:
            raise LocalError(f"keyframe {self.sequence} cannot be predicted from another")
        if not self.key and self.reference is None:
            object.__setattr__(self, "reference", (self.sequence - 1) % SEQUENCE_MODULUS)
        if self.reference is not None and not 0 <= self.reference < SEQUENCE_MODULUS:
            raise LocalError(f"reference must be in 0 .. 2**32 - 1, not {self.reference}")

    @property
    def payload_bits(self) -> int:
        """Bits that the payload puts on the wire, padding included."""
        return 8 * len(self.payload)


def sequence_distance(sequence: int, reference: int) -> int:
    """How many frames `sequence` lies ahead of `reference` (negative: behind), across the wrap.

    Serial-number arithmetic (RFC 1982): the shorter way around, in -2**31 .. 2**31 - 1.
    """
    half = SEQUENCE_MODULUS // 2
    return (sequence - reference + half) % SEQUENCE_MODULUS - half


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """What both ends must have in common before a profile can start."""

    bounds: ParamBounds
    """The range of the avatar's training frames."""

    sections: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """The avatar's sections; a profile looks at those that begin with `codec.` alone."""


class ParameterEncoder(Protocol):
    """The sender's half of a profile. Frames must be handed over in capture order."""

    step: int
    """The rung of the profile's ladder of steps for the next frames: 0 is the finest."""

    @property
    def steps(self) -> int:
        """How many rungs the ladder has; 1: the step is fixed."""

    @property
    def last_decoded(self) -> FaceParams | None:
        """What the decoder gets from the last encoded frame, bit for bit; None before the first."""

    @property
    def coded_bits(self) -> int:
        """Bits of the last frame before padding to bytes; 0 before the first."""

    def is_still(self, params: FaceParams) -> bool:
        """Whether `params` say nothing new after the last encoded frame."""

    def encode(self, params: FaceParams, *, reference: Reference = "last") -> EncodedFrame:
        """Code the next frame, predicted from frame `reference` if that is among the RING - 1
        frames coded before, else as a keyframe; None asks for a keyframe. A sender that names
        only frames that the peer has confirmed can lose any frame without losing another."""


class ParameterDecoder(Protocol):
    """The receiver's half of a profile. On any frame: a value, or CodecError; its subclass
    ReferenceLost where the frame may be good, but what it is predicted from is not here."""

    @property
    def needs_keyframe(self) -> bool:
        """Whether the newest frame that was tried could not be decoded (or there was none): ask
        the sender for a keyframe, unless its frames refer to confirmed ones anyway."""

    def decode(self, frame: EncodedFrame) -> FaceParams:
        """The parameters of `frame`, which may come late or twice."""


class Profile(Protocol):
    """A named pair of encoder and decoder."""

    @property
    def name(self) -> str:
        """What the peers call it at hello, e.g. `eg0`."""

    def encoder(self, terms: Terms, *, gop: int) -> ParameterEncoder:
        """A fresh encoder, one per call and direction; with `gop` > 0 at least every gop-th frame
        is a keyframe. AvatarFileError if the avatar lacks what the profile needs."""

    def decoder(self, terms: Terms) -> ParameterDecoder:
        """A fresh decoder, one per call and direction; AvatarFileError likewise."""
