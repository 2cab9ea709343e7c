"""Sizes of a head field: the hash grid, its expression tables and the two small networks.

The rule: everything that shapes a weight is here, and travels with the weights.
References: Müller et al., "Instant Neural Graphics Primitives" (2022); Gao et al.,
"Reconstructing Personalized Semantic Facial NeRF Models from Monocular Video" (2022).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

FEATURES = 4  # floats per table entry; the kernels are written for four (one 128-bit load)
WARP_UNIT = 0.015  # cube edges that a warp entry of 1 moves a point: it learns at tables' rates


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldConfig:
    """The shape of a `HeadField`."""

    resolutions: tuple[int, ...] = (16, 25, 40, 64, 101, 159, 253, 400)
    """Cells per cube edge of each grid level, coarse to fine."""

    log2_sizes: tuple[int, ...] = (14, 14, 14, 14, 14, 14, 16, 16)
    """Binary logarithm of each level's largest table; a level that fits densely uses less."""

    warp: int = 12
    """Cells per cube edge of the grid that moves points before they are looked up, blended like a
    level: what an expression moves is moved, and only what it changes is learned anew. 0: none."""

    blended_levels: int = 6
    """The coarsest this many levels have expression tables; finer ones only the mean table."""

    rank: int = 32
    """Expression tables that are stored. As many as a face has numbers: one for each, as in
    NeRFBlendShape. Fewer: their tables are products of a fixed matrix (principal components of the
    training faces) with that many tables."""

    hidden: int = 32
    """Width of the hidden layers of both networks."""

    density_layers: int = 1
    """Hidden layers of the density network."""

    color_layers: int = 1
    """Hidden layers of the colour network."""

    geometry: int = 16
    """Outputs of the density network: log-density first; all of them feed the colour network."""

    def __post_init__(self) -> None:
        if len(self.resolutions) != len(self.log2_sizes) or not self.resolutions:
            raise ValueError("resolutions and log2_sizes must be of one length, at least 1")
        if len(self.resolutions) > 32:
            raise ValueError("at most 32 levels")
        if not 0 <= self.warp <= 64:
            raise ValueError("warp must be 0..64")
        if not 0 <= self.blended_levels <= len(self.resolutions):
            raise ValueError(f"blended_levels must be 0..{len(self.resolutions)}")
        if not all(1 <= r <= 4096 for r in self.resolutions):
            raise ValueError("resolutions must lie in 1..4096")
        if not all(4 <= b <= 22 for b in self.log2_sizes):
            raise ValueError("log2_sizes must lie in 4..22")
        if not (1 <= self.rank <= 64 and 8 <= self.hidden <= 256 and 4 <= self.geometry <= 128):
            raise ValueError("rank must be 1..64, hidden 8..256, geometry 4..128")
        if not (1 <= self.density_layers <= 8 and 1 <= self.color_layers <= 8):
            raise ValueError("each network needs 1..8 hidden layers")

    @property
    def levels(self) -> int:
        """Number of grid levels L."""
        return len(self.resolutions)

    def level_sizes(self) -> list[int]:
        """Entries of each level's table: dense (res+1)³ where that fits, else 2^log2_size."""
        return [
            min((r + 1) ** 3, 1 << b)
            for r, b in zip(self.resolutions, self.log2_sizes, strict=True)
        ]

    @property
    def warp_entries(self) -> int:
        """Entries of the warp's grid, (warp + 1)³, row-major; they come before all levels."""
        return (self.warp + 1) ** 3 if self.warp else 0

    def offsets(self) -> list[int]:
        """Index of each level's first entry in the concatenated table, then the total E."""
        out = [self.warp_entries]
        for size in self.level_sizes():
            out.append(out[-1] + size)
        return out

    @property
    def entries(self) -> int:
        """Entries E of the mean table: warp and all levels."""
        return self.offsets()[-1]

    @property
    def blended_entries(self) -> int:
        """Entries that have expression tables; they come first."""
        return self.offsets()[self.blended_levels]

    def network_shapes(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each weight matrix: the density network's, then the colour's."""
        h, g = self.hidden, self.geometry
        density = [self.levels * FEATURES, *[h] * self.density_layers, g]
        color = [g, *[h] * self.color_layers, 3]
        return [*pairwise(density), *pairwise(color)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @staticmethod
    def from_dict(fields: dict[str, Any]) -> FieldConfig:
        """The inverse of `to_dict`; ValueError on unknown or unfit fields. What was written before
        there was a warp has none."""
        try:
            known = {k: tuple(int(i) for i in v) if isinstance(v, list) else int(v)
                     for k, v in fields.items()}  # fmt: skip
            return FieldConfig(**{"warp": 0, **known})  # type: ignore[arg-type]
        except (TypeError, OverflowError) as error:
            raise ValueError(f"not a field configuration: {error}") from error


# NeRFBlendShape's own sizes (network_tcnn.py): 16 levels × 4 features × 2^14, 16 … 1024,
# a table per coefficient on every level, 64-wide networks with four and one hidden layers.
PAPER_FIELD = FieldConfig(
    resolutions=tuple(round(16 * (1024 / 16) ** (i / 15)) for i in range(16)),
    log2_sizes=(14,) * 16,
    warp=0,
    blended_levels=16,
    rank=46,
    hidden=64,
    density_layers=4,
    color_layers=1,
    geometry=65,
)
