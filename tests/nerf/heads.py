"""Small heads and footage that tests make themselves."""

from __future__ import annotations

import numpy as np

from nerf.camera import Camera, head_pose, invert_pose, portrait_camera
from nerf.config import FieldConfig
from nerf.expression import fit_expression_code
from nerf.field import Cube, HeadField, new_field
from nerf.train import Footage

SMALL = FieldConfig(resolutions=(6, 12, 24), log2_sizes=(12, 12, 12), warp=4, blended_levels=2,
                    rank=3, hidden=16, geometry=8)  # fmt: skip


def random_head(seed: int = 0, config: FieldConfig = SMALL, *, turned: bool = False) -> HeadField:
    """Random weights, fairly opaque; `turned`: its tables are blended by angles as well."""
    rng = np.random.default_rng(seed)
    expressions = rng.random((40, 46))
    turns = rng.uniform(-2.0, 2.0, (40, 3)) if turned else None
    code = fit_expression_code(expressions, config.rank, turns)
    field = new_field(config, code, Cube((0.0, 0.0, 0.0), 0.25), rng)
    warp, bend = config.warp_entries, np.random.default_rng(seed + 100)
    field.mean[:warp] = 0.5 * bend.standard_normal((warp, 4))
    field.tables[:warp] = 0.5 * bend.standard_normal(field.tables[:warp].shape)
    field.mean[warp:] = rng.standard_normal(field.mean[warp:].shape)
    field.tables[warp:] = 0.3 * rng.standard_normal(field.tables[warp:].shape)
    field.networks[config.density_layers][:, 0] *= 6
    return field


def ball_footage(frames: int = 24, size: int = 48, radius: float = 0.08) -> Footage:
    """A ball with coloured halves at the head's origin that turns; a spot on its front gets
    brighter with expression 0. Colour is a function of the point in the head frame."""
    camera = portrait_camera(size, 0.6, 2.6)
    rng = np.random.default_rng(0)
    rotation = np.stack([rng.uniform(-0.2, 0.2, frames), rng.uniform(-0.4, 0.4, frames),
                         rng.uniform(-0.1, 0.1, frames)], axis=1)  # fmt: skip
    expression = np.full((frames, 46), 0.1, np.float32)
    expression[:, 0] = rng.random(frames)
    pictures = [ball(camera, r, float(e[0]), radius) for r, e in
                zip(rotation, expression, strict=True)]  # fmt: skip
    rgb, alpha = (np.stack(a) for a in zip(*pictures, strict=True))
    return Footage(rgb, alpha, rotation, expression, camera, 0.6)


def ball(camera: Camera, rotation: np.ndarray, spot: float, radius: float,
         pose: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """One picture uint8 [S, S, 3] over white and its matte, 4 × 4 rays a pixel; `pose` head →
    camera, by default in the middle."""
    fine = camera.resized(4 * camera.width, 4 * camera.height)
    n = fine.width
    y, x = np.mgrid[0:n, 0:n] + 0.5
    back = invert_pose(head_pose(rotation, 0.6) if pose is None else pose)
    d = np.stack([(x - fine.cx) / fine.fx, (fine.cy - y) / fine.fy, -np.ones_like(x)], -1)
    d = d @ back[:3, :3].T
    d /= np.linalg.norm(d, axis=-1, keepdims=True)
    o = back[:3, 3]
    b = d @ o
    root = b * b - (o @ o - radius**2)
    p = o + (-b - np.sqrt(np.maximum(root, 0)))[..., None] * d
    color = np.where(p[..., :1] > 0, [0.8, 0.3, 0.2], [0.2, 0.4, 0.7])
    near = np.linalg.norm(p - [0, 0, radius], axis=-1) < 0.035
    color = np.where(near[..., None], [0.1, 0.1 + 0.8 * spot, 0.1], color)
    a = (root > 0)[..., None].astype(float)
    image = (a * color + 1 - a).reshape(n // 4, 4, n // 4, 4, 3).mean(axis=(1, 3))
    matte = a.reshape(n // 4, 4, n // 4, 4).mean(axis=(1, 3))
    return np.rint(image * 255).astype(np.uint8), np.rint(matte * 255).astype(np.uint8)
