"""The parsing network as an ONNX file: weights stored as 16-bit numbers, computed with as 32-bit.

    input   `picture` float32 [1, 3, 256, 256], RGB / 255
    output  `classes` float32 [1, 4, 128, 128], shares of background, head, neck, torso (sum 1)

The rule: the file is checked against the torch module before it replaces another one; a run on
the same checkpoint gives the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from portrait.parsing.net import INPUT_PX
from portrait.parsing.segmenter import WEIGHTS
from portrait.parsing.train import load_average
from quic_transport.errors import LocalError

OPSET = 18
CLOSE = 0.02  # largest difference of a share that 16-bit weights may make


class Shares(nn.Module):
    """The network with a softmax behind it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor) -> Tensor:
        """[1, 3, 256, 256] → [1, 4, 128, 128]."""
        return self.net(picture).softmax(dim=1)


def fused(net: nn.Module) -> nn.Module:
    """`net` in place, each batch normalisation folded into the convolution before it."""
    for module in net.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for k in range(len(module) - 1):
            one, two = module[k], module[k + 1]
            if isinstance(one, nn.Conv2d) and isinstance(two, nn.BatchNorm2d):
                module[k] = fuse_conv_bn_eval(one, two)
                module[k + 1] = nn.Identity()
    return net


def halved(model: Any) -> Any:
    """The ONNX model with its weights as float16, each cast to float32 where it is used."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < 64:
            continue
        name = tensor.name
        small = numpy_helper.from_array(
            numpy_helper.to_array(tensor).astype(np.float16), name + "_16"
        )
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(small)
        casts.append(helper.make_node("Cast", [small.name], [name], to=TensorProto.FLOAT))
    for k, node in enumerate(casts):
        model.graph.node.insert(k, node)
    for info in list(model.graph.value_info):
        model.graph.value_info.remove(info)
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.checker.check_model(model)
    return model


def export(net: nn.Module, path: Path) -> float:
    """Write `net` to `path`; the largest difference from the torch module on a random picture."""
    import onnxruntime
    import torch

    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise LocalError("exporting needs onnx: pip install 'facewire[export]'") from error
    wrapped = Shares(fused(net.eval())).eval()
    picture = torch.rand(1, 3, INPUT_PX, INPUT_PX, generator=torch.Generator().manual_seed(0))
    program = torch.onnx.export(
        wrapped, (picture,), dynamo=True, opset_version=OPSET, input_names=["picture"],
        output_names=["classes"], verbose=False,
    )  # fmt: skip
    assert program is not None
    model = halved(program.model_proto)
    data = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = wrapped(picture).numpy()
    off = float(np.abs(session.run(None, {"picture": picture.numpy()})[0] - expected).max())
    if off > CLOSE:
        raise LocalError(f"the exported network differs by {off:.3f} from the trained one")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)
    return off


def main() -> None:
    """`python -m portrait.parsing.export CHECKPOINT [-o FILE]`."""
    p = argparse.ArgumentParser(description="write the parsing network as ONNX")
    p.add_argument("checkpoint", type=Path)
    p.add_argument("-o", "--output", type=Path, default=WEIGHTS)
    a = p.parse_args()
    off = export(load_average(a.checkpoint), a.output)
    print(f"{a.output}: {a.output.stat().st_size / 1e6:.2f} MB, off by {off:.4f}")


if __name__ == "__main__":
    main()
