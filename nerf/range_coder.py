"""A binary range coder whose probabilities learn as they go, in whole numbers only.

The rule: encoder and decoder take the same integer steps, so a stream decodes to the same symbols
on every machine; a decoder that runs past the end of its bytes reads zeros and stops nowhere, so
its caller bounds the work by the number of symbols it asks for. Bits come in an order that both
sides know; a bit's probability is the mean of a quick and a slow running estimate.
References: Martin 1979 (range coding); Pavlov's LZMA for the carry-less byte output; the two-rate
estimate as in VVC (Bross et al. 2021, §III-H).
"""

from __future__ import annotations

import numpy as np

from nerf.cpu.encode import kernel

FAST, SLOW = 4, 7  # shifts of the two estimates
HALF = 1 << 15
TOP = 1 << 24

# An encoder is int64 [4]: low, range, pending byte (-1: none yet), pending 0xFF bytes; and a
# position. A decoder is int64 [3]: code, range, position. Kernels pass these arrays around because
# numba inlines functions over arrays and nothing else is as fast.
LOW, RANGE, CACHE, PENDING, AT = 0, 1, 2, 3, 4
CODE, WIDTH, READ = 0, 1, 2


def new_models(count: int) -> np.ndarray:
    """`count` probabilities at one half: uint16 [count, 2]."""
    return np.full((count, 2), HALF, np.uint16)


def new_encoder() -> np.ndarray:
    """An encoder's state before its first bit."""
    return np.array([0, 0xFFFFFFFF, -1, 0, 0], np.int64)


@kernel
def probability(models, index):  # type: ignore[no-untyped-def]
    """Chance of a zero bit in 1/4096, 1 .. 4095."""
    p = (np.int64(models[index, 0]) + np.int64(models[index, 1])) >> 5
    return min(max(p, np.int64(1)), np.int64(4095))


@kernel
def learn(models, index, bit):  # type: ignore[no-untyped-def]
    """Move a probability towards what was seen."""
    fast, slow = np.int64(models[index, 0]), np.int64(models[index, 1])
    if bit:
        fast -= fast >> FAST
        slow -= slow >> SLOW
    else:
        fast += (65535 - fast) >> FAST
        slow += (65535 - slow) >> SLOW
    models[index, 0] = fast
    models[index, 1] = slow


@kernel
def shift_low(state, out):  # type: ignore[no-untyped-def]
    """Let the top byte go once no carry can change it any more."""
    low = state[LOW]
    if low < 0xFF000000 or low > 0xFFFFFFFF:
        carry = low >> 32
        if state[CACHE] >= 0:
            out[state[AT]] = (state[CACHE] + carry) & 0xFF
            state[AT] += 1
        while state[PENDING] > 0:
            out[state[AT]] = (0xFF + carry) & 0xFF
            state[AT] += 1
            state[PENDING] -= 1
        state[CACHE] = (low >> 24) & 0xFF
    else:
        state[PENDING] += 1
    state[LOW] = (low << 8) & 0xFFFFFFFF


@kernel
def put(state, out, models, index, bit):  # type: ignore[no-untyped-def]
    """Write a bit under a model."""
    bound = (state[RANGE] >> 12) * probability(models, index)
    if bit:
        state[LOW] += bound
        state[RANGE] -= bound
    else:
        state[RANGE] = bound
    learn(models, index, bit)
    while state[RANGE] < TOP:
        state[RANGE] = (state[RANGE] << 8) & 0xFFFFFFFF
        shift_low(state, out)


@kernel
def put_even(state, out, bit):  # type: ignore[no-untyped-def]
    """Write a bit that is as likely 0 as 1."""
    state[RANGE] >>= 1
    if bit:
        state[LOW] += state[RANGE]
    while state[RANGE] < TOP:
        state[RANGE] = (state[RANGE] << 8) & 0xFFFFFFFF
        shift_low(state, out)


@kernel
def finish(state, out):  # type: ignore[no-untyped-def]
    """Write what is still held back; the stream's length."""
    for _ in range(5):
        shift_low(state, out)
    return state[AT]


@kernel
def start(state, data):  # type: ignore[no-untyped-def]
    """Bring a decoder's int64 [3] to the first bit of `data`."""
    state[CODE], state[WIDTH], state[READ] = 0, 0xFFFFFFFF, 0
    for _ in range(4):
        state[CODE] = (state[CODE] << 8) | next_byte(state, data)


@kernel
def next_byte(state, data):  # type: ignore[no-untyped-def]
    """The next byte, zero after the last one."""
    at = state[READ]
    state[READ] = at + 1
    return np.int64(data[at]) if at < data.shape[0] else np.int64(0)


@kernel
def get(state, data, models, index):  # type: ignore[no-untyped-def]
    """Read a bit under a model."""
    bound = (state[WIDTH] >> 12) * probability(models, index)
    if state[CODE] < bound:
        state[WIDTH] = bound
        bit = 0
    else:
        state[CODE] -= bound
        state[WIDTH] -= bound
        bit = 1
    learn(models, index, bit)
    while state[WIDTH] < TOP:
        state[WIDTH] = (state[WIDTH] << 8) & 0xFFFFFFFF
        state[CODE] = ((state[CODE] << 8) | next_byte(state, data)) & 0xFFFFFFFF
    return bit


@kernel
def get_even(state, data):  # type: ignore[no-untyped-def]
    """Read a bit that is as likely 0 as 1."""
    state[WIDTH] >>= 1
    if state[CODE] < state[WIDTH]:
        bit = 0
    else:
        state[CODE] -= state[WIDTH]
        bit = 1
    while state[WIDTH] < TOP:
        state[WIDTH] = (state[WIDTH] << 8) & 0xFFFFFFFF
        state[CODE] = ((state[CODE] << 8) | next_byte(state, data)) & 0xFFFFFFFF
    return bit
