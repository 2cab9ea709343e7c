"""Hypothesis strategies for what crosses the wire, and one reproducible synthetic track."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import strategies as st

from quic_transport.avatar_file import AvatarMeta
from quic_transport.params import EXPRESSION_DIM, PARAM_DIM, FaceParams, ParamBounds

SEQUENCES = st.integers(0, 2**32 - 1)
TIMES = st.floats(0, 1e6, allow_nan=False)
# Neither denormal nor near overflow: a parameter is a coefficient or an angle.
NUMBERS = st.floats(-8, 8, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)

AVATAR_META = AvatarMeta(
    name="Zoë", schema="arkit46", extractor="truth",
    bounds=ParamBounds(np.full(PARAM_DIM, -0.1, np.float32), np.ones(PARAM_DIM, np.float32)),
    distance_m=0.61, portrait_scale=2.6, size_px=256, frame_rate=25.0,
    created="2024-05-06T07:08:09+00:00", provenance={"preset": "fast", "steps": 900, "psnr": 30.5},
)  # fmt: skip


def same_meta(a: AvatarMeta, b: AvatarMeta) -> bool:
    """Every field, bit for bit."""
    return a.to_json() == b.to_json() and a.bounds.equals(b.bounds)


@st.composite
def bounds(draw: st.DrawFn) -> ParamBounds:
    """Any usable bounds; some dimensions are degenerate (low == high)."""
    ends = [draw(st.tuples(NUMBERS, NUMBERS)) for _ in range(PARAM_DIM)]
    flat = draw(st.sets(st.integers(0, PARAM_DIM - 1), max_size=8))
    low = [min(pair) for pair in ends]
    high = [low[i] if i in flat else max(pair) for i, pair in enumerate(ends)]
    return ParamBounds(np.array(low, np.float32), np.array(high, np.float32))


@st.composite
def face_params(draw: st.DrawFn) -> FaceParams:
    """Any face, inside or outside of whatever bounds."""
    vector = draw(st.lists(NUMBERS, min_size=PARAM_DIM, max_size=PARAM_DIM))
    return FaceParams.from_vector(vector, draw(TIMES))


@st.composite
def arrival_orders(draw: st.DrawFn, count: int) -> list[int]:
    """Indices below `count` as a bad network delivers them: lost, doubled, out of order."""
    kept = [i for i in range(count) for _ in range(draw(st.sampled_from([1, 1, 1, 0, 2])))]
    late = [i + draw(st.sampled_from([0, 0, 0, 0, 3])) for i in kept]
    return [i for _, i in sorted(zip(late, kept, strict=True), key=lambda pair: pair[0])]


def synthetic_track(seed: int, count: int, fps: float = 20.0) -> list[FaceParams]:
    """A face that moves smoothly and trembles a little, the same on every machine.

    Only `random.Random.random` (whose sequence Python guarantees) and the four operations are
    used, so the track can be the input of golden bitstreams.
    """
    rng = random.Random(seed)
    value, target = [0.0] * PARAM_DIM, [0.0] * PARAM_DIM
    track = []
    for index in range(count):
        for i in range(PARAM_DIM):
            if rng.random() < 0.08:  # a new expression or gaze now and then
                target[i] = rng.random() if i < EXPRESSION_DIM else rng.random() - 0.5
                target[i] *= rng.random()
            value[i] += 0.3 * (target[i] - value[i]) + 0.01 * (rng.random() - 0.5)
            if i < EXPRESSION_DIM:
                value[i] = min(max(value[i], 0.0), 1.0)
        track.append(FaceParams.from_vector(value, index / fps))
    return track
