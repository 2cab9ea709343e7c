"""The report's pictures: which frames to show, and each as a small data: URI.

The rule: choices are pure and deterministic (the good frames are spread over what the clip
shows, the bad ones carry their reason); pixels are those of the finished set.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.report_facts import ClipFacts
from portrait.report_measures import blurred, clock

GOOD, WORST, MATTES = 12, 8, 8
SIDE_PX = 208
QUALITY = 74  # JPEG
CHECKER_PX = 13
CHECKER_GREY = (120, 200)
APART_S = 0.7  # bad frames of one moment are shown once
DEGREES_PER_UNIT = 15.0  # of a turned head, for a spread that weighs turns like expressions


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame with what is to be said about it."""

    row: int
    """Of the facts."""
    caption: str
    """A few words."""


def spread_rows(features: NDArray[np.float64], count: int) -> list[int]:
    """Up to `count` rows that lie far from each other; the first is the most ordinary one."""
    if not len(features):
        return []
    chosen = [int(np.argmin(np.abs(features - np.median(features, axis=0)).sum(axis=1)))]
    nearest = np.linalg.norm(features - features[chosen[0]], axis=1)
    while len(chosen) < min(count, len(features)) and nearest.max() > 0:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return chosen


def _features(facts: ClipFacts, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.hstack([facts.rotation_deg[rows] / DEGREES_PER_UNIT, facts.expression[rows]])


def good_frames(facts: ClipFacts) -> list[Shown]:
    """Kept frames without fault, spread over turns and expressions, in order of time."""
    faulty = {shown.row for shown in worst_frames(facts, count=len(facts.time))}
    rows = np.array([r for r in np.flatnonzero(facts.kept) if int(r) not in faulty], dtype=np.int64)
    if not len(rows):
        rows = np.flatnonzero(facts.kept)
    picked = sorted(int(rows[i]) for i in spread_rows(_features(facts, rows), GOOD))
    return [Shown(row, clock(float(facts.time[row]))) for row in picked]


def worst_frames(facts: ClipFacts, count: int = WORST) -> list[Shown]:
    """Kept frames that are doubtful, the worst of each kind in turn, with the reason."""
    kinds: list[list[tuple[float, int, str]]] = [[], [], []]
    error = facts.error_px
    usual = float(np.nanmedian(error[facts.kept])) if np.isfinite(error[facts.kept]).any() else 0.0
    light = facts.median("brightness")
    soft = blurred(facts)
    sharp = facts.median("sharpness")
    for row in (int(r) for r in np.flatnonzero(facts.kept)):
        if np.isfinite(error[row]) and usual > 0 and error[row] > 2.0 * usual:
            text = f"tracking off by {error[row]:.1f} px (usually {usual:.1f})"
            kinds[0].append((float(error[row] / usual), row, text))
        if soft[row]:
            share = facts.sharpness[row] / sharp
            kinds[1].append((float(1 / max(share, 1e-6)), row, f"blurred: {100 * share:.0f} % "
                             "of the usual sharpness"))  # fmt: skip
        change = facts.brightness[row] / light - 1 if light > 0 else 0.0
        if abs(change) > 0.15:
            word = "brighter" if change > 0 else "darker"
            kinds[2].append((float(abs(change)), row, f"{100 * abs(change):.0f} % {word} "
                             "than usual"))  # fmt: skip
    for kind in kinds:
        kind.sort(reverse=True)
    out: list[Shown] = []
    while len(out) < count and any(kinds):
        for kind in kinds:
            while kind:
                _, row, text = kind.pop(0)
                times = [facts.time[shown.row] for shown in out]
                if count >= len(facts.time) or all(
                    abs(facts.time[row] - t) > APART_S for t in times
                ):
                    out.append(Shown(row, f"{clock(float(facts.time[row]))}, {text}"))
                    break
    return out[:count]


def matte_frames(facts: ClipFacts) -> list[Shown]:
    """The frames where mattes go wrong first: extreme turns, unusual faces, the ends."""
    rows = np.flatnonzero(facts.kept)
    if not len(rows):
        return []
    turned = facts.rotation_deg[rows]
    wanted = {
        "furthest left": turned[:, 1].argmax(), "furthest right": turned[:, 1].argmin(),
        "furthest up": turned[:, 0].argmin(), "furthest down": turned[:, 0].argmax(),
        "most tilted": np.abs(turned[:, 2]).argmax(),
        "most unusual face": np.abs(
            facts.expression[rows] - np.median(facts.expression[rows], axis=0)
        ).sum(axis=1).argmax(),
        "first frame": 0, "last frame": len(rows) - 1,
    }  # fmt: skip
    out: list[Shown] = []
    for caption, i in wanted.items():
        row = int(rows[int(i)])
        if all(row != shown.row for shown in out):
            out.append(Shown(row, f"{caption}, {clock(float(facts.time[row]))}"))
    return out[:MATTES]


def data_uri(rgb: NDArray[np.uint8], quality: int = QUALITY) -> str:
    """uint8 [H, W, 3] RGB as a JPEG inside a URI."""
    import cv2

    ok, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def small(image: Any, side: int = SIDE_PX) -> Any:
    """A square picture at the report's size."""
    import cv2

    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def read_picture(path: Path, channels: int = 3) -> Any | None:
    """A picture of the set (RGB, RGBA with 4 channels, [H, W] with 1); None where it is missing
    or damaged."""
    import cv2

    flags = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR, 4: cv2.IMREAD_UNCHANGED}[channels]
    image = cv2.imread(str(path), flags) if path.is_file() else None
    if image is None or image.ndim == 2:
        return image
    return image[..., (2, 1, 0, 3)[: image.shape[2]]]


def read_landmarks(path: Path) -> NDArray[np.float64] | None:
    """[M, 2] pixels of the portrait; None where they are missing or damaged."""
    try:
        points = np.array(path.read_text(encoding="ascii").split(), dtype=np.float64)
    except (OSError, ValueError):
        return None
    return points.reshape(-1, 2) if len(points) % 2 == 0 and np.isfinite(points).all() else None


def marked(image: NDArray[np.uint8], points: NDArray[np.float64]) -> Any:
    """The picture with a dot at each point."""
    import cv2

    out = np.array(image, order="C")
    radius = max(1, round(image.shape[0] / 500))
    for x, y in np.clip(points, -1e4, 1e4):
        cv2.circle(out, (round(x), round(y)), radius, (40, 220, 255), -1, cv2.LINE_AA)
    return out


def over_checker(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A head that stands over white, put over grey checks: what is wrong at its rim shows."""
    height, width = alpha.shape
    y, x = np.mgrid[:height, :width] // CHECKER_PX
    dark, light = CHECKER_GREY
    checks = np.where((x + y) % 2 == 0, dark, light).astype(np.float32)[..., None]
    opacity = alpha.astype(np.float32)[..., None] / 255.0
    over = rgb.astype(np.float32) - 255.0 * (1 - opacity) + checks * (1 - opacity)
    return np.clip(over + 0.5, 0, 255).astype(np.uint8)
