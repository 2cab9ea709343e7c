"""Profile `rc`: the avatar's own transform, one step for all numbers, arithmetic coding.

The 49 parameters become 49 coefficients in which an error of one unit is equally visible in every
direction; the difference to what the reference lets expect is rounded to multiples of the step and
written with the avatar's own shares. Nothing is clipped: what lies outside the training frames
costs more bits.

The rule: the encoder may think in floats, but what it writes are integers, and both ends make the
references and the probabilities from integers alone: the same on every machine, for ever.
Reference: rate-distortion-optimised quantisation, Sullivan & Wiegand 1998; the rest is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quic_transport.codec.body import (
    REST,
    Body,
    body_of,
    numbers_of,
    read_body,
    settled,
    write_body,
)
from quic_transport.codec.fraction_coder import FractionReader, FractionWriter
from quic_transport.codec.history import History
from quic_transport.codec.place import PLACE_DIM
from quic_transport.codec.profile import (
    SEQUENCE_MODULUS,
    EncodedFrame,
    Reference,
    Terms,
    sequence_distance,
)
from quic_transport.codec.rc_costs import Costs
from quic_transport.codec.rc_tables import (
    MAX_COEFFICIENT,
    MEAN_BITS,
    RHO_BITS,
    VALUE_BITS,
    Int64,
    Tables,
    class_of,
    from_sections,
)
from quic_transport.codec.residuals import (
    STEPS,
    USUAL_STEP,
    Shapes,
    read_residual,
    read_step,
    write_residual,
    write_step,
)
from quic_transport.errors import AvatarFileError, CodecError, LocalError
from quic_transport.params import EXPRESSION_DIM, PARAM_DIM, FaceParams, within_reach

PLACE_UNITS = 1 << 16
"""Fine units of the place: per portrait width, and per unit of log-scale."""
MAX_PLACE = 16.0
STILL = 0.6
"""Of a step: a face that is nearer than this to the last one in every number says nothing new."""


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """One frame's integers: what both ends remember of it."""

    numbers: Int64
    """[49] or [52] coefficients (and the place) in fine units."""
    step: int
    """The rung of the ladder that it was coded with."""
    body: Body | None = None
    """How the body stands, four integers; None: the profile does not carry it."""


def expected(tables: Tables, before: Coded | None, kind: int, count: int) -> Int64:
    """What the reference lets expect of the `count` numbers; zeros without one."""
    if before is None:
        return np.zeros(count, np.int64)
    return tables.rho[kind, :count] * before.numbers + (1 << RHO_BITS - 1) >> RHO_BITS


def body_before(before: Coded | None) -> Body:
    """What a frame expects of the body: what `before` has, the guess without one."""
    return REST if before is None or before.body is None else before.body


def face_of(tables: Tables, coded: Coded, capture_time: float) -> FaceParams:
    """The parameters that both ends make of a frame's integers, the same floats everywhere."""
    exact = (tables.mean << VALUE_BITS - MEAN_BITS) + coded.numbers[:PARAM_DIM] @ tables.basis
    vector = (exact / float(1 << VALUE_BITS)).astype(np.float32)
    expression = within_reach(vector[:EXPRESSION_DIM])
    offset = None
    if len(coded.numbers) > PARAM_DIM:
        offset = (coded.numbers[PARAM_DIM:] / float(PLACE_UNITS)).astype(np.float32)
    body = None if coded.body is None else numbers_of(coded.body)
    return FaceParams(expression, vector[EXPRESSION_DIM:], capture_time, offset, body)


