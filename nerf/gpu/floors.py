"""What the device can do at best: matrix products and random look-ups per second, measured here.

The rule: a floor is the least work a picture needs over the rate at which the device was seen to do
that work and nothing else, in the same run as the pictures it is held against.
Reference: Williams et al. 2009 (the roofline model).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import triton
import triton.language as tl

from nerf.config import FEATURES, FieldConfig
from nerf.gpu.packing import OUT, sizes_of


@triton.jit
def look_up(table, out, entries, seed, N: tl.constexpr, TIMES: tl.constexpr):
    """Read TIMES · N random rows of four half-precision numbers."""
    i = tl.program_id(0) * N + tl.arange(0, N)
    four = tl.arange(0, 4)[None, :]
    value = tl.zeros([N, 4], tl.float32)
    for t in tl.static_range(TIMES):
        h = (i * 8 + t) * -1640531535 + seed
        h = (h ^ (h >> 15)) * 805459861
        row = ((h ^ (h >> 13)) & 0x7FFFFFFF) % entries
        value += tl.load(table + row[:, None] * 4 + four).to(tl.float32)
    tl.store(out + i, tl.sum(value, axis=1))


def timed(work: Callable[[], object], device: torch.device, runs: int = 5) -> float:
    """Seconds of the fastest of `runs`, after one that does not count."""
    best = float("inf")
    for i in range(runs + 1):
        _wait(device)
        began = time.perf_counter()
        work()
        _wait(device)
        if i:
            best = min(best, time.perf_counter() - began)
    return best


def matrix_rate(device: torch.device, size: int = 8192) -> float:
    """Floating-point operations per second of a large half-precision product."""
    a, b = (torch.randn(size, size, device=device).half() for _ in range(2))
    return 2.0 * size**3 / timed(lambda: a @ b, device)


def look_up_rate(device: torch.device, entries: int, programs: int = 1 << 14) -> float:
    """Random table rows per second, from a table of `entries` rows."""
    block, times = 256, 8
    table = torch.randn(entries, 4, device=device).half()
    out = torch.empty(programs * block, device=device)
    seconds = timed(
        lambda: look_up[(programs,)](table, out, entries, 7, N=block, TIMES=times), device
    )
    return programs * block * times / seconds


def work_of(config: FieldConfig, samples: int) -> tuple[float, float]:
    """Floating-point operations and table look-ups that `samples` samples need, unpadded."""
    s = sizes_of(config)
    h = config.hidden
    products = config.levels * FEATURES * h + (s.layers - 1) * h * h + h * (3 + 1)
    return 2.0 * products * samples, 8.0 * (config.levels + (config.warp > 0)) * samples


def padding_of(config: FieldConfig) -> float:
    """How many times more products the padded networks take."""
    s = sizes_of(config)
    done = s.inputs * s.hidden + (s.layers - 1) * s.hidden**2 + s.hidden * (OUT + 1)
    return 2.0 * done / work_of(config, 1)[0]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
