"""Opens an exported network in ONNX Runtime, on one thread of the CPU.

The rule: one thread; a call has other work for the rest, and the answer stays the same number
by number.
"""

from __future__ import annotations

from typing import Any

from quic_transport.errors import LocalError
from sender.cpem.bundle import REMEDY


def open_session(onnx_file: bytes, name: str) -> Any:
    """An `onnxruntime.InferenceSession`; LocalError if the file is none of its."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions derive from RuntimeError and others
        raise LocalError(f"{name} cannot be loaded by ONNX Runtime: {REMEDY}") from error
