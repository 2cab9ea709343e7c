"""The parsing network: a picture [B, 3, H, W] → logits of four classes at half its size.

Classes: 0 background, 1 head with hair and ears, 2 neck, 3 torso. The person's opacity is one
minus the background's share.

The rule: plain convolutions and additions only, H and W multiples of 64, input RGB / 255. Each
2×2 block of the picture enters as one pixel of 12 numbers and leaves as 2×2 answers for the pixels
between (Shi et al. 2016), so that nothing is computed at a size finer than a quarter.
References: He et al. 2016 (residual blocks), Ronneberger et al. 2015 (skips at every scale).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 4
INPUT_PX = 256
STRIDE = 2
"""Input pixels per output pixel."""
BLOCK = 2
STEM, WIDTHS, UP = 12, (32, 56, 88, 96), (56, 32, 24, 16)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs), nn.ReLU(),
    )  # fmt: skip


class Residual(nn.Module):
    """Two 3×3 convolutions beside a shortcut; `stride` 2 halves the size."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.one = conv(inputs, outputs, 3, stride)
        self.two = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.short: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.short = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C', H / stride, W / stride]."""
        return F.relu(self.two(self.one(x)) + self.short(x))


class Rise(nn.Module):
    """What is known at one scale, enlarged and joined with the next finer one."""

    def __init__(self, coarse: int, fine: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(coarse, outputs, 1)
        self.side = nn.Conv2d(fine, outputs, 1)
        self.mix = conv(outputs, outputs)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """[B, C, H, W] and [B, F, 2H, 2W] → [B, O, 2H, 2W]."""
        up = F.interpolate(
            self.down(coarse), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        return self.mix(F.relu(up + self.side(fine)))


class ParsingNet(nn.Module):
    """The network. Its layers are named by their size in 2×2 blocks."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        self.stem = conv(3 * BLOCK**2, STEM, 5, 2)
        self.quarter = conv(STEM, a, 3, 2)
        self.eighth = Residual(a, b, 2)
        self.sixteenth = nn.Sequential(Residual(b, c, 2), Residual(c, c))
        self.whole = Residual(c, d, 2)
        self.around = nn.Linear(d, d)
        self.rise_16 = Rise(d, c, UP[0])
        self.rise_8 = Rise(UP[0], b, UP[1])
        self.rise_4 = Rise(UP[1], a, UP[2])
        self.rise_2 = Rise(UP[2], STEM, UP[3])
        self.out = nn.Conv2d(UP[3], CLASSES * BLOCK**2, 3, 1, 1)

    def forward(self, picture: Tensor) -> Tensor:
        """[B, 3, H, W] in 0..1 → logits [B, 4, H / 2, W / 2]."""
        two = self.stem(F.pixel_unshuffle((picture - 0.45) * 4.0, BLOCK))
        four = self.quarter(two)
        eight = self.eighth(four)
        sixteen = self.sixteenth(eight)
        whole = self.whole(sixteen)
        scene = self.around(whole.mean(dim=(2, 3)))  # what the picture shows as a whole
        whole = F.relu(whole + scene[:, :, None, None])
        x = self.rise_16(whole, sixteen)
        x = self.rise_8(x, eight)
        x = self.rise_4(x, four)
        return F.pixel_shuffle(self.out(self.rise_2(x, two)), BLOCK)


def parameters(net: nn.Module) -> int:
    """How many numbers training sets."""
    return sum(p.numel() for p in net.parameters())


def opacity(logits: Tensor) -> Tensor:
    """The person's opacity [B, H, W]."""
    return 1.0 - torch.softmax(logits.float(), dim=1)[:, 0]
