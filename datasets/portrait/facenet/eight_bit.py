"""PE-Net's convolutions in 8 bits: a third of the time on a processor that multiplies bytes.

The rule: weights per output channel and in 7 of the 8 bits (older x86 processors add pairs of
products in 16 bits and would saturate); activations within a percentile of those on the
calibration crops, which halves the rounding noise of the whole range and with it what a still head
trembles by; the first convolution, the last and the heads stay in floating point. Who exports
keeps the floating-point file where `differences` are above `LIMITS`.
Reference: Jacob et al. 2018; ONNX Runtime's QDQ format.
"""

from __future__ import annotations

import copy
import io
import logging
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CALIBRATION = 256
"""Crops that the ranges are taken from."""
PERCENTILE = 99.99
LIMITS = {"landmarks": 0.004, "expression": 0.01, "rotation": 0.02}
"""Mean difference from the floating-point network on the calibration crops, in each output's own
unit: sides of the crop, coefficients, entries of the rotation."""

Crops = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""Pictures [N, 112, 112, 3] and their places [N, 3]."""


def quantised(model: Any, crops: Crops) -> Any:
    """The ONNX `model` with its convolutions in 8 bits."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    pictures, places = crops

    class Crops_(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = iter(range(len(pictures)))

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            row = next(self._rows, None)
            if row is None:
                return None
            part = slice(row, row + 1)
            return {"picture": pictures[part], "place": places[part]}

    plain = copy.deepcopy(model)
    for k, node in enumerate(plain.graph.node):
        node.name = node.name or f"node_{k}"
    convolutions = [n.name for n in plain.graph.node if n.op_type == "Conv"]
    around = [n.name for n in plain.graph.node if n.op_type in ("Relu", "Add")]
    log = logging.getLogger()
    before = log.level
    log.setLevel(logging.ERROR)  # it advises a step that our graph has behind it
    try:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
            source, target = Path(folder) / "float.onnx", Path(folder) / "eight.onnx"
            onnx.save(plain, source)
            quantize_static(
                source, target, Crops_(), quant_format=QuantFormat.QDQ, per_channel=True,
                reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                nodes_to_quantize=[*convolutions[1:-1], *around],
                op_types_to_quantize=["Conv", "Relu", "Add"],
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={"CalibPercentile": PERCENTILE},
            )  # fmt: skip
            return onnx.load(target)
    finally:
        log.setLevel(before)


def differences(one: bytes, other: bytes, crops: Crops, names: list[str]) -> dict[str, float]:
    """Mean difference of each output in `LIMITS` between two files, over the crops."""
    import onnxruntime

    def said(data: bytes) -> dict[str, NDArray[Any]]:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        rows = [session.run(names, {"picture": p[None], "place": q[None]})
                for p, q in zip(*crops, strict=True)]  # fmt: skip
        return {name: np.concatenate([r[k] for r in rows]) for k, name in enumerate(names)}

    a, b = said(one), said(other)
    return {name: float(np.abs(a[name] - b[name]).mean()) for name in LIMITS}
