"""One track through one codec: what it costs and how far off it is.

The rule: real packets from the real encoder, decoded by the real decoder, which must agree with
it to the bit; the error is that of what the decoder gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quic_transport.codec import PROFILES, Pacer, Terms
from quic_transport.codec.golomb import code_length, fold
from quic_transport.codec.profile import Reference
from quic_transport.params import FaceParams, ParamBounds

Float64 = NDArray[np.float64]

CHAIN, CONFIRMED, ALONE = "chain", "confirmed", "alone"
WAYS = (CHAIN, CONFIRMED, ALONE)
"""Predicted from the frame before; from the newest one that a peer can have confirmed; not."""
WARM = 20  # frames that are not timed


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """What became of a track."""

    decoded: Float64
    """[N, 49] what the receiver has at each frame; of a frame that was left out, the one before."""
    kbps: float
    """Payload in whole bytes, at the frames' own times."""
    sizes: NDArray[np.int64]
    """[M] bytes of each packet, the first ones of a way (keyframes) not counted."""
    bits: float
    """Mean bits per packet before padding to bytes."""
    encode_ms: NDArray[np.float64]
    """[M] CPU time."""
    decode_ms: NDArray[np.float64]
    """[M] CPU time."""
    spared: float
    """Share of frames that were left out."""


def run(profile: str, terms: Terms, faces: list[FaceParams], way: str, lag: int, *,
        step: int | None = None, paced: bool = False,
        kbps: float | None = None) -> Coded:  # fmt: skip
    """Code `faces`; `lag`: frames until a confirmation is back; `step`: of the ladder; `paced`:
    leave out faces at rest, and keep a budget of `kbps`."""
    encoder = PROFILES[profile].encoder(terms, gop=0)
    decoder = PROFILES[profile].decoder(terms)
    pacer = Pacer(encoder, kbps=kbps) if paced else None
    if step is not None:
        encoder.step = step
    reference = _references(way, lag)
    decoded: list[Float64] = []
    sizes, bits, encode_ms, decode_ms = [], [], [], []
    sequence = 0
    for face in faces:
        if pacer is not None and not pacer.wants(face):
            decoded.append(decoded[-1])
            continue
        began = time.thread_time()
        frame = encoder.encode(face, reference=reference(sequence))
        middle = time.thread_time()
        out = decoder.decode(frame)
        ended = time.thread_time()
        said = encoder.last_decoded
        assert said is not None
        assert said.vector().tobytes() == out.vector().tobytes()
        if pacer is not None:
            pacer.sent(frame)
        decoded.append(out.vector().astype(np.float64))
        if sequence >= (0 if way == ALONE else lag):
            sizes.append(len(frame.payload))
            bits.append(encoder.coded_bits)
        encode_ms.append(1000 * (middle - began))
        decode_ms.append(1000 * (ended - middle))
        sequence += 1
    duration = (faces[-1].capture_time - faces[0].capture_time) * len(faces) / (len(faces) - 1)
    share = sequence / len(faces)
    return Coded(
        np.array(decoded), float(np.mean(sizes)) * share * len(faces) * 8 / duration / 1000,
        np.array(sizes), float(np.mean(bits)), np.array(encode_ms[WARM:] or encode_ms),
        np.array(decode_ms[WARM:] or decode_ms), 1.0 - share,
    )  # fmt: skip


def _references(way: str, lag: int) -> Callable[[int], Reference]:
    def confirmed(sequence: int) -> Reference:
        return sequence - lag if sequence >= lag else None

    ways: dict[str, Callable[[int], Reference]] = {
        CHAIN: lambda sequence: "last", CONFIRMED: confirmed, ALONE: lambda sequence: None,
    }  # fmt: skip
    return ways[way]


def coarser_eg0(bounds: ParamBounds, true: Float64, bits: int, fps: float) -> tuple[Float64, float]:
    """(decoded [N, 49], kbps) of the paper's chain with so many bits instead of eight."""
    low, high = bounds.low.astype(np.float64), bounds.high.astype(np.float64)
    step = (high - low) / ((1 << bits) - 1)
    codes = np.rint((np.clip(true, low, high) - low) / np.where(step > 0, step, 1.0)).astype(int)
    differences = np.diff(codes, axis=0)
    sizes = [sum(code_length(fold(d)) for d in row) + 7 >> 3 for row in differences.tolist()]
    return low + codes * step, float(np.mean(sizes)) * 8 * fps / 1000


def error_px(form: Float64, decoded: Float64, true: Float64) -> float:
    """Root mean square landmark error of [N, 49] in the quadratic form [49, 49]."""
    e = decoded - true
    return float(np.sqrt(np.einsum("na,ab,nb->n", e, form, e).mean()))


def rate_at(error: float, errors: list[float], rates: list[float]) -> float | None:
    """The rate at which a curve crosses `error`, between its points in the logarithms; None where
    it does not reach it."""
    order = np.argsort(errors)
    x, y = np.log(np.array(errors)[order]), np.log(np.array(rates)[order])
    if not x[0] <= np.log(error) <= x[-1]:
        return None
    return float(np.exp(np.interp(np.log(error), x, y)))
