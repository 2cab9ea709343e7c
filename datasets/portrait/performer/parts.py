"""What a person has besides skin of the face: eyeballs, teeth, tongue, ears, body, glasses.

The rule: a part is a rigid mesh in centimetres (head frame, head upright) whose vertices say how
much they follow the head and the jaw; colours are linear RGB albedo, or what the material reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portrait.performer.fields import bump, curve, ramp, ridge
from portrait.performer.head_mesh import head_mesh, ring_points
from portrait.performer.shape import Rest, warp
from portrait.performer.traits import Traits

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

SKIN, EYE_LEFT, EYE_RIGHT, TEETH, FLESH, HAIR, CLOTH, FRAME = range(8)
HEAD, NECK, TORSO = 1, 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A mesh of one material. n vertices, t triangles."""

    points: Floats
    """[n, 3] cm."""
    triangles: Ints
    """[t, 3], counter-clockwise seen from outside."""
    uv: Floats
    """[n, 2] texture coordinates."""
    colour: Floats
    """[n, 3] albedo; for skin a factor on the texture, for eyeballs the direction."""
    material: int
    """One of the materials above."""
    label: int
    """The class it is masked as: HEAD, NECK or TORSO."""
    head: Floats
    """[n]: 1 moves with the head, 0 stays with the body."""
    jaw: Floats
    """[n]: how much it turns with the jaw."""


def lattice(rows: int, columns: int, closed: bool = False) -> Ints:
    """Triangles of a grid of vertices, rows downwards, columns to the right seen from outside."""
    index = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    both = np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3)
    return both.astype(np.int32)


def make_part(points: Floats, triangles: Ints, colour: object, material: int, label: int = HEAD,
              uv: Floats | None = None, head: object = 1.0, jaw: object = 0.0) -> Part:  # fmt: skip
    """A part from a grid of points [.., 3]; scalars are spread over all vertices."""
    flat = points.reshape(-1, 3)
    n = len(flat)
    return Part(
        flat, triangles, np.zeros((n, 2)) if uv is None else uv.reshape(n, 2),
        np.broadcast_to(np.asarray(colour, np.float64), (*points.shape[:-1], 3)).reshape(n, 3),
        material, label,
        np.broadcast_to(np.asarray(head, np.float64), points.shape[:-1]).reshape(n),
        np.broadcast_to(np.asarray(jaw, np.float64), points.shape[:-1]).reshape(n),
    )  # fmt: skip


def eyeballs(rest: Rest) -> list[Part]:
    """The front halves of both eyeballs; the iris is drawn by the eye's material."""
    theta, psi = (
        np.radians(np.linspace(0.5, 105, 18)),
        np.linspace(0, 2 * np.pi, 36, endpoint=False),
    )
    t, p = np.meshgrid(theta, psi, indexing="ij")
    d = np.stack([np.sin(t) * np.sin(p), np.sin(t) * np.cos(p), np.cos(t)], axis=-1)
    d = d[:, ::-1]
    return [
        make_part(centre + d * rest.eye_radius, lattice(18, 36, closed=True), d, material)
        for centre, material in zip(rest.eyes, (EYE_LEFT, EYE_RIGHT), strict=True)
    ]


def _arch(rows: Floats, gum: float, edge: float, out: float, jaw: float) -> Part:
    """One row of teeth with its gum; `rows` 0 gum .. 1 biting edge."""
    widths = np.array([0.82, 0.64, 0.72, 0.66, 0.66, 0.9, 0.9]) * (1.0 if jaw == 0 else 0.85)
    borders = np.concatenate([[0], np.cumsum(widths)])
    arc = np.linspace(-borders[-1], borders[-1], 181)
    k = np.clip(np.searchsorted(borders, np.abs(arc), side="right") - 1, 0, len(widths) - 1)
    across = (np.abs(arc) - borders[k]) / widths[k] * 2 - 1  # -1..1 over one tooth
    phi = arc / borders[-1] * np.radians(88)
    r, a = np.meshgrid(rows, across, indexing="ij")
    f = np.broadcast_to(phi, r.shape)
    tooth = ramp(r, 0.30, 0.42)
    length = edge - gum
    y = gum + length * r - length * 0.10 * np.abs(a) ** 3 * ramp(r, 0.6, 1.0)
    y -= length * 0.10 * ramp(np.broadcast_to(k, r.shape), 1.5, 4.0) * ramp(r, 0.4, 1.0)
    swell = 0.10 * (1 - a**4) * tooth - 0.16 * r - 0.30 * ramp(r, 0.93, 1.0)
    radius = 1 + (out + swell) / 2.6
    points = np.stack([2.45 * radius * np.sin(f), y, 2.25 + 2.70 * radius * np.cos(f)], axis=-1)
    gap = ridge(1 - np.abs(a), 0.10) * tooth
    white = np.array([0.72, 0.67, 0.56]) * (0.55 + 0.45 * np.cos(f) ** 2)[..., None]
    pink = np.array([0.42, 0.13, 0.12])
    colour = pink + (white * (1 - 0.45 * gap[..., None]) - pink) * tooth[..., None]
    triangles = lattice(*r.shape)
    return make_part(points, triangles if jaw == 0 else triangles[:, ::-1], colour, TEETH, jaw=jaw)


