"""A field as flat device tensors, in the order the kernels read.

The rule: sizes are padded to what a tensor core multiplies (powers of two, at least 16) with zeros,
so padding changes no number. Nothing non-linear stands between the density network's last matrix
and the colour network's first: the kernels multiply by their product, `join`, which makes both
networks one chain of ReLU layers with a tap for the density. `split_gradient` is its derivative.
Reference: Müller et al. 2021 (fully fused networks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nerf.config import FEATURES, FieldConfig

OUT = 16  # columns of the last matrix: three colours, padded
LEVEL_ROWS = 4  # resolution, first entry, mask of the hash (-1: dense), 1 if the level exists


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least `n`."""
    return 1 << max(n - 1, 0).bit_length()


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the kernels are compiled for."""

    levels: int
    """Grid levels, padded."""
    hidden: int
    """Width of every layer but the first and last, padded."""
    layers: int
    """ReLU layers of both networks together."""
    tap: int
    """After how many layers the density is read."""

    @property
    def inputs(self) -> int:
        """Encoded features per sample, padded."""
        return self.levels * FEATURES

    @property
    def weights(self) -> int:
        """Numbers in the packed networks."""
        h = self.hidden
        return self.inputs * h + (self.layers - 1) * h * h + h * OUT + h


def sizes_of(config: FieldConfig) -> Sizes:
    """The padded sizes of a field."""
    return Sizes(
        max(power_of_two(config.levels), 4),
        max(power_of_two(config.hidden), 16),
        config.density_layers + config.color_layers,
        config.density_layers,
    )


def level_table(config: FieldConfig) -> np.ndarray:
    """Int32 [LEVEL_ROWS, levels]: what the encoding needs to know of each padded level."""
    out = np.zeros((LEVEL_ROWS, sizes_of(config).levels), np.int32)
    out[0], out[2] = 1, -1
    offsets = config.offsets()
    for i, res in enumerate(config.resolutions):
        size = offsets[i + 1] - offsets[i]
        out[:, i] = res, offsets[i], -1 if (res + 1) ** 3 <= size else size - 1, 1
    return out


def views(flat: Tensor, sizes: Sizes) -> list[Tensor]:
    """The packed networks' parts: layer matrices [in, out], the last [h, OUT], the tap [h]."""
    h = sizes.hidden
    shapes = [(sizes.inputs, h), *[(h, h)] * (sizes.layers - 1), (h, OUT), (h,)]
    out, at = [], 0
    for shape in shapes:
        count = int(np.prod(shape))
        out.append(flat[at : at + count].view(shape))
        at += count
    return out


def join(networks: list[Tensor], config: FieldConfig, flat: Tensor) -> None:
    """Write matrices [in, out] of `HeadField.networks` into `flat`, padded and joined."""
    parts = views(flat, sizes_of(config))
    n = config.density_layers
    geometry, first_color = networks[n], networks[n + 1]
    chain = [*networks[:n], geometry @ first_color, *networks[n + 2 : -1]]
    for part, matrix in zip(parts, [*chain, networks[-1]], strict=False):
        part[: matrix.shape[0], : matrix.shape[1]].copy_(matrix)
    parts[-1][: geometry.shape[0]].copy_(geometry[:, 0])


def split_gradient(grad: Tensor, networks: list[Tensor], config: FieldConfig,
                   out: list[Tensor]) -> None:  # fmt: skip
    """From the gradient of the packed networks to that of each matrix, written into `out`."""
    parts = views(grad, sizes_of(config))
    n = config.density_layers
    geometry, first_color = networks[n], networks[n + 1]
    joined = parts[n][: geometry.shape[0], : first_color.shape[1]]
    torch.mm(joined, first_color.t(), out=out[n])
    out[n][:, 0] += parts[-1][: geometry.shape[0]]
    torch.mm(geometry.t(), joined, out=out[n + 1])
    for i, part in enumerate(parts[:-1]):
        if i != n:
            target = out[i if i < n else i + 1]
            target.copy_(part[: target.shape[0], : target.shape[1]])


def innermost_entries(tables: np.ndarray) -> np.ndarray:
    """Expression tables [Eb, 4, B] as [B, Eb·4]: neighbouring threads read neighbouring numbers."""
    return np.ascontiguousarray(tables.reshape(-1, tables.shape[2]).T)
