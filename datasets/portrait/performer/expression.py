"""The 46 coefficients as movements of the skin: displacement fields, a jaw hinge and two lids.

The rule: everything is a function of the canonical coordinates, so one table serves every person,
and each right field is the mirror image of its left one. Left is the person's left, x > 0.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from portrait.performer.fields import bump, ramp
from portrait.performer.head_mesh import (
    CANTHUS_X,
    EYE_RING,
    MOUTH_HALF,
    head_mesh,
    lid_line,
    lip_bottom,
    lip_line,
    lip_top,
)
from quic_transport.params import ARKIT46

Floats = NDArray[np.float64]
HINGE = np.array([0.0, 0.2, -3.0])
JAW_ANGLE = np.radians(22.0)


def _jaw_weight() -> Floats:
    """[V]: 1 on what moves with the lower jaw, 0 on what stays, split at the lips."""
    mesh = head_mesh()
    x, y, z = mesh.canon.T
    split = np.sqrt(np.clip(1 - (x / MOUTH_HALF) ** 2, 0, 1))  # 1 mid-lip, 0 from the corners on
    above = np.clip(y - lip_line(x), 0, None)
    below = np.clip(lip_line(x) - y, 0, None)
    up = (0.45 - 0.45 * split) * np.exp(-0.5 * (above / 1.7) ** 2)
    low = 1 - (0.55 - 0.55 * split) * np.exp(-0.5 * (below / 1.5) ** 2)
    weight = np.where(mesh.side > 0, up, low)
    side = ramp(np.abs(x), 3.0, 6.0)  # the cheek moves less the further back
    weight = weight * (1 - 0.35 * side)
    return weight * ramp(z, -4.5, -1.0) * ramp(mesh.ring, 16.0, 13.2)


def _fields() -> dict[str, Floats]:
    """Left, middle and both-sided fields by name, [V, 3] cm; right ones are mirrored later."""
    mesh = head_mesh()
    x, y, _ = mesh.canon.T
    face = ramp(np.cos(mesh.phi), 0.2, 0.6) * ramp(mesh.ring, 14.5, 13.0)
    line = lip_line(x)
    left = ramp(x, -0.7, 0.7)
    upper, lower = (mesh.side > 0) * 1.0, (mesh.side < 0) * 1.0
    q = np.clip(np.abs(x) / MOUTH_HALF, 0, 1)
    middle = np.sqrt(1 - q**2)
    up_lip = upper * np.exp(-0.5 * (np.clip(y - line, 0, None) / 0.75) ** 2) * middle
    low_lip = lower * np.exp(-0.5 * (np.clip(line - y, 0, None) / 0.85) ** 2) * middle
    red_up = upper * ramp(y, lip_top(x) + 0.15, lip_top(x) - 0.1) * middle
    red_low = lower * ramp(y, lip_bottom(x) - 0.15, lip_bottom(x) + 0.1) * middle
    lips = bump(x, y, 0, -4.25, 1.9, 1.0)
    corner = bump(x, y, 2.55, -4.27, 1.05, 1.0)
    corners = corner + bump(x, y, -2.55, -4.27, 1.05, 1.0)
    mouth = bump(x, y, 0, -4.3, 2.6, 1.5)
    cheek = bump(x, y, 3.9, -0.6, 1.2, 1.2)
    brow_in, brow_mid = bump(x, y, 1.5, 4.6, 1.1, 0.95), bump(x, y, 2.4, 4.5, 1.6, 0.85)
    brow_out = bump(x, y, 4.0, 4.8, 1.2, 1.0)
    chin = bump(x, y, 0, -7.4, 1.8, 1.2) * lower
    jaw = _jaw_weight()
    nose_side = bump(x, y, 1.4, -1.0, 0.7, 1.1)
    toward = -np.tanh(x / 1.2)  # towards the mid-line
    d = y - line

    def move(
        dx: Floats | float = 0.0, dy: Floats | float = 0.0, dz: Floats | float = 0.0
    ) -> Floats:
        zero = np.zeros(len(x))
        return np.stack([zero + dx, zero + dy, zero + dz], axis=1) * face[:, None]

    return {
        "browDownLeft": move(-0.22 * brow_in, -0.62 * brow_mid, 0.10 * brow_in),
        "browInnerUp": move(dy=0.72 * (brow_in + bump(x, y, -1.5, 4.6, 1.1, 0.95))
                            + 0.25 * bump(x, y, 0, 5.6, 2.2, 1.0)),
        "browOuterUpLeft": move(dy=0.70 * brow_out + 0.2 * brow_mid),
        "eyeSquintLeft": move(dy=0.30 * bump(x, y, 3.4, 0.7, 1.3, 0.7), dz=0.10 * cheek),
        "jawForward": move(dz=0.75 * jaw),
        "jawLeft": move(dx=0.85 * jaw),
        "mouthClose": move(dy=1.75 * low_lip * (0.7 + 0.3 * middle) - 0.5 * up_lip),
        "mouthDimpleLeft": move(0.38 * corner, 0.04 * corner, -0.42 * corner),
        "mouthFrownLeft": move(0.05 * corner, -0.75 * corner, -0.08 * corner),
        "mouthFunnel": move(0.55 * toward * corners, 0.42 * up_lip - 0.55 * low_lip,
                            0.75 * lips * (0.4 + 0.6 * middle)),
        "mouthLeft": move(0.95 * mouth, 0.10 * corner, -0.1 * corner),
        "mouthLowerDownLeft": move(0.10 * low_lip * left, -0.70 * low_lip * left),
        "mouthPressLeft": move(0.10 * corner, -0.30 * d * lips * left * ramp(np.abs(d), 1.2, 0.9),
                               -0.22 * (red_up + red_low) * left - 0.08 * corner),
        "mouthPucker": move(1.15 * toward * corners + 0.10 * toward * lips, 0.0,
                            0.85 * lips * (0.45 + 0.55 * middle)),
        "mouthRollLower": move(0.0, 0.42 * red_low, -0.42 * red_low),
        "mouthRollUpper": move(0.0, -0.36 * red_up, -0.38 * red_up),
        "mouthShrugLower": move(0.0, 0.45 * chin + 0.38 * low_lip, 0.22 * low_lip + 0.1 * chin),
        "mouthShrugUpper": move(0.0, 0.36 * up_lip, 0.24 * up_lip),
        "mouthSmileLeft": move(0.62 * corner + 0.15 * cheek, 0.72 * corner + 0.34 * cheek,
                               -0.42 * corner + 0.28 * cheek),
        "mouthStretchLeft": move(0.72 * corner, -0.34 * corner - 0.12 * low_lip * left,
                                 -0.22 * corner),
        "mouthUpperUpLeft": move(0.05 * nose_side, 0.60 * up_lip * left + 0.22 * nose_side,
                                 0.08 * nose_side),
    }  # fmt: skip


def _mirror_index() -> NDArray[np.int64]:
    """[V]: the vertex at the mirrored place."""
    mesh = head_mesh()
    grid = np.arange(mesh.rows * mesh.columns).reshape(mesh.rows, mesh.columns)
    index = np.arange(len(mesh.canon))
    index[: grid.size] = grid[:, ::-1].ravel()
    a, b = mesh.eye_slits
    for left, right in ((a, b[::-1]), (b, a[::-1]), (mesh.mouth_slit, mesh.mouth_slit[::-1])):
        index[left.ravel()] = right.ravel()
    return index


@cache
def displacement_table() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Vertices [F] that the coefficients move and their displacements [46, F, 3] in cm.

    The lids' margins are left to `lid_weights`, the mouth's opening to `jaw_weight`.
    """
    mesh = head_mesh()
    mirror = _mirror_index()
    x, y = np.abs(mesh.canon[:, 0]), mesh.canon[:, 1]
    away = 1 - bump(x, y, 3.15, 2.6, 1.15, 0.62) ** 0.8 * (np.cos(mesh.phi) > 0)
    table = np.zeros((len(ARKIT46), len(x), 3))
    for name, field in _fields().items():
        field = field * away[:, None]
        table[ARKIT46.index(name)] = field
        if "Left" in name:
            right = field[mirror] * (-1, 1, 1)
            table[ARKIT46.index(name.replace("Left", "Right"))] = right
    moved = np.flatnonzero(np.abs(table).max(axis=(0, 2)) > 2e-4)
    return moved, np.ascontiguousarray(table[:, moved], dtype=np.float32)


