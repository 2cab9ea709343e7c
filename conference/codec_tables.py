"""Profile rc's tables from the training frames of an avatar, as its own tracker sends them.

The rule: learned once, from training frames alone, by running the codec itself over them; what
comes out are integers that travel with the avatar. The transform is the KLT of the parameters in
the metric of visibility (`conference.codec_metric`), so that one step serves all numbers.
Reference: Goyal 2001, "Theoretical foundations of transform coding".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quic_transport.codec.fraction_coder import TOTAL
from quic_transport.codec.place import PLACE_DIM
from quic_transport.codec.rc import PLACE_UNITS, expected
from quic_transport.codec.rc import Coded as CodedFrame
from quic_transport.codec.rc_costs import Costs
from quic_transport.codec.rc_tables import (
    ESCAPE,
    LAGS,
    MAX_BASIS,
    MAX_COEFFICIENT,
    MEAN_BITS,
    RHO_BITS,
    SHAPES,
    SYMBOLS,
    TOP,
    VALUE_BITS,
    Int64,
    Tables,
    class_of,
)
from quic_transport.codec.residuals import STEPS, USUAL_STEP, Shapes, split
from quic_transport.params import PARAM_DIM

Float64 = NDArray[np.float64]

USUAL_PX = 0.25
"""The usual step in the metric's pixels."""
FPS = 20.0
MOST_FRAMES = 1000
"""Of a track that the codec runs over for its shares."""
LEARN_LAGS = (1, 3, 6, 0)  # 0: every frame alone
LEARN_STEPS = (USUAL_STEP - 2, USUAL_STEP, USUAL_STEP + 3)
PRIOR = 60.0  # symbols of a shape that the Laplace distribution stands for
SPREAD = ((1, 0.5), (2, 0.25), (3, 0.1))  # what neighbouring shapes lend each other
EVEN = 20  # the shape with a mean magnitude of 1
LEAST_PLACE = 1.0 / 512  # usual size of the place's residuals, however still the tripod stood
WHOLE_PLACE = 0.25  # of a keyframe's


def learn(vectors: Float64, places: Float64, times: Float64, metric: Float64) -> Tables:
    """The tables of a track [N, 49] with its places [N, 3] at `times` [N] s, N >= 2."""
    mean = vectors.mean(axis=0)
    values, axes = np.linalg.eigh(metric)
    values = np.maximum(values, 1e-9 * values[-1])
    root, back = (axes * np.sqrt(values)) @ axes.T, (axes / np.sqrt(values)) @ axes.T
    seen = (vectors - mean) @ root
    strength, klt = np.linalg.eigh(seen.T @ seen / len(seen))
    klt = klt[:, np.argsort(-strength, kind="stable")]
    unit = USUAL_PX / STEPS[USUAL_STEP]
    basis = np.clip(np.rint((klt.T @ back) * unit * 2.0**VALUE_BITS), -MAX_BASIS, MAX_BASIS)
    numbers = np.concatenate([seen @ klt / unit, places * PLACE_UNITS], axis=1)
    numbers = np.clip(numbers, -MAX_COEFFICIENT, MAX_COEFFICIENT)
    tracks = [numbers[list(p)] for p in phases(times)]
    rho, scale = _motion(tracks)
    tables = Tables(
        mean=np.rint(mean * 2.0**MEAN_BITS).astype(np.int64), basis=basis.astype(np.int64),
        rho=rho, scale=scale, shape=_shares(laplace()),
    )  # fmt: skip
    return replace(tables, shape=_shares(PRIOR * laplace() + _counted(tables, tracks)))


def phases(times: Float64, fps: float = FPS) -> Iterator[NDArray[np.int64]]:
    """The frames nearest to the ticks of `fps`, from several starts so that all are used."""
    interval = float(np.median(np.diff(times)))
    for start in range(max(1, round(1.0 / (fps * interval)))):
        wanted = np.arange(times[min(start, len(times) - 1)], times[-1] + 1e-9, 1.0 / fps)
        after = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
        nearer = wanted - times[after - 1] < times[after] - wanted
        yield np.unique(after - nearer)


