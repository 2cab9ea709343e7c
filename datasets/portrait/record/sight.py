"""What is wrong with the picture while filming: too dark, too far, out of the picture.

The rule: a few numbers of the picture, and of the face where a tracker looks for one, decide;
a hint is shown only after it has held for a moment and goes after a moment, so it can be read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOLD_S = 0.6  # a hint appears after holding so long, and goes after being absent so long

DARK = 55.0  # mean grey (0..255) of the face, or of the middle of the picture
BRIGHT = 215.0
BACKLIT = 0.55  # face darker than this share of the picture around it
FACE_SMALL = 0.28  # of the picture's height, chin to brow
FACE_SMALL_PX = 180.0
FACE_LARGE = 0.68
EDGE = 0.02  # of the picture's width and height
HAIR = 0.35  # of the face's height, above the topmost landmark


@dataclass(frozen=True, slots=True, eq=False)
class FaceSeen:
    """What the tracker says about the largest face."""

    box: tuple[float, float, float, float]
    """(left, top, right, bottom) of its landmarks, in shares of the picture (not mirrored)."""
    height_px: float
    """Its height in pixels of the picture."""
    rotation_deg: tuple[float, float, float]
    """(pitch, yaw, roll), degrees."""
    expression: list[float]
    """46 numbers of arkit46; empty where the tracker uses other names."""
    others: int = 0
    """Further faces in the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one picture looks like."""

    brightness: float
    """Mean grey of the face or, without a tracker, of the picture's middle, 0..255."""
    surround: float
    """Mean grey of the rest, 0..255."""
    face: FaceSeen | None = None
    """None: no face, or nobody looks for one."""
    tracked: bool = False
    """Whether somebody looks for a face."""


def picture_hints(seen: Seen) -> tuple[str, ...]:
    """What is wrong with a picture, the most urgent first."""
    hints = []
    face = seen.face
    if seen.tracked and face is None:
        hints.append("face out of the picture: sit in front of the camera")
    elif face is not None:
        left, top, right, bottom = face.box
        height = bottom - top
        if face.others:
            hints.append("only one person in the picture, please")
        if min(left, 1 - right) < EDGE or 1 - bottom < EDGE:
            hints.append("face at the edge: move to the middle")
        elif top - HAIR * height < 0 and height <= FACE_LARGE:
            hints.append("your hair is cut off: tilt the camera up or move back")
        if height > FACE_LARGE:
            hints.append("too close: move back")
        elif height < FACE_SMALL and face.height_px < 2 * FACE_SMALL_PX:
            hints.append("come closer")
        elif face.height_px < FACE_SMALL_PX:
            hints.append("come closer, or ask for a larger picture with --size")
    if seen.brightness < DARK:
        hints.append("too dark: turn on a light in front of you")
    elif seen.brightness > BRIGHT:
        hints.append("too bright: less light, or turn away from the window")
    elif face is not None and seen.brightness < BACKLIT * seen.surround:
        hints.append("light from behind: turn around or close the curtain")
    return tuple(hints)


def measure_picture(
    image: NDArray[np.uint8], face: FaceSeen | None = None, tracked: bool = False
) -> Seen:
    """The numbers of one RGB picture [H, W, 3], from every eighth pixel."""
    grey = image[::8, ::8].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    height, width = grey.shape
    box = face.box if face is not None else (0.3, 0.2, 0.7, 0.8)
    left, right = (round(min(max(x, 0.0), 1.0) * width) for x in (box[0], box[2]))
    top, bottom = (round(min(max(y, 0.0), 1.0) * height) for y in (box[1], box[3]))
    inside = np.zeros(grey.shape, dtype=bool)
    inside[top : max(bottom, top + 1), left : max(right, left + 1)] = True
    if not inside.any() or inside.all():
        return Seen(float(grey.mean()), float(grey.mean()), face, tracked)
    return Seen(float(grey[inside].mean()), float(grey[~inside].mean()), face, tracked)


class SteadyHints:
    """Hints that have held for a moment."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def update(self, now: float, hints: tuple[str, ...]) -> tuple[str, ...]:
        """Take notice of the hints at `now`; those to be shown, the current ones first."""
        for hint in hints:
            self._since.setdefault(hint, now)
            self._last[hint] = now
        for hint in [h for h, last in self._last.items() if now - last > HOLD_S]:
            del self._since[hint], self._last[hint]
        shown = [h for h, since in self._since.items() if now - since >= HOLD_S]
        return tuple(sorted(shown, key=lambda h: h not in hints))
