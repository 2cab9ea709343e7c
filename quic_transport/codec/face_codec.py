"""Profile `eg0`, the paper's codec: quantise, subtract an earlier frame, Exp-Golomb.

The rule: prediction runs on the integer codes of an earlier frame, which the decoder has too, so
nothing can drift. A keyframe is the 49 codes as they are, one byte each: on real tracks every
Exp-Golomb form of a keyframe is longer (docs/wire-format.md has the numbers). A predicted frame
is 49 codewords of the differences, padded with zero bits to whole bytes. `eg0+offset` goes on with
the head's place in the full picture: three numbers on a fixed grid, 16 bits each in a keyframe.
Reference: the paper, "Encoding and Decoding" (the frame before as reference); keyframes, other
references and the place are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quic_transport.codec.bits import BitReader, BitWriter
from quic_transport.codec.golomb import code_length, fold, read_signed, write_signed
from quic_transport.codec.history import History
from quic_transport.codec.place import PLACE_DIM, TOP_PLACE, Place, offset_of, place_of
from quic_transport.codec.profile import SEQUENCE_MODULUS, EncodedFrame, Reference, Terms
from quic_transport.codec.quantizer import TOP_CODE, Codes, Quantizer
from quic_transport.errors import CodecError, LocalError
from quic_transport.params import PARAM_DIM, FaceParams, ParamBounds

KEY_PAYLOAD_BYTES = PARAM_DIM  # one byte per code
PLACE_BYTES = 2 * PLACE_DIM
MAX_PAYLOAD_BYTES = (PARAM_DIM * code_length(fold(TOP_CODE)) + 7) // 8  # 105: all ±255
STILL_PLACE = 4  # grid steps: a 512th of a portrait width
MAX_PLACE_BITS = PLACE_DIM * code_length(fold(2 * TOP_PLACE))


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """One frame's integers: what both ends remember of it."""

    codes: Codes
    """Uint8 [49]."""
    place: Place | None
    """Three integers, or None: the profile does not carry the place."""


class FaceEncoder:
    """Codes one sender's frames for one avatar's bounds; sequence numbers start at 0."""

    def __init__(
        self, bounds: ParamBounds, *, gop: int = 0, first_sequence: int = 0, offset: bool = False
    ) -> None:
        """`gop` frames from one keyframe to the next (1: all are keyframes); 0: only the first
        frame and those that are asked for, as in the paper. `offset`: the place crosses too."""
        if gop < 0:
            raise LocalError(f"gop must be 0 or the frames from keyframe to keyframe, not {gop}")
        self.step = 0
        """Stays 0."""
        self._quantizer = Quantizer(bounds)
        self._gop = gop
        self._offset = offset
        self._sequence = first_sequence % SEQUENCE_MODULUS
        self._since_key = 0  # frames since the last keyframe
        self._history: History[Coded] = History()
        self._last: Coded | None = None
        self._capture_time = 0.0
        self._coded_bits = 0

    @property
    def last_decoded(self) -> FaceParams | None:
        """What the decoder gets from the last encoded frame, bit for bit; None before the first."""
        if self._last is None:
            return None
        return _face(self._quantizer, self._last, self._capture_time)

    @property
    def coded_bits(self) -> int:
        """Bits of the last frame before padding to bytes; 0 before the first."""
        return self._coded_bits

    @property
    def steps(self) -> int:
        """One: the paper's step is fixed."""
        return 1

    def is_still(self, params: FaceParams) -> bool:
        """Whether no code differs by more than one from the last encoded frame's."""
        if self._last is None:
            return False
        codes = self._quantizer.quantise(params.vector()).astype(np.int16)
        still = int(np.abs(codes - self._last.codes).max()) <= 1
        if self._last.place is None:
            return still
        moved = zip(place_of(params), self._last.place, strict=True)
        return still and all(abs(a - b) <= STILL_PLACE for a, b in moved)

    def encode(self, params: FaceParams, *, reference: Reference = "last") -> EncodedFrame:
        """Code the next frame, as `ParameterEncoder.encode` says."""
        place = place_of(params) if self._offset else None
        coded = Coded(self._quantizer.quantise(params.vector()), place)
        found = self._history.find(reference, self._sequence)
        if self._since_key + 1 == self._gop:
            found = None
        writer = BitWriter()
        if found is None:
            for code in coded.codes.tolist():
                writer.write(code, 8)
            for number in place or ():
                writer.write(number % (1 << 16), 16)
        else:
            pairs = zip(coded.codes.tolist(), found[1].codes.tolist(), strict=True)
            for code, before in pairs:
                write_signed(writer, code - before)
            for number, before in zip(place or (), found[1].place or (), strict=True):
                write_signed(writer, number - before)
        frame = EncodedFrame(self._sequence, found is None, params.capture_time,
                             writer.to_bytes(), found[0] if found else None)  # fmt: skip
        self._history.put(self._sequence, coded)
        self._since_key = 0 if frame.key else self._since_key + 1
        self._sequence = (self._sequence + 1) % SEQUENCE_MODULUS
        self._last, self._capture_time, self._coded_bits = coded, params.capture_time, len(writer)
        return frame


