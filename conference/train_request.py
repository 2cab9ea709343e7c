"""What `facewire train` was asked for: its command line as a value.

The rule: what makes no sense is refused here, in one sentence, before anything is read or made.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from quic_transport.errors import LocalError
from sender.extractor import DEFAULT_EXTRACTOR, EXTRACTORS


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What the user asked for."""

    source: Path
    """A training set's folder, or a video to make one of (beside the avatar)."""
    output: Path
    """The avatar file."""
    preset: str = "fast"
    """Name in `nerf.train.PRESETS`."""
    steps: int | None = None
    """Steps instead of the preset's."""
    seconds: float | None = None
    """At most this much training time, wall clock; the schedule is fitted to it."""
    size: int | None = None
    """Pixels of the training pictures instead of the preset's."""
    threads: int | None = None
    """CPU threads; None: two, or one where there is one core."""
    device: str = "auto"
    """auto, cpu or cuda."""
    backend: str = "auto"
    """One of `nerf.backends.BACKENDS`, or auto."""
    resume: bool = False
    """Go on from the checkpoint beside the avatar."""
    extractor: str = DEFAULT_EXTRACTOR
    """The tracker, for a video; a training set has its own."""
    models: Path | None = None
    """Folder of the tracker's model files, for a video."""
    avatar_size: str = "default"
    """One of `conference.avatar_size.SIZES`."""


def parse(argv: list[str]) -> TrainRequest:
    """The command line."""
    p = argparse.ArgumentParser(prog="facewire train", description="learn a personal 3D head")
    add = p.add_argument
    add("source", type=Path, help="a training set's folder, or a video of one person")
    add("-o", "--output", type=Path, required=True, metavar="FILE.fwa", help="the avatar to write")
    add("--preset", choices=("fast", "paper"), default="fast", help="default fast")
    add("--steps", type=int, metavar="N", help="instead of the preset's")
    add("--seconds", type=float, metavar="N", help="train at most so long; fits the schedule")
    add("--size", type=int, metavar="PX", help="of the training pictures, instead of the preset's")
    add("--threads", type=int, metavar="N", help="CPU threads; default 2")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto")
    add("--backend", choices=("auto", "triton", "tcnn", "torch", "cpu"), default="auto",
        help="whose kernels; default the best there is (docs/gpu.md)")  # fmt: skip
    add("--resume", action="store_true", help="go on where an interrupted run stopped")
    add(
        "--extractor",
        choices=EXTRACTORS,
        default=DEFAULT_EXTRACTOR,
        help="the tracker, for a video; default facenet",
    )
    add("--models", type=Path, metavar="DIR", help="folder of the tracker's model files")
    add(
        "--avatar-size",
        choices=("small", "default", "full"),
        default="default",
        help="small: at most 1 MB travel in a call; full: 32 bits, to be repacked later",
    )
    request = TrainRequest(**vars(p.parse_args(argv)))
    for name, low in (("steps", 1), ("seconds", 1.0), ("size", 32), ("threads", 1)):
        value = getattr(request, name)
        if value is not None and not value >= low:
            raise LocalError(f"--{name} must be at least {low}, not {value}")
    return request
