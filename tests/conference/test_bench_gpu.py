"""`facewire bench gpu` says what it needs, and all of its code runs without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from conference.bench import gpu
from facewire import main
from quic_transport.errors import LocalError


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "gpu"]) == 1
    said = capsys.readouterr().err
    assert "nothing to measure here" in said
    assert said.count("\n") == 1


def test_wrong_usage_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="--data"):
        gpu.parse(["--seconds", "5"])
    with pytest.raises(LocalError, match="at least"):
        gpu.parse(["--runs", "0"])


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_interpreted_it_runs_all_of_its_code(tmp_path: Path) -> None:
    # a process of its own: the interpreter is switched on before Triton is imported
    out = tmp_path / "gpu.json"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-W", "error", "-m", "facewire", "bench", "gpu",
                           "--interpret", "--tune", "--json", str(out)], env=environment,
                          capture_output=True, text=True, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = {r["name"]: r["value"] for r in json.loads(out.read_text())["rows"]}
    assert {"gpu.render.triton.4.p50", "gpu.render.torch.4.p95", "gpu.render.cpu.4.p50",
            "gpu.render.4.torch_over_triton", "gpu.floor.4.look_ups_share", "gpu.batch.2.rate",
            "gpu.memory.triton", "gpu.quality.triton.psnr_to_cpu",
            "gpu.tune.64.4.2.3.None"} <= set(rows)  # fmt: skip
    assert rows["gpu.quality.triton.psnr_to_torch"] > 40
    assert "interpreter" in json.loads(out.read_text())["hardware"]
