"""What a live sender would have sent, from the rows of a training set.

The rule: the live filter itself (sender.smoothing), run forward over the frames in the order of
their times; row n depends on rows 0 to n alone. The portrait stands still in its own frame, so its
place takes no part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.params import EXPRESSION_DIM, within_reach
from sender.portrait_crop import euler_angles, rotation_matrix
from sender.smoothing import FaceState, Smoother, settings_of

Float64 = NDArray[np.float64]


def smoothed_track(
    time: ArrayLike, vectors: ArrayLike, *, tracker: str, schema: str = "arkit46"
) -> Float64:
    """[N, 49] as sent, of what the extractor called `tracker` saw: `vectors` [N, 49] (46
    coefficients, then pitch, yaw and roll in radians) at `time` [N] seconds, rising."""
    smoother = Smoother(schema, settings_of(tracker))
    place = np.array([0.0, 0.0, 0.0])
    out = np.array(vectors, dtype=np.float64)
    for row, now in zip(out, np.asarray(time, dtype=np.float64), strict=True):
        seen = FaceState(row[:EXPRESSION_DIM].copy(), rotation_matrix(row[EXPRESSION_DIM:]), place)
        belief = smoother.follow(seen, float(now))
        if belief is not seen:
            row[:EXPRESSION_DIM] = within_reach(belief.expression)
            row[EXPRESSION_DIM:] = euler_angles(belief.rotation)
    return out
