"""Mouth shapes of speech sounds as coefficients, and seeded babble to string them together.

The rule: a sound is (shape, time, dominance); what the mouth does is their weighted mean, so that
neighbours bleed into each other and only the lips' closures are sure to be reached. Reference:
Cohen and Massaro, "Modeling coarticulation in synthetic visual speech" (1993).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quic_transport.params import ARKIT46, EXPRESSION_DIM

Floats = NDArray[np.float64]


def shape(**values: float) -> Floats:
    """Coefficients [46]; a name without Left or Right sets both sides."""
    out = np.zeros(EXPRESSION_DIM)
    for name, value in values.items():
        names = [n for n in (name, name + "Left", name + "Right") if n in ARKIT46]
        if not names:
            raise ValueError(f"{name!r} is none of the 46 coefficients")
        for n in names:
            out[ARKIT46.index(n)] = value
    return out


VISEMES: dict[str, Floats] = {
    "rest": shape(jawOpen=0.02, mouthClose=0.01),
    "aa": shape(jawOpen=0.62, mouthLowerDown=0.30, mouthUpperUp=0.14, mouthStretch=0.06),
    "ae": shape(jawOpen=0.46, mouthLowerDown=0.34, mouthUpperUp=0.20, mouthStretch=0.20,
                mouthSmile=0.10),
    "eh": shape(jawOpen=0.34, mouthLowerDown=0.28, mouthUpperUp=0.16, mouthSmile=0.12),
    "ee": shape(jawOpen=0.16, mouthSmile=0.30, mouthStretch=0.24, mouthLowerDown=0.30,
                mouthUpperUp=0.16, mouthDimple=0.12),
    "oh": shape(jawOpen=0.42, mouthFunnel=0.55, mouthPucker=0.22),
    "oo": shape(jawOpen=0.17, mouthPucker=0.68, mouthFunnel=0.30),
    "uh": shape(jawOpen=0.30, mouthLowerDown=0.18, mouthUpperUp=0.08),
    "mbp": shape(jawOpen=0.03, mouthClose=0.06, mouthPress=0.42, mouthRollLower=0.22,
                 mouthRollUpper=0.16),
    "fv": shape(jawOpen=0.09, mouthRollLower=0.55, mouthUpperUp=0.28, mouthShrugLower=0.15),
    "th": shape(jawOpen=0.19, mouthLowerDown=0.26, mouthUpperUp=0.12),
    "tdn": shape(jawOpen=0.17, mouthLowerDown=0.24, mouthUpperUp=0.10, mouthShrugUpper=0.06),
    "kg": shape(jawOpen=0.25, mouthLowerDown=0.22, mouthUpperUp=0.08),
    "sz": shape(jawOpen=0.07, mouthStretch=0.26, mouthLowerDown=0.32, mouthUpperUp=0.20),
    "sh": shape(jawOpen=0.11, mouthFunnel=0.62, mouthPucker=0.25, mouthShrugUpper=0.2),
    "rw": shape(jawOpen=0.15, mouthPucker=0.45, mouthFunnel=0.35, mouthShrugLower=0.1),
}  # fmt: skip
VOWELS = ("aa", "ae", "eh", "ee", "oh", "oo", "uh")
VOWEL_ODDS = (0.19, 0.11, 0.18, 0.18, 0.11, 0.08, 0.15)
CONSONANTS = ("mbp", "fv", "th", "tdn", "kg", "sz", "sh", "rw")
CONSONANT_ODDS = (0.16, 0.09, 0.07, 0.26, 0.12, 0.13, 0.06, 0.11)


@dataclass(frozen=True, slots=True)
class Sound:
    """One speech sound."""

    time: float
    """Seconds: where the shape is strongest."""
    viseme: str
    """A key of `VISEMES`."""
    width: float
    """Seconds: standard deviation of its influence."""
    weight: float
    """Dominance over its neighbours."""
    loudness: float
    """Factor on the shape."""


@dataclass(frozen=True, slots=True)
class Stress:
    """A stressed syllable or a phrase's end, to which head and brows react."""

    time: float
    """Seconds."""
    strength: float
    """0..1."""


def babble(
    rng: np.random.Generator, start: float, end: float, *, pause: float = 0.55, words: int = 9
) -> tuple[list[Sound], list[Stress]]:
    """Phrases of about `words` syllables between pauses of about `pause` seconds.

    The draws depend on time only through order: a longer `end` appends.
    """
    sounds: list[Sound] = []
    stresses: list[Stress] = []
    t = start + float(rng.uniform(0.1, 0.4))
    while t < end:
        count = max(2, int(rng.normal(words, words * 0.33)))
        rate = float(rng.uniform(3.9, 5.4))  # syllables per second
        sounds.append(Sound(t - 0.12, "rest", 0.08, 0.8, 1.0))
        for k in range(count):
            stressed = bool(rng.random() < 0.34)
            slow = 1.45 if k == count - 1 else 1.0
            length = float(rng.uniform(0.75, 1.2)) * (1.2 if stressed else 0.92) * slow / rate
            loud = float(rng.uniform(0.95, 1.25)) if stressed else float(rng.uniform(0.6, 0.95))
            onset, coda = bool(rng.random() < 0.86), bool(rng.random() < 0.35)
            picks = rng.choice(CONSONANTS, 2, p=CONSONANT_ODDS)
            vowel = str(rng.choice(VOWELS, p=VOWEL_ODDS))
            if onset:
                sounds.append(_consonant(t + 0.14 * length, str(picks[0]), length))
            sounds.append(Sound(t + 0.58 * length, vowel, 0.24 * length, 1.0, loud))
            if coda:
                sounds.append(_consonant(t + 0.93 * length, str(picks[1]), length))
            if stressed:
                stresses.append(Stress(t + 0.5 * length, float(rng.uniform(0.3, 1.0))))
            t += length
        sounds.append(Sound(t + 0.14, "rest", 0.10, 1.0, 1.0))
        gap = pause * float(rng.gamma(4.0, 0.25)) + (0.9 if rng.random() < 0.18 else 0.0)
        t += 0.22 + gap
        sounds.append(Sound(t - 0.12, "rest", 0.10, 1.0, 1.0))
    return ([s for s in sounds if s.time < end], [s for s in stresses if s.time < end])


def _consonant(time: float, viseme: str, length: float) -> Sound:
    sure = viseme in ("mbp", "fv")
    return Sound(time, viseme, (0.15 if sure else 0.17) * length, 3.4 if sure else 1.1, 1.0)


def mouth_at(sounds: list[Sound], times: Floats, t: float) -> Floats:
    """The mouth's coefficients [46] at time `t`; `times` are the sounds' times, ascending."""
    first, last = np.searchsorted(times, (t - 0.7, t + 0.7))
    total, weight = VISEMES["rest"] * 0.02, 0.02
    for s in sounds[first:last]:
        w = s.weight * float(np.exp(-0.5 * ((t - s.time) / s.width) ** 2))
        total = total + w * s.loudness * VISEMES[s.viseme]
        weight += w
    return total / weight