def mouth_inside(traits: Traits) -> list[Part]:
    """Teeth and tongue."""
    rows = np.array([0, 0.2, 0.3, 0.36, 0.42, 0.6, 0.8, 0.93, 1.0])
    upper = _arch(rows, -3.10, -4.42, 0.0, 0.0)
    lower = _arch(rows, -5.55, -4.36, -0.22, 1.0)
    t, p = np.meshgrid(np.linspace(0, np.pi, 16), np.linspace(0, 2 * np.pi, 28, endpoint=False),
                       indexing="ij")  # fmt: skip
    unit = np.stack([np.sin(t) * np.sin(p), np.cos(t), np.sin(t) * np.cos(p)], axis=-1)
    body = unit * (1.75, 0.50, 1.75) + (0, -5.22, 2.9)
    body[..., 1] -= 0.16 * ridge(body[..., 0], 0.3) * (unit[..., 1] > 0)
    body[..., 1] += 0.3 * ramp(body[..., 2], 3.5, 1.5)
    tongue = make_part(body, lattice(16, 28, closed=True), (0.42, 0.14, 0.13), FLESH, jaw=1.0)
    return [warped(part, traits) for part in (upper, lower, tongue)]


BAG_RINGS = 6


def mouth_bag() -> Part:
    """The dark bag behind the lips; `lay_bag` hangs it on the lips' rims in every expression."""
    loop = 2 * len(head_mesh().mouth_slit)
    dark = np.linspace(1.0, 0.12, BAG_RINGS)[:, None, None] ** 1.5
    colour = np.broadcast_to(dark * (0.30, 0.075, 0.07), (BAG_RINGS, loop, 3))
    points = np.zeros((BAG_RINGS, loop, 3))
    return make_part(points, lattice(BAG_RINGS, loop, closed=True), colour, FLESH)


def lay_bag(points: Floats) -> Floats:
    """[BAG_RINGS · loop, 3]: the bag for the skin's `points`, whose rims are already laid."""
    slit = head_mesh().mouth_slit
    loop = np.concatenate([points[slit[:, 2]], points[slit[::-1, 3]]])
    middle = loop.mean(axis=0)
    up = np.repeat([1.0, -1.0], len(slit))
    depth = np.linspace(0, 1, BAG_RINGS)[:, None]
    bulge = np.sin(np.pi * depth**0.7)
    x = middle[0] + (loop[:, 0] - middle[0]) * (1 - depth**4) * (1 + 0.25 * bulge)
    y = middle[1] + (loop[:, 1] - middle[1]) * (1 - depth**4) + 0.9 * bulge * up
    z = loop[:, 2] + (-0.5 - loop[:, 2]) * depth
    return np.stack([x, y, z], axis=-1).reshape(-1, 3)


def warped(part: Part, traits: Traits) -> Part:
    """The part moved by the person's proportions, so that it stays where its surroundings go."""
    p = warp(part.points, part.points, np.full(len(part.points), 10.0), traits)
    return Part(p, part.triangles, part.uv, part.colour, part.material, part.label, part.head,
                part.jaw)  # fmt: skip


