"""A person's face at rest: the canonical rings with nose, sockets, lips and chin on them.

The rule: input are the shared mesh and the traits, output are positions in centimetres with lids
and lips closed; every feature is mirror-symmetric in x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portrait.performer.fields import bump, curve, ramp, ridge, smooth_max
from portrait.performer.head_mesh import (
    EYE_CENTRE,
    EYE_RADIUS,
    LID_RADIUS,
    MOUTH_HALF,
    HeadMesh,
    lip_bottom,
    lip_line,
    lip_top,
)
from portrait.performer.traits import Traits

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rest:
    """The face at rest."""

    points: Floats
    """[V, 3] cm, head frame, eyes and mouth closed."""
    eyes: Floats
    """[2, 3] cm: centres of the left (x > 0) and the right eyeball."""
    lid_radius: float
    """cm: radius of the lids' surface around the eyeball's centre."""
    eye_radius: float
    """cm: radius of the eyeballs."""


def _nose(x: Floats, y: Floats, shape: dict[str, float]) -> Floats:
    knots = [-3.2, -2.6, -2.2, -1.9, -1.55, -1.15, -0.7, 0.0, 1.0, 2.0, 2.9, 3.6, 4.6]
    height = curve(
        y, knots, [0, 0.03, 0.36, 1.02, 1.74, 2.17, 2.14, 1.78, 1.28, 0.82, 0.42, 0.2, 0]
    )
    height = height * (1 + 0.10 * shape["nose_tip"] * bump(0, y, 0, -1.0, 1, 0.9))
    height = height + 0.16 * shape["nose_bridge"] * bump(0, y, 0, 1.6, 1, 1.1)
    width = curve(y, [-2.6, -2.1, -1.6, -1.0, -0.4, 0.4, 1.5, 2.9, 3.6, 4.6],
                  [0.6, 0.72, 0.92, 0.86, 0.74, 0.66, 0.62, 0.60, 0.75, 0.95])  # fmt: skip
    body = height * np.exp(-0.5 * np.abs(x / width) ** 2.2)
    wing = 0.92 * bump(x, y, 1.22, -1.45, 0.40, 0.46)
    wing -= 0.22 * bump(x, y, 1.95, -1.35, 0.28, 0.55)  # the crease around the wing
    return body + wing - 0.40 * bump(x, y, 0.60, -2.02, 0.26, 0.17)  # the nostril


def _lips(x: Floats, y: Floats, side: NDArray[np.int8], fullness: float) -> Floats:
    line, q = lip_line(x), np.clip(np.abs(x) / MOUTH_HALF, 0, 1)
    taper = np.sqrt(1 - q**2)
    up = np.where(side > 0, (y - line) / (lip_top(x) - line + 1e-6), 9.0)
    low = np.where(side < 0, (line - y) / (line - lip_bottom(x) + 1e-6), 9.0)
    profile_up = curve(up, [-1, 0, 0.2, 0.5, 0.9, 1.1, 1.6, 2.4, 9],
                       [0.2, 0.45, 0.85, 1.0, 0.80, 0.52, 0.15, 0, 0])  # fmt: skip
    profile_low = curve(low, [-1, 0, 0.2, 0.5, 0.85, 1.1, 1.5, 2.2, 9],
                        [0.2, 0.45, 0.9, 1.0, 0.72, 0.36, 0.05, 0, 0])  # fmt: skip
    lift = (0.36 * profile_up + 0.46 * profile_low) * (1 + 0.25 * fullness)
    seam = 0.30 * ridge(y - line, 0.11) * taper
    corner = 0.16 * bump(np.abs(x), y, 2.62, -4.27, 0.32, 0.38)
    return np.asarray(lift * taper - seam - corner, dtype=np.float64)


def _relief(mesh: HeadMesh, traits: Traits) -> Floats:
    """Height [V] in cm along z of everything that the rings lack."""
    shape = traits.shape
    x, y = np.abs(mesh.canon[:, 0]), mesh.canon[:, 1]
    z = _nose(x, y, shape)
    z -= 0.58 * bump(x, y, 3.05, 2.55, 1.55, 0.95) + 0.45 * bump(x, y, 1.65, 2.75, 0.55, 0.75)
    z += (0.26 + 0.10 * shape["brow_ridge"]) * bump(x, y, 2.6, 4.35, 1.9, 0.5)
    z += (0.34 + 0.12 * shape["cheek"]) * bump(x, y, 4.6, 0.7, 1.3, 1.2)
    z += (0.14 + 0.12 * shape["fullness"]) * bump(x, y, 3.6, -1.6, 1.4, 1.6)
    z -= (0.10 + 0.18 * traits.age) * bump(x, y, 2.6 + 0 * 1.0, 0.9, 1.1, 0.35)  # under the eye
    z += 0.22 * bump(x, y, 0, -4.2, 2.1, 1.7)  # the teeth push the mouth forward
    fold = x - (1.75 + 0.42 * (-1.4 - y))
    z -= (0.10 + 0.14 * traits.age) * ridge(fold, 0.28) * bump(0, y, 0, -3.0, 1, 1.2)
    z += _lips(mesh.canon[:, 0], y, mesh.side, shape["lip_fullness"])
    groove = ridge(x, 0.20) * 0.10 - ridge(x - 0.48, 0.16) * 0.06
    z -= groove * bump(0, y, 0, -2.85, 1, 0.38)
    z -= 0.26 * bump(x, y, 0, -6.0, 1.7, 0.42)
    z += (0.48 + 0.16 * shape["chin"] + 0.15 * traits.masculine) * bump(x, y, 0, -7.85, 1.5, 0.95)
    return z * ramp(np.cos(mesh.phi), 0.15, 0.55) * ramp(mesh.ring, 14.5, 13.5)


def warp(points: Floats, canon: Floats, ring: Floats | float, traits: Traits) -> Floats:
    """`points` [N, 3] moved by the person's proportions; `canon` says where they lie."""
    s, p = traits.shape, points.copy()
    x, y = np.abs(canon[:, 0]), canon[:, 1]
    sign = np.sign(canon[:, 0])
    neck = ramp(ring, 13.4, 16.0)
    face = ramp(canon[:, 2], -3.0, 1.5) * (1 - neck)
    scale = np.full(len(p), 1 + 0.035 * s["face_width"])
    scale = scale + 0.055 * s["jaw_width"] * ramp(y, -1.0, -6.5) * (1 - neck)
    scale = scale + 0.03 * s["fullness"] * bump(0, y, 0, -3.5, 1, 2.5)
    scale = scale + neck * (0.06 * s["neck_width"] - 0.035 * s["face_width"] - 0.03)
    p[:, 0] *= scale
    p[:, 2] = -4.0 + (p[:, 2] + 4.0) * np.where(canon[:, 2] < -4, scale, 1.0)
    p[:, 1] -= (0.28 * s["face_length"]) * ramp(y, 1.0, -7.0)
    p[:, 0] += (
        sign * face * 0.11 * s["eye_spacing"] * bump(x, y, 3.15, 2.6, 1.6, 1.6) * ramp(x, 0, 1)
    )
    p[:, 1] += face * 0.055 * s["eye_tilt"] * (x - 3.15) * bump(x, y, 3.15, 2.6, 1.5, 1.2)
    p[:, 1] += face * 0.16 * s["brow_height"] * bump(x, y, 2.9, 4.6, 2.0, 0.8)
    p[:, 1] -= face * 0.16 * s["nose_length"] * bump(x, y, 0, -1.3, 1.6, 1.1)
    p[:, 0] *= 1 + face * (0.10 * s["nose_width"] - 0.04 + 0.08 * traits.masculine) * bump(
        x, y, 1.0, -1.3, 0.9, 0.9
    )
    p[:, 0] *= 1 + face * 0.055 * s["mouth_width"] * bump(x, y, 1.5, -4.2, 2.0, 1.2)
    lips = np.where(y > lip_line(canon[:, 0]), 1.0, -1.0) * bump(x, y, 0, -4.25, 2.4, 0.7)
    p[:, 1] += face * 0.07 * s["lip_fullness"] * lips * ramp(np.abs(y + 4.2), 0.0, 0.6)
    p[:, 2] += face * 0.14 * s["chin"] * bump(x, y, 0, -7.9, 2.0, 1.6)
    return p


