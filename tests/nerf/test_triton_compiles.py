"""Every kernel that the host code launches goes through the GPU's own compiler, GPU or not."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.parametrize("capability", ["90"])
def test_all_kernels_compile_for_a_gpu_that_is_not_there(capability: str, tmp_path: Path) -> None:
    script = Path(__file__).with_name("ahead_of_time.py")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script), capability, "fast"], env=environment,
                          capture_output=True, text=True, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    kernels = {line.partition(":")[0] for line in done.stdout.splitlines()}
    assert kernels >= {
        "blend", "find", "shade", "walk", "evaluate", "compose", "propagate", "gather",
        "step_tables", "step_networks", "settle", "density", "draw", "advance",
    }  # fmt: skip
