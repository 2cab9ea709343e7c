"""A performer: everything that a seed fixes, and how 46 coefficients bend it.

The rule: a person is immutable; `Person.deform` is a pure function of the expression. Positions
are centimetres in the head frame here; `render` turns them into metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from portrait.performer.expression import (
    HINGE,
    JAW_ANGLE,
    displacement_table,
    jaw_weight,
    lid_weights,
)
from portrait.performer.fields import value_noise
from portrait.performer.hair import hair_parts
from portrait.performer.head_mesh import JAW_RING, RIM_RADIUS, head_mesh
from portrait.performer.landmarks import landmark_vertices
from portrait.performer.parts import (
    HEAD,
    NECK,
    Part,
    body,
    ears,
    eyeballs,
    glasses,
    lay_bag,
    mouth_bag,
    mouth_inside,
    skin_part,
)
from portrait.performer.raster import displace
from portrait.performer.shade import EYE_UNIFORMS
from portrait.performer.shape import rest_face
from portrait.performer.skin import paint_skin
from portrait.performer.traits import Traits, draw_traits
from quic_transport.params import ARKIT46, EXPRESSION_DIM

Floats = NDArray[np.float64]
INDEX = {name: i for i, name in enumerate(ARKIT46)}

# Angles of the lids' margins about the eyeball's centre, radians above the closed line.
UPPER_OPEN, LOWER_OPEN, CLOSED = 0.60, 0.20, -0.215
GAZE_SIDE, GAZE_UP, GAZE_DOWN = 0.62, 0.45, 0.50


@dataclass(frozen=True, slots=True, eq=False)
class Pose3D:
    """The person's geometry in one expression."""

    points: NDArray[np.float32]
    """[V, 3] cm, head frame."""
    eyes: NDArray[np.float64]
    """[2, 16]: what the eye material needs: gaze axes, lid angles, light in the mouth."""


