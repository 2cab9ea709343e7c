"""What the report knows about a clip: one row per frame that was looked at.

The rule: read once, checked once; everything after it is a pure function of these arrays. What
facts.npz lacks is NaN and leaves out the plots and advice that would need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portrait.facts import Facts, load_facts
from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM


@dataclass(frozen=True, slots=True, eq=False)
class ClipFacts:
    """N looked-at frames of a clip, in order of time."""

    time: NDArray[np.float64]
    """[N] seconds from the video's first frame."""
    reason: NDArray[np.str_]
    """[N] why the frame was left out; "" where it is in the set."""
    picture: NDArray[np.int64]
    """[N] name of its pictures in the set; -1 where it was left out."""
    rotation_deg: NDArray[np.float64]
    """[N, 3] pitch, yaw, roll in degrees; NaN without a face."""
    expression: NDArray[np.float32]
    """[N, 46]; NaN without a face."""
    error_px: NDArray[np.float64]
    """[N] reprojection error of the landmarks, pixels of the video; NaN where unknown."""
    sharpness: NDArray[np.float64]
    """[N] of the face, any unit; NaN where unknown."""
    brightness: NDArray[np.float64]
    """[N] mean grey of the face, 0..255; NaN where unknown."""
    face_px: NDArray[np.float64]
    """[N] height of the face in the video, pixels; NaN where unknown."""
    top_cut: NDArray[np.bool_]
    """[N] the head is cut off at the picture's top."""
    schema: str = "arkit46"
    """Names the 46."""

    def __len__(self) -> int:
        return len(self.time)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """[N] whether the frame is in the set."""
        return np.asarray(self.reason == "")

    @property
    def period_s(self) -> float:
        """Median seconds between looked-at frames."""
        return float(np.median(np.diff(self.time))) if len(self.time) > 1 else 0.04

    @property
    def usable_s(self) -> float:
        """Seconds of usable face."""
        return float(self.kept.sum()) * self.period_s

    def left_out(self) -> dict[str, int]:
        """Reason → frames, the commonest first."""
        names, counts = np.unique(self.reason[~self.kept], return_counts=True)
        return {str(names[i]): int(counts[i]) for i in np.argsort(-counts, kind="stable")}

    def median(self, name: str) -> float:
        """Median of a field over the kept frames; NaN where it is unknown."""
        values = getattr(self, name)[self.kept]
        values = values[np.isfinite(values)]
        return float(np.median(values)) if len(values) else float("nan")


def read_facts(folder: Path) -> ClipFacts:
    """The facts of a finished set; LocalError with a sentence where they are missing or damaged."""
    return clip_facts(load_facts(folder))


def clip_facts(facts: Facts) -> ClipFacts:
    """What the report uses of facts.npz; LocalError where its arrays do not fit together."""
    count = len(facts)
    columns = {
        "reason": (), "picture": (), "rotation": (3,), "expression": (EXPRESSION_DIM,),
        "error_px": (), "sharpness": (), "brightness": (), "face_px": (), "top_cut": (),
    }  # fmt: skip
    for name, shape in columns.items():
        got = np.shape(getattr(facts, name))
        if got != (count, *shape):
            raise LocalError(
                f"{name} of facts.npz has shape {got}, not {(count, *shape)}: build the training "
                "set again"
            )
    if not count or not (facts.reason == "").any():
        raise LocalError("facts.npz knows of no usable frame: build the training set again")
    return ClipFacts(
        time=facts.time,
        reason=facts.reason,
        picture=facts.picture,
        rotation_deg=np.degrees(facts.rotation),
        expression=facts.expression,
        error_px=facts.error_px,
        sharpness=facts.sharpness,
        brightness=facts.brightness,
        face_px=facts.face_px,
        top_cut=facts.top_cut,
        schema=facts.schema,
    )
