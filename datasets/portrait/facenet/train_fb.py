"""Training FB-Net: windows, a loss on cells, one process.

The rule: most cells see no face, so hard ones weigh more (focal loss, Lin et al. 2017); place and
size are learnt where there is a face only.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.samples import Faces
from portrait.facenet.windows import draw_windows


def train_fb(
    net: Any, faces: Faces, performers: Faces | None, empty: NDArray[np.uint8], minutes: float,
    seed: int = 0, report: Any = print, checkpoint: Path | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train `net` in place for `minutes` of wall time; facts about the end of the run.

    With `checkpoint` the run goes on where it was stopped, to the half minute.
    """
    import torch
    from torch.nn import functional as F

    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    net.train().to(memory_format=torch.channels_last)
    step, mean, before = 0, 0.0, 0.0
    ema = {k: v.detach().clone() for k, v in net.state_dict().items()}
    if checkpoint is not None and checkpoint.exists():
        start = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(start["net"])
        optimiser.load_state_dict(start["optimiser"])
        ema, step, before = start["ema"], start["step"], start["spent"]
        report(f"FB-Net: going on after {before / 60:.1f} minutes")
    rng = np.random.default_rng([seed, 0xFB, step])
    began = said = time.monotonic()
    while (progress := (before + time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-5 + 2e-3 * 0.5 * (1 + math.cos(math.pi * progress))
        w = draw_windows(faces, performers, empty, rng, 64)
        picture = torch.from_numpy(w.picture).permute(0, 3, 1, 2).float() / 255
        target, counts = torch.from_numpy(w.target), torch.from_numpy(w.counts)
        with torch.autocast("cpu", torch.bfloat16):
            out = net(picture.contiguous(memory_format=torch.channels_last))
        out = out.float()
        face = target[:, 0]
        cross = F.binary_cross_entropy_with_logits(out[:, 0], face, reduction="none")
        sure = torch.exp(-cross.detach())
        focal = ((1 - sure) ** 1.5 * cross * counts).sum() / face.sum().clamp(min=1)
        error = F.smooth_l1_loss(out[:, 1:], target[:, 1:], beta=0.1, reduction="none").sum(dim=1)
        place = (error * face).sum() / face.sum().clamp(min=1)
        loss = focal + place
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        step += 1
        keep = min(0.995, step / (step + 20))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                if v.is_floating_point():
                    ema[k].mul_(keep).add_(v, alpha=1 - keep)
                else:
                    ema[k].copy_(v)
        mean = 0.98 * mean + 0.02 * float(loss.detach())
        if time.monotonic() - said > 30:
            said = time.monotonic()
            if checkpoint is not None:
                part = checkpoint.with_suffix(".part")
                spent = before + said - began
                torch.save({"net": net.state_dict(), "ema": ema, "step": step, "spent": spent,
                            "optimiser": optimiser.state_dict()}, part)  # fmt: skip
                part.replace(checkpoint)
            seen = f"{step * 64 / 1e3:.0f} k windows"
            report(f"FB-Net {100 * progress:.0f} %: {seen}, loss {mean:.3f}")
    net.load_state_dict(ema)
    return {"minutes": minutes, "windows": float(step * 64), "loss": mean}