def ears(traits: Traits) -> list[Part]:
    """Both ears: a shell with helix, antihelix, concha and lobe."""
    r = np.concatenate([np.linspace(0.02, 1.0, 20), [1.03, 0.95, 0.75, 0.5]])
    depth = np.concatenate([np.zeros(20), [-0.12, -0.34, -0.62, -1.0]])
    a = np.linspace(0, 2 * np.pi, 56, endpoint=False)
    rr, aa = np.meshgrid(r, a, indexing="ij")
    size = 0.92 + 0.06 * traits.shape["ear_size"] + 0.05 * (traits.masculine - 0.5)
    back, up = np.sin(aa), np.cos(aa)
    outline = curve(np.mod(aa, 2 * np.pi), np.radians([0, 45, 90, 135, 180, 225, 270, 315, 360]),
                    [3.05, 2.50, 1.75, 2.05, 3.0, 1.95, 1.35, 2.15, 3.05])  # fmt: skip
    p, q = rr * outline * back * size, rr * outline * up * size
    inner = np.minimum(rr, 1.0)
    back_side = ramp(back, -0.75, 0.1)
    lobe = ramp(q, -1.4, -2.2)
    e = 0.34 * ridge(inner - 0.90, 0.075) * back_side * (1 - lobe)  # helix
    e += 0.26 * ridge(inner - 0.60, 0.11) * ramp(back, -0.2, 0.5) * (1 - lobe)  # antihelix
    e -= 0.34 * bump(p, q, -0.25, -0.35, 0.55, 0.85)  # concha
    e += 0.34 * bump(p, q, -1.05, -0.45, 0.24, 0.42)  # tragus
    e += 0.10 * lobe
    e += np.broadcast_to(depth[:, None], e.shape)
    shade = (
        1
        - 0.55 * bump(p, q, -0.25, -0.4, 0.5, 0.8)
        - 0.28 * ridge(inner - 0.76, 0.07) * (back_side * (1 - lobe))
    )
    tilt = np.radians(23)
    x = 7.40 + e * np.cos(tilt) + (p + 1.35) * np.sin(tilt)
    z = -4.0 - p * np.cos(tilt) + e * np.sin(tilt) - 0.18 * q
    points = np.stack([x, 0.95 + q - 0.05 * p, z], axis=-1)
    uv = np.broadcast_to([0.5 + 0.5 * 0.31, 0.47], (*rr.shape, 2)) + 0.004 * np.stack([p, q], -1)
    red = np.array([1.0, 0.86, 0.84])
    colour = shade[..., None] * red
    triangles = lattice(len(r), len(a), closed=True)
    left = make_part(points, triangles, colour, SKIN, uv=uv)
    right = make_part(points * (-1, 1, 1), triangles[:, ::-1], colour, SKIN,
                      uv=uv * (-1, 1) + (1.0, 0.0))  # fmt: skip
    return [warped(left, traits), warped(right, traits)]


def body(traits: Traits) -> list[Part]:
    """Shoulders and chest in their garment."""
    m = traits.masculine
    rings = np.array(
        [  # y, half-width, centre z, half-depth
            [-12.6, 5.9, -4.4, 5.2], [-12.2, 6.2, -4.4, 5.5], [-12.5, 6.7, -4.4, 5.9],
            [-13.6, 7.9, -4.6, 6.3], [-14.9, 10.4, -4.9, 6.8], [-16.2, 14.0, -5.2, 7.4],
            [-17.6, 17.2, -5.3, 8.2], [-19.6, 19.4, -5.3, 9.0], [-22.5, 20.6, -5.2, 9.8],
            [-27.0, 21.2, -5.0, 10.6], [-34.0, 21.2, -4.8, 11.0], [-48.0, 20.5, -4.6, 11.0],
        ]
    )  # fmt: skip
    rows, columns = 60, 96
    t = np.linspace(0, len(rings) - 1, rows)
    phi = np.linspace(-np.pi, np.pi, columns)
    k, f = np.meshgrid(t, phi, indexing="ij")
    y, w, zc, depth = np.moveaxis(curve(k, np.arange(len(rings)), rings), -1, 0)
    wide = 0.90 + 0.14 * m
    collar = ramp(k, 4.0, 2.0)
    neck = 1 + 0.05 * traits.shape["neck_width"]
    scale = wide + (neck - wide) * collar
    s, c = np.sin(f), np.cos(f)
    x = w * scale * np.sign(s) * np.abs(s) ** 0.86
    z = zc + depth * np.sign(c) * np.abs(c) ** 0.9
    y = y - 2.6 * ramp(c, -0.3, 1.0) * ramp(k, 6.5, 2.0)
    y = y + 1.2 * ramp(c, 0.0, -1.0) * ramp(k, 5.0, 1.5)
    folds = 0.12 * np.sin(7 * f + 0.9 * k) * ramp(k, 3, 6) * (0.4 + 0.6 * ramp(np.abs(s), 0.2, 0.9))
    z = z + folds
    cloth = np.array(traits.cloth)
    shade = np.ones_like(x)
    if traits.garment == "crew":
        shade -= 0.16 * ridge(k - 2.35, 0.10)
    elif traits.garment == "shirt":
        placket = (c > 0) & (np.abs(x) < 0.9)
        shade = shade - 0.22 * ridge(np.abs(x) - 1.0, 0.16) * (c > 0) * ramp(k, 2.4, 3)
        shade = shade + 0.05 * placket
    else:
        shade -= 0.2 * ridge(k - 3.4, 0.18)
        lift = bump(k, 0, 2.2, 0, 1.1, 1.0) * (0.9 + 1.1 * ramp(c, 0.4, -0.6))
        x, z, y = x * (1 + 0.16 * lift), z + 1.0 * lift * c, y + 0.5 * lift
    uv = np.stack([f * 4.0, k * 1.3], axis=-1)
    points = np.stack([x, y, z], axis=-1)
    return [make_part(points, lattice(rows, columns), cloth * shade[..., None], CLOTH, TORSO,
                      uv=uv, head=0.0)]  # fmt: skip


