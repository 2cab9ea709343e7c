"""Profile `eg0`, the paper's codec: quantise, subtract the previous frame, Exp-Golomb.

The rule: prediction runs on the integer codes of the frame before, which the decoder has too,
so nothing can drift. A keyframe is the 49 codes as they are, one byte each: on real tracks every
Exp-Golomb form of a keyframe is longer (docs/wire-format.md has the numbers). A predicted frame
is 49 codewords of the differences, padded with zero bits to whole bytes.
Reference: the paper, "Encoding and Decoding"; keyframes are ours (its announced future work).
"""

from __future__ import annotations

import numpy as np

from quic_transport.codec.bits import BitReader, BitWriter
from quic_transport.codec.golomb import code_length, fold, read_signed, write_signed
from quic_transport.codec.profile import SEQUENCE_MODULUS, EncodedFrame, sequence_distance
from quic_transport.codec.quantizer import TOP_CODE, Codes, Quantizer
from quic_transport.errors import CodecError, LocalError
from quic_transport.params import PARAM_DIM, FaceParams, ParamBounds

KEY_PAYLOAD_BYTES = PARAM_DIM  # one byte per code
MAX_PAYLOAD_BYTES = (PARAM_DIM * code_length(fold(TOP_CODE)) + 7) // 8  # 105: all ±255


class FaceEncoder:
    """Codes one sender's frames for one avatar's bounds; sequence numbers start at 0.

    Every encoded frame must reach the decoder or be followed by a keyframe: drop frames before
    the encoder, never after it.
    """

    def __init__(self, bounds: ParamBounds, *, gop: int = 0, first_sequence: int = 0) -> None:
        """`gop` frames from one keyframe to the next (1: all are keyframes); 0: only the first
        frame and those that are asked for, as in the paper."""
        if gop < 0:
            raise LocalError(f"gop must be 0 or the frames from keyframe to keyframe, not {gop}")
        self._quantizer = Quantizer(bounds)
        self._gop = gop
        self._sequence = first_sequence % SEQUENCE_MODULUS
        self._since_key = 0  # frames since the last keyframe
        self._codes: Codes | None = None
        self._capture_time = 0.0
        self._coded_bits = 0

    @property
    def reference(self) -> FaceParams | None:
        """What the decoder gets from the last encoded frame, bit for bit; None before the first."""
        if self._codes is None:
            return None
        return FaceParams.from_vector(self._quantizer.dequantise(self._codes), self._capture_time)

    @property
    def coded_bits(self) -> int:
        """Bits of the last frame before padding to bytes; 0 before the first."""
        return self._coded_bits

    def encode(self, params: FaceParams, *, force_keyframe: bool = False) -> EncodedFrame:
        """Code the next frame; `offset` is not part of the 49 and is not coded."""
        codes = self._quantizer.quantise(params.vector())
        if self._codes is None or force_keyframe or self._since_key + 1 == self._gop:
            key, payload, bits = True, codes.tobytes(), 8 * PARAM_DIM
        else:
            writer = BitWriter()
            for code, previous in zip(codes.tolist(), self._codes.tolist(), strict=True):
                write_signed(writer, code - previous)
            key, payload, bits = False, writer.to_bytes(), len(writer)
        frame = EncodedFrame(self._sequence, key, params.capture_time, payload)
        self._since_key = 0 if key else self._since_key + 1
        self._sequence = (self._sequence + 1) % SEQUENCE_MODULUS
        self._codes, self._capture_time, self._coded_bits = codes, params.capture_time, bits
        return frame


class FaceDecoder:
    """Decodes one encoder's frames as they arrive; only `CodecError`, in bounded time.

    A frame that cannot be decoded takes its successors with it: from then on `needs_keyframe` is
    true and only a keyframe continues. Late frames are harmless: a late keyframe is decoded but
    does not replace a newer reference, a late predicted frame is refused.
    """

    def __init__(self, bounds: ParamBounds) -> None:
        self._quantizer = Quantizer(bounds)
        self._codes: Codes | None = None  # of frame `_sequence`; None: needs a keyframe
        self._sequence = 0

    @property
    def needs_keyframe(self) -> bool:
        """Whether only a keyframe can be decoded next: ask the sender for one."""
        return self._codes is None

    def decode(self, frame: EncodedFrame) -> FaceParams:
        """The parameters of `frame`, float for float the encoder's `reference`."""
        ahead = 1 if self._codes is None else sequence_distance(frame.sequence, self._sequence)
        if not frame.key and self._codes is not None and ahead <= 0:
            raise CodecError(f"frame {frame.sequence} comes after its successor was decoded")
        previous = self._codes
        if ahead > 0:
            self._codes = None  # until this frame has proved to be good
        if frame.key:
            codes = _decode_key(frame.payload)
        elif previous is None:
            raise CodecError(f"frame {frame.sequence} is predicted, but a keyframe must come first")
        elif ahead != 1:
            raise CodecError(
                f"frame {frame.sequence} is predicted from its predecessor, which never came"
                f" (the last one was {self._sequence}); a keyframe must follow"
            )
        else:
            codes = _decode_predicted(frame.payload, previous)
        if ahead > 0:
            self._codes, self._sequence = codes, frame.sequence
        return FaceParams.from_vector(self._quantizer.dequantise(codes), frame.capture_time)


def _decode_key(payload: bytes) -> Codes:
    if len(payload) != KEY_PAYLOAD_BYTES:
        raise CodecError(f"a keyframe has {KEY_PAYLOAD_BYTES} bytes, not {len(payload)}")
    return np.frombuffer(bytes(payload), dtype=np.uint8)


def _decode_predicted(payload: bytes, previous: Codes) -> Codes:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise CodecError(f"a frame has at most {MAX_PAYLOAD_BYTES} bytes, not {len(payload)}")
    reader = BitReader(payload)
    codes = [code + read_signed(reader, TOP_CODE) for code in previous.tolist()]
    reader.finish()
    if min(codes) < 0 or max(codes) > TOP_CODE:
        raise CodecError(f"a difference leads outside the codes 0 .. {TOP_CODE}")
    return np.array(codes, dtype=np.uint8)


class Eg0Profile:
    """The profile's entry in `quic_transport.codec.PROFILES`."""

    name = "eg0"

    def encoder(self, bounds: ParamBounds, *, gop: int) -> FaceEncoder:
        """A fresh encoder, one per call and direction."""
        return FaceEncoder(bounds, gop=gop)

    def decoder(self, bounds: ParamBounds) -> FaceDecoder:
        """A fresh decoder, one per call and direction."""
        return FaceDecoder(bounds)
