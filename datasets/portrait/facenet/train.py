"""Training PE-Net on a CPU: one process per core, weights averaged every few steps.

The rule: single-threaded workers with their own data and optimiser meet at a barrier and average
(local SGD, Stich 2019): no core waits for another within a step. Time is the budget; the learning
rate follows the share of it that is spent. Weights, optimiser state and time are saved as a
checkpoint, so that a run goes on where it was stopped.
"""

from __future__ import annotations

import ctypes
import math
import multiprocessing as mp
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.batches import Batch, Sampler
from portrait.facenet.samples import Faces, sample
from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM

MEET_EVERY = 16  # steps between averages
SAVE_EVERY_S = 60.0
PATIENCE_S = 300.0  # at a meeting
EMA = 0.98  # per meeting
FREEZE_AT = 0.5  # share of the run after which batch normalisation keeps its statistics: those of
# a batch of six people differ too much from everybody's (in them, blinks read three times larger)
WARM_UP = 0.02  # share of the run


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """How long and how hard."""

    minutes: float = 40.0
    workers: int = 4
    batch: int = 64
    rate: float = 2e-3
    rate_end: float = 2e-5
    weight_decay: float = 0.02
    seed: int = 0
    checkpoint: Path = Path("penet.checkpoint.pt")


def landmark_basis(faces: Faces, mirror: NDArray[np.int64], dim: int, rng: np.random.Generator
                   ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Mean [956] and principal motions [dim, 956] of the landmarks in jittered crops."""
    rows = rng.choice(len(faces), min(6000, len(faces)), replace=False)
    x = np.stack([sample(faces, int(i), rng, mirror)[2][:956] for i in rows])
    mean = x.mean(axis=0)
    _, s, vt = np.linalg.svd(x - mean, full_matrices=False)
    basis = vt[:dim] * (s[:dim, None] / math.sqrt(len(rows)))
    return mean.astype(np.float32), basis.astype(np.float32)


def coefficient_weights(faces: Faces) -> NDArray[np.float32]:
    """[46], mean 1/46: a coefficient counts by how much it moves, softly."""
    w = 1 / (faces.expression.std(axis=0) + 0.06)
    w[faces.expression.std(axis=0) < 0.004] *= 0.2
    return np.asarray(w / w.sum() * 4.0, dtype=np.float32)


def tensors(batch: Batch) -> tuple[Any, ...]:
    """The batch as torch tensors, the picture as [B, 3, H, W] in 0..1, channels last."""
    import torch

    picture = torch.from_numpy(batch.picture).permute(0, 3, 1, 2).float() / 255
    return (picture.contiguous(memory_format=torch.channels_last), torch.from_numpy(batch.place),
            torch.from_numpy(batch.label), torch.from_numpy(batch.face),
            torch.from_numpy(batch.performer))  # fmt: skip


class Shared:
    """One flat float32 vector per worker in shared memory, and a barrier."""

    def __init__(self, workers: int, size: int) -> None:
        context = mp.get_context("fork")
        self._memory = context.RawArray(ctypes.c_float, workers * size)
        self.barrier = context.Barrier(workers)
        self.array = np.ctypeslib.as_array(self._memory).reshape(workers, size)

    def meet(self) -> None:
        """Wait for all; LocalError if one never comes."""
        try:
            self.barrier.wait(PATIENCE_S)
        except threading.BrokenBarrierError as error:
            raise LocalError(
                "a training process died, probably for want of memory: use fewer --workers and "
                "give the same command again, it goes on from the last minute"
            ) from error

    def average(self, rank: int, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean of what all workers brought."""
        self.array[rank] = vector
        self.meet()
        mean = self.array.mean(axis=0)
        self.meet()
        return np.asarray(mean, dtype=np.float32)


def flat(state: list[Any]) -> NDArray[np.float32]:
    """Floating-point tensors as one vector."""
    return np.concatenate([t.detach().float().numpy().ravel() for t in state])


def unflat(state: list[Any], vector: NDArray[np.float32]) -> None:
    """The inverse of `flat`, in place."""
    import torch

    at = 0
    with torch.no_grad():
        for t in state:
            t.copy_(torch.from_numpy(vector[at : at + t.numel()]).view_as(t))
            at += t.numel()


def rate_at(progress: float, plan: TrainPlan) -> float:
    """The learning rate after a share `progress` of the run: a short rise, then half a cosine."""
    if progress < WARM_UP:
        return plan.rate * max(progress / WARM_UP, 0.02)
    x = (progress - WARM_UP) / (1 - WARM_UP)
    return plan.rate_end + (plan.rate - plan.rate_end) * 0.5 * (1 + math.cos(math.pi * min(x, 1)))


def train(net: Any, sampler: Sampler, plan: TrainPlan, report: Any = print) -> dict[str, float]:
    """Train `net` in place (to the average of its recent weights); facts about the run."""
    import torch

    weight = coefficient_weights(sampler.real)
    performer = torch.zeros(2, EXPRESSION_DIM)
    state = _state(net, performer)
    start: dict[str, Any] = {}
    if plan.checkpoint.exists():
        start = torch.load(plan.checkpoint, weights_only=True)
        unflat(state, start["weights"].numpy())
        report(f"going on after {start['spent'] / 60:.1f} minutes")
    shared = Shared(plan.workers, sum(t.numel() for t in state))
    context = mp.get_context("fork")
    arguments = (net, performer, sampler, plan, shared, weight, start)
    others = [context.Process(target=_work, args=(rank, *arguments), daemon=True)
              for rank in range(1, plan.workers)]  # fmt: skip
    for process in others:
        process.start()
    try:
        facts = _work(0, *arguments, report=report)
    except BaseException:
        for process in others:
            process.terminate()
        raise
    for process in others:
        process.join(30)
    return facts


def _state(net: Any, performer: Any) -> list[Any]:
    tensors_ = [*net.parameters(), *(b for b in net.buffers() if b.is_floating_point()), performer]
    return list(tensors_)


def freeze_statistics(net: Any) -> None:
    """Batch normalisation by what was seen so far, as it will be used."""
    import torch

    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()


def _work(
    rank: int, net: Any, performer: Any, sampler: Sampler, plan: TrainPlan, shared: Shared,
    weight: NDArray[np.float32], start: dict[str, Any], report: Any = None,
) -> dict[str, float]:  # fmt: skip
    import cv2
    import torch

    from portrait.facenet.loss import pe_loss

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if rank:  # Ctrl-C is the first worker's business
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    rng = np.random.default_rng([plan.seed, rank, int(start.get("spent", 0))])
    net.train().to(memory_format=torch.channels_last)
    performer = performer.requires_grad_(True)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": plan.weight_decay},
         {"params": [*plain, performer], "weight_decay": 0.0}],
        lr=plan.rate, betas=(0.9, 0.98),
    )  # fmt: skip
    if start:
        optimiser.load_state_dict(start["optimiser"])
    state = _state(net, performer)
    ema = start["ema"].numpy().copy() if start else flat(state)
    coefficients = torch.from_numpy(weight)
    before = float(start.get("spent", 0.0))
    samples = int(start.get("samples", 0))
    began, saved, step = time.monotonic(), time.monotonic(), 0
    spent = before
    parts: dict[str, float] = {}
    while True:
        progress = spent / (60 * plan.minutes)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(progress, plan)
        if progress >= FREEZE_AT:
            freeze_statistics(net)
        picture, place, label, face, acted = tensors(sampler.draw(rng, plan.batch))
        with torch.autocast("cpu", torch.bfloat16):
            outputs = net(picture, place)
        loss, now = pe_loss(outputs, label, face, acted, 8, coefficients, performer)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        for key, value in now.items():
            parts[key] = 0.99 * parts.get(key, value) + 0.01 * value
        step += 1
        samples += plan.batch * plan.workers
        if step % MEET_EVERY:
            continue
        clock = np.array([before + time.monotonic() - began], np.float32)
        mean = shared.average(rank, flat(state))
        unflat(state, mean)
        ema = EMA * ema + (1 - EMA) * mean
        spent = float(clock[0])
        shared.meet()
        shared.array[rank, 0] = spent
        shared.meet()
        spent = float(shared.array[:, 0].max())  # all stop at the same step
        shared.meet()
        over = spent >= 60 * plan.minutes
        if rank == 0 and (over or time.monotonic() - saved > SAVE_EVERY_S):
            saved = time.monotonic()
            _save(plan.checkpoint, state, ema, optimiser, spent, samples)
            text = ", ".join(f"{k} {v:.3f}" for k, v in parts.items())
            passed = f"{spent / 60:5.1f} of {plan.minutes:g} min"
            report(f"{passed}, {samples / 1e6:.2f} M crops: {text}")
        if over:
            break
    unflat(state, ema)
    return {"minutes": spent / 60, "samples": float(samples), **parts}


def _save(path: Path, state: list[Any], ema: NDArray[np.float32], optimiser: Any, spent: float,
          samples: int) -> None:  # fmt: skip
    import torch

    part = path.with_suffix(".part")
    torch.save(
        {"weights": torch.from_numpy(flat(state)), "ema": torch.from_numpy(ema.copy()),
         "optimiser": optimiser.state_dict(), "spent": spent, "samples": samples}, part,
    )  # fmt: skip
    part.replace(path)
