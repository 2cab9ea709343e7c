"""What tiny-cuda-nn is handed means what we mean by it.

The stand-in computes what tiny-cuda-nn's documentation and sources say its modules do, in plain
tensors; whether the real package agrees is for the tests marked `gpu`.
"""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nerf import reference, tcnn_backend
from nerf.config import FieldConfig
from nerf.tcnn_backend import TcnnEngine, TcnnRenderer, tcnn_field
from nerf.torch_backend import TorchEngine
from tests.nerf.heads import SMALL, random_head
from tests.nerf.test_torch_backend import make_batch, make_field

ODD = FieldConfig(resolutions=(5, 9, 14), log2_sizes=(12, 9, 9), blended_levels=2, rank=2,
                  hidden=32, density_layers=2, color_layers=2, geometry=21)  # fmt: skip


class Grid(torch.nn.Module):
    """Composite of one-level hash grids."""

    def __init__(self, inputs: int, config: dict[str, Any]) -> None:
        super().__init__()
        assert config["otype"] == "Composite"
        assert inputs == sum(g["n_dims_to_encode"] for g in config["nested"])
        self.grids = config["nested"]
        self.params = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        at, out = 0, []
        for i, grid in enumerate(self.grids):
            scale = grid["base_resolution"] - 1.0
            points = int(np.ceil(scale)) + 1
            size = min(-(-(points**3) // 8) * 8, 1 << grid["log2_hashmap_size"])
            table = self.params[at : at + 4 * size].view(size, 4)
            at += 4 * size
            p = x[:, 3 * i : 3 * i + 3] * scale + 0.5
            cell = p.floor()
            fraction = p - cell
            feature = torch.zeros(len(x), 4)
            for corner in range(8):
                bit = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2])
                c = (cell + bit).long()
                if points**3 <= size:
                    index = c[:, 0] + points * (c[:, 1] + points * c[:, 2])
                else:
                    index = c[:, 0] ^ c[:, 1] * 2654435761 ^ c[:, 2] * 805459861
                weight = torch.where(bit == 1, fraction, 1 - fraction).prod(dim=-1)
                feature = feature + weight[:, None] * table[index % size]
            out.append(feature)
        assert at == self.params.numel()
        return torch.cat(out, dim=1)


class Network(torch.nn.Module):
    """ReLU layers without biases; inputs are padded with ones, outputs cut off."""

    def __init__(self, inputs: int, outputs: int, config: dict[str, Any]) -> None:
        super().__init__()
        assert config["otype"] == "FullyFusedMLP"
        self.inputs, self.outputs, self.config = inputs, outputs, config
        self.params = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        width, hidden = self.config["n_neurons"], self.config["n_hidden_layers"]
        padded = [-(-n // 16) * 16 for n in (self.inputs, self.outputs)]
        sizes = [padded[0], *[width] * hidden, padded[1]]
        x = torch.cat([x, torch.ones(len(x), padded[0] - self.inputs)], dim=1)
        at = 0
        for i, (a, b) in enumerate(pairwise(sizes)):
            x = x @ self.params[at : at + a * b].view(b, a).t()
            x = torch.relu(x) if i < hidden else x
            at += a * b
        assert at == self.params.numel()
        return x[:, : self.outputs]


STAND_IN = SimpleNamespace(Encoding=Grid, Network=Network)


@pytest.mark.parametrize("config", [SMALL, ODD])
def test_field_and_its_gradients_equal_the_references(config: FieldConfig) -> None:
    field = random_head(0, config)
    points = 0.1 + 0.8 * torch.rand(200, 3, generator=torch.Generator().manual_seed(0))
    table = torch.tensor(field.mean).requires_grad_()
    nets = [torch.tensor(w).requires_grad_() for w in field.networks]
    wanted = reference.networks(reference.encode(table, config, points), nets,
                                config.density_layers)  # fmt: skip
    found = tcnn_field(config, STAND_IN)(table, nets, points)
    grads = [torch.autograd.grad(torch.log(s).sum() + (c**2).sum(), [table, *nets])
             for s, c in (found, wanted)]  # fmt: skip
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found[1], wanted[1], rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(*grads, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-4


def test_engine_and_renderer_are_the_torch_ones_with_another_field(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcnn_backend, "import_module", lambda name: STAND_IN)
    from nerf.camera import head_pose, portrait_camera
    from nerf.step import LossWeights, Rates

    rates, results = Rates(table=1e-2, expression=1e-2, network=1e-3), []
    for kind in (TcnnEngine, TorchEngine):
        results.append(kind(make_field(dense=1.0), "cpu", steps=48).step(
            make_batch(), rates, LossWeights(), 0.3))  # fmt: skip
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-5)
    away = head_pose((0.0, 0.0, 0.0), 0.5)
    away[2, 3] = 5.0
    picture = TcnnRenderer(make_field(), "cpu").render(away, portrait_camera(8, 0.5, 2.6))
    assert picture.samples == 0  # no sample at all: the modules are never called


def test_a_package_that_cannot_load_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError("Unknown compute capability.")

    tcnn_backend.import_error.cache_clear()
    monkeypatch.setattr(tcnn_backend, "import_module", broken)
    assert tcnn_backend.import_error() == (
        "tinycudann cannot be used (Unknown compute capability.)"
    )
    tcnn_backend.import_error.cache_clear()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_real_package_computes_the_same_field() -> None:
    if (reason := tcnn_backend.import_error()) is not None:
        pytest.skip(reason)
    field = random_head(0, ODD)
    table = torch.tensor(field.mean, device="cuda")
    nets = [torch.tensor(w, device="cuda") for w in field.networks]
    points = 0.1 + 0.8 * torch.rand(500, 3, device="cuda")
    wanted = reference.networks(reference.encode(table, ODD, points), nets, ODD.density_layers)
    found = tcnn_field(ODD)(table, nets, points)
    # half precision: relative to the largest
    assert float((torch.log(found[0]) - torch.log(wanted[0])).abs().max()) < 0.1
    assert float((found[1] - wanted[1]).abs().max()) < 0.02
