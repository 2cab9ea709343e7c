"""The training half of `facewire bench gpu` on a ball and a tenth of a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.nerf.heads import ball_footage
from tests.nerf.triton_here import triton_device

triton_device()

from conference.bench import gpu_train  # noqa: E402


def test_likeness_is_looked_at_on_the_way_and_off_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_train, "footage_of", lambda *_: (ball_footage(8, 16), 0.25))
    rows = gpu_train.train(Path("nowhere"), "fast", "torch", 0.1, torch.device("cpu"))
    values = {r.name: r.value for r in rows}
    base = "gpu.train.fast.torch.0.1s"
    looks = [n for n in values if n.startswith(f"{base}.psnr_at_")]
    assert 1 <= len(looks) <= 4
    assert all(np.isfinite(values[n]) for n in [*looks, f"{base}.psnr"])
    assert values[f"{base}.steps"] >= 1
    assert values[f"{base}.spent"] >= 0.1
    assert gpu_train.backends_of(torch.device("cpu"))[-1] == "torch"
