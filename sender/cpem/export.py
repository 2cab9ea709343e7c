"""Turns CPEM's checkpoints into two ONNX files that take pictures as they are.

The rule: a network is handed out only if ONNX Runtime computes what PyTorch computes, measured
on seeded pictures; the picture's bytes go in, normalisation happens inside.
Reference: CPEM's published preprocessing (RGB / 255; FaceBoxes: BGR − (104, 117, 123)).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quic_transport.errors import LocalError
from sender.cpem.bundle import FB_NET, PE_NET, write_bundle
from sender.cpem.checkpoint import file_sha256, load_into, read_tensors
from sender.cpem.faceboxes import FBNet
from sender.cpem.resnet50 import HEADS, INPUT_PX, PENet, split_outputs

BGR_MEAN = (104.0, 117.0, 123.0)
TOLERANCE = 1e-3
"""Largest difference to PyTorch, absolute up to values of 1 and relative above."""
DETECTOR_SIZES = ((224, 224), (180, 320), (129, 97))  # height, width that are compared
SEED = 46


class PEGraph(nn.Module):
    """PE-Net from picture bytes to its six named parts."""

    def __init__(self, net: PENet) -> None:
        super().__init__()
        self.net = net

    def forward(self, crop: Tensor) -> tuple[Tensor, ...]:
        """uint8 [1, 224, 224, 3] RGB → the parts of HEADS, float32 [1, dim] each."""
        parts = split_outputs(self.net(crop.permute(0, 3, 1, 2).float() / 255.0))
        return tuple(parts[name] for _, name, _ in HEADS)


class FBGraph(nn.Module):
    """FB-Net from picture bytes to offsets and scores."""

    def __init__(self, net: FBNet) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(BGR_MEAN), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """uint8 [1, H, W, 3] RGB → offsets [1, P, 4], chances of a face [1, P]."""
        red, green, blue = image.float().unbind(dim=3)
        bgr = torch.stack([blue, green, red], dim=3) - self.get_buffer("mean")
        return tuple(self.net(bgr.permute(0, 3, 1, 2)))


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export made."""

    files: tuple[Path, ...]
    """The networks and model.json."""
    differences: dict[str, float]
    """Per network the largest measured difference between PyTorch and ONNX Runtime."""


def export_cpem(checkpoint: Path, faceboxes: Path, folder: Path) -> Exported:
    """Read both checkpoints, convert, compare, write; LocalError if any of these fails."""
    _require_exporter()
    with torch.device("meta"):
        pe_net, fb_net = PENet(), FBNet()
    load_into(pe_net, read_tensors(checkpoint), checkpoint, "CPEM's ResNet-50")
    load_into(fb_net, read_tensors(faceboxes), faceboxes, "FaceBoxes")
    rng = np.random.default_rng(SEED)
    crops = [_picture(rng, INPUT_PX, INPUT_PX) for _ in range(2)]
    pictures = [_picture(rng, *size) for size in DETECTOR_SIZES]
    networks, differences = {}, {}
    for name, graph, samples, inputs, outputs in (
        (PE_NET, PEGraph(pe_net), crops, "crop", [name for _, name, _ in HEADS]),
        (FB_NET, FBGraph(fb_net), pictures, "image", ["offsets", "scores"]),
    ):
        networks[name] = to_onnx(graph.eval(), samples[0], inputs, outputs, free=name == FB_NET)
        differences[name] = largest_difference(networks[name], graph, samples, name)
    manifest = {
        "checkpoint_sha256": {PE_NET: file_sha256(checkpoint), FB_NET: file_sha256(faceboxes)},
        "input": {
            PE_NET: {"size": [INPUT_PX, INPUT_PX], "pixels": "uint8 RGB", "inside": "/ 255"},
            FB_NET: {"size": None, "pixels": "uint8 RGB", "inside": f"BGR - {BGR_MEAN}"},
        },
        "largest_difference": differences,
    }
    return Exported(write_bundle(folder, networks, manifest), differences)


def to_onnx(
    graph: nn.Module, sample: NDArray[np.uint8], input_name: str, outputs: Sequence[str],
    *, free: bool,
) -> bytes:  # fmt: skip
    """The ONNX file of `graph`; `free`: height and width of its input stay open."""
    shapes = None
    if free:
        open_ = torch.export.Dim.DYNAMIC
        shapes = {input_name: {1: open_, 2: open_}}
    with exporter_silenced(), torch.no_grad():
        program = torch.onnx.export(
            graph, (torch.from_numpy(sample),), dynamo=True, verbose=False,
            input_names=[input_name], output_names=list(outputs), dynamic_shapes=shapes,
        )  # fmt: skip
    assert program is not None  # with dynamo=True there is one
    model = program.model_proto
    for node in model.graph.node:  # stack traces with the paths of this machine
        del node.metadata_props[:]
        node.doc_string = ""
    return bytes(model.SerializeToString())


def largest_difference(
    onnx_file: bytes, graph: nn.Module, samples: Sequence[NDArray[np.uint8]], name: str
) -> float:
    """Between ONNX Runtime and PyTorch over `samples`; LocalError if that is too much."""
    from sender.cpem.runtime import open_session

    session = open_session(onnx_file, name)
    worst = 0.0
    for sample in samples:
        got = session.run(None, {session.get_inputs()[0].name: sample})
        with torch.no_grad():
            wanted = [part.numpy() for part in graph(torch.from_numpy(sample))]
        for ours, theirs in zip(got, wanted, strict=True):
            if ours.shape != theirs.shape:
                raise LocalError(f"the export of {name} puts out other shapes than PyTorch: {_NEW}")
            gap = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
            worst = max(worst, float(gap.max()) if np.isfinite(gap).all() else float("inf"))
    if worst > TOLERANCE:
        raise LocalError(
            f"the export of {name} computes something else than PyTorch (difference {worst:.2g}, "
            f"at most {TOLERANCE:g}): {_NEW}"
        )
    return worst


_NEW = "nothing was written; update torch, onnx, onnxscript and onnxruntime and try again"


def _picture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """[1, height, width, 3]: smooth light with noise, so that values are as in pictures."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    tilt = rng.uniform(-200, 200, (2, 3))
    light = 128 + (x - 0.5)[..., None] * tilt[0] + (y - 0.5)[..., None] * tilt[1]
    noisy = light + rng.normal(0, 20, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)[None]


def _require_exporter() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise LocalError(
            f"exporting needs {error.name}, which is not installed: pip install 'facewire[export]'"
        ) from error


@contextmanager
def exporter_silenced() -> Iterator[None]:
    """The exporter's talk about itself is kept off the user's terminal."""
    log: Any = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)  # it misses torchvision, which nothing here needs
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)
            yield
    finally:
        log.setLevel(level)