class RcEncoder:
    """Codes one sender's frames with one avatar's tables; sequence numbers start at 0."""

    def __init__(
        self, tables: Tables, *, gop: int = 0, first_sequence: int = 0, offset: bool = False,
        body: bool = False,
    ) -> None:  # fmt: skip
        """`gop` frames from one keyframe to the next; 0: only the first and those asked for.
        `offset`: the place crosses too; `body`: and how the body stands."""
        if gop < 0:
            raise LocalError(f"gop must be 0 or the frames from keyframe to keyframe, not {gop}")
        self.step = USUAL_STEP
        """The rung of the ladder for the next frames: 0, the finest, to 11; two per octave."""
        self._tables = tables
        self._costs = Costs(tables)
        self._count = PARAM_DIM + PLACE_DIM * offset
        self._body = body
        self._mean = tables.mean / float(1 << MEAN_BITS)
        try:
            self._forward = np.linalg.inv(tables.basis / float(1 << VALUE_BITS))
        except np.linalg.LinAlgError:
            raise AvatarFileError("its codec tables are damaged: a basis without inverse") from None
        self._gop = gop
        self._sequence = first_sequence % SEQUENCE_MODULUS
        self._since_key = 0
        self._history: History[Coded] = History()
        self._last: Coded | None = None
        self._capture_time = 0.0
        self._coded_bits = 0

    @property
    def last_decoded(self) -> FaceParams | None:
        """What the decoder gets from the last encoded frame, bit for bit; None before the first."""
        if self._last is None:
            return None
        return face_of(self._tables, self._last, self._capture_time)

    @property
    def coded_bits(self) -> int:
        """Bits of the last frame before padding to bytes; 0 before the first."""
        return self._coded_bits

    @property
    def steps(self) -> int:
        """Twelve."""
        return len(STEPS)

    def is_still(self, params: FaceParams) -> bool:
        """Whether `params` say nothing new after the last encoded frame."""
        if self._last is None:
            return False
        if self._last.body not in (None, self._settled(params)):
            return False
        away = np.abs(self._wanted(params) - self._last.numbers).max()
        return bool(away < STILL * STEPS[self.step])

    def encode(self, params: FaceParams, *, reference: Reference = "last") -> EncodedFrame:
        """Code the next frame, as `ParameterEncoder.encode` says."""
        found = self._history.find(reference, self._sequence)
        if found is None or self._since_key + 1 == self._gop:
            number, before, kind = None, None, 0
        else:
            number, before = found
            kind = class_of(sequence_distance(self._sequence, number))
        prediction = expected(self._tables, before, kind, self._count)
        wanted = self._wanted(params) - prediction
        residuals = self._costs.rounded(wanted / STEPS[self.step], kind, self.step)
        writer = FractionWriter()
        write_step(writer, self.step, before.step if before is not None else None)
        shapes = Shapes(self._tables, kind, self.step)
        for residual in residuals.tolist():
            write_residual(writer, self._tables, shapes, residual)
        body = self._settled(params) if self._body else None
        if body is not None:
            write_body(writer, body, body_before(before), kind)
        coded = Coded(prediction + residuals * STEPS[self.step], self.step, body)
        frame = EncodedFrame(self._sequence, number is None, params.capture_time,
                             writer.to_bytes(), number)  # fmt: skip
        self._history.put(self._sequence, coded)
        self._since_key = 0 if frame.key else self._since_key + 1
        self._sequence = (self._sequence + 1) % SEQUENCE_MODULUS
        self._last, self._capture_time = coded, params.capture_time
        self._coded_bits = min(writer.cost, frame.payload_bits)
        return frame

    def _settled(self, params: FaceParams) -> Body:
        """The body's integers after those of the last frame."""
        return settled(body_of(params), body_before(self._last))

    def _wanted(self, params: FaceParams) -> NDArray[np.float64]:
        """The numbers that would give `params` exactly, in fine units."""
        numbers = (params.vector().astype(np.float64) - self._mean) @ self._forward
        if self._count > PARAM_DIM:
            if params.offset is None:
                raise LocalError(
                    "this stream carries the head's place in the picture, and the tracker gave none"
                )
            place = np.clip(params.offset.astype(np.float64), -MAX_PLACE, MAX_PLACE)
            numbers = np.concatenate([numbers, PLACE_UNITS * place])
        limit = MAX_COEFFICIENT - STEPS[-1]
        return np.asarray(np.clip(numbers, -limit, limit))


class RcDecoder:
    """Decodes one encoder's frames as they arrive; only `CodecError`, in bounded time."""

    def __init__(self, tables: Tables, *, offset: bool = False, body: bool = False) -> None:
        self._tables = tables
        self._count = PARAM_DIM + PLACE_DIM * offset
        self._body = body
        self._history: History[Coded] = History()

    @property
    def needs_keyframe(self) -> bool:
        """Whether the newest frame that was tried could not be decoded, or there was none."""
        return self._history.broken

    def decode(self, frame: EncodedFrame) -> FaceParams:
        """The parameters of `frame`, float for float the encoder's `last_decoded`."""
        self._history.tried(frame.sequence)
        before, kind = None, 0
        if frame.reference is not None:
            before = self._history.get(frame.reference, frame.sequence)
            kind = class_of(sequence_distance(frame.sequence, frame.reference))
        coded = self._read(frame.payload, before, kind)
        self._history.put(frame.sequence, coded)
        return face_of(self._tables, coded, frame.capture_time)

    def _read(self, payload: bytes, before: Coded | None, kind: int) -> Coded:
        reader = FractionReader(payload)
        step = read_step(reader, before.step if before is not None else None)
        shapes = Shapes(self._tables, kind, step)
        residuals = [read_residual(reader, self._tables, shapes) for _ in range(self._count)]
        body = read_body(reader, body_before(before), kind) if self._body else None
        reader.finish()
        prediction = expected(self._tables, before, kind, self._count)
        numbers = prediction + np.array(residuals, np.int64) * STEPS[step]
        if np.abs(numbers).max() > MAX_COEFFICIENT:
            raise CodecError("a coefficient is out of range")
        return Coded(numbers, step, body)


class RcProfile:
    """The profile's entries in `quic_transport.codec.PROFILES`: `rc`, `rc+offset` and
    `rc+offset+body`."""

    def __init__(self, *, offset: bool = False, body: bool = False) -> None:
        self.name = "rc" + "+offset" * offset + "+body" * body
        self._offset, self._body = offset, body

    def encoder(self, terms: Terms, *, gop: int) -> RcEncoder:
        """A fresh encoder, one per call and direction; AvatarFileError without tables."""
        return RcEncoder(self._tables(terms), gop=gop, offset=self._offset, body=self._body)

    def decoder(self, terms: Terms) -> RcDecoder:
        """A fresh decoder, one per call and direction; AvatarFileError without tables."""
        return RcDecoder(self._tables(terms), offset=self._offset, body=self._body)

    def _tables(self, terms: Terms) -> Tables:
        tables = from_sections(terms.sections)
        if tables is None:
            raise AvatarFileError(
                f"the avatar has no tables for the codec {self.name}: use eg0, or train it again"
            )
        return tables
