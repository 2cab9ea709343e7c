"""Who the performer is: the numbers that a seed draws.

The rule: a person is these traits and nothing else; the same seed gives the same person on every
machine. Shape traits are standard scores (0 is average), colours are linear RGB in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

# Linear RGB of skin from pale to deep, in steps that the eye sees as even.
SKIN_TONES = np.array(
    [
        [0.80, 0.56, 0.45], [0.72, 0.47, 0.36], [0.62, 0.38, 0.27],
        [0.47, 0.27, 0.18], [0.30, 0.16, 0.10], [0.17, 0.085, 0.05],
    ]
)  # fmt: skip
HAIR_COLOURS: dict[str, Colour] = {
    "black": (0.012, 0.010, 0.009), "dark": (0.035, 0.022, 0.014), "brown": (0.085, 0.045, 0.024),
    "chestnut": (0.13, 0.055, 0.026), "blond": (0.38, 0.25, 0.12), "red": (0.26, 0.085, 0.028),
    "grey": (0.26, 0.25, 0.24),
}  # fmt: skip
EYE_COLOURS: dict[str, Colour] = {
    "brown": (0.13, 0.055, 0.022), "dark": (0.05, 0.024, 0.012), "hazel": (0.20, 0.13, 0.05),
    "green": (0.15, 0.21, 0.10), "blue": (0.14, 0.25, 0.42), "grey": (0.22, 0.27, 0.31),
}  # fmt: skip
CLOTH_COLOURS: tuple[Colour, ...] = (
    (0.03, 0.05, 0.11), (0.10, 0.11, 0.13), (0.30, 0.05, 0.05), (0.06, 0.13, 0.09),
    (0.55, 0.53, 0.48), (0.10, 0.20, 0.36), (0.33, 0.20, 0.08), (0.23, 0.08, 0.20),
)  # fmt: skip
WALL_COLOURS: tuple[Colour, ...] = (
    (0.46, 0.47, 0.48), (0.55, 0.50, 0.42), (0.30, 0.37, 0.42), (0.40, 0.45, 0.37),
    (0.50, 0.42, 0.39), (0.20, 0.22, 0.26),
)  # fmt: skip
SHAPES = (
    "face_width", "face_length", "jaw_width", "chin", "cheek", "fullness", "brow_ridge",
    "brow_height", "eye_spacing", "eye_tilt", "eye_open", "nose_length", "nose_width",
    "nose_bridge", "nose_tip", "mouth_width", "lip_fullness", "ear_size", "neck_width",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traits:
    """One person, as drawn from a seed."""

    seed: int
    """The seed; also that of the skin's and hair's noise."""
    masculine: float
    """0 soft features .. 1 strong features."""
    shape: dict[str, float]
    """Standard score of each of `SHAPES`."""
    skin: Colour
    """Albedo of the cheek."""
    lip: Colour
    """Albedo of the lips."""
    redness: float
    """0..1: flush of cheeks, nose and ears."""
    freckles: float
    """0..1: strength of freckles."""
    age: float
    """0 young .. 1 old: folds, lines, grey."""
    eye: Colour
    """Albedo of the iris."""
    hair: Colour
    """Albedo of the hair."""
    hair_style: str
    """`crop`, `short`, `quiff`, `bob`, `long` or `bun`."""
    parting: float
    """-1..1: where the hair parts, from the right side to the left one."""
    hairline: float
    """cm: how far the hairline is moved up."""
    brow: float
    """0.6..1.5: thickness of the eyebrows."""
    beard: str
    """`none`, `stubble`, `short` or `full`."""
    glasses: bool
    """Whether the person wears glasses."""
    garment: str
    """`crew`, `shirt` or `hoodie`."""
    cloth: Colour
    """Albedo of the garment."""
    wall: Colour
    """Colour of the room behind."""
    light_side: float
    """-1 or 1: where the main light stands."""


def draw_traits(seed: int) -> Traits:
    """The person of a seed."""
    rng = np.random.default_rng([0xFACE, seed & 0xFFFFFFFF])
    man = bool(rng.random() < 0.5)
    masculine = float(np.clip(rng.normal(0.8 if man else 0.15, 0.12), 0, 1))
    shape = {name: float(np.clip(rng.normal(0, 0.8), -1.7, 1.7)) for name in SHAPES}
    shape["jaw_width"] += 1.6 * (masculine - 0.5)
    shape["brow_ridge"] += 1.8 * (masculine - 0.5)
    shape["neck_width"] += 2.4 * (masculine - 0.5)
    shape["lip_fullness"] -= 1.2 * (masculine - 0.5)
    shape["eye_open"] -= 0.8 * (masculine - 0.5)
    tone = float(rng.beta(1.1, 1.5)) * (len(SKIN_TONES) - 1)
    k = min(int(tone), len(SKIN_TONES) - 2)
    skin = SKIN_TONES[k] + (SKIN_TONES[k + 1] - SKIN_TONES[k]) * (tone - k)
    skin = skin * rng.normal(1, 0.03, 3)
    lip_tint = np.array([0.92, 0.64, 0.64]) if man else np.array([0.95, 0.45, 0.50])
    age = float(rng.beta(1.4, 2.0))
    dark = tone / (len(SKIN_TONES) - 1)
    if dark > 0.45:
        hair, eye = str(rng.choice(["black", "dark"])), str(rng.choice(["brown", "dark"]))
    else:
        hair = str(rng.choice(["black", "dark", "brown", "chestnut", "blond", "red"],
                              p=[0.10, 0.16, 0.20, 0.18, 0.24, 0.12]))  # fmt: skip
        eye = str(rng.choice(list(EYE_COLOURS), p=[0.28, 0.1, 0.17, 0.13, 0.2, 0.12]))
    if age > 0.62 and rng.random() < 0.6:
        hair = "grey"
    styles = ["crop", "short", "quiff"] if man else ["bob", "long", "bun", "short"]
    beards = ["none", "stubble", "short", "full"]
    return Traits(
        seed=seed,
        masculine=masculine,
        shape=shape,
        skin=tuple(float(c) for c in skin),  # type: ignore[arg-type]
        lip=tuple(float(c) for c in skin * lip_tint),  # type: ignore[arg-type]
        redness=float(rng.uniform(0.2, 1.0)),
        freckles=float(max(0.0, rng.normal(0.0, 0.5))) * (1 - dark),
        age=age,
        eye=EYE_COLOURS[eye],
        hair=HAIR_COLOURS[hair],
        hair_style=str(rng.choice(styles)),
        parting=float(rng.choice([-1, 1]) * rng.uniform(0.25, 0.7)),
        hairline=float(rng.uniform(-0.3, 0.5) + (0.7 * age if man else 0.0)),
        brow=float(rng.uniform(0.7, 1.15) + 0.3 * masculine),
        beard=str(rng.choice(beards, p=[0.4, 0.3, 0.18, 0.12])) if man else "none",
        glasses=bool(rng.random() < 0.25),
        garment=str(rng.choice(["crew", "shirt", "hoodie"])),
        cloth=CLOTH_COLOURS[int(rng.integers(len(CLOTH_COLOURS)))],
        wall=WALL_COLOURS[int(rng.integers(len(WALL_COLOURS)))],
        light_side=float(rng.choice([-1.0, 1.0])),
    )
