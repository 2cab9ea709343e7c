"""Hash tables as short byte strings: quantised where it costs the picture least, range coded.

The rule: a stream is decoded from its bytes, its shape and the tables decoded before it, in whole
numbers; what an encoder does to choose the codes (steps, importance, λ) is its own business. A
value's bits are predicted from how large its neighbours are: the other features of its entry, the
entries beside it on a dense level, and the same place in the tables before it: an entry that the
head does not use is silent in all of them.
References: Sullivan & Wiegand 1998 (rate-distortion choice of levels); Marpe, Schwarz, Wiegand
2003 (context-adaptive binary coding of levels).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerf.cpu.encode import kernel
from nerf.range_coder import (
    finish,
    get,
    get_even,
    new_encoder,
    new_models,
    probability,
    put,
    put_even,
    start,
)

Float32 = NDArray[np.float32]
Int16 = NDArray[np.int16]

NEAR, BEFORE = 8, 12  # classes of the two neighbourhoods
UNARY = 3  # magnitudes below are counted bit by bit, each bit with its model
ESCAPE = 12  # what is left of larger ones has at most so many bits after its first
LARGEST = UNARY + (1 << (ESCAPE + 1)) - 2  # of a code
EACH = UNARY + 3 * (
    ESCAPE + 1
)  # models of a context: unary, then per bit length: longer?, next two
SILENT = 2 * NEAR * BEFORE  # models that say whether an entry is 0 in all four features
MODELS = SILENT + 2 * NEAR * BEFORE * EACH

BIT_COST = np.concatenate([[12.0], -np.log2(np.arange(1, 4097) / 4096)]).astype(np.float32)


def new_history(entries: int) -> NDArray[np.int32]:
    """What nothing was seen of yet: int32 [E, 4], running magnitude in 1/16."""
    return np.zeros((entries, 4), np.int32)


def encode_tables(values: Float32, steps: Float32, importance: Float32, price: float,
                  stride: int, history: NDArray[np.int32]) -> tuple[bytes, Int16]:  # fmt: skip
    """Bytes and codes int16 [B, E, 4] of tables float32 [B, E, 4] with one step each.

    Codes minimise importance [E, 4] · error² + price · bits, greedily;
    where importance is 0 they are 0. `stride` is the number of
    entries along a row of a dense level, 0 for a hashed one; `history` goes on to the next call.
    """
    count, entries, _ = values.shape
    codes = np.zeros((count, entries, 4), np.int16)
    out = np.empty(64 + 6 * values.size, np.uint8)
    size = _encode(np.ascontiguousarray(values, np.float32), steps.astype(np.float32),
                   np.ascontiguousarray(importance, np.float32), np.float32(price), stride,
                   history, new_models(MODELS), new_encoder(), BIT_COST, codes, out)  # fmt: skip
    return out[:size].tobytes().rstrip(b"\0"), codes


def decode_tables(data: NDArray[np.uint8], count: int, stride: int,
                  history: NDArray[np.int32]) -> Int16:  # fmt: skip
    """The codes int16 [B, E, 4] of `count` tables; any bytes give some, none gives zeros."""
    codes = np.zeros((count, history.shape[0], 4), np.int16)
    if data.size == 0:
        for _ in range(min(count, 32)):  # as the kernel would: magnitudes fade
            history += (1 - history) >> 1
        return codes
    _decode(data, stride, history, new_models(MODELS), np.zeros(3, np.int64), codes)
    return codes


@kernel
def _halving(value, most):  # type: ignore[no-untyped-def]
    """Class of a magnitude: two to an octave, at most `most`."""
    if value < 4:
        return min(value, most)
    octave = 0
    v = value
    while v >= 4:
        v >>= 1
        octave += 1
    return min(2 + 2 * octave + (v & 1), most)


@kernel
def _beside(codes, b, e, f, stride):  # type: ignore[no-untyped-def]
    """Magnitudes of a feature in the entries before this one in each direction."""
    total = abs(int(codes[b, e - 1, f])) if e > 0 else 0
    if e >= stride:
        total += abs(int(codes[b, e - stride, f]))
    if e >= stride * stride:
        total += abs(int(codes[b, e - stride * stride, f]))
    return total


@kernel
def _around(codes, b, e, stride, history):  # type: ignore[no-untyped-def]
    """The model of whether entry (b, e) is silent, and half of what its features did before."""
    near = before = 0
    for f in range(4):
        before += int(history[e, f]) >> 1
        if stride > 0:
            near += _beside(codes, b, e, f, stride)
    first = 0 if b == 0 else 1
    model = (first * NEAR + _halving(near, NEAR - 1)) * BEFORE + _halving(before >> 2, BEFORE - 1)
    return model, before


@kernel
def _context(codes, b, e, f, stride, history, others):  # type: ignore[no-untyped-def]
    """First of the models of value (b, e, f); `others` from `_around`."""
    near = 0
    for other in range(f):
        near += 2 * abs(int(codes[b, e, other]))
    if f > 0:
        near = (near * 3) // (2 * f) if f < 3 else near >> 1
    if stride > 0:
        near += _beside(codes, b, e, f, stride)
    before = 2 * int(history[e, f]) + others
    first = 0 if b == 0 else 1
    place = (first * NEAR + _halving(near, NEAR - 1)) * BEFORE + _halving(before >> 3, BEFORE - 1)
    return SILENT + place * EACH


@kernel
def _remember(codes, b, e, history):  # type: ignore[no-untyped-def]
    for f in range(4):
        history[e, f] += (16 * abs(np.int32(codes[b, e, f])) - history[e, f] + 1) >> 1


@kernel
def _price_of(size, models, first, costs):  # type: ignore[no-untyped-def]
    """Bits of a code of magnitude `size`."""
    bits = np.float32(0.0)
    for k in range(min(size, UNARY)):
        bits += costs[4096 - probability(models, first + k)]
    if size < UNARY:
        bits += costs[probability(models, first + size)]
    else:
        rest = size - UNARY + 1
        width = 0
        model = first + UNARY
        while rest >> (width + 1):
            bits += costs[4096 - probability(models, model)]
            width += 1
            model += 3
        if width < ESCAPE:
            bits += costs[probability(models, model)]
        bits += np.float32(width)
    if size > 0:
        bits += np.float32(1.0)
    return bits


@kernel
def _choose(x, step, worth, price, models, first, costs):  # type: ignore[no-untyped-def]
    """The magnitude that is worth its bits, and what it costs with them."""
    best = 0
    least = worth * x * x + price * _price_of(0, models, first, costs)
    exact = int(min(x / step, np.float32(LARGEST - 1)))
    for size in range(max(exact - 1, 1), exact + 2 if worth > 0 else 0):
        off = x - np.float32(size) * step
        cost = worth * off * off
        if cost < least:
            cost += price * _price_of(size, models, first, costs)
            if cost < least:
                least = cost
                best = size
    return best, least


@kernel
def _put_size(size, state, out, models, first):  # type: ignore[no-untyped-def]
    for k in range(min(size, UNARY)):
        put(state, out, models, first + k, 1)
    if size < UNARY:
        put(state, out, models, first + size, 0)
        return
    rest = size - UNARY + 1
    width = 0
    model = first + UNARY
    while rest >> (width + 1):
        put(state, out, models, model, 1)
        width += 1
        model += 3
    if width < ESCAPE:
        put(state, out, models, model, 0)
    for shift in range(width - 1, -1, -1):
        bit = (rest >> shift) & 1
        if shift == width - 1:
            put(state, out, models, model + 1, bit)
        elif shift == width - 2:
            put(state, out, models, model + 2, bit)
        else:
            put_even(state, out, bit)


@kernel
def _get_size(state, data, models, first):  # type: ignore[no-untyped-def]
    size = 0
    while size < UNARY and get(state, data, models, first + size):
        size += 1
    if size < UNARY:
        return size
    width = 0
    model = first + UNARY
    while width < ESCAPE and get(state, data, models, model):
        width += 1
        model += 3
    rest = 1
    for i in range(width):
        if i == 0:
            bit = get(state, data, models, model + 1)
        elif i == 1:
            bit = get(state, data, models, model + 2)
        else:
            bit = get_even(state, data)
        rest = (rest << 1) | bit
    return UNARY - 1 + rest


@kernel
def _encode(values, steps, importance, price, stride, history, models, state, costs, codes, out):  # type: ignore[no-untyped-def]  # fmt: skip
    for b in range(values.shape[0]):
        for e in range(values.shape[1]):
            silent, others = _around(codes, b, e, stride, history)
            heard = price * costs[4096 - probability(models, silent)]
            unheard = price * costs[probability(models, silent)]
            any_left = False
            for f in range(4):
                first = _context(codes, b, e, f, stride, history, others)
                x = abs(values[b, e, f])
                size, cost = _choose(x, steps[b], importance[e, f], price, models, first, costs)
                heard += cost
                unheard += importance[e, f] * x * x
                codes[b, e, f] = -size if values[b, e, f] < 0 else size
                any_left |= size > 0
            if not any_left or unheard <= heard:
                put(state, out, models, silent, 0)
                for f in range(4):
                    codes[b, e, f] = 0
            else:
                put(state, out, models, silent, 1)
                for f in range(4):
                    first = _context(codes, b, e, f, stride, history, others)
                    code = int(codes[b, e, f])
                    _put_size(abs(code), state, out, models, first)
                    if code != 0:
                        put_even(state, out, 1 if code < 0 else 0)
            _remember(codes, b, e, history)
    return finish(state, out)


@kernel
def _decode(data, stride, history, models, state, codes):  # type: ignore[no-untyped-def]
    start(state, data)
    for b in range(codes.shape[0]):
        for e in range(codes.shape[1]):
            silent, others = _around(codes, b, e, stride, history)
            if get(state, data, models, silent):
                for f in range(4):
                    first = _context(codes, b, e, f, stride, history, others)
                    size = _get_size(state, data, models, first)
                    if size > 0:
                        codes[b, e, f] = -size if get_even(state, data) else size
            _remember(codes, b, e, history)
