"""How to train a head: every number of the recipe, and the named recipes.

The rule: nothing here does anything; a run's checkpoint is refused where these differ.
References: the paper, "Nerf Model Training"; Gao et al. 2022 (sizes and milestones).
"""

from __future__ import annotations

from dataclasses import dataclass

from nerf.config import PAPER_FIELD, FieldConfig
from nerf.expression import BEYOND
from nerf.step import LossWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How to train; the two named recipes are `PRESETS`."""

    config: FieldConfig = FieldConfig()  # noqa: RUF009 (frozen)
    steps: int = 16_000
    size: int = 512
    """Pixels of the training pictures."""
    table_rate: float = 2e-2
    expression_rate: float = 2e-2
    network_rate: float = 3e-3
    decay_to: float = 0.3
    """Rates fall by this factor, exponentially, over the run; unused with milestones."""
    average: float = 0.1
    """Share of the run over which weights are averaged at its end (`nerf.weight_average`); 0: not
    at all, and rates fall by `decay_alone`."""
    decay_alone: float = 0.03
    """Instead of `decay_to` where weights are not averaged."""
    milestones: tuple[int, ...] = ()
    """Steps at which all rates are multiplied by 0.33 instead (the paper's MultiStepLR)."""
    pose_rate: float = 5e-3
    """Adam rate of per-frame pose refinement (radians, cube edges); 0 switches it off."""
    pose_start: float = 0.1
    """Share of the run after which poses move."""
    samples: int = 16_000
    """Samples per step that the number of rays is steered to."""
    detail_share: float = 0.2
    """Share of the rays that go through eyes and mouth, where their places are known: small, and
    what people look at."""
    hard_share: float = 0.5
    """Share of the rays that go where the head is still unlike (`nerf.error_map`)."""
    loss: LossWeights = LossWeights()  # noqa: RUF009 (frozen)
    betas: tuple[float, float] = (0.9, 0.99)
    holdout: float = 0.15
    """Share of the frames, the last ones, that training never sees."""
    even: bool = True
    """Whether frames from rare directions come more often (`nerf.side_order`)."""
    turned: bool = True
    """Whether the tables are also blended by the angles under which the head is seen."""
    beyond: float = BEYOND
    """Share of its range by which a coefficient is believed outside what training saw."""
    hull_frames: int = 40
    seed: int = 0


PRESETS: dict[str, TrainSettings] = {
    "fast": TrainSettings(),
    # The paper: Adam 1e-3, betas (0.9, 0.99), MultiStepLR, 200 epochs; NeRFBlendShape's sizes and
    # milestones (40 and 100 epochs × 0.33). An epoch is one pass over the frames, two per step
    # there and one per step here. On a CPU this takes days: see docs/training.md.
    "paper": TrainSettings(
        config=PAPER_FIELD, steps=200, size=512, table_rate=1e-3, expression_rate=1e-3,
        network_rate=1e-3, detail_share=0.0, hard_share=0.0, average=0.0, milestones=(40, 100),
        samples=40_000, even=False, turned=False, beyond=0.0,
    ),
}  # fmt: skip