@cache
def jaw_weight() -> NDArray[np.float64]:
    """[V]: how much of the jaw's turn each vertex takes."""
    return _jaw_weight()


@cache
def lid_weights() -> tuple[tuple[NDArray[np.int64], Floats, Floats], ...]:
    """Per eye (left, right): vertices [n], weight of the upper and of the lower lid's turn [n]."""
    mesh = head_mesh()
    x, y = mesh.canon[:, 0], mesh.canon[:, 1]
    out = []
    below = np.zeros(len(x), dtype=bool)
    for slit in mesh.eye_slits:
        below[slit[1:-1, 1]] = True
        below[slit[1:-1, 3]] = True
    for sign in (1, -1):
        s = (sign * x - CANTHUS_X[0]) / (CANTHUS_X[1] - CANTHUS_X[0]) * 2 - 1
        span = np.clip(1 - s * s, 0, None) ** 0.62
        k = y - lid_line(x)
        near = (np.abs(s) < 1) & (np.cos(mesh.phi) > 0) & (np.abs(k) < 1.75)
        is_low = (mesh.ring > EYE_RING + 1e-9) | below
        up = np.clip(1 - np.clip(k, 0, None) / 1.65, 0, None) * ~is_low
        low = np.clip(1 - np.clip(-k, 0, None) / 1.35, 0, None) ** 1.3 * is_low
        index = np.flatnonzero(near & ((up + low) * span > 1e-4))
        out.append((index, (up * span)[index], (low * span)[index]))
    return tuple(out)
