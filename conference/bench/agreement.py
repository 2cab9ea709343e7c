"""How far a tracker agrees with its teacher: correlations, offsets, degrees, presence.

The rule: pure numpy. Rows are frames in which both see the same face; what differs by a constant
over a clip (a person's offset, which the avatar absorbs) is told apart from what does not follow.
A number counts in a clip only where the teacher's varies there; one that never moves although
the teacher's does counts as 0, not as unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.params import ARKIT46
from sender.portrait_crop import euler_angles

Floats = NDArray[np.float64]

ACTIVE_STD = 0.03  # a coefficient whose teacher varies less in a clip does not count there
FEWEST = 30  # frames below which a clip has no correlations
EYES = (33, 263)  # outer eye corners among the 478 landmarks
GROUPS = {"blink": "eyeBlink", "jaw": "jawOpen", "smile": "mouthSmile", "gaze": "eyeLook",
          "brow": "brow", "mouth": "mouth"}  # fmt: skip


def within_r(said: ArrayLike, wanted: ArrayLike) -> Floats:
    """Pearson's r of each column of [N, D]; NaN where the teacher's hardly varies."""
    a, b = np.asarray(said, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    out = np.full(b.shape[1], np.nan)
    if len(b) < FEWEST:
        return out
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    spread_a, spread_b = np.sqrt((a**2).mean(axis=0)), np.sqrt((b**2).mean(axis=0))
    active = spread_b > ACTIVE_STD
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (a * b).mean(axis=0) / (spread_a * spread_b)
    out[active] = np.where(spread_a > 1e-6, np.clip(r, -1.0, 1.0), 0.0)[active]
    return out


def offset_free_error(said: ArrayLike, wanted: ArrayLike) -> Floats:
    """Mean absolute error of each column, its mean difference over the clip removed."""
    gap = np.asarray(said, dtype=np.float64) - np.asarray(wanted, dtype=np.float64)
    return np.asarray(np.abs(gap - gap.mean(axis=0)).mean(axis=0))


def degrees_between(one: ArrayLike, other: ArrayLike) -> Floats:
    """The angle [N] between rotations [N, 3, 3], degrees 0..180."""
    turn = np.swapaxes(np.asarray(one, dtype=np.float64), 1, 2) @ np.asarray(other)
    # The arc cosine of the trace is blind below 1e-8 rad; the skew part is not.
    skew = np.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0],
                     turn[:, 1, 0] - turn[:, 0, 1]], axis=1)  # fmt: skip
    sine = np.linalg.norm(skew, axis=1)
    cosine = np.trace(turn, axis1=1, axis2=2) - 1.0
    return np.degrees(np.arctan2(sine, cosine))


def mean_rotation(rotations: ArrayLike) -> Floats:
    """The rotation [3, 3] nearest to all of [N, 3, 3] (chordal mean)."""
    u, _, v = np.linalg.svd(np.asarray(rotations, dtype=np.float64).mean(axis=0))
    return np.asarray(u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v)


def turned_back(said: ArrayLike, wanted: ArrayLike) -> Floats:
    """`said` [N, 3, 3] without the constant turn of the head's axes by which it differs."""
    a = np.asarray(said, dtype=np.float64)
    constant = mean_rotation(np.swapaxes(np.asarray(wanted), 1, 2) @ a)
    return a @ constant.T