class Person:
    """A person drawn from a seed; `symmetric` leaves out hair's parting, for tests."""

    def __init__(self, seed: int, *, symmetric: bool = False, traits: Traits | None = None) -> None:
        self.traits = draw_traits(seed) if traits is None else traits
        if symmetric:
            self.traits = replace(self.traits, parting=0.0)
        rng = np.random.default_rng([0x5C1B, seed & 0xFFFFFFFF])
        mesh = head_mesh()
        self.seed = seed
        self.rest = rest_face(mesh, self.traits)
        self.skin_texture = paint_skin(self.traits, rng)
        parts = [skin_part(self.rest), mouth_bag(), *eyeballs(self.rest)]
        parts += mouth_inside(self.traits)
        if self.traits.hair_style not in ("bob", "long"):  # they hide the ears
            parts += ears(self.traits)
        parts += [*hair_parts(self.traits, rng), *body(self.traits)]
        if self.traits.glasses:
            parts += glasses(self.traits, self.rest)
        self._merge(parts)
        neck = mesh.ring[mesh.triangles].min(axis=1) >= JAW_RING
        self.labels[: len(neck)][neck] = NECK
        self.strands = _strands(rng)
        self.weave = _weave(rng)
        self.landmark_names, self.landmark_indices = landmark_vertices()
        self._warm_tables()

    def _merge(self, parts: list[Part]) -> None:
        self._bag = slice(len(parts[0].points), len(parts[0].points) + len(parts[1].points))
        starts = np.cumsum([0, *(len(p.points) for p in parts)])
        self.base = np.concatenate([p.points for p in parts])
        self.triangles = np.concatenate(
            [p.triangles + s for p, s in zip(parts, starts, strict=False)]
        ).astype(np.int32)
        count = [len(p.triangles) for p in parts]
        self.materials = np.repeat([p.material for p in parts], count).astype(np.uint8)
        self.labels = np.repeat([p.label for p in parts], count).astype(np.uint8)
        self.uv = np.concatenate([p.uv for p in parts]).astype(np.float32)
        self.colour = np.concatenate([p.colour for p in parts]).astype(np.float32)
        self.head_weight = np.concatenate([p.head for p in parts]).astype(np.float32)
        self.jaw = np.concatenate([jaw_weight(), *(p.jaw for p in parts[1:])])
        self.jaw_vertices = np.flatnonzero(self.jaw > 1e-4)
        self.one_sided = np.isin(self.materials, (0, 1, 2)).astype(np.uint8)
        rims = np.concatenate([s[:, 2:].ravel() for s in self._slits()])
        self.one_sided[np.isin(self.triangles, rims).any(axis=1)] = 0
        self.casts_shadow = (~np.isin(self.materials, (1, 2, 3, 4))).astype(np.uint8)
        self.seam = head_mesh().seam

    @staticmethod
    def _slits() -> list[NDArray[np.int32]]:
        mesh = head_mesh()
        return [*mesh.eye_slits, mesh.mouth_slit]

    def _warm_tables(self) -> None:
        self._moved, self._table = displacement_table()
        self._lids = lid_weights()
        mesh = head_mesh()
        x, y = mesh.canon[:, 0], mesh.canon[:, 1]
        near = np.flatnonzero((np.abs(x) < 2.6) & (np.abs(y + 4.2) < 1.7) & (mesh.canon[:, 2] > 0))
        slit = mesh.mouth_slit
        column = np.clip(np.searchsorted(x[slit[:, 0]], x[near]), 0, len(slit) - 1)
        fall = np.exp(-0.5 * ((y[near] - y[slit[column, 0]]) / 0.75) ** 2)
        self._contact = (near, column, fall * mesh.side[near])

    def deform(self, expression: NDArray[np.float32]) -> Pose3D:
        """The geometry of an expression [46] (values are clipped to [0, 1])."""
        e = np.clip(np.asarray(expression, np.float64), 0.0, 1.0)
        if e.shape != (EXPRESSION_DIM,):
            raise ValueError(f"an expression has {EXPRESSION_DIM} coefficients, not {e.shape}")
        points = self.base.copy()
        displace(points, self._moved, self._table, e)
        self._turn_jaw(points, e[INDEX["jawOpen"]] * JAW_ANGLE)
        self._close_lips(points)
        uniforms = np.zeros((2, EYE_UNIFORMS))
        for side in range(2):
            self._turn_lids(points, e, side, uniforms[side])
        self._lay_rims(points)
        slit = head_mesh().mouth_slit
        gap = points[slit[:, 0], 1].max() - points[slit[:, 1], 1].min()
        uniforms[:, 13] = 0.30 + 0.45 * np.clip(gap / 2.5, 0, 1)
        return Pose3D(points.astype(np.float32), uniforms)

    def _turn_jaw(self, points: Floats, angle: float) -> None:
        if angle <= 0:
            return
        v = self.jaw_vertices
        a = angle * self.jaw[v]
        y, z = points[v, 1] - HINGE[1], points[v, 2] - HINGE[2]
        points[v, 1] = HINGE[1] + np.cos(a) * y - np.sin(a) * z
        points[v, 2] = HINGE[2] + np.sin(a) * y + np.cos(a) * z

    def _close_lips(self, points: Floats) -> None:
        """Lips that would pass through each other meet half-way."""
        slit = head_mesh().mouth_slit
        overlap = np.clip(points[slit[:, 1], 1] - points[slit[:, 0], 1], 0, None) * 0.5
        if overlap.max() <= 0:
            return
        near, column, fall = self._contact
        points[near, 1] += overlap[column] * fall

    def _turn_lids(self, points: Floats, e: Floats, side: int, out: Floats) -> None:
        index, up, low = self._lids[side]
        name = ("Left", "Right")[side]
        blink, squint = e[INDEX["eyeBlink" + name]], e[INDEX["eyeSquint" + name]]
        wide, down = e[INDEX["eyeWide" + name]], e[INDEX["eyeLookDown" + name]]
        rise = e[INDEX["eyeLookUp" + name]]
        wake = 1 + 0.09 * self.traits.shape["eye_open"]
        upper = UPPER_OPEN * wake * (1 - 0.16 * squint - 0.34 * down) + 0.13 * wide + 0.11 * rise
        lower = LOWER_OPEN * wake * (1 - 0.75 * squint) + 0.03 * wide + 0.07 * down
        upper, lower = upper * (1 - blink), lower * (1 - blink)
        centre = self.rest.eyes[side]
        a = up * upper - low * lower
        y, z = points[index, 1] - centre[1], points[index, 2] - centre[2]
        points[index, 1] = centre[1] + np.cos(a) * y + np.sin(a) * z
        points[index, 2] = centre[2] - np.sin(a) * y + np.cos(a) * z
        sign = 1.0 if side == 0 else -1.0
        out_, in_ = e[INDEX["eyeLookOut" + name]], e[INDEX["eyeLookIn" + name]]
        yaw = sign * (out_ - in_) * GAZE_SIDE
        pitch = rise * GAZE_UP - down * GAZE_DOWN
        ahead = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
        out[0:3], out[3:6], out[6:9] = right, np.cross(ahead, right), ahead
        out[9:13] = upper, lower, CLOSED, sign

    def _lay_rims(self, points: Floats) -> None:
        """The inner edges of lids and lips, from their margins."""
        mesh = head_mesh()
        for centre, slit in zip(self.rest.eyes, mesh.eye_slits, strict=True):
            for margin, rim in ((0, 2), (1, 3)):
                d = points[slit[:, margin]] - centre
                d *= RIM_RADIUS / np.linalg.norm(d, axis=1, keepdims=True)
                points[slit[:, rim]] = centre + d
        slit = mesh.mouth_slit
        deep = np.tile((0.0, 0.10, -0.75), (len(slit), 1))
        deep[[0, -1], 1] = 0.0  # at the corners both rims meet
        points[slit[:, 2]] = points[slit[:, 0]] + deep
        points[slit[:, 3]] = points[slit[:, 1]] + deep * (1, -1, 1)
        points[self._bag] = lay_bag(points)

    def landmarks(self, geometry: Pose3D) -> Floats:
        """[M, 3] metres, head frame: the named surface points (`landmark_names`)."""
        return geometry.points[self.landmark_indices].astype(np.float64) * 0.01