def _motion(tracks: list[Float64]) -> tuple[Int64, Int64]:
    """(rho, scale) of each class."""
    rows, sizes = [np.zeros(tracks[0].shape[1])], []
    whole = np.concatenate(tracks)
    sizes.append(np.abs(whole).mean(axis=0))
    sizes[0][PARAM_DIM:] = WHOLE_PLACE * PLACE_UNITS
    for lag in LAGS:
        pairs = [(t[:-lag], t[lag:]) for t in tracks if len(t) > lag]
        if not pairs:  # a track too short to say
            rows.append(rows[-1] if lag > 1 else np.ones_like(rows[0]))
            sizes.append(sizes[-1])
            continue
        before = np.concatenate([a for a, _ in pairs])
        after = np.concatenate([b for _, b in pairs])
        rho = np.clip((before * after).sum(axis=0) / ((before**2).sum(axis=0) + 1e-9), 0.0, 1.0)
        rho[PARAM_DIM:] = 1.0
        rows.append(rho)
        size = np.abs(after - rho * before).mean(axis=0)
        size[PARAM_DIM:] = np.maximum(size[PARAM_DIM:], LEAST_PLACE * PLACE_UNITS)
        sizes.append(size)
    scale = EVEN + 4 * np.log2(np.maximum(np.stack(sizes), 1e-6) / STEPS[0])
    rho_int = np.rint(np.stack(rows) * 2.0**RHO_BITS).astype(np.int64)
    return rho_int, np.clip(np.rint(scale), 0, 127).astype(np.int64)


def laplace() -> Float64:
    """[SHAPES, SYMBOLS] of rounded Laplace distributions, four to an octave."""
    size = np.array([(s + 1) // 2 for s in range(SYMBOLS - 1)], dtype=np.float64)
    width = np.maximum(2.0 ** ((np.arange(SHAPES) - EVEN) / 4), 0.02)[:, None]
    half = 0.5 * np.exp(-(np.maximum(size - 0.5, 0.0)) / width)
    share = half - 0.5 * np.exp(-(size + 0.5) / width)
    share[:, 0] = 1.0 - np.exp(-0.5 / width[:, 0])
    beyond = np.exp(-(TOP + 0.5) / width)
    return np.asarray(np.concatenate([share, beyond], axis=1))


def _counted(tables: Tables, tracks: list[Float64]) -> Float64:
    """[SHAPES, SYMBOLS] how often each symbol came when the codec ran over the tracks."""
    counts = np.zeros((SHAPES, SYMBOLS))
    costs = Costs(tables)
    for track in tracks:
        for lag in LEARN_LAGS:
            for step in LEARN_STEPS:
                _run(tables, costs, track[:MOST_FRAMES], lag, step, counts)
    out = counts.copy()
    for distance, share in SPREAD:
        out[distance:] += share * counts[:-distance]
        out[:-distance] += share * counts[distance:]
    return out


def _run(tables: Tables, costs: Costs, track: Float64, lag: int, step: int,
         counts: Float64) -> None:  # fmt: skip
    done: list[CodedFrame] = []
    count = PARAM_DIM + PLACE_DIM
    for n, wanted in enumerate(track):
        before = done[n - lag] if 0 < lag <= n else None
        kind = class_of(lag) if before is not None else 0
        prediction = expected(tables, before, kind, count)
        residuals = costs.rounded((wanted - prediction) / STEPS[step], kind, step)
        done.append(CodedFrame(prediction + residuals * STEPS[step], step))
        shapes = Shapes(tables, kind, step)
        for residual in residuals[:PARAM_DIM].tolist():
            shape, low = shapes.next()
            high, _ = split(residual, low)
            size = abs(high)
            counts[shape, ESCAPE if size > TOP else 2 * size - (high < 0)] += 1
            shapes.note(residual)


def _shares(weights: Float64) -> Int64:
    """Rows of integers >= 1 with the sum TOTAL, in proportion to `weights`."""
    rows = weights / weights.sum(axis=1, keepdims=True) * (TOTAL - SYMBOLS)
    whole = np.floor(rows).astype(np.int64)
    for row, exact in zip(whole, rows, strict=True):
        rest = TOTAL - SYMBOLS - int(row.sum())
        row[np.argsort(-(exact - row), kind="stable")[:rest]] += 1
    return whole + 1


__all__ = ["laplace", "learn", "phases"]
