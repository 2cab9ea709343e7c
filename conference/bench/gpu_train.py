"""The training half of `facewire bench gpu`: likeness against seconds, by preset and backend.

The rule: a run has a budget of seconds and its schedule is fitted to it; looking at held-out frames
is not on the clock. Reading the pictures is, once, on a line of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from conference.bench.results import Row
from conference.seat import positions_of
from conference.terminal import announce
from nerf.backends import RenderBackend, why_not
from nerf.cpu.pool import WorkerPool
from nerf.field import HeadField
from nerf.metrics import psnr
from nerf.train import PRESETS, Footage, Trainer
from nerf.trainset import TrainSetError, detail_boxes, load_images, read_trainset
from quic_transport.errors import LocalError

SCORED = 24  # held-out frames that are looked at
STOPS = (0.25, 0.5, 0.75, 1.0)  # shares of the budget at which they are
ENDLESS = 1 << 40  # steps: time ends a run


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Frames that training never saw."""

    footage: Footage

    def score(self, backend: RenderBackend, field: HeadField) -> float:
        """Mean PSNR of the whole picture, poses as a receiver would have them."""
        f, out = self.footage, []
        for i in range(len(f)):
            backend.set_expression(field.code.face(f.expression[i], f.rotation[i]))
            rigid = field.rigid_correction(f.rotation[i], f.expression[i])
            out.append(psnr(backend.render(f.pose(i), f.lens(i), rigid=rigid).rgb, f.rgb[i]))
        return float(np.mean(out))


def footage_of(folder: Path, size: int, indices: np.ndarray | None = None) -> tuple[Footage, float]:
    """Frames of a training set at `size` pixels, and the share that is held out."""
    try:
        t = read_trainset(folder)
        which = np.arange(len(t)) if indices is None else indices
        rgb, alpha = load_images(t, size, which)
        detail = detail_boxes(t, size)
    except TrainSetError as error:
        raise LocalError(str(error)) from error
    detail = None if detail is None else detail[which]
    footage = Footage(rgb, alpha, t.rotation[which], t.expression[which],
                      t.camera.resized(size, size), t.distance_m, detail,
                      positions_of(t)[which])  # fmt: skip
    return footage, 1 - t.train_count / len(t)


def held_out(folder: Path, size: int) -> HeldOut:
    """Up to `SCORED` held-out frames of a training set."""
    try:
        test = read_trainset(folder).test_indices
    except TrainSetError as error:
        raise LocalError(str(error)) from error
    some = test[np.unique(np.linspace(0, len(test) - 1, min(SCORED, len(test))).astype(int))]
    return HeldOut(footage_of(folder, size, some)[0])


def backends_of(device: torch.device) -> list[str]:
    """The backends that can train on the device."""
    return [b for b in ("triton", "tcnn", "torch") if why_not(b, device.type) is None]


def train(folder: Path, preset: str, backend: str, seconds: float,
          device: torch.device) -> list[Row]:  # fmt: skip
    """Train for `seconds` and look at the likeness on the way."""
    settings = replace(PRESETS[preset], size=512)
    if device.type != "cuda":  # the interpreter: whether it runs
        from conference.bench.gpu_render import TINY

        settings = replace(settings, config=TINY, size=16, hull_frames=4, samples=64)
    began = time.perf_counter()
    footage, share = footage_of(folder, settings.size)
    reading = time.perf_counter() - began
    pool = WorkerPool(None)
    trainer = Trainer(footage, replace(settings, holdout=share), pool, device.type, backend)
    if not settings.milestones:
        trainer.settings = replace(trainer.settings, steps=ENDLESS)
    name = f"gpu.train.{preset}.{trainer.choice.backend}.{seconds:g}s"
    held = np.arange(trainer.count, len(footage))
    some = held[np.unique(np.linspace(0, len(held) - 1, min(SCORED, len(held))).astype(int))]
    rows = [Row(f"{name}.reading", reading, "s")]
    spent, samples, stops = 0.0, 0, list(STOPS)
    while stops and not trainer.done:
        began = time.perf_counter()
        samples += trainer.step(min(spent / seconds, 1.0)).samples
        spent += time.perf_counter() - began
        if spent >= stops[0] * seconds:
            share_done = stops.pop(0)
            while stops and spent >= stops[0] * seconds:
                share_done = stops.pop(0)
            value = trainer.score(some, corrected=False).psnr_whole
            rows.append(Row(f"{name}.psnr_at_{share_done * seconds:g}", value, "dB"))
            announce(f"{name}: {spent:.0f} s, {trainer.step_index} steps, {value:.2f} dB")
    trainer.finish()
    if len(some):
        rows.append(Row(f"{name}.psnr", trainer.score(some).psnr_whole, "dB"))
    rows += [Row(f"{name}.spent", spent, "s"), Row(f"{name}.steps", trainer.step_index, ""),
             Row(f"{name}.sample_rate", samples / max(spent, 1e-9) / 1e6, "M/s")]  # fmt: skip
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
        rows.append(Row(f"{name}.memory_peak", peak, "MiB"))
        torch.cuda.reset_peak_memory_stats()
    pool.close()
    return rows
