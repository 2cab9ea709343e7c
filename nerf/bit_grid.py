"""A cube of bits as a short byte string, each bit predicted from those around it.

The rule: what is written decodes to the same grid on every machine; any bytes decode to some grid
of the size asked for. References: the binary range coder beside this; Howard et al. 1998 (JBIG2:
a bit's neighbours name its model).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerf.cpu.encode import kernel
from nerf.range_coder import finish, get, new_encoder, new_models, put, start

MODELS = 1 << 10
Bits = NDArray[np.uint8]


def encode_grid(grid: Bits) -> bytes:
    """The bytes of a grid uint8 [G, G, G] of zeros and ones."""
    out = np.empty(64 + 2 * grid.size, np.uint8)
    size = _encode(_padded(grid), new_models(MODELS), new_encoder(), out)
    return out[:size].tobytes().rstrip(b"\0")


def decode_grid(data: Bits, size: int) -> Bits:
    """The grid uint8 [size, size, size] of `data`."""
    padded = np.zeros((size + 2,) * 3, np.uint8)
    _decode(data, padded, new_models(MODELS), np.zeros(3, np.int64))
    return np.ascontiguousarray(padded[1:-1, 1:-1, 1:-1])


def _padded(grid: Bits) -> Bits:
    return np.pad((grid > 0).astype(np.uint8), 1)


@kernel
def _context(g, x, y, z):  # type: ignore[no-untyped-def]
    """Ten bits that both sides know before bit (x, y, z): three along the row, seven beside it."""
    c = g[x, y, z - 1] | (g[x, y - 1, z] << 1) | (g[x - 1, y, z] << 2)
    c |= (g[x, y - 1, z - 1] << 3) | (g[x, y - 1, z + 1] << 4)
    c |= (g[x - 1, y, z + 1] << 5) | (g[x - 1, y + 1, z] << 6)
    far = g[x, y, z - 2] if z > 1 else 0
    c |= far << 7
    c |= (g[x - 1, y, z - 1] << 8) | (g[x - 1, y - 1, z] << 9)
    return np.int64(c)


@kernel
def _encode(grid, models, state, out):  # type: ignore[no-untyped-def]
    for x in range(1, grid.shape[0] - 1):
        for y in range(1, grid.shape[1] - 1):
            for z in range(1, grid.shape[2] - 1):
                put(state, out, models, _context(grid, x, y, z), grid[x, y, z])
    return finish(state, out)


@kernel
def _decode(data, grid, models, state):  # type: ignore[no-untyped-def]
    start(state, data)
    for x in range(1, grid.shape[0] - 1):
        for y in range(1, grid.shape[1] - 1):
            for z in range(1, grid.shape[2] - 1):
                grid[x, y, z] = get(state, data, models, _context(grid, x, y, z))
