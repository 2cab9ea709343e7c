"""The two networks when nothing has to be learned: one pass of vector code, no library calls.

The rule: the same function as `nerf.cpu.networks.forward`, before the last activations. Between the
density network's last matrix and the colour network's first there is no activation, so they are
one matrix; log-density is read off the layer before it. Twin: nerf.reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerf.cpu.encode import kernel
from nerf.cpu.vectors import COLUMNS, ROWS, multiply_block, multiply_four

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Matrices:
    """Both networks as `shade` reads them."""

    weights: Float32
    """All hidden matrices [inputs, outputs padded to COLUMNS], one behind the other."""
    shapes: NDArray[np.int64]
    """[layers, 3]: each hidden matrix's first weight, inputs and outputs."""
    density_layer: int
    """The hidden layer, from 0, off which log-density is read."""
    to_density: Float32
    """[inputs, 4]: log-density's column, and three empty ones."""
    to_color: Float32
    """[inputs, 4]: an empty column, and the colours' three."""
    width: int
    """Floats of the widest hidden layer."""


def pack(networks: Sequence[Float32], density_layers: int) -> Matrices:
    """The field's matrices [in, out] without biases, the density network's first."""
    density, color = list(networks[: density_layers + 1]), list(networks[density_layers + 1 :])
    hidden = [*density[:-1], density[-1] @ color[0], *color[1:-1]]
    parts, shapes, first = [], [], 0
    inputs = hidden[0].shape[0]
    for matrix in hidden:
        outputs = -(-matrix.shape[1] // COLUMNS) * COLUMNS
        part = np.zeros((inputs, outputs), np.float32)
        part[: matrix.shape[0], : matrix.shape[1]] = matrix
        parts.append(part.ravel())
        shapes.append((first, inputs, outputs))
        first += part.size
        inputs = outputs
    to_density = np.zeros((shapes[density_layers - 1][2], 4), np.float32)
    to_density[: len(density[-1]), 0] = density[-1][:, 0]
    to_color = np.zeros((inputs, 4), np.float32)
    to_color[: len(color[-1]), 1:] = color[-1]
    return Matrices(np.concatenate(parts), np.array(shapes, np.int64), density_layers - 1,
                    to_density, to_color, max(s[2] for s in shapes))  # fmt: skip


@kernel
def shade(features, count, weights, shapes, density_layer, to_density, to_color, hidden, out):  # type: ignore[no-untyped-def]
    """Fill `out` [≥ count, 4] with log-density and three colours before their sigmoid.

    `features` [S, inputs], where S has room for `count` rounded up to ROWS, as has `out`; `hidden`
    [2, ROWS, width] is room for the layers between.
    """
    layers = shapes.shape[0]
    base = np.uint64(weights.ctypes.data)
    pitch = np.uint64(4 * hidden.shape[2])
    for s in range(0, count, ROWS):
        x = np.uint64(features.ctypes.data) + np.uint64(4 * features.shape[1] * s)
        x_pitch = np.uint64(4 * features.shape[1])
        y = np.uint64(out.ctypes.data) + np.uint64(16 * s)
        for r in range(s, s + ROWS):
            for c in range(4):
                out[r, c] = 0.0
        for layer in range(layers):
            first, inputs, outputs = shapes[layer, 0], shapes[layer, 1], shapes[layer, 2]
            to = np.uint64(hidden.ctypes.data) + np.uint64(layer & 1) * np.uint64(ROWS) * pitch
            for column in range(0, outputs, COLUMNS):
                at = base + np.uint64(4 * (first + column))
                multiply_block(x, x_pitch, np.uint64(inputs), at, np.uint64(4 * outputs),
                               to + np.uint64(4 * column), pitch)  # fmt: skip
            x, x_pitch = to, pitch
            if layer == density_layer:
                multiply_four(x, x_pitch, np.uint64(outputs), np.uint64(to_density.ctypes.data), y)
        multiply_four(x, x_pitch, np.uint64(to_color.shape[0]), np.uint64(to_color.ctypes.data), y)
