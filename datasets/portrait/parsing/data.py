"""Training samples: real pictures with the teacher's opacity, performers with exact parts.

The rule: a sample is a picture [S, S, 3], and at half its size a target [S/2, S/2, 4]: opacity
of head, neck and torso as far as the part is known, the person's opacity, and two weights: how
much the opacity and how much the part counts. Outside of a source picture nothing counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.augment import photograph
from portrait.facenet.drawn import drawn
from portrait.matting import without_background
from portrait.parsing.parts import HEAD, NECK, TORSO
from portrait.parsing.scenes import background, dressed
from quic_transport.errors import LocalError

TARGETS = 6
"""head, neck, torso, opacity, weight of the opacity, weight of the part."""
REAL, PERFORMER = 0.58, 0.34  # shares; the rest shows nobody
CUT_OUT = 0.4  # share of the real pictures that are put before another background
FREE = 0.55  # above this share of a cut-out's height nobody reaches over its sides
MIN_TRUST = 0.8  # of their pixels inside the picture

Image = NDArray[np.uint8]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """What samples are made of."""

    images: Image
    """[N, 144, 144, 3] real people."""
    alpha: Image
    """[N, 144, 144] their opacity, 0..255."""
    trust: Image
    """[N, 144, 144] how much that counts, 0..255; 0 outside the picture."""
    parts: Image
    """[N, 144, 144] portrait.parsing.parts' classes."""
    empty: Image
    """[M, 144, 144, 3] nobody."""
    drawn_images: Image
    """[P, 256, 256, 3] performers before white."""
    drawn_alpha: Image
    """[P, 256, 256] their opacity, 0..255."""
    drawn_parts: Image
    """[P, 128, 128, 3] cover of head, neck and torso, 0..255."""


def read_sources(folder: Path, held_out: bool = False) -> Sources:
    """What portrait.parsing.label and .performers wrote into `folder`; of the real people those
    to learn from, or those who are `held_out`."""
    drawn_files = sorted(folder.glob("performers_*.npz"))
    real = folder / "real.npz"
    if not real.is_file() or not drawn_files:
        raise LocalError(
            f"{folder} lacks real.npz or performers_*.npz: make them with python -m "
            "portrait.parsing.label and python -m portrait.parsing.performers"
        )
    with np.load(real, allow_pickle=False) as z:
        rows = z["held_out"] == held_out
        images, alpha, trust, parts = (z[k][rows] for k in ("images", "alpha", "trust", "parts"))
        empty = z["empty"]
    acted: dict[str, list[Image]] = {"images": [], "alpha": [], "parts": []}
    for path in drawn_files:
        with np.load(path, allow_pickle=False) as z:
            for key, values in acted.items():
                values.append(z[key])
    drawn_images, drawn_alpha, drawn_parts = (np.concatenate(v) for v in acted.values())
    return Sources(images, alpha, trust, parts, empty, drawn_images, drawn_alpha, drawn_parts)


def sample(sources: Sources, rng: np.random.Generator, size: int) -> tuple[Image, Float32]:
    """One picture [size, size, 3] and its target [size / 2, size / 2, 6]."""
    kind = rng.random()
    if kind < REAL:
        picture, target = _real(sources, rng, size)
    elif kind < REAL + PERFORMER:
        picture, target = _performer(sources, rng, size)
    else:
        picture, target = _nobody(sources, rng, size)
    return photograph(picture, rng), target


def batch(sources: Sources, rng: np.random.Generator, count: int, size: int
          ) -> tuple[Image, Float32]:  # fmt: skip
    """[B, size, size, 3] and [B, size / 2, size / 2, 6]."""
    rows = [sample(sources, rng, size) for _ in range(count)]
    return np.stack([r[0] for r in rows]), np.stack([r[1] for r in rows])


def placing(rng: np.random.Generator, source: int, size: int, zoom: float, shift: float) -> Float32:
    """[2, 3] source pixels → sample pixels: turned, scaled, shifted, mirrored half of the time."""
    k = zoom * size / source
    a = np.radians(rng.normal(0, 6))
    turn = k * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    if rng.random() < 0.5:
        turn[:, 0] *= -1
    to = size * (0.5 + np.clip(rng.normal(0, shift, 2), -0.3, 0.3))
    return np.column_stack([turn, to - turn @ np.full(2, source / 2)]).astype(np.float32)


