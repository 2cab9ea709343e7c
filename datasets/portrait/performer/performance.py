"""What the performer does: speech, blinks, glances, brows, smiles and head motion over time.

The rule: a pure function of (seed, script, time). Each kind of motion has its own random stream,
drawn in order of time, so a longer performance begins like a shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerf.camera import rotation_matrix
from portrait.performer.fields import ramp
from portrait.performer.person import GAZE_DOWN, GAZE_SIDE, GAZE_UP, INDEX
from portrait.performer.render import NECK_PIVOT
from portrait.performer.script import Plan, plan
from portrait.performer.visemes import Sound, Stress, babble, mouth_at
from quic_transport.errors import LocalError
from quic_transport.params import FaceParams
from sender.portrait_crop import crop_of

Floats = NDArray[np.float64]
DISTANCE = 0.75  # metres from the camera to the head's origin
HEIGHT = 0.018  # metres of the head's origin above the optical axis
CLOSE, HOLD, OPEN = 0.070, 0.020, 0.130  # seconds of a blink's phases


def smooth_noise(seed: int, t: float, period: float) -> float:
    """Noise in about [-1, 1] at time `t` that turns about every `period` seconds."""
    x = t / period
    k = int(np.floor(x))
    f = x - k
    values = [
        np.random.default_rng([seed & 0xFFFFFFFF, 0xA015E, (k + i) & 0xFFFFFFFF]).uniform(-1, 1)
        for i in range(4)
    ]
    a, b, c, d = values  # cubic B-spline: two continuous derivatives
    return float(
        (a * (1 - f) ** 3 + b * (3 * f**3 - 6 * f**2 + 4)
         + c * (-3 * f**3 + 3 * f**2 + 3 * f + 1) + d * f**3) / 6 * 1.5
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Glance:
    """A saccade: from `time` on the eyes rest at (yaw, pitch) from the camera's direction."""

    time: float
    """Seconds."""
    yaw: float
    """Radians, positive to the image's right."""
    pitch: float
    """Radians, positive up."""


