"""The field by tiny-cuda-nn where it is installed: its grid encoding, its fully fused networks.

The rule: weights stay ours; the blended table and the matrices are handed to tiny-cuda-nn's modules
as their parameters, reordered, so gradients flow on into the 47 tables. Its grid puts a sample at
scale · x + 0.5 with `base_resolution` − 1 cells: a level of ours is a grid of its own with one more
point per edge and its input moved by half a cell. Warp, marching and compositing are the torch
backend's.
Reference: tiny-cuda-nn's DOCUMENTATION.md; Müller et al. 2021.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from nerf.config import FEATURES, FieldConfig
from nerf.cpu.render import STEPS
from nerf.field import DENSITY_LIMIT, DENSITY_SHIFT, HeadField
from nerf.reference import warped
from nerf.torch_backend import Evaluate, TorchEngine, TorchRenderer

ALIGN = 16  # its networks' inputs and outputs are padded to multiples of this
FUSED_WIDTHS = (16, 32, 64, 128)


@cache
def import_error() -> str | None:
    """Why tinycudann cannot be imported, or None; without a GPU it raises OSError."""
    try:
        import_module("tinycudann")
    except (ImportError, OSError) as error:
        return f"tinycudann cannot be used ({str(error).strip() or type(error).__name__})"
    return None


def grid_config(config: FieldConfig) -> dict[str, Any]:
    """The encoding: a grid of one level for each of ours, side by side."""
    return {
        "otype": "Composite",
        "nested": [
            {"otype": "Grid", "type": "Hash", "n_dims_to_encode": 3, "n_levels": 1,
             "n_features_per_level": FEATURES, "log2_hashmap_size": log2,
             "base_resolution": res + 1, "per_level_scale": 1.0, "interpolation": "Linear"}
            for res, log2 in zip(config.resolutions, config.log2_sizes, strict=True)
        ],
    }  # fmt: skip


def network_config(width: int, hidden_layers: int) -> dict[str, Any]:
    """A network of ReLU layers without biases."""
    fused = width in FUSED_WIDTHS
    return {"otype": "FullyFusedMLP" if fused else "CutlassMLP", "activation": "ReLU",
            "output_activation": "None", "n_neurons": width,
            "n_hidden_layers": hidden_layers}  # fmt: skip


def grid_parameters(table: Tensor, config: FieldConfig) -> Tensor:
    """A blended table [E, 4] as the encoding's parameters: dense levels padded to 8 entries."""
    offsets = config.offsets()
    levels = [table[a:b] for a, b in pairwise(offsets)]
    return torch.cat([pad(level, (0, 0, 0, -len(level) % 8)).reshape(-1) for level in levels])


def network_parameters(matrices: list[Tensor]) -> Tensor:
    """Matrices [in, out] as a network's parameters: [out, in], first and last padded with zeros."""
    parts = []
    for i, matrix in enumerate(matrices):
        rows = -matrix.shape[1] % ALIGN if i == len(matrices) - 1 else 0
        columns = -matrix.shape[0] % ALIGN if i == 0 else 0
        parts.append(pad(matrix.t(), (0, columns, 0, rows)).reshape(-1))
    return torch.cat(parts)


def grid_inputs(points: Tensor, config: FieldConfig) -> Tensor:
    """Points [S, 3] as the encoding's input [S, 3 · L]."""
    half = 0.5 / torch.tensor(config.resolutions, dtype=torch.float32, device=points.device)
    return (points[:, None] - half[:, None]).reshape(len(points), -1)


def tcnn_field(config: FieldConfig, tcnn: Any = None) -> Evaluate:
    """The field by tiny-cuda-nn's modules; `tcnn` stands in for the package in tests."""
    tcnn = tcnn or import_module("tinycudann")
    n = config.density_layers
    encoding = tcnn.Encoding(3 * config.levels, grid_config(config))
    density = tcnn.Network(config.levels * FEATURES, config.geometry,
                           network_config(config.hidden, n))  # fmt: skip
    color = tcnn.Network(config.geometry, 3, network_config(config.hidden, config.color_layers))

    def run(module: Any, parameters: Tensor, x: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(module, {"params": parameters}, (x,))
        return out

    def evaluate(table: Tensor, nets: list[Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
        if not len(points):
            return points[:, 0], points
        moved = warped(table, config, points).clamp(0, 1)  # its grids have nothing outside
        features = run(encoding, grid_parameters(table, config), grid_inputs(moved, config))
        wanted = features[:, : config.levels * FEATURES].float()
        h = run(density, network_parameters(nets[: n + 1]), wanted).float()
        sigma = torch.exp((h[:, 0] - DENSITY_SHIFT).clamp(max=DENSITY_LIMIT))
        rgb = torch.sigmoid(run(color, network_parameters(nets[n + 1 :]), h).float())
        return sigma, rgb

    return evaluate


class TcnnEngine(TorchEngine):
    """`TorchEngine` with tiny-cuda-nn's field."""

    def __init__(self, field: HeadField, device: str = "cuda", *, steps: int = 128,
                 betas: tuple[float, float] = (0.9, 0.99)) -> None:  # fmt: skip
        super().__init__(field, device, steps=steps, betas=betas,
                         evaluate=tcnn_field(field.config))  # fmt: skip


class TcnnRenderer(TorchRenderer):
    """`TorchRenderer` with tiny-cuda-nn's field."""

    def __init__(self, field: HeadField, device: str = "cuda", *, steps: int = STEPS) -> None:
        super().__init__(field, device, steps=steps, evaluate=tcnn_field(field.config))
