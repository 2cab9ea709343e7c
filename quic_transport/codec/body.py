"""How the body stands as four integers, and their symbols in an `rc` frame.

The rule: integers around the guess that both ends make from the head, so a body that stands as
expected is all zeros; a keyframe expects zeros, any other frame what its reference has. The shares
are the same for all avatars, since the numbers' units are (`nerf.torso_own`): no table travels.
A number moves only where it is off by more than HOLD: a body at rest is silent.
Reference: `FaceParams.body`; docs/wire-format.md, "The body".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quic_transport.codec.fraction_coder import TOTAL, FractionReader, FractionWriter
from quic_transport.errors import CodecError
from quic_transport.params import BODY_DIM, FaceParams, FloatArray

TOP_BODY = 127
HOLD = 0.75
LARGEST = 6  # residual with a symbol of its own: 0, -1, 1, ... -6, 6, and the escape
ESCAPE = 2 * LARGEST + 1
ESCAPE_BITS = 8

Body = tuple[int, ...]
REST: Body = (0,) * BODY_DIM

SAME = (4915, 16905, 8380, 5491, 3937, 2320, 1241, 983, 983)
"""Of TOTAL, by class: the share of "as expected, all four"; class 0 is keyframes."""
SPREAD = (
    (12, 8, 10, 4), (6, 2, 3, 2), (7, 3, 4, 3), (8, 4, 4, 3), (9, 5, 5, 4), (10, 5, 6, 4),
    (11, 6, 7, 4), (12, 7, 8, 5), (12, 9, 9, 6),
)  # fmt: skip
"""By class and number, s: a residual of m + 1 is s/16 as likely as one of m."""


def shares(spread: int) -> tuple[int, ...]:
    """[LARGEST + 2] of TOTAL: of 0, of either sign of 1 .. LARGEST, of the escape. Integers."""
    weights = [spread**m * 16 ** (LARGEST + 1 - m) for m in range(LARGEST + 2)]
    whole = weights[0] + 2 * sum(weights[1:-1]) + weights[-1]
    out = [max(1, weight * TOTAL // whole) for weight in weights]
    out[0] = TOTAL - 2 * sum(out[1:-1]) - out[-1]
    return tuple(out)


def _starts(spread: int) -> list[int]:
    """Where the symbols 0, -1, 1, -2, ... and the escape begin; TOTAL at the end."""
    zero, *others, escape = shares(spread)
    each = [zero, *(share for share in others for _ in range(2)), escape]
    return [sum(each[:i]) for i in range(len(each) + 1)]


STARTS = tuple(tuple(tuple(_starts(s)) for s in row) for row in SPREAD)


def body_of(params: FaceParams) -> Sequence[float]:
    """The four numbers, within what can be sent; those of the guess where nobody measured."""
    if params.body is None:
        return REST
    limited = np.clip(params.body.astype(np.float64), -TOP_BODY, TOP_BODY)
    return [float(x) for x in limited]


def settled(wanted: Sequence[float], last: Body) -> Body:
    """The integers to send where `last` was sent before."""
    return tuple(
        round(x) if abs(x - before) > HOLD else before
        for x, before in zip(wanted, last, strict=True)
    )


def numbers_of(body: Body) -> FloatArray:
    """Float32 [4], exact."""
    return np.array(body, dtype=np.float32)


def write_body(writer: FractionWriter, body: Body, before: Body, kind: int) -> None:
    """The four integers of a frame of class `kind` that expects `before`."""
    if body == before:
        writer.write(0, SAME[kind])
        return
    writer.write(SAME[kind], TOTAL - SAME[kind])
    for number, expected, starts in zip(body, before, STARTS[kind], strict=True):
        residual = number - expected
        size = abs(residual)
        symbol = ESCAPE if size > LARGEST else 2 * size - (residual < 0)
        writer.write(starts[symbol], starts[symbol + 1] - starts[symbol])
        if symbol == ESCAPE:
            writer.write_raw(residual < 0, 1)
            writer.write_raw(size - LARGEST - 1, ESCAPE_BITS)


def read_body(reader: FractionReader, before: Body, kind: int) -> Body:
    """What `write_body` wrote; CodecError for anything that it never writes."""
    if reader.peek() < SAME[kind]:
        reader.take(0, SAME[kind])
        return before
    reader.take(SAME[kind], TOTAL - SAME[kind])
    found = []
    for expected, starts in zip(before, STARTS[kind], strict=True):
        at = reader.peek()
        symbol = next(s for s in range(ESCAPE + 1) if at < starts[s + 1])
        reader.take(starts[symbol], starts[symbol + 1] - starts[symbol])
        negative, size = symbol & 1, (symbol + 1) // 2
        if symbol == ESCAPE:
            negative = reader.read_raw(1)
            size = LARGEST + 1 + reader.read_raw(ESCAPE_BITS)
        found.append(expected + (-size if negative else size))
    body = tuple(found)
    if body == before or max(abs(n) for n in body) > TOP_BODY:
        raise CodecError("the body's numbers are out of range, or said the long way")
    return body
