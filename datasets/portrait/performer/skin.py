"""The skin's colours, painted by code into one texture over the head's grid.

The rule: paint in canonical coordinates (cm), so that every stroke lies where the feature lies;
linear RGB albedo plus a gloss channel. The shapes are symmetric, the noise is the person's.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.performer.fields import bump, curve, ramp, ridge, value_noise
from portrait.performer.hair import hairline
from portrait.performer.head_mesh import (
    CANTHUS_X,
    JAW_RING,
    MOUTH_HALF,
    head_mesh,
    lid_line,
    lip_bottom,
    lip_line,
    lip_top,
)
from portrait.performer.traits import Traits

Floats = NDArray[np.float64]
SIZE = 1024


class _Canvas:
    """Canonical coordinates of every texel and the layers painted so far."""

    def __init__(self, traits: Traits) -> None:
        mesh = head_mesh()
        n = mesh.rows * mesh.columns
        at = (np.arange(SIZE) + 0.5) / SIZE
        mx, my = np.meshgrid(at * (mesh.columns - 1), at * (mesh.rows - 1))

        def spread(values: Floats) -> Floats:
            grid = values[:n].reshape(mesh.rows, mesh.columns).astype(np.float32)
            return cv2.remap(grid, mx.astype(np.float32), my.astype(np.float32),
                             cv2.INTER_LINEAR).astype(np.float64)  # fmt: skip

        self.signed_x, self.y, self.z = (spread(mesh.canon[:, i]) for i in range(3))
        self.x = np.abs(self.signed_x)
        self.ring, self.phi = spread(mesh.ring), spread(mesh.phi)
        step = np.hypot(np.diff(self.y, axis=0), np.diff(self.z, axis=0))[:, SIZE // 2]
        self.height = np.broadcast_to(np.concatenate([[0], np.cumsum(step)])[:, None], self.y.shape)
        self.face = ramp(np.cos(self.phi), 0.0, 0.3) * ramp(self.ring, 14.0, 13.0)
        self.rgb = np.broadcast_to(np.array(traits.skin), (SIZE, SIZE, 3)).copy()
        self.gloss = np.full((SIZE, SIZE), 0.55)

    def noise(self, rng: np.random.Generator, size: float, tall: float = 1.0) -> Floats:
        """Noise in [-1, 1] with grains of `size` cm (`tall` times as high)."""
        tile = value_noise(rng, 512, 512, (128, 128)).astype(np.float32)
        tile = 0.5 * (tile + tile[::-1]) * 1.3
        u = np.mod(self.phi * 7.0 / size * 4, 511).astype(np.float32)
        v = np.mod(self.height / (size * tall) * 4, 511).astype(np.float32)
        return cv2.remap(tile, u, v, cv2.INTER_LINEAR).astype(np.float64)

    def tint(self, amount: Floats, factor: tuple[float, float, float]) -> None:
        """Multiply by `factor` where `amount` is 1."""
        self.rgb *= 1 + np.clip(amount, 0, 1)[..., None] * (np.array(factor) - 1)

    def cover(self, amount: Floats, colour: NDArray[np.float64]) -> None:
        """Paint over with `colour` where `amount` is 1."""
        a = np.clip(amount, 0, 1)[..., None]
        self.rgb = self.rgb * (1 - a) + colour * a


def _complexion(c: _Canvas, traits: Traits, rng: np.random.Generator) -> None:
    x, y = c.x, c.y
    for grain, gain in ((3.0, 0.05), (0.8, 0.05), (0.22, 0.06), (0.11, 0.04)):
        noise = c.noise(rng, grain) * gain
        c.rgb *= 1 + noise[..., None] * (0.7, 1.0, 1.1)
    red = 0.75 * bump(x, y, 3.9, -0.9, 1.4, 1.3) + 0.9 * bump(x, y, 0, -1.2, 1.1, 0.6)
    red += 0.4 * bump(x, y, 0, -7.8, 1.4, 0.8) + 0.3 * bump(x, y, 0, 6.5, 3.0, 1.2)
    c.tint((0.35 + 0.5 * traits.redness) * red * c.face, (1.02, 0.76, 0.74))
    eyelid = bump(x, y, 3.15, 2.7, 1.5, 0.8)
    c.tint(0.8 * eyelid * c.face, (0.90, 0.80, 0.80))
    bag = bump(x, y, 2.75, 1.45, 1.0, 0.32)
    c.tint((0.45 + 0.5 * traits.age) * bag * c.face, (0.82, 0.78, 0.84))
    spots = c.noise(rng, 0.16)
    where = bump(x, y, 2.4, 0.0, 2.6, 1.6) * c.face
    c.tint(ramp(spots, 0.5, 0.8) * where * traits.freckles, (0.72, 0.55, 0.45))
    c.gloss += 0.35 * bump(x, y, 0, 0.5, 0.7, 2.2) + 0.3 * bump(x, y, 0, 6.6, 3.0, 1.4)
    c.gloss += 0.14 * c.noise(rng, 0.15)


def _creases(c: _Canvas, traits: Traits) -> None:
    x, y, old = c.x, c.y, traits.age
    deep = (0.62, 0.50, 0.47)
    c.tint(0.75 * bump(x, y, 1.72, 2.75, 0.42, 0.55) * c.face, deep)
    c.tint(0.85 * ridge(x - 1.95, 0.20) * bump(0, y, 0, -1.4, 1, 0.5) * c.face, deep)
    c.tint(0.55 * bump(x, y, 0, -2.35, 0.9, 0.22) * c.face, deep)
    c.cover(1.1 * bump(x, y, 0.62, -2.02, 0.21, 0.125) * c.face, np.array([0.03, 0.012, 0.01]))
    c.tint(0.6 * bump(x, y, 0, -5.62, 1.3, 0.22) * c.face, deep)
    fold = x - (1.95 + 0.40 * (-1.6 - y))
    c.tint((0.20 + 0.65 * old) * ridge(fold, 0.13) * bump(0, y, 0, -3.0, 1, 1.1) * c.face, deep)
    for k, height in enumerate((6.2, 7.0, 7.7)):
        line = y - height - 0.12 * np.cos(x * 0.9 + k)
        c.tint(0.55 * max(0, old - 0.25) * ridge(line, 0.06) * ramp(x, 4.0, 2.0) * c.face, deep)
    crow = ridge(np.sin((y - 2.6) * 7.5), 0.25) * bump(x, y, 5.4, 2.6, 0.5, 0.6)
    c.tint(0.6 * max(0, old - 0.3) * crow * c.face, deep)
    crease = y - lid_line(x) - 0.60 - 0.10 * (1 - ((x - 3.15) / 1.4) ** 2)
    c.tint(
        0.62 * ridge(crease, 0.085) * ramp(np.abs(x - 3.15), 1.7, 1.1) * c.face, (0.55, 0.42, 0.40)
    )
    under = ramp(c.ring, JAW_RING - 0.35, JAW_RING + 0.5) * ramp(np.cos(c.phi), -0.4, 0.4)
    c.tint(0.72 * under * ramp(c.ring, 18.5, 15.5), (0.60, 0.52, 0.50))


def _lashes(c: _Canvas, traits: Traits) -> None:
    x, d = c.x, c.y - lid_line(c.x)
    s = (x - CANTHUS_X[0]) / (CANTHUS_X[1] - CANTHUS_X[0])
    inside = ramp(s, -0.02, 0.10) * ramp(s, 1.04, 0.97) * c.face
    thick = (0.10 + 0.05 * (1 - traits.masculine)) * (0.6 + 0.5 * np.clip(s, 0, 1))
    upper = ramp(d, thick + 0.05, thick - 0.03) * (d > -0.02)
    lower = ramp(-d, 0.10, 0.03) * (d < 0)
    dark = np.array([0.018, 0.012, 0.010])
    c.cover(0.92 * upper * inside, dark)
    c.cover((0.40 + 0.1 * (1 - traits.masculine)) * lower * inside, dark + 0.02)
    c.cover(0.75 * bump(x, c.y, CANTHUS_X[0] + 0.02, 2.5, 0.12, 0.10) * c.face,
            np.array([0.45, 0.17, 0.15]))  # fmt: skip


def _mouth(c: _Canvas, traits: Traits, rng: np.random.Generator) -> None:
    x, y = c.signed_x, c.y
    line = lip_line(x)
    inside = ramp(c.x, MOUTH_HALF + 0.06, MOUTH_HALF - 0.12)
    red = ramp(y, lip_top(x) + 0.05, lip_top(x) - 0.06) * (y >= line)
    red += ramp(y, lip_bottom(x) - 0.06, lip_bottom(x) + 0.07) * (y < line)
    creases = value_noise(rng, SIZE, SIZE, (30, 330)) * 0.10
    tone = np.array(traits.lip) * (1 + creases[..., None])
    tone = tone * (1 - 0.14 * (y >= line))[..., None]
    c.cover(0.86 * red * inside * c.face, tone)
    c.tint(0.75 * ridge(y - line, 0.07) * inside * c.face, (0.42, 0.25, 0.25))
    c.tint(0.7 * bump(c.x, y, MOUTH_HALF + 0.05, -4.27, 0.16, 0.15) * c.face, (0.45, 0.33, 0.32))
    c.gloss = np.where(red * inside > 0.5, 1.25, c.gloss)


def _brows(c: _Canvas, traits: Traits, rng: np.random.Generator) -> None:
    x, y = c.x, c.y
    s = (x - 1.05) / 3.8
    arch = curve(s, [0, 0.25, 0.6, 0.8, 1.0],
                 np.array([4.28, 4.52, 4.86, 4.80, 4.42]) - 0.12 * traits.masculine)  # fmt: skip
    half = curve(s, [0, 0.12, 0.4, 0.75, 1.0], [0.14, 0.27, 0.29, 0.20, 0.05]) * traits.brow
    d = (y - arch) / half
    d = d + 0.22 * value_noise(rng, SIZE, SIZE, (8, 300))
    band = ramp(np.abs(d), 1.2, 0.5) * ramp(s, -0.03, 0.10) * ramp(s, 1.03, 0.93)
    lean = s * 3.8 + d * half * (1.9 - 2.6 * s)  # cm along the brow, followed down the hairs
    strand = value_noise(rng, 1, 2048, (1, 2048))[0]
    stroke = np.interp(np.mod(lean * 15, 2047), np.arange(2048), strand)
    stroke += 0.6 * np.interp(np.mod(lean * 33 + 700, 2047), np.arange(2048), strand)
    colour = np.array(traits.hair) * 0.6 + 0.004
    if traits.hair[0] > 0.2:
        colour = np.array(traits.hair) * 0.35
    soft = ramp(np.abs(d), 1.35, 0.45)
    c.cover(np.sqrt(band * soft) * (0.76 + 0.22 * stroke) * c.face * (np.cos(c.phi) > 0), colour)
    c.gloss *= 1 - 0.7 * band * c.face


def _beard(c: _Canvas, traits: Traits, rng: np.random.Generator) -> None:
    x, y = c.x, c.y
    jaw = ramp(y, -2.3 - 0.35 * x + 0.05 * x * x, -3.6 - 0.30 * x + 0.05 * x * x) * ramp(
        x, 6.6, 5.6
    )
    side = bump(c.ring, np.abs(c.phi), 9.3, 1.38, 1.6, 0.14) * 0.9
    lip = ramp(y, -2.25, -2.6) * ramp(x, 2.9, 2.2)
    area = np.clip(np.maximum(np.maximum(jaw, lip), side), 0, 1)
    area = area * ramp(c.ring, 15.2, 14.0) * ramp(np.cos(c.phi), -0.05, 0.12)
    vermilion = ramp(y, lip_top(x) + 0.12, lip_top(x)) * ramp(
        y, lip_bottom(x) - 0.25, lip_bottom(x)
    )
    area *= 1 - vermilion * ramp(x, MOUTH_HALF + 0.25, MOUTH_HALF)
    area *= 1 - 0.8 * bump(x, y, 1.6, -5.7, 0.5, 0.35)
    strength = {"none": 0.0, "stubble": 0.42, "short": 0.80, "full": 0.95}[traits.beard]
    if traits.masculine > 0.5:
        strength = max(strength, 0.14 * (1 - traits.hair[0] * 2))
    hairs = 0.66 + 0.22 * c.noise(rng, 0.08, 2.0) + 0.16 * c.noise(rng, 0.15, 1.6)
    c.cover(strength * area * hairs, np.array(traits.hair) * 0.9 + 0.006)
    c.gloss *= 1 - 0.6 * strength * area


def _scalp(c: _Canvas, traits: Traits, rng: np.random.Generator) -> None:
    line = hairline(c.phi, traits)
    rough = 0.16 * value_noise(rng, SIZE, SIZE, (4, 420)) + 0.1 * value_noise(
        rng, SIZE, SIZE, (9, 150)
    )
    inside = ramp(line - c.ring + rough, -0.12, 0.28)
    c.cover(inside, np.array(traits.hair) * 0.8)
    c.gloss *= 1 - 0.8 * inside
    shade = ramp(line - c.ring, -0.9, 0.0) * 0.30
    c.tint(shade, (0.72, 0.66, 0.62))


def paint_skin(traits: Traits, rng: np.random.Generator) -> NDArray[np.float32]:
    """The texture, float32 [1024, 1024, 4]: linear RGB albedo and gloss."""
    c = _Canvas(traits)
    _complexion(c, traits, rng)
    _creases(c, traits)
    _beard(c, traits, rng)
    _mouth(c, traits, rng)
    _brows(c, traits, rng)
    _lashes(c, traits)
    _scalp(c, traits, rng)
    texture = np.concatenate([np.clip(c.rgb, 0.003, 0.95), c.gloss[..., None]], axis=-1)
    return np.ascontiguousarray(texture, dtype=np.float32)