def warp(image: Image | Float32, affine: Float32, source: int, size: int, to: int,
         border: int | None = 0) -> Float32:  # fmt: skip
    """`image` [h, w(, C)] of a source of `source` px, as the `to` px wide version of a sample of
    `size` px; `border` None repeats the edge. Shrinking averages."""
    import cv2

    have = image.shape[0]
    a = np.asarray(affine, np.float64).copy()
    a[:, :2] *= source / have
    a *= to / size
    scale = float(np.sqrt(abs(np.linalg.det(a[:, :2]))))
    step = 2 if scale < 0.6 else 1
    a *= step
    a[:, 2] += 0.5 * a[:, :2].sum(axis=1) - 0.5
    mode = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
    out = cv2.warpAffine(image, a, (to * step,) * 2, flags=cv2.INTER_LINEAR, borderMode=mode,
                         borderValue=(border or 0,) * 4)  # fmt: skip
    if step > 1:
        out = cv2.resize(out, (to, to), interpolation=cv2.INTER_AREA)
    return np.asarray(out, np.float32)


def _real(sources: Sources, rng: np.random.Generator, size: int) -> tuple[Image, Float32]:
    i = int(rng.integers(len(sources.images)))
    image, alpha = sources.images[i], sources.alpha[i].astype(np.float32) / 255
    trust = sources.trust[i].astype(np.float32) / 255
    inside = sources.trust[i] > 0
    zoom = float(np.exp(np.clip(rng.normal(-0.05, 0.24), -0.7, 0.5)))
    affine = placing(rng, 144, size, zoom, 0.06)
    half = size // 2
    beyond = np.zeros((half, half), np.float32)
    if rng.random() < CUT_OUT and trust.sum() > MIN_TRUST * inside.sum():
        own = without_background(image, alpha) * (inside[..., None] * np.float32(255))
        front = warp(own, affine, 144, size, size)
        opaque = warp(alpha * inside, affine, 144, size, size)[..., None]
        behind = background(sources.empty, rng, size)
        picture = front + (1 - opaque) * behind
        free = np.repeat(np.arange(144)[:, None] < FREE * 144, 144, axis=1).astype(np.float32)
        beyond = warp(free, affine, 144, size, half, None)
    else:
        fill = rng.random()
        border = None if fill < 0.4 else 255 if fill < 0.75 else int(rng.integers(0, 256))
        picture = warp(image, affine, 144, size, size, border)
    parts = sources.parts[i]
    alpha = alpha * inside
    cover = [(parts == k) * alpha for k in (HEAD, NECK, TORSO)]
    planes = np.stack([*cover, alpha, trust, (parts > 0) * trust], axis=-1)
    target = warp(planes.astype(np.float32), affine, 144, size, half)
    known = warp(inside.astype(np.float32), affine, 144, size, half)
    target[..., 4:] *= (known > 0.99)[..., None]
    target[..., 4] += beyond * (known < 0.01)
    return np.clip(picture, 0, 255).astype(np.uint8), target


def _performer(sources: Sources, rng: np.random.Generator, size: int) -> tuple[Image, Float32]:
    i = int(rng.integers(len(sources.drawn_images)))
    rgb, alpha = sources.drawn_images[i], sources.drawn_alpha[i]
    zoom = float(np.exp(abs(rng.normal(0, 0.15)) + 0.02))
    affine = placing(rng, 256, size, zoom, 0.02)
    half = size // 2
    white = warp(rgb, affine, 256, size, size, 255)
    cover = warp(alpha, affine, 256, size, size) / 255
    parts = warp(sources.drawn_parts[i], affine, 256, size, half) / 255
    bare = white - (1 - cover[..., None]) * np.float32(255)
    own = np.asarray(np.clip(bare, 0, 255), np.float32)
    if rng.random() < 0.55:
        import cv2

        both = np.asarray(cv2.resize(parts[..., 1:], (size, size)), np.float32)
        neck, torso = both[..., 0], both[..., 1]
        own = dressed(own, torso, neck, sources.empty, rng) * (cover[..., None] > 0)
    soft = cover[..., None] ** np.float32(np.exp(rng.normal(0, 0.15)))
    picture = own + (1 - soft) * background(sources.empty, rng, size)
    target = np.ones((half, half, TARGETS), np.float32)
    target[..., :3] = parts
    target[..., 3] = np.minimum(parts.sum(axis=-1), 1.0)
    seen = warp(np.ones((half, half), np.float32), affine, 256, size, half) > 0.99
    target[..., 4:] *= seen[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8), target


def _nobody(sources: Sources, rng: np.random.Generator, size: int) -> tuple[Image, Float32]:
    import cv2

    target = np.zeros((size // 2, size // 2, TARGETS), np.float32)
    target[..., 4] = 1.0
    if rng.random() < 0.25:
        picture = cv2.resize(drawn(int(rng.integers(1 << 30))), (size, size))
        return np.asarray(picture, np.uint8), target
    return background(sources.empty, rng, size), target
