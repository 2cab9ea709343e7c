"""What profile `rc` knows of one avatar: a transform, how far its numbers move, how they scatter.

The rule: integers only, in the avatar that both ends have; whatever both ends compute from them
is exact on every machine. Whatever a peer puts into them gives tables that work or an
AvatarFileError. Made by conference/codec_tables.py; docs/wire-format.md has the meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quic_transport.codec.fraction_coder import TOTAL
from quic_transport.codec.place import PLACE_DIM
from quic_transport.errors import AvatarFileError
from quic_transport.params import PARAM_DIM

Int64 = NDArray[np.int64]

SECTION = "codec."
NUMBERS = PARAM_DIM + PLACE_DIM  # 49 coefficients, then the place
LAGS = (1, 2, 3, 4, 6, 9, 14, 23)
"""Class c >= 1 of a predicted frame: the last whose entry is not above the lag; 0: keyframes."""
CLASSES = len(LAGS) + 1
SHAPES = 34
TOP = 24
"""Largest magnitude with a symbol of its own; symbols 0 .. 2 TOP are 0, -1, 1, -2, 2, ..."""
SYMBOLS = 2 * TOP + 2
ESCAPE = SYMBOLS - 1
VALUE_BITS, MEAN_BITS, RHO_BITS = 30, 20, 15
MAX_BASIS = 1 << 28
MAX_COEFFICIENT = 1 << 21
"""Of a coefficient or place, in fine units: 49 · 2**28 · 2**21 < 2**55 stays exact in 64 bits."""


def class_of(lag: int) -> int:
    """The class of a frame predicted from the one `lag` >= 1 frames before it."""
    return sum(entry <= lag for entry in LAGS)


@dataclass(frozen=True, eq=False)
class Tables:
    """One avatar's tables."""

    mean: Int64
    """[49] of the parameters, in 2**-20."""
    basis: Int64
    """[49, 49] what a fine unit of coefficient k (row) adds to the parameters, in 2**-30."""
    rho: Int64
    """[CLASSES, 52] how much of the reference to expect, in 2**-15; 0 for keyframes."""
    scale: Int64
    """[CLASSES, 52] shape index of a residual in the finest steps, four per octave, 0 .. 127."""
    shape: Int64
    """[SHAPES, SYMBOLS] shares of TOTAL, each at least 1."""

    @cached_property
    def starts(self) -> list[list[int]]:
        """[SHAPES][SYMBOLS + 1] where each symbol's share begins."""
        padded = np.zeros((SHAPES, SYMBOLS + 1), np.int64)
        np.cumsum(self.shape, axis=1, out=padded[:, 1:])
        return [[int(v) for v in row] for row in padded]

    @cached_property
    def expected(self) -> list[int]:
        """[SHAPES] mean magnitude of a symbol's value, in 1/64 (an escape counts TOP + 1)."""
        size = np.array([(s + 1) // 2 for s in range(SYMBOLS - 1)] + [TOP + 1], np.int64)
        return [int(v) for v in (self.shape * size).sum(axis=1) * 64 // TOTAL]


def to_sections(tables: Tables) -> dict[str, NDArray[np.generic]]:
    """The tables as named arrays of an avatar file."""
    return {
        SECTION + "mean": tables.mean.astype(np.int32),
        SECTION + "basis": tables.basis.astype(np.int32),
        SECTION + "rho": tables.rho.astype(np.uint16),
        SECTION + "scale": tables.scale.astype(np.uint8),
        SECTION + "shape": tables.shape.astype(np.uint16),
    }


def from_sections(sections: Mapping[str, NDArray[Any]]) -> Tables | None:
    """The tables in an avatar's sections; None where there are none, AvatarFileError if damaged."""
    if not any(name.startswith(SECTION) for name in sections):
        return None
    wanted = {
        "mean": (np.int32, (PARAM_DIM,), -(1 << 24), 1 << 24),
        "basis": (np.int32, (PARAM_DIM, PARAM_DIM), -MAX_BASIS, MAX_BASIS),
        "rho": (np.uint16, (CLASSES, NUMBERS), 0, 1 << RHO_BITS),
        "scale": (np.uint8, (CLASSES, NUMBERS), 0, 127),
        "shape": (np.uint16, (SHAPES, SYMBOLS), 1, TOTAL),
    }
    arrays: dict[str, Int64] = {}
    for name, (kind, shape, low, high) in wanted.items():
        array = sections.get(SECTION + name)
        if array is None or array.dtype != kind or array.shape != shape:
            raise AvatarFileError(f"its codec tables are damaged: {SECTION}{name}")
        arrays[name] = array.astype(np.int64)
        if arrays[name].min() < low or arrays[name].max() > high:
            raise AvatarFileError(f"its codec tables are damaged: {SECTION}{name} is out of range")
    if (arrays["shape"].sum(axis=1) != TOTAL).any() or arrays["rho"][0].any():
        raise AvatarFileError("its codec tables are damaged: shares that do not add up")
    return Tables(**arrays)
