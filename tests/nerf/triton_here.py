"""Where Triton's kernels run in this process: on a GPU, or else in Triton's interpreter.

The rule: the interpreter must be switched on before Triton is first imported, so every test module
of kernels calls `triton_device` while it is being collected.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import pytest
import torch


def triton_device() -> str:
    """ "cuda" or "cpu" (interpreted); skips the module where neither can be."""
    if find_spec("triton") is None:
        pytest.skip("Triton is not installed", allow_module_level=True)
    if torch.cuda.is_available():
        return "cuda"
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("Triton was imported without its interpreter", allow_module_level=True)
    os.environ["TRITON_INTERPRET"] = "1"
    return "cpu"
