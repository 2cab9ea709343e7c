"""CPEM's FB-Net: FaceBoxes, a small face detector for the CPU.

The rule: parameters have the names of the published `FaceBoxesProd.pth`; what the outputs mean is
`sender.cpem.boxes`' business. Only the export imports this module; calls run ONNX Runtime.
Reference: Zhang et al. 2017, "FaceBoxes: A CPU Real-time Face Detector with High Accuracy".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sender.cpem.boxes import LEVELS, per_cell


class ConvBn(nn.Module):
    """Convolution, batch normalisation, rectifier; with `mirrored` also of the negated value."""

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, *, mirrored: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self._mirrored = mirrored

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] → [B, out, ⌈H/stride⌉, ⌈W/stride⌉], twice `out` if mirrored."""
        y = self.bn(self.conv(x))
        return (torch.cat([y, -y], dim=1) if self._mirrored else y).relu()


class Inception(nn.Module):
    """Four branches of 32 channels with growing fields of view, 128 → 128."""

    def __init__(self) -> None:
        super().__init__()
        self.branch1x1 = ConvBn(128, 32, 1)
        self.branch1x1_2 = ConvBn(128, 32, 1)
        self.branch3x3_reduce = ConvBn(128, 24, 1)
        self.branch3x3 = ConvBn(24, 32, 3)
        self.branch3x3_reduce_2 = ConvBn(128, 24, 1)
        self.branch3x3_2 = ConvBn(24, 32, 3)
        self.branch3x3_3 = ConvBn(32, 32, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 128, H, W] → the same shape."""
        one = self.branch1x1(x)
        pooled = self.branch1x1_2(functional.avg_pool2d(x, 3, stride=1, padding=1))
        three = self.branch3x3(self.branch3x3_reduce(x))
        five = self.branch3x3_3(self.branch3x3_2(self.branch3x3_reduce_2(x)))
        return torch.cat([one, pooled, three, five], dim=1)


class FBNet(nn.Module):
    """FaceBoxes: three maps, strides 32, 64 and 128, with box offsets and scores per prior box."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBn(3, 24, 7, 4, mirrored=True)
        self.conv2 = ConvBn(48, 64, 5, 2, mirrored=True)
        self.inception1 = Inception()
        self.inception2 = Inception()
        self.inception3 = Inception()
        self.conv3_1 = ConvBn(128, 128, 1)
        self.conv3_2 = ConvBn(128, 256, 3, 2)
        self.conv4_1 = ConvBn(256, 128, 1)
        self.conv4_2 = ConvBn(128, 256, 3, 2)
        priors = [per_cell(level) for level in LEVELS]  # 21, 1, 1
        pairs = list(zip((128, 256, 256), priors, strict=True))
        self.loc = nn.ModuleList(nn.Conv2d(c, 4 * n, 3, padding=1) for c, n in pairs)
        self.conf = nn.ModuleList(nn.Conv2d(c, 2 * n, 3, padding=1) for c, n in pairs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """BGR less its mean [B, 3, H, W] → offsets [B, P, 4], chances of a face [B, P]."""
        y = functional.max_pool2d(self.conv1(x), 3, stride=2, padding=1)
        y = functional.max_pool2d(self.conv2(y), 3, stride=2, padding=1)
        first = self.inception3(self.inception2(self.inception1(y)))
        second = self.conv3_2(self.conv3_1(first))
        third = self.conv4_2(self.conv4_1(second))
        maps = (first, second, third)
        offsets = [
            loc(m).permute(0, 2, 3, 1).reshape(m.shape[0], -1, 4)
            for m, loc in zip(maps, self.loc, strict=True)
        ]
        logits = [
            conf(m).permute(0, 2, 3, 1).reshape(m.shape[0], -1, 2)
            for m, conf in zip(maps, self.conf, strict=True)
        ]
        return torch.cat(offsets, dim=1), torch.cat(logits, dim=1).softmax(dim=2)[..., 1]