def rest_face(mesh: HeadMesh, traits: Traits) -> Rest:
    """The person's skin at rest, with the lids laid over the eyeballs."""
    points = mesh.canon.copy()
    points[:, 2] += _relief(mesh, traits)
    x, y = np.abs(mesh.canon[:, 0]), mesh.canon[:, 1]
    front = np.cos(mesh.phi) > 0
    tip = bump(x, y, 0, -1.05, 1.0, 0.55) * front
    points[:, 1] -= (0.20 - 0.10 * traits.shape["nose_tip"]) * tip
    points[:, 0] += np.sign(mesh.canon[:, 0]) * 0.16 * bump(x, y, 1.35, -1.45, 0.4, 0.5) * front
    points = warp(points, mesh.canon, mesh.ring, traits)
    centres = np.stack([EYE_CENTRE, EYE_CENTRE * (-1, 1, 1)])
    eyes = warp(centres, centres, np.full(2, 7.0), traits)
    for eye, sign in zip(eyes, (1, -1), strict=True):
        d = points[:, :2] - eye[:2]
        near = (np.hypot(d[:, 0], d[:, 1]) < LID_RADIUS) & front & (sign * points[:, 0] > 0)
        ball = eye[2] + np.sqrt(LID_RADIUS**2 - (d[near] ** 2).sum(axis=1))
        points[near, 2] = smooth_max(points[near, 2], ball, 0.10)
    return Rest(points, eyes, LID_RADIUS, EYE_RADIUS)
