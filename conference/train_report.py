"""What a training run came to: the scores of held-out frames, and what the user reads of them.

The rule: the score is that of frames training never saw, with parameters as a live sender would
have sent them; what was judged otherwise says so in its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conference.terminal import announce
from conference.train_request import TrainRequest

if TYPE_CHECKING:
    from conference.full_frame import PictureScore
    from conference.personal.fitting import PersonalFitting
    from nerf.metrics import Likeness
    from nerf.train import Trainer
    from nerf.trainset import TrainSet

SCORED = 60  # held-out frames behind the final score
CEILING_FRAMES = 15  # of these with the pose optimised: a second each
GENERIC, CORRECTED = "generic tracker", "with a correction"
PERSONAL, CEILING = "personal tracker", "pose by pose"

Scores = dict[str, "Likeness"]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A run whose last step is taken."""

    request: TrainRequest
    """What the user asked for."""
    trainset: TrainSet
    """What the head was learned from."""
    trainer: Trainer
    """With the field, ready to leave."""
    fitting: PersonalFitting | None
    """With a personal tracker in it; None where there is none."""
    seconds: float
    """Wall clock of the steps, all sessions together."""
    cpu: float
    """Processor seconds of the steps."""
    samples: float
    """Field evaluations."""
    device: str
    """cpu or cuda."""

    @property
    def held_out(self) -> NDArray[np.int64]:
        """The frames that training never saw."""
        return np.arange(self.trainer.count, len(self.trainer.footage))

    @property
    def sample(self) -> NDArray[np.int64]:
        """The held-out frames that are scored."""
        held = self.held_out
        return held[:: max(1, len(held) // SCORED)]


def scores_of(run: Trained) -> Scores:
    """The likenesses of held-out frames under the names that users read; empty without any."""
    sample = run.sample
    if not len(sample):
        return {}
    if run.fitting is None:
        return {GENERIC: run.trainer.score(sample, corrected=False),
                CORRECTED: run.trainer.score(sample)}  # fmt: skip
    announce("scoring held-out frames, as a live sender would send them")
    found = run.fitting.score(sample, CEILING_FRAMES)
    return {GENERIC: found.generic, PERSONAL: found.personal, CEILING: found.ceiling}


def facts_of(run: Trained, scores: Scores,
             whole: PictureScore | None) -> dict[str, str | int | float]:  # fmt: skip
    """What an avatar says of how it was made."""
    facts: dict[str, str | int | float] = {
        "preset": run.request.preset, "device": run.device,
        "backend": run.trainer.choice.backend,
        "steps": run.trainer.step_index, "train_frames": run.trainer.count,
        "held_out_frames": len(run.held_out),
        "seconds": round(run.seconds, 1), "cpu_seconds": round(run.cpu, 1),
        "source": run.trainset.source,
    }  # fmt: skip
    for kind, score in scores.items():
        facts |= {
            f"{measure} {kind}": round(getattr(score, field), 4)
            for measure, field in (
                ("psnr", "psnr_whole"), ("psnr head", "psnr_head"),
                ("psnr rimless", "psnr_rimless"), ("ssim", "ssim_whole"),
                ("ssim head", "ssim_head"),
            )
        }  # fmt: skip
    if whole is not None:
        facts |= whole.facts()
    return facts


def sentences(run: Trained, scores: Scores, whole: PictureScore | None, size: int) -> list[str]:
    """What the user reads at the end; the avatar has `size` bytes."""
    speed = run.samples / max(run.cpu, 1e-9) / 1e6
    out = [
        f"{run.request.output}: {size / 1e6:.1f} MB, {run.trainer.step_index} steps in "
        f"{run.seconds:.0f} s ({run.cpu:.0f} CPU-s, {speed:.2f} M samples per CPU-s)"
    ]
    if scores:
        out.append(f"held-out frames at {run.trainer.settings.size} px, head on white:")
    out += [
        f"  {kind:18} PSNR {s.psnr_whole:.2f} dB (head {s.psnr_head:.2f}, without its "
        f"rim {s.psnr_rimless:.2f}), SSIM {s.ssim_whole:.4f}"
        for kind, s in scores.items()
    ]
    return out if whole is None else [*out, f"  {whole.sentence()}"]
