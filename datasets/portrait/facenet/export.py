"""The trained networks as two ONNX files: what the sender ships.

The rule: a file reads uint8 pictures as a camera gives them, and is written only after ONNX Runtime
has said the same as torch, within `TOLERANCE`. Weights are stored in half precision and used in
single precision (ONNX Runtime folds the casts when it opens the file); where there are crops to
calibrate on, PE-Net's convolutions then go to 8 bits (`eight_bit`).
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from portrait.facenet.eight_bit import LIMITS, Crops, differences, quantised
from portrait.facenet.net import FbNet, PeNet, Residual
from quic_transport.errors import LocalError
from sender.facenet.crop import INPUT_PX

PE_FILE, FB_FILE = "pe_net.onnx", "fb_net.onnx"
VERSION = "1"
OPSET = 18
TOLERANCE = 0.02
"""Largest difference of any output from torch's, in the output's own unit."""
MANY = 64  # values from which a tensor is worth storing in half precision
MANY_BESIDE_BYTES = 8192  # the same in an 8-bit file, whose scales must stay exact


class Pixels(nn.Module):
    """A network that takes pictures as they are: uint8 [B, H, W, 3]."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor) -> Any:
        """The network's outputs for `picture` / 255."""
        return self.net(picture.permute(0, 3, 1, 2).to(torch.float32) / 255.0)


class PlacedPixels(Pixels):
    """The same for a network that is told the picture's place."""

    def forward(self, picture: Tensor, place: Tensor) -> Any:  # type: ignore[override]
        """The network's outputs for `picture` / 255 at `place`."""
        return self.net(picture.permute(0, 3, 1, 2).to(torch.float32) / 255.0, place)


def folded(net: nn.Module) -> nn.Module:
    """A copy for inference whose batch normalisation is part of its convolutions."""
    net = copy.deepcopy(net).float().eval()
    for module in net.modules():
        if isinstance(module, Residual):
            module.one = _fused(module.one, module.norm_one)
            module.two = _fused(module.two, module.norm_two)
            module.norm_one, module.norm_two = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        if isinstance(module, nn.Sequential):
            for k in range(len(module) - 1):
                one, two = module[k], module[k + 1]
                if isinstance(one, nn.Conv2d) and isinstance(two, nn.BatchNorm2d):
                    module[k], module[k + 1] = _fused(one, two), nn.Identity()
    return net


def _fused(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    return fuse_conv_bn_eval(conv, norm)


def export_pe(
    net: PeNet, path: Path, facts: Mapping[str, Any], crops: Crops | None = None
) -> float:
    """Write PE-Net to `path`, in 8 bits where there are `crops` to calibrate on and it stays within
    `eight_bit.LIMITS` on them; the largest difference of the floating-point file from torch."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (1, INPUT_PX, INPUT_PX, 3), dtype=np.uint8)
    place = rng.normal(0, 0.3, (1, 3)).astype(np.float32)
    return _export(
        net, path, facts, {"picture": picture, "place": place}, list(PeNet.OUTPUTS),
        dynamic=False, crops=crops,
    )  # fmt: skip


def export_fb(net: FbNet, path: Path, facts: Mapping[str, Any]) -> float:
    """Write FB-Net to `path`; the largest difference from torch."""
    picture = np.random.default_rng(0).integers(0, 256, (1, 104, 152, 3), dtype=np.uint8)
    return _export(net, path, facts, {"picture": picture}, ["faces"], dynamic=True)


def _export(
    net: nn.Module, path: Path, facts: Mapping[str, Any], inputs: dict[str, NDArray[Any]],
    outputs: list[str], *, dynamic: bool, crops: Crops | None = None,
) -> float:  # fmt: skip
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise LocalError(
            "writing ONNX files needs two packages that are not installed: "
            "pip install 'facewire[export]'"
        ) from error
    module = (PlacedPixels if "place" in inputs else Pixels)(folded(net)).eval()
    tensors = tuple(torch.from_numpy(v) for v in inputs.values())
    shapes: Any = None
    if dynamic:
        size = torch.export.Dim
        shapes = ({1: size("height", min=8, max=16384), 2: size("width", min=8, max=16384)},)
    with warnings.catch_warnings(), _quiet("torch.onnx"), _quiet("torch.__trace"):
        warnings.simplefilter("ignore")  # the exporter's own use of what torch calls old
        program = torch.onnx.export(
            module, tensors, dynamo=True, opset_version=OPSET, input_names=list(inputs),
            output_names=outputs, dynamic_shapes=shapes, external_data=False, verbose=False,
        )  # fmt: skip
    assert program is not None
    exact = program.model_proto
    eight = None if crops is None else quantised(exact, crops)
    data = _bytes_of(halved(exact), facts)
    with torch.no_grad():
        wanted = net.float().eval()(
            tensors[0].permute(0, 3, 1, 2).float() / 255.0, *tensors[1:]
        )  # fmt: skip
    wanted = [wanted] if isinstance(wanted, Tensor) else list(wanted)
    worst = max(
        float(np.abs(a - b.numpy()).max())
        for a, b in zip(_run(data)(inputs), wanted, strict=True)
    )  # fmt: skip
    if not worst <= TOLERANCE:
        raise LocalError(f"{path.name} would differ from the trained network by {worst:.3g}")
    if eight is not None and crops is not None:
        small = _bytes_of(halved(eight, MANY_BESIDE_BYTES), {**facts, "bits": "8"})
        off = differences(data, small, crops, outputs)
        if all(off[name] <= most for name, most in LIMITS.items()):  # else it stays as it is
            data = small
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(data)
    part.replace(path)
    return worst


def _bytes_of(model: Any, facts: Mapping[str, Any]) -> bytes:
    import onnx

    for key, value in {"facewire": VERSION, "schema": "arkit46", **facts}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    log = logging.getLogger(logger)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _run(data: bytes) -> Callable[[dict[str, NDArray[Any]]], list[NDArray[Any]]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda inputs: list(session.run(None, inputs))


def halved(model: Any, many: int = MANY) -> Any:
    """The same ONNX model, its weights of at least `many` values stored as float16 and cast where
    they are used."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        if value.size < many or not np.abs(value).max() < 6e4:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]  # where in torch's and our sources it came from
        part.doc_string = ""
    del graph.value_info[:]
    return model
