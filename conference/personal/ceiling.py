"""The pose of one frame optimised against its own matted picture: the best any tracker could do.

The rule: the field stays as it is; this looks at the answer and is therefore a yardstick, never
part of what is sent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from conference.personal.fit import motion_of_rigid, rigid_of_motion
from nerf.field import cube_rays
from nerf.step import Rates, RayBatch
from nerf.train import Trainer, bounding_box
from sender.personal.motion import Motion

STEPS = 40
RAYS = 1200
RATE = 4e-3
DECAY = 0.03
STILL = Rates(table=0.0, expression=0.0, network=0.0)


def optimised_motion(trainer: Trainer, frame: int, start: Motion, expression: ArrayLike,
                     seed: int = 0) -> Motion:  # fmt: skip
    """The motion under which the head looks most like `frame`, by Adam from `start`."""
    footage, cube = trainer.footage, trainer.field.cube
    rng = np.random.default_rng(seed)
    x0, y0, x1, y1 = bounding_box(footage.alpha[frame])
    pose = start.apply(footage.pose(frame), np.array(cube.center))
    code = trainer.field.code(trainer.field.code.seen(expression, pose))
    rigid = rigid_of_motion(start.vector(), cube.edge)
    first, second = np.zeros(6), np.zeros(6)
    for step in range(1, STEPS + 1):
        x, y = rng.integers(x0, x1, RAYS), rng.integers(y0, y1, RAYS)
        xy = np.stack([x + 0.5, y + 0.5], axis=-1)
        origin, rays = cube_rays(footage.pose(frame), footage.lens(frame), xy, cube, rigid)
        rgb = footage.rgb[frame, y, x].astype(np.float32) / 255
        alpha = footage.alpha[frame, y, x].astype(np.float32) / 255
        batch = RayBatch(code, origin, rays, rgb, alpha, np.ones_like(rgb))
        gradient = trainer.engine.step(batch, STILL, trainer.settings.loss, float(rng.random()),
                                       rigid=True).rigid_gradient  # fmt: skip
        first = 0.8 * first + 0.2 * gradient
        second = 0.9 * second + 0.1 * gradient**2
        rate = RATE * DECAY ** (step / STEPS)
        rigid = rigid - rate * (first / (1 - 0.8**step)) / (
            np.sqrt(second / (1 - 0.9**step)) + 1e-12
        )
    return Motion.of(motion_of_rigid(rigid, cube.edge))