def _tube(path: Floats, radius: float, closed: bool) -> tuple[Floats, Ints]:
    """A tube of 8 sides around a path [n, 3]."""
    ahead = np.roll(path, -1, axis=0) if closed else np.concatenate([path[1:], path[-1:]])
    behind = np.roll(path, 1, axis=0) if closed else np.concatenate([path[:1], path[:-1]])
    tangent = ahead - behind
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    helper = np.where(np.abs(tangent[:, 2:]) < 0.8, [[0.0, 0, 1]], [[0, 1.0, 0]])
    a = np.cross(tangent, helper)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = np.cross(tangent, a)
    ring = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    points = path[:, None] + radius * (
        np.cos(ring)[None, :, None] * a[:, None] + np.sin(ring)[None, :, None] * b[:, None]
    )
    n = len(path)
    index = np.arange(n * 8).reshape(n, 8)
    rows = np.concatenate([index, index[:1]]) if closed else index
    columns = np.concatenate([rows, rows[:, :1]], axis=1)
    p, q, r, s = columns[:-1, :-1], columns[1:, :-1], columns[1:, 1:], columns[:-1, 1:]
    return points, np.stack([p, q, r, p, r, s], axis=-1).reshape(-1, 3).astype(np.int32)


def glasses(traits: Traits, rest: Rest) -> list[Part]:
    """Rims, bridge and temples; no lenses."""
    colour = (0.015, 0.012, 0.012) if traits.seed % 2 else (0.10, 0.055, 0.03)
    a = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    out = []
    for eye, sign in zip(rest.eyes, (1.0, -1.0), strict=True):
        u = np.sign(np.cos(a)) * np.abs(np.cos(a)) ** 0.75 * 2.55
        v = np.sign(np.sin(a)) * np.abs(np.sin(a)) ** 0.75 * 2.05
        z = eye[2] + 2.55 - 0.05 * (u + 2.2) ** 2 * 0.6
        rim = np.stack([eye[0] + sign * (u + 0.10), eye[1] - 0.25 + v, z], axis=-1)
        out.append(make_part(*_tube(rim, 0.13, True), colour, FRAME))
        start = rim[np.argmax(sign * rim[:, 0])] + (0, 0.5, 0)
        end = np.array([sign * 7.55 * (1 + 0.035 * traits.shape["face_width"]), 2.3, -4.4])
        temple = start + (end - start) * np.linspace(0, 1, 12)[:, None]
        temple[:, 0] += sign * 0.5 * np.sin(np.linspace(0, np.pi, 12))
        out.append(make_part(*_tube(temple, 0.14, False), colour, FRAME))
    inner = rest.eyes[0][0] - 2.45
    s = np.linspace(-1, 1, 9)
    bridge = np.stack([s * inner, rest.eyes[0][1] + 0.45 + 0.25 * (1 - s * s),
                       rest.eyes[0][2] + 2.55 + 0.35 * (1 - s * s)], axis=-1)  # fmt: skip
    out.append(make_part(*_tube(bridge, 0.13, False), colour, FRAME))
    return out


def skin_part(rest: Rest) -> Part:
    """The head's skin; triangles below the jaw's edge are split off by `person`."""
    mesh = head_mesh()
    head = ramp(mesh.ring, 18.6, 13.6)
    colour = np.ones((len(mesh.canon), 3))
    return Part(rest.points, mesh.triangles, mesh.uv, colour, SKIN, HEAD, head,
                np.zeros(len(mesh.canon)))  # fmt: skip


def ring_surface(ring: Floats, phi: Floats, traits: Traits) -> Floats:
    """The person's head surface without features, for what lies on it (hair)."""
    p = ring_points(ring, phi)
    flat = p.reshape(-1, 3)
    return warp(flat, flat, np.minimum(ring.ravel(), 13.0), traits).reshape(p.shape)
