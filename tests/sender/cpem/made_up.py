"""Checkpoints of the right shape that nobody trained: seeded numbers under the published names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sender.cpem.export import BGR_MEAN
from sender.cpem.faceboxes import FBNet
from sender.cpem.resnet50 import HEADS, PENet

BRIGHT, DARK = 220, 20


def plain(height: int, width: int, level: int, seed: int = 0) -> NDArray[np.uint8]:
    """A noisy grey picture [height, width, 3]."""
    noise = np.random.default_rng(seed).normal(level, 6, (height, width, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def patchwork(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Coloured patches [height, width, 3], rows and columns of them as in a quilt."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (7, 7, 3)).astype(np.uint8)
    rows, columns = np.arange(height) * 7 // height, np.arange(width) * 7 // width
    return patches[rows][:, columns]


def lively(net: nn.Module, seed: int) -> None:
    """Weights with which every layer's output is as large as its input."""
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.4, 0.8)
            nn.init.normal_(module.bias, 0.0, 0.1)
            nn.init.normal_(module.running_mean, 0.0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.8, 1.2)  # type: ignore[arg-type]
    net.eval().requires_grad_(False)


def pe_net() -> PENet:
    """PE-Net whose answers depend on the picture and put the head before the camera.

    Over coloured patches every output has the mean 0 and the spread that it is given here.
    """
    net = PENet()
    lively(net, 1)
    kept: list[Tensor] = []
    hook = net.get_submodule("layer4").register_forward_hook(lambda _m, _i, out: kept.append(out))
    net(torch.cat([as_rgb(patchwork(224, 224, seed)) for seed in range(5)]))
    hook.remove()
    features = kept[0].mean(dim=(2, 3))  # [5, 2048]
    for name, _, dim in HEADS:
        weight = torch.randn(dim, 2048)
        answers = features @ weight.T
        scale = {"fc_angles": 0.3, "fc_tran": 0.1}.get(name, 1.0) / answers.std(dim=0)
        net.get_submodule(name).get_parameter("weight").copy_(weight * scale[:, None])
        net.get_submodule(name).get_parameter("bias").copy_(-(answers.mean(dim=0) * scale))
    return net


def fb_net() -> FBNet:
    """FB-Net that takes bright places for faces, by its coarsest map alone."""
    net = FBNet()
    lively(net, 2)
    for loc, conf in zip(net.loc, net.conf, strict=True):
        loc.get_parameter("weight").mul_(0.02)
        conf.get_parameter("weight").zero_()
        bias = conf.get_parameter("bias")
        bias.copy_(torch.tensor([4.0, -4.0]).repeat(len(bias) // 2))
    cells, wanted = [], []
    for size in ((128, 128), (360, 480), (480, 640), (200, 300)):
        for level, score in ((BRIGHT, 4.0), (DARK, -4.0)):
            found = _last_map(net, plain(*size, level))
            cells.append(found)
            wanted.append(torch.full((len(found), 1), score))
    features, scores = torch.cat(cells), torch.cat(wanted)  # [cells, 256], [cells, 1]
    weight = torch.linalg.lstsq(features, scores, driver="gelsd").solution[:, 0]
    net.conf[2].get_parameter("weight")[1, :, 1, 1] = weight
    net.conf[2].get_parameter("bias").zero_()
    net.loc[2].get_parameter("bias").copy_(torch.tensor([0.0, 0.0, -6.0, -6.0]))
    return net


def _last_map(net: FBNet, picture: NDArray[np.uint8]) -> Tensor:
    kept: list[Tensor] = []
    hook = net.conv4_2.register_forward_hook(lambda _m, _i, out: kept.append(out))
    net(as_bgr(picture))
    hook.remove()
    return kept[0][0].flatten(1).T  # [cells, 256]


def as_bgr(picture: NDArray[np.uint8]) -> Tensor:
    """RGB [H, W, 3] → what FaceBoxes was trained on, float32 [1, 3, H, W]."""
    bgr = picture[:, :, ::-1].astype(np.float32) - np.array(BGR_MEAN, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(bgr.transpose(2, 0, 1)))[None]


def as_rgb(picture: NDArray[np.uint8]) -> Tensor:
    """RGB [H, W, 3] → what PE-Net was trained on, float32 [1, 3, H, W]."""
    return torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32) / 255)[None]


def save(net: nn.Module, path: Path) -> Path:
    """The file that the authors' training code would have written."""
    torch.save(net.state_dict(), path)
    return path
