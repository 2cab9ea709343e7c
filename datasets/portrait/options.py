"""How a training set is built, and what came of it: plain data.

The rule: an option belongs to one step, named beside it; changing it makes anew that step and
those that need it, no others.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from pathlib import Path

from nerf.trainset import TRAIN_FRACTION
from portrait.tracks import Selection
from sender.extractor import open_extractor

DEFAULT_EXTRACTOR = str(inspect.signature(open_extractor).parameters["name"].default)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How a training set is built."""

    extractor: str = DEFAULT_EXTRACTOR
    """Step 1: a name that sender.extractor knows; "truth" for a performer's video."""
    models: Path | None = None
    """Folder of downloaded model files; None searches (sender.model_files)."""
    segmenter: str = "auto"
    """Step 2: a name that portrait.segmentation knows."""
    selection: Selection = field(default_factory=Selection)
    """Step 1: which frames are looked at."""
    held_out: float = 1.0 - TRAIN_FRACTION
    """Step 6: the share of the frames, the last ones, that is never trained on, 0..0.9."""
    force: bool = False
    """Replace what is at the target; its steps that are still right are taken over."""


@dataclass(frozen=True, slots=True)
class BuildSummary:
    """What was made."""

    folder: Path
    """The training set."""
    frames: int
    """Frames in it."""
    train_frames: int
    """The first so many are for training, the others are held out."""
    looked_at: int
    """Frames of the source that were looked at."""
    left_out: dict[str, int]
    """Reason → frames that were left out for it."""
    face_px: float
    """Median height of the face in the source, pixels."""
    seconds: float
    """Seconds of the source that the kept frames span."""
    elapsed_s: float
    """Wall seconds that the build took."""
    warnings: tuple[str, ...]
    """Sentences about what could be better."""
    kept_steps: tuple[str, ...]
    """Steps that were taken over from before."""
    reprojection_px: tuple[float, float]
    """Median and 95th percentile over the frames, pixels of the source."""
    plate: dict[str, float]
    """Shares of the picture whose background was "seen", seen "rarely", or "inpainted"."""
