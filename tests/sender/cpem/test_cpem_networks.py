"""CPEM's two networks: names, shapes, and where the stride is."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sender.cpem.boxes import detections, overlap, prior_boxes
from sender.cpem.checkpoint import load_into, read_tensors
from sender.cpem.faceboxes import FBNet
from sender.cpem.resnet50 import HEADS, OUTPUT_DIM, Bottleneck, PENet, split_outputs
from tests.sender.cpem.made_up import as_bgr, as_rgb, lively, patchwork, plain


@torch.no_grad()
def test_bottleneck_never_sees_what_its_first_convolution_skips() -> None:
    block = Bottleneck(64, 32, stride=2)
    lively(block, 3)
    x = torch.randn(1, 64, 8, 8, generator=torch.Generator().manual_seed(4))
    skipped = x.clone()
    skipped[:, :, 1::2, :] += 5.0
    skipped[:, :, :, 1::2] -= 3.0
    assert torch.equal(block(x), block(skipped))
    block.conv1.stride, block.conv2.stride = (1, 1), (2, 2)  # torchvision's order
    assert not torch.allclose(block(x), block(skipped), atol=0.1)


@torch.no_grad()
def test_same_weights_with_torchvisions_stride_compute_something_else(
    nets: tuple[PENet, FBNet],
) -> None:
    ours = nets[0]
    other = copy.deepcopy(ours)
    moved = 0
    for block in other.modules():
        if isinstance(block, Bottleneck) and block.conv1.stride == (2, 2):
            block.conv1.stride, block.conv2.stride = (1, 1), (2, 2)
            moved += 1
    other.load_state_dict(ours.state_dict(), strict=True)  # nothing is noticed here
    x = as_rgb(patchwork(224, 224, seed=5))
    assert moved == 3
    assert float((ours(x) - other(x)).abs().max()) > 0.05


@torch.no_grad()
def test_pe_net_puts_out_239_numbers_with_expressions_in_range(nets: tuple[PENet, FBNet]) -> None:
    state = nets[0].state_dict()
    assert len(state) == 330  # as in the published checkpoint
    assert sum(v.numel() for v in nets[0].parameters()) == 23_997_743
    out = nets[0](as_rgb(patchwork(224, 224, seed=6)))
    assert out.shape == (1, OUTPUT_DIM) == (1, 239)
    parts = split_outputs(out)
    assert [tuple(parts[name].shape) for _, name, _ in HEADS] == [
        (1, 80), (1, 46), (1, 80), (1, 3), (1, 27), (1, 3),
    ]  # fmt: skip
    assert 0.0 < float(parts["expression"].min()) < float(parts["expression"].max()) < 1.0
    assert torch.equal(parts["expression"], out[:, 80:126])
    assert torch.equal(parts["rotation"], out[:, 206:209])
    assert torch.equal(parts["translation"], out[:, 236:239])
    assert isinstance(nets[0].get_submodule("fc_light"), nn.Linear)


@pytest.mark.parametrize("size", [(128, 128), (1, 1), (129, 97), (180, 320), (33, 257)])
@torch.no_grad()
def test_face_boxes_answers_once_per_prior(
    nets: tuple[PENet, FBNet], size: tuple[int, int]
) -> None:
    offsets, scores = nets[1](as_bgr(plain(*size, 90)))
    priors = prior_boxes(*size)
    assert offsets.shape == (1, len(priors), 4)
    assert scores.shape == (1, len(priors))


@pytest.mark.assets
@torch.no_grad()
def test_published_face_boxes_finds_the_face_where_another_detector_does(assets: Path) -> None:
    import cv2

    from sender.video import read_video

    with torch.device("meta"):
        net = FBNet()
    path = assets / "models" / "FaceBoxesProd.pth"
    load_into(net, read_tensors(path), path, "FaceBoxes")
    image = next(iter(read_video(assets / "videos" / "macron_50s_512.mp4"))).image
    offsets, scores = net(as_bgr(image))
    boxes, _ = detections(offsets[0].numpy(), scores[0].numpy(), (512, 512), 512, 512)
    judge = cv2.FaceDetectorYN.create(
        str(assets / "models" / "face_detection_yunet_2023mar.onnx"), "", (512, 512)
    )
    x, y, w, h = judge.detect(np.ascontiguousarray(image[:, :, ::-1]))[1][0][:4]
    assert len(boxes) == 1
    assert float(overlap(np.array([x, y, x + w, y + h]), boxes)[0]) > 0.6
