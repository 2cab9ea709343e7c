"""A picture of a person from any camera, with exact masks, matte and depth.

The rule: pure; the same person, parameters, poses and camera give the same bytes. The head is
where `pose` puts it (head → camera, metres); the body stays upright below it, or where `body`
says; lights and room belong to the frame `world`, by default the camera's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera, euler_angles, project, rotation_matrix
from portrait.performer.person import Person, Pose3D
from portrait.performer.raster import SAMPLES, rasterise, vertex_normals
from portrait.performer.raster import project as project_samples
from portrait.performer.room import paint_room
from portrait.performer.shade import light_map, resolve
from quic_transport.params import FaceParams

BACKGROUND, HEAD, NECK, TORSO = range(4)
NECK_PIVOT = np.array([0.0, -0.11, -0.045])  # metres, head frame: what the head turns on
LIGHT_CELLS = 140
LIGHT_SPAN = 0.60  # metres
_STEPS = 16384


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a camera sees of a person."""

    rgb: NDArray[np.uint8]
    """[H, W, 3]."""
    classes: NDArray[np.uint8]
    """[H, W]: 0 background, 1 head with hair and ears, 2 neck, 3 torso."""
    matte: NDArray[np.uint8]
    """[H, W]: how much of the pixel the head (class 1) covers, 0..255, in quarters."""
    depth: NDArray[np.float32]
    """[H, W] metres along the viewing axis of the pixel's class, inf on the background."""
    landmarks: NDArray[np.float64]
    """[M, 2] pixels of the person's landmarks (`Person.landmark_names`), hidden ones too."""


@lru_cache(maxsize=1)
def _gamma() -> NDArray[np.uint8]:
    """Linear 0..2 to sRGB-like bytes with a soft shoulder."""
    x = np.linspace(0, 2, _STEPS)
    soft = np.where(x < 0.6, x, 0.6 + 0.4 * np.tanh((x - 0.6) / 0.4))
    return np.round(255 * np.clip(soft, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def default_body(pose: ArrayLike) -> NDArray[np.float64]:
    """Body → camera for a head pose: upright, below the head, turned a little with it."""
    p = np.asarray(pose, dtype=np.float64)
    _, yaw, _ = euler_angles(p[:3, :3])
    out = np.eye(4)
    out[:3, :3] = rotation_matrix(0.0, 0.18 * yaw, 0.0)
    out[:3, 3] = p[:3, 3] + (p[:3, :3] - out[:3, :3]) @ NECK_PIVOT
    return out


def _lights(person: Person, world: NDArray[np.float64]) -> NDArray[np.float64]:
    side = person.traits.light_side
    key = np.array([0.55 * side, 0.55, 0.75])
    fill = np.array([-0.85 * side, 0.10, 0.55])
    rows = np.array(
        [
            key / np.linalg.norm(key), [0.98, 0.93, 0.86], fill / np.linalg.norm(fill),
            [0.17, 0.19, 0.23], [0.34, 0.35, 0.37], [0.17, 0.155, 0.145], [0, 1, 0], [0.8, 0.85, 1],
        ]
    )  # fmt: skip
    for k in (0, 2, 6):
        rows[k] = world @ rows[k]
    return rows


def _light_frame(key: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    a = np.cross([0.0, 1.0, 0.0], key)
    a /= np.linalg.norm(a)
    b = np.cross(key, a)
    per_metre = LIGHT_CELLS / LIGHT_SPAN
    return np.stack([a * per_metre, b * per_metre, key, centre])


def render(
    person: Person,
    params: FaceParams | NDArray[np.float32] | Pose3D,
    pose: ArrayLike,
    camera: Camera,
    *,
    body: ArrayLike | None = None,
    world: ArrayLike | None = None,
    white: bool = False,
) -> Picture:
    """The person with an expression (`FaceParams`, 46 numbers or `Person.deform`'s geometry).

    `params.rotation` is not used: `pose` [4, 4] head → camera says where the head is. `body`
    [4, 4] body → camera (default: `default_body`); `world` [3, 3] turns the lights into the
    camera's frame; `white` replaces the room by white.
    """
    if isinstance(params, FaceParams):
        geometry = person.deform(params.expression)
    else:
        geometry = params if isinstance(params, Pose3D) else person.deform(params)
    p = np.asarray(pose, dtype=np.float64)
    b = default_body(p) if body is None else np.asarray(body, dtype=np.float64)
    turn = np.eye(3) if world is None else np.asarray(world, dtype=np.float64)
    local = geometry.points * np.float32(0.01)
    on_head = local @ p[:3, :3].T.astype(np.float32) + p[:3, 3].astype(np.float32)
    on_body = local @ b[:3, :3].T.astype(np.float32) + b[:3, 3].astype(np.float32)
    weight = person.head_weight[:, None]
    points = on_body + weight * (on_head - on_body)
    normals = np.empty_like(points)
    vertex_normals(points, person.triangles, person.seam, normals)
    screen = np.empty_like(points)
    project_samples(points, camera.fx, camera.fy, camera.cx, camera.cy, float(SAMPLES), screen)
    size = (camera.height * SAMPLES, camera.width * SAMPLES)
    nearest, ids = np.empty(size, np.float32), np.empty(size, np.int32)
    rasterise(screen, person.triangles, person.one_sided, nearest, ids)
    lights = _lights(person, turn)
    frame = _light_frame(lights[0], p[:3, 3] + p[:3, :3] @ (0.0, -0.05, -0.03))
    shade_map = np.empty((LIGHT_CELLS, LIGHT_CELLS), np.float32)
    light_map(points, person.triangles, person.casts_shadow, frame, shade_map)
    shape = (camera.height, camera.width)
    background = (
        np.full((*shape, 3), 2.0, np.float32)
        if white
        else paint_room(person.traits, camera.width, camera.height)
    )
    rgb, classes = np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8)
    matte, depth = np.empty(shape, np.uint8), np.empty(shape, np.float32)
    resolve(ids, nearest, screen, points, normals, person.triangles, person.materials,
            person.labels, person.uv, person.colour, person.skin_texture, person.strands,
            person.weave, np.array(person.traits.hair), np.array(person.traits.eye),
            geometry.eyes, lights, shade_map, frame, background, _gamma(),
            rgb, classes, matte, depth)  # fmt: skip
    return Picture(rgb, classes, matte, depth, project(person.landmarks(geometry), p, camera))
