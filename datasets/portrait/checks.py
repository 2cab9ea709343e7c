"""Is this clip one person, without cuts, with enough face? A sentence where it is not.

The rule: pure decisions on tracks; every sentence says what was found, when, and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portrait.tracks import Tracks
from quic_transport.errors import LocalError

MIN_FACE_S = 5.0  # a clip with less face than this teaches nothing
MIN_SIDE_PX = 48.0  # portrait side (about 1.5 face heights) below which a face is too small
UNSTEADY = 0.04  # median second difference of the crop, in its sides: a real face stays below 0.01
MAX_YAW = np.radians(75.0)
SECOND_FACE_RATIO = 0.45  # a second face of this relative size is a second person
SECOND_FACE_SHARE = 0.10  # of the frames with a face
CUT_PICTURE = 0.16  # mean grey difference of thumbnails (range 1) that is a cut by itself
CUT_SPIKE = 0.06  # the same where it stands alone: this many times both neighbours
CUT_SPIKE_RATIO = 4.0
CUT_PICTURE_WITH_JUMP = 0.05  # the same where the face jumps too
CUT_JUMP = 0.35  # of the portrait's side, or of log size


class ClipError(LocalError):
    """A clip cannot become a training set; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What of a clip can be used."""

    rows: NDArray[np.int64]
    """The usable rows of the tracks."""
    left_out: dict[str, int]
    """Reason → number of frames that were left out for it."""
    reason: NDArray[np.str_]
    """[N] why each row of the tracks was left out; "" where it is usable."""


def cut_times(tracks: Tracks) -> list[float]:
    """Seconds of the first frame after each cut."""
    if len(tracks) < 2:
        return []
    small = tracks.thumbnail.astype(np.float32) / 255.0
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2))  # [N - 1]
    side = tracks.crop[:, 2]
    with np.errstate(invalid="ignore"):
        moved = np.hypot(*np.diff(tracks.crop[:, :2], axis=0).T) / side[1:]
        grown = np.abs(np.diff(np.log(side)))
        jump = (moved > CUT_JUMP) | (grown > CUT_JUMP)  # NaN compares false
    appears = tracks.seen[1:] != tracks.seen[:-1]
    padded = np.pad(change, 1)
    beside = np.maximum(padded[:-2], padded[2:])
    cut = change > CUT_PICTURE
    cut |= (change > CUT_SPIKE) & (change > CUT_SPIKE_RATIO * beside)
    cut |= (change > CUT_PICTURE_WITH_JUMP) & (jump | appears)
    cut |= np.any(np.diff(tracks.size, axis=0) != 0, axis=1)
    return [float(t) for t in tracks.time[1:][cut]]


def unsteadiness(tracks: Tracks) -> float:
    """Median second difference of the crop's place and log size between adjacent frames."""
    x = _crop_in_sides(tracks)
    if len(x) < 3:
        return 0.0
    second = np.abs(x[2:] - 2 * x[1:-1] + x[:-2]).max(axis=1)
    second = second[np.isfinite(second)]
    return float(np.median(second)) if len(second) else 0.0


def _crop_in_sides(tracks: Tracks) -> NDArray[np.float64]:
    """[N, 3] centre of the crop in its own sides, and log of the side."""
    side = tracks.crop[:, 2:]
    return np.hstack([tracks.crop[:, :2] / side, np.log(side)])


def longest_between(cuts: list[float], tracks: Tracks) -> tuple[float, float]:
    """(start, end) in seconds of the uncut stretch that shows the most face."""
    edges = [float(tracks.time[0]), *cuts, float(tracks.time[-1]) + 1e-3]
    best = max(
        range(len(edges) - 1),
        key=lambda i: int(
            (tracks.seen & (tracks.time >= edges[i]) & (tracks.time < edges[i + 1])).sum()
        ),
    )
    return edges[best], edges[best + 1]


