"""Uniform 8-bit quantisation of the 49 parameters between the avatar's bounds.

The rule: both ends reconstruct from the integer codes alone, by the same table, so the same
codes are the same floats everywhere. With `w = high - low` of a dimension:

    code(x)  = round((clip(x, low, high) - low) * 255 / w)    0 where w = 0
    value(c) = low + w * (c / 255)                            low where w = 0

so |value(code(x)) - clip(x, low, high)| is at most half a step, w / 510, plus float32's rounding.
Reference: the paper, "Encoding and Decoding" (bounds of the training set, 8 bits).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.params import PARAM_DIM, FloatArray, ParamBounds, frozen_vector

LEVELS = 256
TOP_CODE = LEVELS - 1

Codes = NDArray[np.uint8]


class Quantizer:
    """49 floats ↔ 49 codes, for one avatar's bounds."""

    def __init__(self, bounds: ParamBounds) -> None:
        self._low = bounds.low.astype(np.float64)  # [49]
        self._high = bounds.high.astype(np.float64)  # [49]
        width = self._high - self._low
        # A degenerate dimension (w = 0) codes 0: nothing is left above `low` after clipping.
        self._scale = np.divide(TOP_CODE, width, out=np.zeros(PARAM_DIM), where=width > 0)
        ramp = np.arange(LEVELS) / TOP_CODE  # [256]
        table = self._low[:, None] + width[:, None] * ramp  # [49, 256]
        # float32 rounds monotonically, so clipped values stay within the float32 bounds.
        table = np.clip(table, self._low[:, None], self._high[:, None])
        self._table: FloatArray = table.astype(np.float32)
        self._rows = np.arange(PARAM_DIM)

    @property
    def steps(self) -> FloatArray:
        """Float32 [49]: distance between neighbouring values of each dimension."""
        return ((self._high - self._low) / TOP_CODE).astype(np.float32)

    def quantise(self, vector: ArrayLike) -> Codes:
        """Uint8 [49], the nearest code of each of the 49 finite numbers in `vector`."""
        x = frozen_vector(vector, PARAM_DIM, "vector").astype(np.float64)
        x = np.clip(x, self._low, self._high) - self._low
        return np.rint(x * self._scale).astype(np.uint8)

    def dequantise(self, codes: Codes) -> FloatArray:
        """Float32 [49], the values that both ends use for `codes`, uint8 [49]."""
        assert codes.shape == (PARAM_DIM,), codes.shape
        return self._table[self._rows, codes]