def _strands(rng: np.random.Generator) -> NDArray[np.float32]:
    """Hair's texture [256, 1024, 2]: brightness and gloss, streaked along v."""
    bright = sum(
        gain * value_noise(rng, 256, 1024, cells)
        for cells, gain in (((2, 500), 0.20), ((3, 170), 0.22), ((2, 60), 0.20), ((6, 300), 0.10))
    )
    gloss = 0.75 + 0.9 * value_noise(rng, 256, 1024, (3, 230)) * 0.6
    bright = np.asarray(bright)
    bright = 0.5 * (bright + bright[::-1]) + 0.95  # meets itself where it repeats along v
    gloss = 0.5 * (gloss + gloss[::-1])
    return np.stack([bright, np.clip(gloss, 0.1, None)], axis=-1).astype(np.float32)


def _weave(rng: np.random.Generator) -> NDArray[np.float32]:
    """Cloth's texture [256, 256, 1]: a fine knit."""
    n = np.arange(256)
    knit = 0.04 * np.sin(n[:, None] * 2 * np.pi / 8) * np.sin(n[None, :] * 2 * np.pi / 8)
    cloud = value_noise(rng, 256, 256, (12, 12))
    return (1 + knit + 0.05 * 0.5 * (cloud + cloud[::-1]))[..., None].astype(np.float32)


__all__ = ["HEAD", "INDEX", "NECK", "Person", "Pose3D"]
