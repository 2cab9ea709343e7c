"""What every parameter codec looks like from outside: one frame in, one frame out.

The rule: whoever sends, receives or measures parameter frames knows only this interface, so a
second profile can live beside the first and two peers can agree on one by name at hello.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from quic_transport.errors import LocalError
from quic_transport.params import FaceParams, ParamBounds

SEQUENCE_MODULUS = 1 << 32


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One coded parameter frame, as a message of the session carries it."""

    sequence: int
    """The encoder's frame counter, 0 .. 2**32 - 1, wrapping around to 0."""

    key: bool
    """Whether the frame decodes by itself; otherwise it needs frame `sequence - 1`."""

    capture_time: float
    """Seconds on the sender's monotonic clock at which the frame was captured."""

    payload: bytes
    """The coded parameters, whole bytes; their layout is the profile's business."""

    def __post_init__(self) -> None:
        if not 0 <= self.sequence < SEQUENCE_MODULUS:
            raise LocalError(f"sequence must be in 0 .. 2**32 - 1, not {self.sequence}")
        if not math.isfinite(self.capture_time):
            raise LocalError(f"capture_time must be finite, not {self.capture_time}")

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


class ParameterEncoder(Protocol):
    """The sender's half of a profile. Frames must be handed over in capture order."""

    @property
    def reference(self) -> FaceParams | None:
        """What the decoder gets from the last encoded frame, bit for bit; None before the first."""

    @property
    def coded_bits(self) -> int:
        """Bits of the last frame before padding to bytes; 0 before the first."""

    def encode(self, params: FaceParams, *, force_keyframe: bool = False) -> EncodedFrame:
        """Code the next frame."""


class ParameterDecoder(Protocol):
    """The receiver's half of a profile. Only `CodecError` on any frame."""

    @property
    def needs_keyframe(self) -> bool:
        """Whether only a keyframe can be decoded next: ask the sender for one."""

    def decode(self, frame: EncodedFrame) -> FaceParams:
        """The parameters of `frame`."""


class Profile(Protocol):
    """A named pair of encoder and decoder."""

    @property
    def name(self) -> str:
        """What the peers call it at hello, e.g. `eg0`."""

    def encoder(self, bounds: ParamBounds, *, gop: int) -> ParameterEncoder:
        """A fresh encoder, one per call and direction."""

    def decoder(self, bounds: ParamBounds) -> ParameterDecoder:
        """A fresh decoder, one per call and direction."""
