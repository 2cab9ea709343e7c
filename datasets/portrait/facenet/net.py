"""The two networks, as torch modules.

PE-Net: a crop of a face [B, 3, 112, 112] and its place [B, 3] → what `PeNet.OUTPUTS` names.
FB-Net: a picture [B, 3, H, W] → a map of faces, one cell per 8 pixels.

The rule: plain 3×3 convolutions (on a CPU they train and run fastest), inputs are RGB / 255.
References: He et al. 2016 (residual blocks), Zhou et al. 2019 (6-D rotations), Zhang et al. 2016
(MTCNN: a small fully convolutional network over a pyramid).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quic_transport.params import EXPRESSION_DIM

WIDTHS = (24, 48, 96, 144)
DEPTHS = (1, 1, 2)
FEATURES = 256
SHAPE_DIM = 64
"""Principal motions of the landmarks."""
PLACE_DIM = 3
CELL_PX = 8


class Residual(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm_one = nn.BatchNorm2d(outputs)
        self.two = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm_two = nn.BatchNorm2d(outputs)
        self.short = (
            nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            if inputs != outputs or stride != 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C', H / stride, W / stride]."""
        y = F.relu(self.norm_one(self.one(x)))
        return F.relu(self.norm_two(self.two(y)) + self.short(x))


class PeNet(nn.Module):
    """Reads one face."""

    OUTPUTS = ("landmarks", "expression", "rotation", "origin", "scale", "presence", "features")

    mean: Tensor
    basis: Tensor

    def __init__(self, mean: Tensor, basis: Tensor) -> None:
        """`mean` [956] and `basis` [64, 956] of the landmarks, in units of the crop's side about
        its centre."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)
        layers: list[nn.Module] = [
            nn.Conv2d(3, WIDTHS[0], 5, 2, 2, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU(),
        ]  # fmt: skip
        inputs = WIDTHS[0]
        for width, depth in zip(WIDTHS[1:], DEPTHS, strict=True):
            for k in range(depth):
                layers.append(Residual(inputs, width, 2 if k == 0 else 1))
                inputs = width
        layers += [nn.Conv2d(inputs, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.features = nn.Linear(64 * 49, FEATURES)
        self.shape = nn.Linear(FEATURES, SHAPE_DIM)
        self.expression = nn.Sequential(
            nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, EXPRESSION_DIM)
        )
        last = nn.Linear(64, 9)
        self.pose = nn.Sequential(nn.Linear(FEATURES + PLACE_DIM, 64), nn.ReLU(), last)
        self.presence = nn.Linear(FEATURES, 1)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 0]))

    def forward(self, picture: Tensor, place: Tensor) -> tuple[Tensor, ...]:
        """`landmarks` [B, 478, 2] and `origin` [B, 2] in sides about the centre, `expression`
        [B, 46], `rotation` [B, 6], `scale` [B], `presence` [B] (a logit), `features` [B, 256]."""
        x: Tensor = self.trunk((picture - 0.45) * 4.0)
        f = F.relu(self.features(x.flatten(1)))
        landmarks = self.mean + self.shape(f).float() @ self.basis
        pose = self.pose(torch.cat([f, place.to(f.dtype)], dim=1))
        return (
            landmarks.reshape(-1, 478, 2), self.expression(f), pose[:, :6], pose[:, 6:8],
            pose[:, 8], self.presence(f)[:, 0], f,
        )  # fmt: skip


class FbNet(nn.Module):
    """Finds faces of about 28 to 56 pixels; larger ones show in a smaller picture."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 16, 5, 2, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            Residual(16, 32, 2), Residual(32, 48, 2), Residual(48, 64, 1), Residual(64, 64, 1),
        )  # fmt: skip
        self.out = nn.Conv2d(64, 4, 1)

    def forward(self, picture: Tensor) -> Tensor:
        """[B, 4, H / 8, W / 8]: logit of a face centred in the cell, its centre (x, y) from the
        cell's in cells, log of its height over 40 pixels."""
        return self.out(self.trunk((picture - 0.45) * 4.0))