class FaceDecoder:
    """Decodes one encoder's frames as they arrive; only `CodecError`, in bounded time.

    A frame that cannot be decoded takes those with it that are predicted from it. Late and
    repeated frames are harmless: they decode to what they always were, or are refused.
    """

    def __init__(self, bounds: ParamBounds, *, offset: bool = False) -> None:
        self._quantizer = Quantizer(bounds)
        self._offset = offset
        self._history: History[Coded] = History()

    @property
    def needs_keyframe(self) -> bool:
        """Whether the newest frame that was tried could not be decoded, or there was none."""
        return self._history.broken

    def decode(self, frame: EncodedFrame) -> FaceParams:
        """The parameters of `frame`, float for float the encoder's `last_decoded`."""
        self._history.tried(frame.sequence)
        if frame.reference is None:
            coded = _decode_key(frame.payload, self._offset)
        else:
            before = self._history.get(frame.reference, frame.sequence)
            coded = _decode_predicted(frame.payload, before)
        self._history.put(frame.sequence, coded)
        return _face(self._quantizer, coded, frame.capture_time)


def _face(quantizer: Quantizer, coded: Coded, capture_time: float) -> FaceParams:
    face = FaceParams.from_vector(quantizer.dequantise(coded.codes), capture_time)
    if coded.place is None:
        return face
    return FaceParams(face.expression, face.rotation, capture_time, offset_of(coded.place))


def _decode_key(payload: bytes, offset: bool) -> Coded:
    size = KEY_PAYLOAD_BYTES + PLACE_BYTES * offset
    if len(payload) != size:
        raise CodecError(f"a keyframe has {size} bytes, not {len(payload)}")
    codes = np.frombuffer(bytes(payload[:KEY_PAYLOAD_BYTES]), dtype=np.uint8)
    if not offset:
        return Coded(codes, None)
    x, y, z = np.frombuffer(bytes(payload[KEY_PAYLOAD_BYTES:]), dtype=">i2").tolist()
    return Coded(codes, (_within(x), _within(y), _within(z)))


def _decode_predicted(payload: bytes, before: Coded) -> Coded:
    most = MAX_PAYLOAD_BYTES
    if before.place is not None:
        most = (PARAM_DIM * code_length(fold(TOP_CODE)) + MAX_PLACE_BITS + 7) // 8
    if len(payload) > most:
        raise CodecError(f"a frame has at most {most} bytes, not {len(payload)}")
    reader = BitReader(payload)
    codes = [code + read_signed(reader, TOP_CODE) for code in before.codes.tolist()]
    place = None
    if before.place is not None:
        x, y, z = (_within(p + read_signed(reader, 2 * TOP_PLACE)) for p in before.place)
        place = (x, y, z)
    reader.finish()
    if min(codes) < 0 or max(codes) > TOP_CODE:
        raise CodecError(f"a difference leads outside the codes 0 .. {TOP_CODE}")
    return Coded(np.array(codes, dtype=np.uint8), place)


def _within(number: int) -> int:
    if not -TOP_PLACE <= number <= TOP_PLACE:
        raise CodecError(f"a place of {number} lies outside -{TOP_PLACE} .. {TOP_PLACE}")
    return number


class Eg0Profile:
    """The profile's entries in `quic_transport.codec.PROFILES`: `eg0` and `eg0+offset`."""

    def __init__(self, *, offset: bool = False) -> None:
        self.name = "eg0+offset" if offset else "eg0"
        self._offset = offset

    def encoder(self, terms: Terms, *, gop: int) -> FaceEncoder:
        """A fresh encoder, one per call and direction."""
        return FaceEncoder(terms.bounds, gop=gop, offset=self._offset)

    def decoder(self, terms: Terms) -> FaceDecoder:
        """A fresh decoder, one per call and direction."""
        return FaceDecoder(terms.bounds, offset=self._offset)