def judge(tracks: Tracks, name: str) -> Verdict:
    """The usable rows of a clip called `name`; ClipError where it cannot be used."""
    if not len(tracks):
        raise ClipError(f"{name} has no frames in the chosen range: choose another --range")
    period = float(np.median(np.diff(tracks.time))) if len(tracks) > 1 else 0.04
    shown = float(tracks.time[-1] - tracks.time[0]) + period
    if tracks.seen.sum() * period < min(MIN_FACE_S, 0.5 * shown) or not tracks.seen.any():
        raise ClipError(_too_little(name, tracks.seen.sum() * period, shown))
    if unsteadiness(tracks) > UNSTEADY:
        raise ClipError(
            f"what looks like a face in {name} jumps about as no head does: it is a drawing, a "
            "pattern or badly lit; film one person facing the camera"
        )
    _refuse_cuts(tracks, name)
    _refuse_second_person(tracks, name)
    left_out: dict[str, int] = {}
    usable = tracks.seen.copy()
    reason = np.full(len(tracks), "", dtype="<U32")
    reason[~usable] = "no face"
    left_out["no face"] = int((~usable).sum())
    with np.errstate(invalid="ignore"):
        width, height = tracks.size[:, 0], tracks.size[:, 1]
        u, v, side = tracks.crop.T
        reasons = {
            "face too small": side < MIN_SIDE_PX,
            "turned away": np.abs(tracks.rotation[:, 1]) > MAX_YAW,
            "face at the picture's edge": (u < 0.15 * side)
            | (u > width - 0.15 * side)
            | (v < 0.2 * side)
            | (v > height - 0.25 * side),
            "tracker jumped": _glitches(tracks),
        }
    for why, bad in reasons.items():
        left_out[why] = int((usable & bad).sum())
        reason[usable & bad] = why
        usable &= ~bad
    seconds = usable.sum() * period
    if seconds < MIN_FACE_S:
        why = max(left_out, key=lambda k: left_out[k])
        raise ClipError(
            _too_little(name, seconds, shown, why if left_out[why] > 0.1 * len(tracks) else "")
        )
    return Verdict(np.flatnonzero(usable), {k: n for k, n in left_out.items() if n}, reason)


def _too_little(name: str, face_s: float, shown_s: float, why: str = "") -> str:
    reason = f" (mostly: {why})" if why else ""
    return (
        f"{name} shows a usable face for {face_s:.1f} s of {shown_s:.1f} s{reason}: at least "
        f"{MIN_FACE_S:.0f} s of one person facing the camera are needed, 60 to 120 s are good"
    )


def _refuse_cuts(tracks: Tracks, name: str) -> None:
    cuts = cut_times(tracks)
    if not cuts:
        return
    start, end = longest_between(cuts, tracks)
    times = ", ".join(f"{t:.2f} s" for t in cuts[:4]) + (" …" if len(cuts) > 4 else "")
    if end - start >= MIN_FACE_S:
        remedy = f"take the longest uncut stretch with --range {start:.2f}:{end:.2f}"
    else:
        remedy = "use one continuous shot"
    count = f"{len(cuts)} cuts" if len(cuts) > 1 else "a cut"
    raise ClipError(f"{name} has {count} (at {times}): {remedy}")


def _refuse_second_person(tracks: Tracks, name: str) -> None:
    two = tracks.second >= SECOND_FACE_RATIO
    if two.sum() <= SECOND_FACE_SHARE * tracks.seen.sum():
        return
    first = float(tracks.time[int(np.argmax(two))])
    raise ClipError(
        f"{name} shows two people (first at {first:.1f} s, in {100 * two.mean():.0f} % of the "
        "frames): use a shot of one person, or crop the video to one"
    )


def _glitches(tracks: Tracks) -> NDArray[np.bool_]:
    """[N] single frames whose crop leaves its neighbours and comes back at once."""
    bad = np.zeros(len(tracks), dtype=bool)
    if len(tracks) < 3:
        return bad
    x = _crop_in_sides(tracks)
    middle = np.abs(x[1:-1] - (x[:-2] + x[2:]) / 2).max(axis=1)
    across = np.abs(x[2:] - x[:-2]).max(axis=1)
    bad[1:-1] = (middle > 0.08) & (middle > 2 * across)
    return bad