def landmark_error(said: ArrayLike, wanted: ArrayLike) -> Floats:
    """Mean distance [N] of landmarks [N, M, 2], percent of the teacher's inter-eye distance."""
    a, b = np.asarray(said, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    eyes = np.linalg.norm(b[:, EYES[0]] - b[:, EYES[1]], axis=1)
    apart = np.linalg.norm(a - b, axis=2).mean(axis=1)
    return np.asarray(100.0 * apart / np.maximum(eyes, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """A tracker and its teacher over one clip."""

    frames: int
    """Compared frames."""
    r: Floats
    """[46], within the clip; NaN where the teacher's hardly varies."""
    error: Floats
    """[46] mean absolute error, offset removed."""
    error_raw: Floats
    """[46], with it."""
    rotation: Floats
    """[N] degrees between the two poses; empty where the teacher's are not the whole picture's."""
    rotation_free: Floats
    """[N], one constant turn of the clip removed."""
    angles: Floats
    """[N, 3] absolute differences of pitch, yaw, roll, degrees; or empty likewise."""
    landmarks: Floats
    """[N] percent of the inter-eye distance; empty where the landmarks are other points."""


def agreement(
    expression: tuple[ArrayLike, ArrayLike],
    rotation: tuple[ArrayLike, ArrayLike],
    landmarks: tuple[ArrayLike, ArrayLike] | None,
    absolute: bool = True,
) -> Agreement:
    """(said, wanted) of N ≥ 1 frames: [N, 46], [N, 3, 3], and [N, 478, 2] where comparable;
    `absolute`: whether poses can be compared as they are."""
    said, wanted = (np.asarray(r, dtype=np.float64) for r in rotation)
    gap = np.array([euler_angles(a) - euler_angles(b) for a, b in zip(said, wanted, strict=True)])
    gap = np.abs((gap + math.pi) % (2 * math.pi) - math.pi)
    a, b = (np.asarray(e, dtype=np.float64) for e in expression)
    return Agreement(
        len(a), within_r(a, b), offset_free_error(a, b), np.abs(a - b).mean(axis=0),
        degrees_between(said, wanted)[: None if absolute else 0],
        degrees_between(turned_back(said, wanted), wanted),
        np.degrees(gap)[: None if absolute else 0],
        landmark_error(*landmarks) if landmarks is not None else np.zeros(0),
    )  # fmt: skip


def middle(values: Any) -> float:
    """The median of what is known; NaN where nothing is."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if known.size else math.nan


def by_group(r: ArrayLike) -> dict[str, float]:
    """Median r of the coefficients of each group, from r [46]."""
    values = np.asarray(r, dtype=np.float64)
    return {
        name: middle(values[[n.startswith(prefix) for n in ARKIT46]])
        for name, prefix in GROUPS.items()
    }


def facts_of(a: Agreement) -> dict[str, float]:
    """The numbers of a clip by name: correlations, MAE, degrees, percent."""
    facts = {"frames": float(a.frames), "r": middle(a.r)}
    facts |= {f"r_{name}": value for name, value in by_group(a.r).items()}
    facts |= {"mae": float(a.error.mean()), "mae_raw": float(a.error_raw.mean())}
    for name, values in (("rotation", a.rotation), ("rotation_free", a.rotation_free),
                         ("landmarks", a.landmarks)):  # fmt: skip
        for kind, share in (("p50", 50), ("p95", 95)):
            facts[f"{name}_{kind}"] = float(np.percentile(values, share)) if len(values) else np.nan
    for name, column in zip(("pitch", "yaw", "roll"), a.angles.T, strict=True):
        facts[f"{name}_p50"] = middle(column)
    return facts


def per_coefficient(clips: Sequence[Agreement]) -> Floats:
    """[46]: each coefficient's median r over the clips in which it counts."""
    return np.array([middle([a.r[k] for a in clips]) for k in range(len(ARKIT46))])


def over_clips(clips: Mapping[str, Agreement]) -> dict[str, float]:
    """The numbers of all clips together.

    Correlations: each coefficient's median over the clips, then the median over coefficients.
    The rest: the median over clips of the clip's number; `all_` counts every frame alike.
    """
    if not clips:
        return {}
    every = [facts_of(a) for a in clips.values()]
    facts = {key: middle([f[key] for f in every]) for key in every[0] if key != "frames"}
    facts["r_of_clips"] = facts["r"]
    each = per_coefficient(list(clips.values()))
    facts["r"] = middle(each)
    facts |= {f"r_{name}": value for name, value in by_group(each).items()}
    for name in ("rotation", "rotation_free"):
        frames = np.concatenate([getattr(a, name) for a in clips.values()])
        if len(frames):
            facts[f"all_{name}_p50"], facts[f"all_{name}_p95"] = np.percentile(frames, [50, 95])
    return {key: float(value) for key, value in facts.items()}
