"""CPEM's PE-Net: a ResNet-50 that reads 239 numbers from a picture of a face.

The rule: parameters have the published checkpoint's names, and every bottleneck strides in its
FIRST 1×1 convolution, as the original ResNet did. torchvision's resnet50 strides in the 3×3 one:
it has the same names and shapes, loads the checkpoint without complaint and computes something
else. Only the export imports this module; calls run ONNX Runtime.
References: He et al. 2016, "Deep Residual Learning"; Mo et al. 2022, CPEM (AAAI).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

INPUT_PX = 224
"""Side of the square picture that the network was trained on."""
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, first stride
HEADS = (
    ("fc_id", "identity", 80),  # of the morphable model
    ("fc_bs", "expression", 46),  # FaceWarehouse blend shapes, 0..1
    ("fc_tex", "texture", 80),
    ("fc_angles", "rotation", 3),  # x, y, z in radians
    ("fc_light", "light", 27),  # spherical harmonics, 3 × 9
    ("fc_tran", "translation", 3),  # decimetres
)
"""The heads in the order of the output: parameter's name, our name, how many numbers."""
OUTPUT_DIM = sum(dim for _, _, dim in HEADS)  # 239


class Bottleneck(nn.Module):
    """1×1 (which strides), 3×3, 1×1 to four times the width, around a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1 = nn.Conv2d(channels, width, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] → [B, 4·width, ⌈H/stride⌉, ⌈W/stride⌉]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + shortcut).relu()


class PENet(nn.Module):
    """CPEM's ResNet-50 with six linear heads."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for stage, (width, blocks, stride) in enumerate(STAGES, start=1):
            layers = [Bottleneck(channels, width, stride)]
            channels = 4 * width
            layers += [Bottleneck(channels, width, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        for name, _, dim in HEADS:
            self.add_module(name, nn.Linear(channels, dim))

    def forward(self, x: Tensor) -> Tensor:
        """RGB in 0..1, float32 [B, 3, 224, 224] → float32 [B, 239]; expressions in 0..1."""
        y = self.maxpool(self.bn1(self.conv1(x)).relu())
        for stage in range(1, len(STAGES) + 1):
            y = self.get_submodule(f"layer{stage}")(y)
        feature = y.mean(dim=(2, 3))  # [B, 2048]
        out = {name: self.get_submodule(name)(feature) for name, _, _ in HEADS}
        out["fc_bs"] = out["fc_bs"].sigmoid()
        return torch.cat([out[name] for name, _, _ in HEADS], dim=1)


def split_outputs(numbers: Tensor) -> dict[str, Tensor]:
    """[B, 239] → each head's part [B, dim] under our name."""
    parts = torch.split(numbers, [dim for _, _, dim in HEADS], dim=1)
    return {name: part for (_, name, _), part in zip(HEADS, parts, strict=True)}
