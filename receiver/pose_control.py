"""Where the viewer stands: the sender's own view, or a viewpoint turned about the head.

The rule: a viewpoint is a rotation about the camera's x, y and z axes through the head's origin,
each angle within ±45° and always approached smoothly; at rest with all angles zero the head's
pose is exactly the sender's. Pure: `now` is a parameter.
Reference: the paper, "Generate Module" (free viewpoint along x, y and z within ±45°).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import head_pose, rotation_matrix
from quic_transport.errors import LocalError

LIMIT_DEG = 45.0
AXES = ("pitch", "yaw", "roll")
SETTLED_RAD = 1e-4  # a remaining way smaller than this is taken at once
SWAY_PERIOD_S = 6.0  # one swing to both sides of `View.sway`

# What a key does: the axis and by how many degrees, or one of the words below it.
TURNS: dict[str, tuple[str, float]] = {
    "left": ("yaw", -5.0),
    "right": ("yaw", 5.0),
    "up": ("pitch", -5.0),
    "down": ("pitch", 5.0),
    ",": ("roll", 5.0),
    ".": ("roll", -5.0),
}
KEY_HELP = "arrows turn the head, , and . tilt it, 0 follows the sender, q ends the call"


@dataclass(frozen=True, slots=True)
class View:
    """A viewpoint relative to the sender's own camera; angles as in docs/conventions.md."""

    pitch: float = 0.0
    """Radians, ±45°; positive shows the head looking further down."""
    yaw: float = 0.0
    """Radians, ±45°; positive shows the head turned to the picture's right."""
    roll: float = 0.0
    """Radians, ±45°; positive tilts the head counter-clockwise."""
    sway: float = 0.0
    """Radians, 0..45°: swings the yaw to and fro by this much, forever."""

    def __post_init__(self) -> None:
        limit = math.radians(LIMIT_DEG) + 1e-9
        for name in (*AXES, "sway"):
            value = getattr(self, name)
            if not math.isfinite(value) or abs(value) > limit:
                raise LocalError(
                    f"a view's {name} must lie within ±{LIMIT_DEG:g}°, not {math.degrees(value):g}°"
                )


def parse_view(text: str) -> View:
    """The View of 'yaw=20,pitch=-10' (degrees); LocalError for anything else."""
    angles: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = part.partition("=")
        name = name.strip()
        try:
            if name not in (*AXES, "sway") or name in angles:
                raise ValueError
            angles[name] = math.radians(float(value))
        except ValueError:
            raise LocalError(
                f"a view is written like yaw=20,pitch=-10 (degrees; pitch, yaw, roll, sway), "
                f"and {part!r} is not part of one"
            ) from None
    return View(**angles)


class PoseControl:
    """Turns the sender's head rotation into the pose that is rendered."""

    def __init__(self, distance_m: float, view: View | None = None, smoothing: float = 0.12):
        """`distance_m`: camera to head, metres; `smoothing`: time constant of turns, seconds."""
        self.distance_m = distance_m
        self.smoothing = smoothing
        view = view or View()
        self._target = np.array([view.pitch, view.yaw, view.roll])
        self._angles = self._target.copy()
        self._sway = view.sway
        self._start: float | None = None
        self._time: float | None = None

    @property
    def target(self) -> tuple[float, float, float]:
        """(pitch, yaw, roll) that is being approached, radians."""
        return tuple(self._target.tolist())

    @property
    def moving(self) -> bool:
        """Whether the viewpoint changes although nobody presses a key."""
        return self._sway > 0 or bool(np.abs(self._target - self._angles).max() > 0)

    def turn(self, axis: str, degrees: float) -> None:
        """Move the target of one axis, up to the limit."""
        limit = math.radians(LIMIT_DEG)
        i = AXES.index(axis)
        self._target[i] = np.clip(self._target[i] + math.radians(degrees), -limit, limit)

    def follow(self) -> None:
        """Go back to the sender's own view."""
        self._target[:] = 0.0
        self._sway = 0.0

    def key(self, name: str) -> bool:
        """React to a key ('left', 'up', ',', '0', ...); whether it meant something here."""
        if name in TURNS:
            self.turn(*TURNS[name])
        elif name in ("0", "f"):
            self.follow()
        else:
            return False
        return True

    def view_at(self, now: float) -> NDArray[np.float64]:
        """(pitch, yaw, roll) of the viewpoint at `now`, radians [3], each within ±45°."""
        if self._time is None or self._start is None:
            self._start = self._time = now
        way = self._target - self._angles
        share = 1.0 - math.exp(-max(0.0, now - self._time) / self.smoothing)
        settled = np.abs(way) * (1.0 - share) < SETTLED_RAD
        self._angles = np.where(settled, self._target, self._angles + share * way)
        self._time = max(self._time, now)
        out = self._angles.copy()
        if self._sway > 0:
            out[1] += self._sway * math.sin((now - self._start) * 2 * math.pi / SWAY_PERIOD_S)
        limit = math.radians(LIMIT_DEG)
        return np.asarray(np.clip(out, -limit, limit))

    def pose(self, rotation: ArrayLike, now: float) -> NDArray[np.float64]:
        """The head → camera transform [4, 4] at `now` for the sender's (pitch, yaw, roll)."""
        view = self.view_at(now)
        head = rotation_matrix(*np.asarray(rotation, dtype=np.float64))
        if view.any():
            head = rotation_matrix(*view) @ head
        return head_pose(head, self.distance_m)
