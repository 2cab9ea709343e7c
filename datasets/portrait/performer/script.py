"""The scripts: when the performer talks freely and when it follows instructions.

The rule: a script is a table of talks, gestures and head turns over a nominal length; asked for
another length its sections are stretched, speech and blinks keep their own pace.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from portrait.performer.fields import ramp
from portrait.performer.visemes import shape
from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM

Floats = NDArray[np.float64]
SCRIPTS = ("talk", "enrolment")


@dataclass(frozen=True, slots=True)
class Talk:
    """A stretch of speech."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    pause: float = 0.55
    """Seconds between phrases, mean."""
    words: int = 9
    """Syllables per phrase, mean."""


@dataclass(frozen=True, slots=True, eq=False)
class Gesture:
    """A shape of the face, or a turn of the head, that comes, stays and goes."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    face: Floats = field(default_factory=lambda: np.zeros(EXPRESSION_DIM))
    """[46] at its height."""
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """(pitch, yaw, roll) at its height, radians."""

    def strength(self, t: float) -> float:
        """0 outside, 1 in the middle."""
        rise = 0.35 * (self.end - self.start)
        return float(ramp(t, self.start, self.start + rise) * ramp(t, self.end, self.end - rise))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a script asks for over a whole performance."""

    talks: tuple[Talk, ...]
    """Stretches of speech."""
    gestures: tuple[Gesture, ...]
    """Instructed shapes and turns."""
    calm: tuple[tuple[float, float, float], ...]
    """(start, end, how lively 0..1) where spontaneous motion is held back."""
    gaze: tuple[tuple[float, float], ...]
    """(start, end) where gestures move the eyes, not glances."""

    def liveliness(self, t: float) -> float:
        """1 where motion is free, less where the script holds it back."""
        out = 1.0
        for start, end, level in self.calm:
            inside = float(ramp(t, start - 0.5, start + 0.5) * ramp(t, end + 0.5, end - 0.5))
            out = min(out, 1 - (1 - level) * inside)
        return out

    def gazes(self, t: float) -> bool:
        """Whether the eyes follow the script at `t`."""
        return any(start <= t < end for start, end in self.gaze)

    def face(self, t: float) -> Floats:
        """Instructed coefficients [46]."""
        out = np.zeros(EXPRESSION_DIM)
        for g in self.gestures:
            if g.start < t < g.end:
                out = np.maximum(out, g.face * g.strength(t))
        return out

    def head(self, t: float) -> Floats:
        """Instructed (pitch, yaw, roll), radians."""
        out = np.zeros(3)
        for g in self.gestures:
            if g.start < t < g.end:
                out = out + np.array(g.head) * g.strength(t)
        return out


def _series(start: float, end: float, shapes: list[dict[str, float]]) -> list[Gesture]:
    edges = np.linspace(start, end, len(shapes) + 1)
    return [
        Gesture(float(a), float(b), face=shape(**s))
        for a, b, s in zip(edges[:-1], edges[1:], shapes, strict=True)
    ]


def _turns(start: float, end: float, turns: list[tuple[int, int, int]]) -> list[Gesture]:
    edges = np.linspace(start, end, len(turns) + 1)
    out = []
    for a, b, turn in zip(edges[:-1], edges[1:], turns, strict=True):
        p, y, r = (float(v) for v in np.radians(turn))
        out.append(Gesture(float(a), float(b), head=(p, y, r)))
    return out


def _enrolment(seconds: float) -> Plan:
    """The recording we recommend, nominally 100 s: neutral, counting, mouth, smile, brows, eyes
    closed, looking around, turning the head slowly, talking."""
    k = seconds / 100.0
    mouth = [
        {"jawOpen": 0.95}, {"jawOpen": 0.6, "mouthFunnel": 0.8}, {"mouthPucker": 0.95},
        {"jawLeft": 0.8}, {"jawRight": 0.8}, {"jawForward": 0.9}, {"mouthLeft": 0.9},
        {"mouthRight": 0.9}, {"mouthRollLower": 0.9, "mouthRollUpper": 0.9}, {"mouthPress": 0.9},
        {"jawOpen": 0.4, "mouthClose": 0.4}, {"mouthShrugLower": 0.9, "mouthShrugUpper": 0.6},
        {"jawOpen": 0.25, "mouthLowerDown": 0.9}, {"jawOpen": 0.2, "mouthUpperUp": 0.9},
    ]  # fmt: skip
    smile = [
        {"mouthSmile": 0.9, "eyeSquint": 0.4},
        {"mouthSmile": 0.9, "jawOpen": 0.35, "eyeSquint": 0.5},
        {"mouthFrown": 0.9}, {"mouthStretch": 0.9}, {"mouthDimple": 0.9}, {"mouthSmileLeft": 0.8},
        {"mouthSmileRight": 0.8},
    ]  # fmt: skip
    brows = [
        {"browInnerUp": 0.9, "browOuterUp": 0.9}, {"browDown": 0.95}, {"browInnerUp": 0.9},
        {"browOuterUpLeft": 0.9}, {"browOuterUpRight": 0.9},
    ]  # fmt: skip
    eyes = [
        {"eyeBlink": 1.0}, {"eyeWide": 0.9, "browInnerUp": 0.4}, {"eyeSquint": 0.9},
        {"eyeBlinkLeft": 1.0, "eyeSquintLeft": 0.4}, {"eyeBlinkRight": 1.0, "eyeSquintRight": 0.4},
    ]  # fmt: skip
    look = [
        {"eyeLookOutLeft": 0.9, "eyeLookInRight": 0.9},
        {"eyeLookInLeft": 0.9, "eyeLookOutRight": 0.9},
        {"eyeLookUp": 0.9}, {"eyeLookDown": 0.9},
    ]  # fmt: skip
    turns = [(0, -32, 0), (0, 32, 0), (-16, 0, 0), (18, 0, 0), (0, 0, 10), (0, 0, -10),
             (8, -20, 0), (-8, 20, 0)]  # fmt: skip
    gestures = [
        *_series(20 * k, 34 * k, mouth), *_series(34 * k, 42 * k, smile),
        *_series(42 * k, 47 * k, brows), *_series(47 * k, 52 * k, eyes),
        *_series(52 * k, 58 * k, look), *_turns(58 * k, 78 * k, turns),
    ]  # fmt: skip
    return Plan(
        talks=(Talk(6 * k, 20 * k, pause=0.5, words=3), Talk(78 * k, seconds)),
        gestures=tuple(gestures),
        calm=((0.0, 6 * k, 0.12), (20 * k, 58 * k, 0.25), (58 * k, 78 * k, 0.10)),
        gaze=((52 * k, 58 * k),),
    )


def plan(script: str, seconds: float) -> Plan:
    """The plan of a script for a performance of `seconds`."""
    if script == "talk":
        return Plan((Talk(0.0, seconds),), (), (), ())
    if script == "enrolment":
        return _enrolment(seconds)
    raise LocalError(f"there is no script {script!r}; the scripts are {' and '.join(SCRIPTS)}")