class Score:
    """All events of a performance; `at(t)` is the performer at time `t`."""

    def __init__(self, seed: int, seconds: float, script: str = "talk") -> None:
        if not 0 < seconds <= 24 * 3600:
            raise LocalError(f"a performance lasts more than 0 s and at most a day, not {seconds}")
        self.seed = seed
        self.plan: Plan = plan(script, seconds)
        self.sounds: list[Sound] = []
        self.stresses: list[Stress] = []
        for k, talk in enumerate(self.plan.talks):
            rng = np.random.default_rng([seed & 0xFFFFFFFF, 0x5A1D, k])
            sounds, stresses = babble(rng, talk.start, talk.end, pause=talk.pause, words=talk.words)
            self.sounds += sounds
            self.stresses += stresses
        self.sounds.sort(key=lambda s: s.time)
        self._sound_times = np.array([s.time for s in self.sounds])
        self._stress_times = np.array([s.time for s in self.stresses])
        self.blinks = self._draw_blinks(seconds)
        self.glances = self._draw_glances(seconds)
        self._glance_times = np.array([g.time for g in self.glances])

    def _draw_blinks(self, seconds: float) -> Floats:
        rng = np.random.default_rng([self.seed & 0xFFFFFFFF, 0xB11C])
        times, t = [], float(rng.uniform(0.8, 2.5))
        while t < seconds:
            times.append(t)
            double = rng.random() < 0.10
            t += 0.36 if double else float(np.clip(rng.gamma(5.0, 0.72), 1.9, 7.0))
        return np.array(times)

    def _draw_glances(self, seconds: float) -> list[Glance]:
        rng = np.random.default_rng([self.seed & 0xFFFFFFFF, 0x61A9])
        out, t = [Glance(-1.0, 0.0, 0.0)], 0.0
        while t < seconds:
            t += float(rng.gamma(3.0, 0.45)) + 0.25
            away = rng.random() < 0.28
            spread = (0.26, 0.13) if away else (0.035, 0.025)
            yaw, pitch = float(rng.normal(0, spread[0])), float(rng.normal(0, spread[1]))
            out.append(Glance(t, float(np.clip(yaw, -0.5, 0.5)), float(np.clip(pitch, -0.3, 0.25))))
        return out

    def _blink(self, t: float) -> float:
        k = int(np.searchsorted(self.blinks, t, side="right")) - 1
        if k < 0:
            return 0.0
        q = t - self.blinks[k]
        if q < CLOSE + HOLD:
            return float(ramp(q, 0.0, CLOSE))
        return float(ramp(q, CLOSE + HOLD + OPEN, CLOSE + HOLD))

    def _gaze(self, t: float) -> tuple[float, float]:
        k = int(np.searchsorted(self._glance_times, t, side="right")) - 1
        g, before = self.glances[k], self.glances[max(k - 1, 0)]
        done = float(ramp(t - g.time, 0.0, 0.045))
        return (before.yaw + (g.yaw - before.yaw) * done,
                before.pitch + (g.pitch - before.pitch) * done)  # fmt: skip

    def _stress(self, t: float, width: float, threshold: float = 0.0) -> float:
        """Sum of stresses around `t`, each a hill of `width` seconds."""
        a, b = np.searchsorted(self._stress_times, (t - 4 * width, t + 4 * width))
        return sum(
            s.strength * float(np.exp(-0.5 * ((t - s.time) / width) ** 2))
            for s in self.stresses[a:b]
            if s.strength > threshold
        )

    def head_angles(self, t: float) -> Floats:
        """(pitch, yaw, roll) in radians, head → camera."""
        n, live = self.seed * 7, self.plan.liveliness(t)
        yaw = 9.0 * smooth_noise(n, t, 2.6) + 3.0 * smooth_noise(n + 1, t, 0.9)
        pitch = 4.0 * smooth_noise(n + 2, t, 1.9) + 1.4 * smooth_noise(n + 3, t, 0.7)
        roll = 3.4 * smooth_noise(n + 4, t, 2.2) + 1.0 * smooth_noise(n + 5, t, 0.8)
        turn = smooth_noise(n + 6, t, 4.0)
        yaw += 16.0 * np.sign(turn) * max(0.0, abs(turn) - 0.28)
        nod = self._stress(t - 0.06, 0.11, 0.45)
        pitch += 3.0 * nod
        angles = np.array([np.clip(pitch, -12, 12), np.clip(yaw, -25, 25), np.clip(roll, -8, 8)])
        return np.radians(angles * live) + self.plan.head(t)

    def expression(self, t: float, head: Floats) -> Floats:
        """The 46 coefficients at time `t`, the head turned by `head` (pitch, yaw, roll)."""
        e = mouth_at(self.sounds, self._sound_times, t)
        live = self.plan.liveliness(t)
        smile = max(0.0, 0.10 + 0.38 * smooth_noise(self.seed * 7 + 20, t, 2.8)) * live
        quiet = float(np.clip(1 - 2.2 * e[INDEX["jawOpen"]], 0.25, 1))
        for side in ("Left", "Right"):
            e[INDEX["mouthSmile" + side]] += smile * (0.5 + 0.5 * quiet)
            e[INDEX["eyeSquint" + side]] += 0.45 * smile
            e[INDEX["mouthDimple" + side]] += 0.15 * smile
        raised = 0.55 * self._stress(t - 0.03, 0.16, 0.62) * live
        raised += max(0.0, 0.35 * smooth_noise(self.seed * 7 + 21, t, 1.7) - 0.05) * live
        e[INDEX["browInnerUp"]] += 0.8 * raised
        lean = 0.15 * smooth_noise(self.seed * 7 + 22, t, 2.0)
        e[INDEX["browOuterUpLeft"]] += raised * (0.7 + lean)
        e[INDEX["browOuterUpRight"]] += raised * (0.7 - lean)
        frown = max(0.0, 0.6 * smooth_noise(self.seed * 7 + 23, t, 2.3) - 0.18) * live
        shift = 0.30 * smooth_noise(self.seed * 7 + 24, t, 1.5) * live
        e[INDEX["jawLeft"]] += max(0.0, shift) * 0.4
        e[INDEX["jawRight"]] += max(0.0, -shift) * 0.4
        e[INDEX["mouthLeft"]] += max(0.0, shift) * 0.4
        e[INDEX["mouthRight"]] += max(0.0, -shift) * 0.4
        for side in ("Left", "Right"):
            e[INDEX["browDown" + side]] += frown
        e += self.plan.face(t)
        shut = self._blink(t)
        for side in ("Left", "Right"):
            i = INDEX["eyeBlink" + side]
            e[i] = max(e[i], shut)
        yaw, pitch = self._gaze(t)
        yaw, pitch = yaw * live, pitch * live
        if not self.plan.gazes(t):  # the eyes stay on their target while the head turns
            self._look(e, yaw - 0.9 * head[1], pitch + 0.8 * head[0])
        return np.clip(e, 0.0, 1.0)

    @staticmethod
    def _look(e: Floats, yaw: float, pitch: float) -> None:
        side = float(np.clip(yaw / GAZE_SIDE, -1, 1))
        e[INDEX["eyeLookOutLeft"]] += max(side, 0.0)
        e[INDEX["eyeLookInRight"]] += max(side, 0.0)
        e[INDEX["eyeLookInLeft"]] += max(-side, 0.0)
        e[INDEX["eyeLookOutRight"]] += max(-side, 0.0)
        for name in ("Left", "Right"):
            e[INDEX["eyeLookUp" + name]] += float(np.clip(pitch / GAZE_UP, 0, 1))
            e[INDEX["eyeLookDown" + name]] += float(np.clip(-pitch / GAZE_DOWN, 0, 1))

    def at(self, t: float) -> tuple[FaceParams, Floats]:
        """Parameters and pose [4, 4] head → camera (metres) at time `t` seconds."""
        head = self.head_angles(t)
        e = self.expression(t, head)
        n = self.seed * 7 + 30
        sway = np.array([0.010 * smooth_noise(n, t, 3.0), 0.004 * smooth_noise(n + 1, t, 2.4),
                         0.014 * smooth_noise(n + 2, t, 3.4)])  # fmt: skip
        sway[0] += 0.05 * head[1]
        pose = np.eye(4)
        pose[:3, :3] = rotation_matrix(*head)
        neutral = np.array([0.0, HEIGHT, -DISTANCE]) + sway
        pose[:3, 3] = neutral + NECK_PIVOT - pose[:3, :3] @ NECK_PIVOT
        rotation = crop_of(pose, 1.0, 1, 1)[1]  # of the stabilised portrait, whatever the camera
        return FaceParams(e.astype(np.float32), rotation.astype(np.float32), t), pose


def performance(
    seed: int, seconds: float, fps: float, script: str = "talk"
) -> Iterator[tuple[float, FaceParams, Floats]]:
    """(time, parameters, pose head → camera) of each frame of a performance."""
    if not 0 < fps <= 1000:
        raise LocalError(f"frames per second must be positive, not {fps}")
    score = Score(seed, seconds, script)
    for k in range(max(1, round(seconds * fps))):
        params, pose = score.at(k / fps)
        yield k / fps, params, pose
