"""The head's place in the full picture as three integers on a fixed grid.

The rule: one grid for all avatars, fine enough that no eye sees it: a step is 1/2048 of a portrait
width sideways and 1/2048 of the logarithm of the size, which is a quarter of a pixel of a portrait
of 512. What lies beyond the grid is put on its edge, sixteen portrait widths away.
Reference: `FaceParams.offset`; docs/conventions.md, "The stabilised portrait".
"""

from __future__ import annotations

import numpy as np

from quic_transport.errors import LocalError
from quic_transport.params import FaceParams, FloatArray

PLACE_DIM = 3
PLACE_STEPS = 2048
"""Per portrait width, and per unit of log-scale."""
TOP_PLACE = (1 << 15) - 1

Place = tuple[int, int, int]


def place_of(params: FaceParams) -> Place:
    """The nearest grid point of `params.offset`; LocalError if the tracker gave none."""
    if params.offset is None:
        raise LocalError(
            "this stream carries the head's place in the picture, and the tracker gave none"
        )
    grid = np.rint(params.offset.astype(np.float64) * PLACE_STEPS)
    x, y, z = np.clip(grid, -TOP_PLACE, TOP_PLACE).astype(int).tolist()
    return x, y, z


def offset_of(place: Place) -> FloatArray:
    """Float32 [3], exact: every grid point is a float32."""
    return np.array(place, dtype=np.float32) / np.float32(PLACE_STEPS)
