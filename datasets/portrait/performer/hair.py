"""Hair: a shell that grows out of the scalp at the hairline, curtains for long hair, a bun.

The rule: the shell starts a little below the skin at the hairline, so that its edge is where it
breaks through, roughened strand by strand. The texture runs along the strands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portrait.performer.fields import bump, curve, ramp, value_noise
from portrait.performer.parts import HAIR, Part, lattice, make_part, ring_surface
from portrait.performer.traits import Traits

Floats = NDArray[np.float64]

# Where the hair starts, in rings, by angle from the mid-line of the face in degrees.
_ANGLES = [0, 22, 38, 50, 58, 66, 73, 78, 81, 85, 101, 105, 110, 126, 180]
_LINE = [4.05, 4.0, 4.25, 4.9, 5.7, 6.5, 7.6, 8.5, 8.2, 6.1, 6.0, 7.8, 10.3, 11.4, 11.7]


def hairline(phi: Floats, traits: Traits) -> Floats:
    """The ring at which hair starts, by angle."""
    a = np.degrees(np.abs(phi))
    up = 0.55 * traits.hairline * np.asarray(ramp(a, 75, 40))
    temples = 0.35 * max(0.0, traits.hairline) * bump(a, 0, 38, 0, 12, 1)
    line = np.asarray(curve(a, _ANGLES, _LINE) - up - temples, dtype=np.float64)
    if traits.hair_style in ("bob", "long", "short") and traits.masculine < 0.5:
        away = np.abs(phi - 0.6 * traits.parting)  # it falls to both sides of the parting
        fall = 0.75 * np.asarray(ramp(away, 0.15, 0.75)) - 0.35 * np.exp(-((away / 0.28) ** 2))
        line = line + fall * np.asarray(ramp(a, 66, 48))
    return line


def _volume(ring: Floats, phi: Floats, traits: Traits) -> Floats:
    """Thickness of the shell in cm, far from the hairline."""
    a = np.degrees(np.abs(phi))
    top = np.asarray(ramp(ring, 5.5, 2.5))
    front = np.asarray(ramp(a, 75, 20))
    style = traits.hair_style
    if style == "crop":
        return 0.32 + 0.25 * top
    if style == "short":
        return 0.65 + 0.75 * top + 0.35 * front * top
    if style == "quiff":
        return 0.45 + 1.2 * top + 1.5 * front * bump(ring, 0, 3.2, 0, 1.0, 1)
    if style == "bun":
        return 0.75 + 0.25 * top
    return 1.15 + 0.45 * top + 0.25 * np.asarray(ramp(a, 60, 120))


def shell(traits: Traits, rng: np.random.Generator) -> Part:
    """The hair on the scalp."""
    rows, columns = 80, 221
    angles = np.linspace(-np.pi, np.pi, columns)
    line = hairline(angles, traits)
    jag = 0.14 * value_noise(rng, 1, columns, (1, 80))[0] + 0.10 * rng.uniform(-1, 1, columns)
    t = np.linspace(0, 1, rows)[:, None] ** 0.8
    ring = t * (line + 0.32 + jag)[None, :]
    phi = np.broadcast_to(angles, ring.shape)
    base = ring_surface(ring, phi, traits)
    out = base - np.array([0.0, 1.5, -4.2])
    out[..., 1] *= 0.8
    out /= np.linalg.norm(out, axis=-1, keepdims=True) + 1e-9
    streak = value_noise(rng, rows, columns - 1, (3, 60)) * 0.6
    streak += value_noise(rng, rows, columns - 1, (6, 26))
    streak = np.concatenate([streak, streak[:, :1]], axis=1)
    inside = line[None, :] - ring
    thick = _volume(ring, phi, traits) * (1 + 0.16 * streak * ramp(ring, 0.3, 1.5))
    part_phi = traits.parting * 0.6
    groove = np.exp(-0.5 * ((phi - part_phi) / 0.06) ** 2) * ramp(ring, 0.4, 1.2)
    thick = thick * (1 - 0.35 * groove * ramp(ring, 4.5, 3.5))
    grow = 1.3 - 0.55 * np.asarray(ramp(np.abs(phi), 0.9, 1.2))  # rings until it is at full height
    thick = thick * ramp(inside / grow, -0.12, 1.0) ** 0.8 - 0.20 * ramp(inside, 0.10, -0.25)
    points = base + out * thick[..., None]
    uv = np.stack([phi / (2 * np.pi) * 3 + 0.5, ring / 12 + 0.02 * streak], axis=-1)
    dark = 1 - 0.35 * groove * (thick > 0.2)
    return make_part(points, lattice(rows, columns), dark[..., None] * np.ones(3), HAIR, uv=uv)


def curtain(traits: Traits, rng: np.random.Generator) -> Part:
    """Hair that hangs: from above the ears down to `length`, open in front."""
    long = traits.hair_style == "long"
    length = -15.5 if long else -7.4
    rows, columns = 60, 140
    open_at = np.radians(60)
    psi = np.linspace(open_at, 2 * np.pi - open_at, columns)
    t = np.linspace(0, 1, rows)
    k, f = np.meshgrid(t, psi, indexing="ij")
    ragged = 0.7 * rng.uniform(-1, 1, columns) + 0.9 * value_noise(rng, 1, columns, (1, 17))[0]
    top = 6.4
    y = top + (length + ragged[None, :] - top) * k
    start = ring_surface(np.full_like(f, 4.9), np.mod(f + np.pi, 2 * np.pi) - np.pi, traits)
    wide = 1 + 0.035 * traits.shape["face_width"]
    half = curve(y, [-20, -15, -11, -7, -3, 1, 4, 7], [8.8, 8.7, 8.3, 8.4, 8.6, 8.7, 8.5, 7.8])
    back = curve(y, [-20, -15, -11, -7, -3, 1, 4, 7], [9.5, 9.0, 8.0, 8.0, 8.8, 9.9, 10.4, 9.8])
    wave = (
        value_noise(rng, rows, columns, (4, 15)) * 0.35
        + value_noise(rng, rows, columns, (3, 46)) * 0.18
    )
    curl = 0.0 if long else 0.9 * ramp(y, -3.5, -7.4)
    x = np.sin(f) * (half * wide + wave - curl)
    z = -4.6 + np.cos(f) * (np.where(np.cos(f) > 0, 7.4, back) + wave - curl)
    blend = np.asarray(ramp(k, 0.0, 0.16))
    x = start[..., 0] * 1.02 * (1 - blend) + x * blend
    z = start[..., 2] * (1 - blend) + z * blend
    forward = ramp(np.abs(np.mod(f + np.pi, 2 * np.pi) - np.pi), 1.5, 1.05) * ramp(y, -8, -15)
    z = z + 2.6 * forward  # over the shoulders
    points = np.stack([x, y, z], axis=-1)
    uv = np.stack([f / (2 * np.pi) * 3 + 0.1, k * 1.2 + 0.02 * wave], axis=-1)
    edge = np.minimum(f - open_at, 2 * np.pi - open_at - f)
    dark = 0.62 + 0.38 * ramp(edge, 0.0, 0.25)
    return make_part(points, lattice(rows, columns), dark[..., None] * np.ones(3), HAIR, uv=uv,
                     head=ramp(y, -19.0, -5.0) * 0.7 + 0.3)  # fmt: skip


def bun(traits: Traits, rng: np.random.Generator) -> Part:
    """A knot at the back of the crown."""
    rows, columns = 24, 48
    t, p = np.meshgrid(
        np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij"
    )
    unit = np.stack([np.sin(t) * np.sin(p), np.cos(t), np.sin(t) * np.cos(p)], axis=-1)
    swell = 1 + 0.08 * np.sin(5 * p + 6 * t)
    points = unit * swell[..., None] * (3.1, 2.7, 2.6) + (0, 11.6, -10.6)
    uv = np.stack([p / np.pi + 0.5 * t, t * 0.6], axis=-1)
    return make_part(points, lattice(rows, columns), 1.0, HAIR, uv=uv)


def hair_parts(traits: Traits, rng: np.random.Generator) -> list[Part]:
    """All hair of the person."""
    parts = [shell(traits, rng)]
    if traits.hair_style in ("bob", "long"):
        parts.append(curtain(traits, rng))
    if traits.hair_style == "bun":
        parts.append(bun(traits, rng))
    return parts
