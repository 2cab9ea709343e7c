"""Training the parsing network on one CPU thread.

    python -m portrait.parsing.label PACK DIR --models FOLDER      (the teacher's only use)
    python -m portrait.parsing.performers 100000 100160 DIR
    python -m portrait.parsing.train DIR --minutes 25              (writes DIR/checkpoint.pt)
    python -m portrait.parsing.export DIR/checkpoint.pt

The rule: time is the budget; first pictures of half the size, enlarged, then full ones.
Weights, their average, optimiser state and time are saved every minute: a run goes on where it
was stopped. What comes out is the average of the recent weights.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from portrait.parsing.data import Sources, batch, read_sources
from portrait.parsing.net import INPUT_PX, ParsingNet

SIZES = ((0.39, INPUT_PX // 2), (1.0, INPUT_PX))  # until this share of the time, pixels
BATCH = 32
RATE, RATE_END, WARM_UP = 3e-3, 3e-5, 0.02
WEIGHT_DECAY = 0.02
SAVE_EVERY_S = 60.0
EMA = 0.995
EDGE = 3.0  # how much more a pixel at the person's outline counts


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """How long, and where it is kept."""

    minutes: float
    """Time on one thread, all runs together."""
    checkpoint: Path
    """Read where it exists, written every minute."""
    seed: int = 0
    """Of the samples' order."""


def rate_at(progress: float) -> float:
    """The learning rate after a share of the run: a short rise, then half a cosine."""
    if progress < WARM_UP:
        return RATE * max(progress / WARM_UP, 0.02)
    x = min((progress - WARM_UP) / (1 - WARM_UP), 1.0)
    return RATE_END + (RATE - RATE_END) * 0.5 * (1 + math.cos(math.pi * x))


def size_at(progress: float) -> int:
    """The pictures' size after a share of the run."""
    return next(size for until, size in SIZES if progress < until)


def parsing_loss(logits: Any, target: Any) -> tuple[Any, dict[str, float]]:
    """The loss of logits [B, 4, h, w] against targets [B, h, w, 6] (portrait.parsing.data)."""
    import torch
    from torch.nn import functional as F

    logits = logits.float()
    alpha, sure, known = target[..., 3], target[..., 4], target[..., 5]
    parts = torch.logsumexp(logits[:, 1:], dim=1)
    wide = alpha[:, None]
    edge = (F.max_pool2d(wide, 5, 1, 2) + F.max_pool2d(-wide, 5, 1, 2))[:, 0]
    weight = sure * (1 + EDGE * edge)
    person = F.binary_cross_entropy_with_logits(parts - logits[:, 0], alpha, reduction="none")
    person = (person * weight).sum() / weight.sum().clamp(min=1)
    which = -(torch.log_softmax(logits[:, 1:], dim=1) * target[..., :3].permute(0, 3, 1, 2)).sum(1)
    which = (which * known).sum() / (known * alpha).sum().clamp(min=1)
    p = torch.sigmoid(parts - logits[:, 0])
    both = (torch.minimum(p, alpha) * sure).sum((1, 2))
    either = (torch.maximum(p, alpha) * sure).sum((1, 2))
    some = either > 20
    overlap = (1 - both / either.clamp(min=1e-3))[some].mean() if some.any() else person * 0
    total = person + 0.5 * which + 0.3 * overlap
    shown = {"person": person, "part": which, "1-iou": overlap}
    return total, {k: float(v.detach()) for k, v in shown.items()}


def train(
    net: Any, sources: Sources, plan: TrainPlan, report: Callable[[str], None] = print
) -> float:
    """Train `net` in place, to the average of its recent weights; the minutes it took in all."""
    import torch

    net.train().to(memory_format=torch.channels_last)
    state = [t for t in net.state_dict().values() if t.is_floating_point()]
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}],
        lr=RATE, betas=(0.9, 0.98),
    )  # fmt: skip
    spent, pictures = 0.0, 0
    average = [t.clone() for t in state]
    if plan.checkpoint.exists():
        start = torch.load(plan.checkpoint, weights_only=True)
        net.load_state_dict(start["weights"])
        optimiser.load_state_dict(start["optimiser"])
        average = [t for t in start["average"].values() if t.is_floating_point()]
        spent, pictures = float(start["spent"]), int(start["pictures"])
        report(f"going on after {spent / 60:.1f} minutes")
    rng = np.random.default_rng([plan.seed, int(spent)])
    last = saved = time.monotonic()
    parts: dict[str, float] = {}
    step = 0
    while spent < 60 * plan.minutes:
        progress = spent / (60 * plan.minutes)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(progress)
        size = size_at(progress)
        images, targets = batch(sources, rng, BATCH, size)
        if size < INPUT_PX:
            images = images.repeat(2, axis=1).repeat(2, axis=2)
            targets = targets.repeat(2, axis=1).repeat(2, axis=2)
        picture = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(picture.contiguous(memory_format=torch.channels_last))
        loss, now = parsing_loss(logits, torch.from_numpy(targets))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 3.0)
        optimiser.step()
        keep = min(EMA, (1 + step) / (10 + step))
        for mean, value in zip(average, state, strict=True):
            mean.lerp_(value, 1 - keep)
        parts = {k: 0.98 * parts.get(k, v) + 0.02 * v for k, v in now.items()}
        step, pictures = step + 1, pictures + len(images)
        clock = time.monotonic()
        spent, last = spent + clock - last, clock
        if clock - saved > SAVE_EVERY_S or spent >= 60 * plan.minutes:
            saved = clock
            _save(plan.checkpoint, net, average, optimiser, spent, pictures)
            text = ", ".join(f"{k} {v:.3f}" for k, v in parts.items())
            report(f"{spent / 60:5.1f} of {plan.minutes:g} min, {pictures} pictures: {text}")
    with torch.no_grad():
        for mean, value in zip(average, state, strict=True):
            value.copy_(mean)
    net.eval()
    return spent / 60


def _save(path: Path, net: Any, average: list[Any], optimiser: Any, spent: float, pictures: int
          ) -> None:  # fmt: skip
    import torch

    names = [k for k, t in net.state_dict().items() if t.is_floating_point()]
    part = path.with_suffix(".part")
    torch.save(
        {"weights": net.state_dict(), "average": dict(zip(names, average, strict=True)),
         "optimiser": optimiser.state_dict(), "spent": spent, "pictures": pictures}, part,
    )  # fmt: skip
    part.replace(path)


def load_average(path: Path) -> ParsingNet:
    """The network of a checkpoint, with averaged weights, ready for use."""
    import torch

    net = ParsingNet()
    net.load_state_dict(torch.load(path, weights_only=True)["average"], strict=False)
    return net.eval()


def main() -> None:
    """`python -m portrait.parsing.train DIR [--minutes M]`."""
    import cv2
    import torch

    p = argparse.ArgumentParser(description="train the parsing network")
    p.add_argument("folder", type=Path, help="with real.npz and performers_*.npz")
    p.add_argument("--minutes", type=float, default=25.0)
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(a.seed)
    sources = read_sources(a.folder)
    print(f"{len(sources.images)} real pictures, {len(sources.drawn_images)} of performers, "
          f"{len(sources.empty)} of nobody", flush=True)  # fmt: skip
    plan = TrainPlan(a.minutes, a.folder / "checkpoint.pt", a.seed)
    train(ParsingNet(), sources, plan, lambda text: print(text, flush=True))


if __name__ == "__main__":
    main()
