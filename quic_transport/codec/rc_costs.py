"""What a residual costs, and whether it is worth it: the encoder's decisions.

The rule: an encoder's own business. Whatever it decides is a valid frame, so floats are fine here.
A residual is rounded, moved one towards zero, or dropped, whichever has the least squared error
(in steps) plus LAMBDA times its bits; bits as the tables say before liveliness is known.
Reference: Sullivan & Wiegand 1998, "Rate-distortion optimization for video compression".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quic_transport.codec.fraction_coder import TOTAL_BITS
from quic_transport.codec.rc_tables import ESCAPE, SYMBOLS, TOP, Int64, Tables
from quic_transport.codec.residuals import PER_STEP, is_wide

LAMBDA = 0.12
PRICED = 32
"""Magnitudes from here on are rounded, no more: their cost hardly changes from one to the next."""

Float64 = NDArray[np.float64]


class Costs:
    """Prices and decisions for one avatar's tables."""

    def __init__(self, tables: Tables) -> None:
        self._scale = tables.scale
        bits = TOTAL_BITS - np.log2(tables.shape.astype(np.float64))
        own = np.zeros((len(bits), TOP + 2))  # by magnitude; the last: an escape and what follows
        own[:, 0] = bits[:, 0]
        own[:, 1 : TOP + 1] = (bits[:, 1 : SYMBOLS - 1 : 2] + bits[:, 2 : SYMBOLS - 1 : 2]) / 2
        own[:, TOP + 1] = bits[:, ESCAPE] + 6
        self._own = own
        self._tables: dict[tuple[int, int], Float64] = {}

    def of(self, kind: int, step: int) -> Float64:
        """[52, PRICED + 1] bits of each number's residual by its magnitude."""
        if (kind, step) not in self._tables:
            base = np.maximum(0, self._scale[kind] - PER_STEP * step)
            low = np.array([is_wide(int(b)) for b in base])
            sizes = np.arange(PRICED + 1)[None] + (1 << low >> 1)[:, None] >> low[:, None]
            rows = (base - 4 * low)[:, None]
            cost = self._own[rows, np.minimum(sizes, TOP + 1)] + low[:, None]
            cost[:, PRICED] = cost[:, PRICED - 1]
            self._tables[kind, step] = cost
        return self._tables[kind, step]

    def rounded(self, wanted: Float64, kind: int, step: int) -> Int64:
        """The residuals to write for `wanted`, both in steps."""
        cost = self.of(kind, step)[: len(wanted)]
        rows = np.arange(len(wanted))
        size = np.abs(wanted)
        near = np.rint(size)
        less = np.maximum(near - 1, 0)
        price_near = (size - near) ** 2 + LAMBDA * cost[rows, np.minimum(near, PRICED).astype(int)]
        price_less = (size - less) ** 2 + LAMBDA * cost[rows, np.minimum(less, PRICED).astype(int)]
        price_none = size**2 + LAMBDA * cost[:, 0]
        best = np.where(price_less < price_near, less, near)
        best = np.where(price_none < np.minimum(price_less, price_near), 0, best)
        return (np.sign(wanted) * best).astype(np.int64)
